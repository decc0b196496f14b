//! JSON that a template broke, mended where it has one reading.
//!
//! A template engine prints lists, flags and nothing the way Python does, escapes no quote and no line break in a value, and leaves out
//! the commas of a loop. What repair promises:
//!
//! - nothing is dropped: each byte of the body that is no blank, comma or Python's spelling of a value stands in what comes out,
//! - nothing moves to another object: a text never swallows what may be a member or an object beside it,
//! - what was mended is named with its place,
//! - a body that a single comma, quote or bracket that is missing or doubled explains as well is refused, with the place.
//!
//! The tests of `damages` hold it: a valid document damaged in a known way comes out as it was, or not at all.

mod elements;
mod mender;
mod places;
mod rivals;
mod rows;
mod tokens;

use std::ops::Range;

use moehog_proto::limits::MAX_EVENTS;
use serde::de::IgnoredAny;

use self::mender::Mender;
pub(crate) use self::places::{Located, Places};
pub(super) use self::rivals::Shape;
use crate::notes::Repair;

/// Largest body that is mended, in bytes: what a marketer wrote is small, and so is a batch of Streams.
const MAX_BYTES: usize = 1024 * 1024;

/// A body as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mended {
    /// JSON. Values in a row are a list.
    pub(crate) text: String,
    /// What was mended.
    pub(crate) repairs: Places,
    /// Events of its list that cannot be read; `null` stands there.
    pub(crate) broken: Vec<Broken>,
    /// Its events stand a line each.
    pub(crate) are_lines: bool,
}

/// An event that cannot be read, while others of its list can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Its place in the list, from 0.
    pub(crate) position: u32,
    /// Where it stands in the body as it was sent.
    pub(crate) at: Range<usize>,
}

/// A body that is no JSON, as it was meant; none where that is not certain.
pub(crate) fn repair(text: &str) -> Option<Mended> {
    let in_a_row = || rows::in_a_row(text).filter(|mended| elements::are_alike(&mended.text));
    if let Some(mended) = rows::lines(text).or_else(in_a_row) {
        return Some(mended);
    }
    if text.len() > MAX_BYTES {
        return None;
    }
    let mended = match value(text) {
        Some((text, repairs)) => Some(Mended { text, repairs, broken: Vec::new(), are_lines: false }),
        None => elements::repair(text),
    };
    mended.filter(|mended| !mended.repairs.has(Repair::MissingComma) || elements::are_alike(&mended.text))
}

/// Mends one value, and says what was mended.
fn value(text: &str) -> Option<(String, Places)> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let (mended, repairs) = Mender::new(text).mend()?;
    let is_mended = !repairs.is_empty() && is_json(&mended);
    (is_mended && !rivals::explain(text, &repairs.kinds())).then_some((mended, repairs))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The events of a body while they are mended.
#[derive(Debug)]
struct Events {
    mended: Mended,
    count: u32,
}

impl Events {
    fn new(before: &str, bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes + 64);
        text.push_str(before);
        Self { mended: Mended { text, repairs: Places::default(), broken: Vec::new(), are_lines: false }, count: 0 }
    }

    fn repaired(&mut self, repair: Repair, at: usize) {
        self.mended.repairs.add(repair, at);
    }

    /// Takes the next event of `text`, as it is, mended or as one that cannot be read.
    fn take(&mut self, text: &str, at: Range<usize>) -> Option<()> {
        // one more than a webhook may have says that it has too many
        if self.count as usize > MAX_EVENTS {
            return Some(());
        }
        let raw = text.get(at.clone())?;
        if self.count > 0 {
            self.mended.text.push(',');
        }
        if is_json(raw) {
            self.mended.text.push_str(raw);
        } else if let Some((whole, repairs)) = value(raw) {
            self.mended.text.push_str(&whole);
            self.mended.repairs.add_all(&repairs, at.start);
        } else {
            self.mended.text.push_str("null");
            self.mended.broken.push(Broken { position: self.count, at });
        }
        self.count += 1;
        Some(())
    }

    /// The body, which ends with `after`; none where no event can be read.
    fn end(mut self, after: &str) -> Option<Mended> {
        self.mended.text.push_str(after);
        let some_are_read = (self.mended.broken.len() as u64) < u64::from(self.count);
        (some_are_read && is_json(&self.mended.text)).then_some(self.mended)
    }
}

#[cfg(test)]
mod damages;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
