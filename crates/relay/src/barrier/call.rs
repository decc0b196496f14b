//! A call being filled: what fits into it.

use std::collections::HashSet;

use super::Waiting;
use crate::slab::Key;

/// A call being filled.
pub(super) struct Call {
    pub(super) taken: Vec<Key>,
    uuids: HashSet<u128>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

pub(super) enum Fit {
    Taken,
    /// Its uuid is in this call already.
    Twice,
    Full,
}

#[derive(PartialEq, Eq)]
pub(super) enum End {
    /// The line has no more for this call; another may.
    Line,
    /// The call is full.
    Full,
}

impl Call {
    pub(super) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { taken: Vec::new(), uuids: HashSet::new(), bytes: 0, max_events: max_events.max(1), max_bytes }
    }

    /// Makes room for an event, where it fits.
    pub(super) fn fits(&mut self, waiting: &Waiting) -> Fit {
        let max_events = self.max_events.min(waiting.limit.max(1) as usize);
        let bytes = self.bytes + waiting.event.json.len();
        if !self.taken.is_empty() && (self.taken.len() >= max_events || bytes > self.max_bytes) {
            return Fit::Full;
        }
        let uuid = <[u8; 16]>::try_from(&*waiting.event.uuid).map_or(0, u128::from_be_bytes);
        if !self.uuids.insert(uuid) {
            return Fit::Twice;
        }
        (self.bytes, self.max_events) = (bytes, max_events);
        Fit::Taken
    }
}
