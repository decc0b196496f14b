//! What a read is to read, taken down while nothing changes.

use std::{io, sync::Arc};

use moehog_proto::{Incarnation, Sequence, journal::Mapping};

use super::{
    coding::Coding,
    run::Extent,
    segment::Segment,
    webhooks::{self, Located},
    window::Window,
};
use crate::{Crashed, ReadError, disk::File};

/// Bytes at the end of a segment that were written a moment ago.
const FRESH: u64 = 1024 * 1024;

/// An entry to be read, and where it is.
pub(super) struct Target {
    pub(super) sequence: Sequence,
    pub(super) incarnation: Incarnation,
    pub(super) extent: Extent,
    /// Begin and end of its block.
    pub(super) block: (u64, u64),
    /// Where its record is.
    pub(super) record: Option<u64>,
    pub(super) settled: bool,
    pub(super) crashed: Crashed,
    pub(super) decided: Option<Mapping>,
}

/// Entries of one segment to be read, and the files as they are at this moment.
pub(super) struct Plan {
    pub(super) first: Sequence,
    pub(super) file: Arc<dyn File>,
    pub(super) coding: Coding,
    pub(super) end: u64,
    pub(super) records: Option<(Window, Coding)>,
    pub(super) targets: Vec<Target>,
}

impl Plan {
    pub(super) fn of(segment: &Segment) -> Self {
        let records = segment.records.as_ref();
        Self {
            first: segment.index.first,
            file: segment.webhooks.file.clone(),
            coding: segment.webhooks.coding,
            end: segment.webhooks.end,
            records: records.map(|records| (records.window(0), records.coding)),
            targets: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, segment: &Segment, sequence: Sequence) {
        let Some(block) = segment.index.block_of(sequence, self.end) else { return };
        self.targets.push(Target {
            sequence,
            incarnation: Incarnation(segment.webhooks.incarnation_of(sequence)),
            extent: segment.place_of(sequence).map_or_else(|| Extent::in_block(block), Extent::exact),
            block,
            record: segment.open.get(&sequence).map(|recorded| recorded.offset),
            settled: segment.is_settled(sequence),
            crashed: segment.crashed.get(&sequence).copied().unwrap_or_default(),
            decided: segment.decisions.of(sequence),
        });
    }

    /// Finds an entry, not before `behind`, where its body has at most so many bytes.
    pub(super) fn locate(&self, window: &mut Window, target: &Target, behind: u64, most: usize) -> io::Result<Located> {
        let mut among = |from: u64, until: u64| {
            let from = from.max(if behind < until { behind } else { 0 });
            webhooks::locate_within(window, self.coding, target.sequence, (from, until), most)
        };
        let found = among(target.extent.from, target.extent.until)?;
        let (from, until) = target.block;
        match found {
            // nothing is given up before all of its block was looked at
            Located::Damaged if target.extent.from != from || target.extent.until != until => among(from, until),
            found => Ok(found),
        }
    }

    pub(super) fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Disk { segment: self.first, source }
    }
}

/// Entries of a lane to be read.
pub(super) struct Planned {
    pub(super) plans: Vec<Plan>,
    /// See [`Batch::next`].
    pub(super) next: Sequence,
    /// The segment that is appended to.
    pub(super) active: Option<Sequence>,
}

impl Planned {
    /// All of it was written so short a time ago that the system has it in memory.
    pub(super) fn is_fresh(&self) -> bool {
        let [plan] = &self.plans[..] else { return self.plans.is_empty() };
        let is_at_the_end = |first: &Target| plan.end - first.extent.from <= FRESH;
        self.active == Some(plan.first) && plan.targets.first().is_none_or(is_at_the_end)
    }
}
