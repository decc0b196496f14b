//! What is known of the lane's entries and not yet recorded, and the record under way.

use moehog_journal::Record;
use moehog_proto::{Reason, Sequence, journal::Book};
use tokio::time::Instant;

use super::{Lane, Now, Step};
use crate::{
    backoff::{Backoff, Retry},
    settled::add_settled,
    slab::{Key, take},
    spans,
};

/// A record call under way.
#[derive(Debug, Default)]
pub(crate) struct RecordCall {
    entries: Vec<Key>,
    /// Persons that are free once it is stored.
    persons: Vec<u64>,
    /// Bytes of events that are final once it is stored.
    freed: usize,
}

/// See the module. One record is under way at a time; what becomes known meanwhile is in the next.
#[derive(Debug)]
pub(super) struct Recorder {
    next: RecordCall,
    under_way: bool,
    retry: Retry,
    settled: Book,
    died: Vec<(Sequence, Reason, u64)>,
}

impl Recorder {
    pub(super) fn new(backoff: Backoff) -> Self {
        let (next, settled) = (RecordCall::default(), Book::default());
        Self { next, under_way: false, retry: Retry::new(backoff), settled, died: Vec::new() }
    }

    /// Nothing is known that is not recorded.
    pub(super) fn is_idle(&self) -> bool {
        !self.under_way && self.next.entries.is_empty()
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.retry.at().filter(|_| !self.under_way)
    }

    /// The person is free once the next record is stored.
    pub(super) fn frees(&mut self, person: u64) {
        if self.next.persons.last() != Some(&person) {
            self.next.persons.push(person);
        }
    }

    /// So many bytes of events that are final are free once the next record is stored.
    pub(super) fn frees_bytes(&mut self, bytes: usize) {
        self.next.freed += bytes;
    }

    /// What waits for the next record is forgotten: all of it is of entries that are.
    pub(super) fn forget(&mut self) {
        self.next = RecordCall::default();
    }
}

impl Lane {
    /// All that is known is recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorder.is_idle()
    }

    /// What the entries settled since the last call came to.
    pub(crate) fn take_settled(&mut self) -> Book {
        std::mem::take(&mut self.recorder.settled)
    }

    /// The events that died since the last call: of which webhook, why and how many.
    pub(crate) fn take_died(&mut self) -> Vec<(Sequence, Reason, u64)> {
        std::mem::take(&mut self.recorder.died)
    }

    /// Lists an entry for the next record.
    pub(super) fn note(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.dirty && !entry.listed) {
            entry.listed = true;
            self.recorder.next.entries.push(key);
        }
    }

    pub(super) fn next_record(&mut self, now: Now) -> Option<Step> {
        if self.recorder.next.entries.is_empty() {
            // nothing new is known of these: they were not tried
            for person in std::mem::take(&mut self.recorder.next.persons) {
                self.barrier.release(person, now.instant);
            }
        }
        if self.recorder.under_way || self.recorder.retry.waits(now.instant) || self.recorder.next.entries.is_empty() {
            return None;
        }
        self.recorder.under_way = true;
        let call = std::mem::take(&mut self.recorder.next);
        let clock = self.gate.clock(now.instant);
        let mut records = Vec::with_capacity(call.entries.len());
        for key in &call.entries {
            let Some(entry) = self.entries.get_mut(*key) else { continue };
            (entry.dirty, entry.listed) = (false, false);
            let died = entry.deaths().into_iter().map(|(reason, events)| (entry.sequence, reason, events));
            self.recorder.died.extend(died);
            let progress = entry.recorded(clock);
            let settled = entry.settled();
            if settled && let Some(traced) = &entry.traced {
                entry.settling = spans::settle(traced, &progress);
            }
            records.push(Record { sequence: entry.sequence, progress, settled });
        }
        Some(Step::Record(call, records))
    }

    /// A record is stored: its persons are free, its settled entries are forgotten.
    pub(crate) fn recorded(&mut self, call: RecordCall, now: Now) {
        self.recorder.under_way = false;
        self.recorder.retry.worked();
        for key in call.entries {
            // one that changed since is in the next record
            if self.entries.get(key).is_some_and(|entry| entry.settled() && !entry.dirty)
                && let Some(entry) = take(&mut self.entries, key)
            {
                self.order.remove(&entry.sequence);
                let book = moehog_journal::count(&entry.progress).0;
                add_settled(&mut self.recorder.settled, &book, entry.counted.as_deref());
            }
        }
        for person in call.persons {
            self.barrier.release(person, now.instant);
        }
        self.budget.mapped -= call.freed;
    }

    /// A record was not stored: it is made again, with what is known by then.
    pub(crate) fn record_failed(&mut self, call: RecordCall, now: Now) {
        self.recorder.under_way = false;
        self.recorder.retry.failed(now.instant, self.chance.draw());
        for key in call.entries {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.dirty = true;
            }
            self.note(key);
        }
        self.recorder.next.persons.extend(call.persons);
        self.recorder.next.freed += call.freed;
    }
}
