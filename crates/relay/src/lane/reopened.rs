//! Entries that were settled and are open again, since somebody asked for their dead events to be tried again: they are read
//! beside what is read on, where a read was past them.

use std::collections::{BTreeSet, HashSet};

use moehog_journal::ReadLimit;
use moehog_proto::Sequence;

use super::Lane;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reopened {
    /// Not in memory, and not read yet.
    waiting: BTreeSet<Sequence>,
    /// The read under way is of those from the one to before the other.
    under_way: Option<(Sequence, Sequence)>,
    /// Bytes of the first webhook and of the events that it keeps, where there was no room for these.
    awaits: Option<(usize, usize)>,
}

impl Reopened {
    /// The entry was read.
    pub(super) fn has_read(&mut self, sequence: Sequence) {
        self.waiting.remove(&sequence);
    }

    /// The entry at `sequence`, of those that were read, finds no room for its bytes.
    pub(super) fn stops_before(&mut self, sequence: Sequence, until: Sequence, bytes: (usize, usize)) {
        self.waiting.extend(sequence..until);
        self.awaits = Some(bytes);
    }

    /// The read under way failed, perhaps of these.
    pub(super) fn read_failed(&mut self) {
        if let Some((from, until)) = self.under_way.take() {
            self.waiting.extend(from..until);
        }
    }
}

impl Lane {
    /// Entries were reopened; those that a read is still to come to are read by that.
    pub(crate) fn reopen(&mut self, mut sequences: BTreeSet<Sequence>) {
        let held: HashSet<Sequence> = self.entries.iter().map(|(_, entry)| entry.sequence).collect();
        sequences.retain(|sequence| !held.contains(sequence));
        self.reopened.waiting.append(&mut sequences);
    }

    /// What is to be read next of what was reopened: a run of it, and how much of that.
    pub(super) fn next_reopened(&mut self) -> Option<(Sequence, Sequence, ReadLimit)> {
        let cursor = self.reader.cursor;
        drop(self.reopened.waiting.split_off(&cursor));
        let first = *self.reopened.waiting.first()?;
        if self.large_next().is_some() {
            return None;
        }
        let room = self.budget.received_limit().saturating_sub(self.budget.received);
        let large = self.reopened.awaits.filter(|costs| !self.budget.fits(*costs, &self.gate));
        let limit = self.limit_of_read(large, room)?;
        let run = self.reopened.waiting.iter().zip(first..).take_while(|(sequence, next)| *sequence == next);
        let until = first + run.count() as u64;
        self.reopened.waiting = self.reopened.waiting.split_off(&until);
        self.reopened.under_way = Some((first, until));
        Some((first, until, limit))
    }

    /// What was read next is of what was reopened, up to `next`. Says up to where it was meant to be read, where it is.
    pub(super) fn has_read_reopened(&mut self, next: Sequence) -> Option<Sequence> {
        let (_, until) = self.reopened.under_way.take()?;
        self.reopened.waiting.extend(next..until);
        self.reopened.awaits = None;
        self.reader.under_way = false;
        self.reader.retry.worked();
        Some(until)
    }
}
