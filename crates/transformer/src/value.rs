//! What the parts of an event may be: ids, times, types, properties. Nothing here knows where an event comes from, or a rule.

pub(crate) mod identity;
pub(crate) mod ids;
pub(crate) mod members;
pub(crate) mod placeholder;
pub(crate) mod privacy;
mod properties;
pub(crate) mod time;
pub(crate) mod types;

pub(crate) use self::properties::{MAX_NAME_BYTES, Properties, Property, Rank};
use crate::{
    fault::Fault,
    json::{self, Numbers},
    notes::{Note, Notes},
};

/// Deepest value that is sent. PostHog reads a little more: its capture reads with serde_json, which takes 127 levels,
/// and a value stands four deep in a batch; the rest is room for what reads it after that. Measured: a real server takes
/// values of 120 to 125 levels (2026-11).
pub(crate) const MAX_DEPTH: usize = 100;

/// Refuses a value that PostHog could not read, and has the event say it where numbers of it are others there.
pub(crate) fn checked<'r>(name: &str, raw: &'r str, notes: &mut Notes) -> Result<&'r str, Fault> {
    if json::nests_deeper(raw, MAX_DEPTH) {
        return Err(Fault::NestedTooDeep);
    }
    match json::numbers(raw) {
        Numbers::Endless => return Err(Fault::EndlessNumber),
        Numbers::Rounded => notes.say(Note::RoundedNumber, name, raw),
        Numbers::Kept => {}
    }
    Ok(raw)
}
