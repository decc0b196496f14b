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
use crate::{fault::Fault, json};

/// Deepest value that is sent. PostHog reads a little more: its capture reads with serde_json, which takes 127 levels,
/// and a value stands four deep in a batch; the rest is room for what reads it after that. Measured: a real server takes
/// values of 120 to 125 levels (2026-11).
pub(crate) const MAX_DEPTH: usize = 100;

/// Refuses a value that PostHog could not read.
pub(crate) fn checked(raw: &str) -> Result<&str, Fault> {
    if json::nests_deeper(raw, MAX_DEPTH) {
        return Err(Fault::NestedTooDeep);
    }
    if json::holds_endless_number(raw) { Err(Fault::EndlessNumber) } else { Ok(raw) }
}
