//! What a memory journal holds.

mod letters;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io, mem,
    sync::Arc,
};

use bytes::Bytes;
use moehog_proto::{
    Receipt, Sequence,
    journal::{Book, EntryHeader, Mapping, Progress},
};
use prost::Message;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    AppendError, Batch, Crashed, Entry, LaneStats, Ledger, NewEntry, ReadError, ReadLimit, Record, RecordError, Stats,
    Ticket, count, journal::holds,
};

use super::{Appends, Life};

/// An append that waits for its answer.
pub(super) struct Pending {
    pub(super) ticket: u64,
    pub(super) entry: NewEntry,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<Sequence, AppendError>>,
    pub(super) watch: Option<Ticket>,
}

struct Stored {
    header: EntryHeader,
    body: Bytes,
    progress: Option<Progress>,
    settled: bool,
    crashed: Crashed,
    decided: Option<Mapping>,
}

impl Stored {
    fn size(&self) -> u64 {
        (self.header.encoded_len() + self.body.len()) as u64
    }

    fn dead(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| count(progress).0.dead)
    }
}

/// Source and destination.
pub(super) type Lane = (String, String);

/// What a memory journal holds, behind one lock.
pub(super) struct Store {
    pub(super) appends: Appends,
    pub(super) records_fail: bool,
    pub(super) reads_fail: bool,
    pub(super) pending: Vec<Pending>,
    pub(super) transforms: Vec<Vec<Sequence>>,
    pub(super) closed: bool,
    pub(super) process: u64,
    pub(super) cancelled: u64,
    entries: BTreeMap<Sequence, Stored>,
    lanes: BTreeMap<Lane, BTreeSet<Sequence>>,
    claims: HashMap<String, u64>,
    epoch: u64,
    tickets: u64,
    last: Sequence,
    ledger: Ledger,
    /// What entries that were dropped came to.
    carried: Book,
    used: u64,
    budget: u64,
}

impl Store {
    pub(super) fn new(budget: u64) -> Self {
        Self {
            appends: Appends::Work,
            records_fail: false,
            reads_fail: false,
            pending: Vec::new(),
            transforms: Vec::new(),
            closed: false,
            process: 0,
            cancelled: 0,
            entries: BTreeMap::new(),
            lanes: BTreeMap::new(),
            claims: HashMap::new(),
            epoch: 0,
            tickets: 0,
            last: 0,
            ledger: Ledger::default(),
            carried: Book::default(),
            used: 0,
            budget,
        }
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn durable(&self) -> Sequence {
        self.last
    }

    pub(super) fn restart(&mut self) {
        self.process += 1;
        self.closed = false;
        self.cancelled = 0;
        self.pending.clear();
        self.claims.clear();
        for sequences in mem::take(&mut self.transforms) {
            for sequence in &sequences {
                let Some(stored) = self.entries.get_mut(sequence) else { continue };
                match sequences.len() {
                    1 => stored.crashed.alone += 1,
                    _ => stored.crashed.together += 1,
                }
            }
        }
    }

    pub(super) fn append(&mut self, entry: NewEntry) -> Result<Sequence, AppendError> {
        match self.appends {
            Appends::Work | Appends::Hang => {}
            Appends::Fail => return Err(AppendError::Write { segment: 0, source: broken() }),
            Appends::Full => return Err(AppendError::Full { used: self.used, limit: self.budget }),
        }
        let budget = if entry.is_to_be_routed() { self.budget - self.budget / 64 } else { self.budget };
        let NewEntry { header, body } = entry;
        let stored =
            Stored { header, body, progress: None, settled: false, crashed: Crashed::default(), decided: None };
        let size = stored.size();
        self.make_room(size, budget)?;
        self.last += 1;
        self.used += size;
        self.ledger.book.taken += 1;
        self.ledger.waiting += 1;
        let lane = (stored.header.source.clone(), stored.header.destination.clone());
        self.lanes.entry(lane).or_default().insert(self.last);
        self.entries.insert(self.last, stored);
        Ok(self.last)
    }

    /// Lets settled entries go, oldest first, until `size` bytes fit; those with dead letters stay.
    fn make_room(&mut self, size: u64, budget: u64) -> Result<(), AppendError> {
        let fits = |used: u64| used.saturating_add(size) <= budget;
        let (mut used, mut dropped) = (self.used, Vec::new());
        for (sequence, stored) in &self.entries {
            if fits(used) {
                break;
            }
            if stored.settled && stored.dead() == 0 {
                used -= stored.size();
                dropped.push(*sequence);
            }
        }
        if !fits(used) {
            return Err(AppendError::Full { used, limit: budget });
        }
        self.used = used;
        for sequence in dropped {
            if let Some(stored) = self.entries.remove(&sequence) {
                add(&mut self.carried, &stored);
            }
        }
        Ok(())
    }

    pub(super) fn claim(&mut self, source: &str) -> Option<u64> {
        if self.claims.contains_key(source) {
            return None;
        }
        self.epoch += 1;
        self.claims.insert(source.to_owned(), self.epoch);
        Some(self.epoch)
    }

    pub(super) fn give_up(&mut self, source: &str, epoch: u64) {
        if self.claims.get(source) == Some(&epoch) {
            self.claims.remove(source);
        }
    }

    pub(super) fn holds_claim(&self, source: &str, epoch: u64) -> bool {
        self.claims.get(source) == Some(&epoch)
    }

    pub(super) fn check_claim(&self, source: &str, epoch: u64) -> Result<(), RecordError> {
        if !self.holds_claim(source, epoch) {
            return Err(RecordError::StaleClaim { epoch });
        }
        if self.closed {
            return Err(RecordError::Closed);
        }
        if self.records_fail {
            return Err(RecordError::Write { segment: 0, source: broken() });
        }
        Ok(())
    }

    pub(super) fn check_read(&self) -> Result<(), ReadError> {
        if self.closed {
            return Err(ReadError::Closed);
        }
        if self.reads_fail {
            return Err(ReadError::Disk { segment: 0, source: broken() });
        }
        Ok(())
    }

    pub(super) fn read(&self, life: &Life, source: &str, destination: &str, from: Sequence, limit: ReadLimit) -> Batch {
        let mut batch = Batch { next: from.max(self.last + 1), ..Batch::default() };
        let mut bytes = 0;
        let lane = self.lanes.get(&(source.to_owned(), destination.to_owned()));
        for sequence in lane.into_iter().flat_map(|lane| lane.range(from..)) {
            let Some(entry) = self.entry(life, *sequence) else { continue };
            bytes += entry.bytes();
            let fits = batch.entries.len() < limit.max_entries.get() && bytes <= limit.max_bytes;
            if !fits {
                batch.next = *sequence;
                batch.too_large = batch.entries.is_empty().then_some(bytes);
                break;
            }
            batch.entries.push(entry);
        }
        batch
    }

    pub(super) fn decide(&mut self, mapping: &Mapping, sequences: &[Sequence]) {
        for sequence in sequences {
            if let Some(stored) = self.entries.get_mut(sequence) {
                stored.decided = Some(mapping.clone());
            }
        }
    }

    pub(super) fn record(&mut self, records: Vec<Record>) {
        for Record { sequence, progress, settled } in records {
            let Some(stored) = self.entries.get_mut(&sequence) else { continue };
            let ledger = &mut self.ledger;
            if let Some(before) = &stored.progress {
                let (book, in_flight) = count(before);
                ledger.in_flight -= in_flight;
                move_events(&mut ledger.book, &book, |total, part| *total -= part);
            }
            let (book, in_flight) = count(&progress);
            ledger.in_flight += in_flight;
            move_events(&mut ledger.book, &book, |total, part| *total += part);
            stored.progress = Some(Arc::unwrap_or_clone(progress));
            if settled && !stored.settled {
                stored.settled = true;
                ledger.book.settled += 1;
                ledger.waiting -= 1;
                let lane = (stored.header.source.clone(), stored.header.destination.clone());
                if let Some(unsettled) = self.lanes.get_mut(&lane) {
                    unsettled.remove(&sequence);
                    if unsettled.is_empty() {
                        self.lanes.remove(&lane);
                    }
                }
            }
        }
    }

    pub(super) fn lanes(&self) -> Vec<LaneStats> {
        self.lanes.keys().filter_map(|lane| self.lane(lane)).collect()
    }

    pub(super) fn lane(&self, lane: &Lane) -> Option<LaneStats> {
        let (unsettled, (source, destination)) = (self.lanes.get(lane)?, lane.clone());
        let oldest = *unsettled.first()?;
        Some(LaneStats {
            source,
            destination,
            unsettled: unsettled.len() as u64,
            oldest,
            oldest_received_at_ms: self.entries.get(&oldest)?.header.received_at_ms,
        })
    }

    pub(super) fn entry(&self, life: &Life, sequence: Sequence) -> Option<Entry> {
        let stored = self.entries.get(&sequence)?;
        Some(Entry {
            receipt: life.receipt(sequence),
            header: stored.header.clone(),
            body: stored.body.clone(),
            progress: stored.progress.clone(),
            settled: stored.settled,
            crashed: stored.crashed,
            decided: stored.decided.clone().filter(|_| !stored.settled),
        })
    }

    pub(super) fn find(&self, life: &Life, uuid: &[u8; 16]) -> Vec<Receipt> {
        let holding = |stored: &Stored| stored.progress.as_ref().is_some_and(|it| holds(it, uuid));
        let entries = self.entries.iter().rev().filter(|(_, stored)| holding(stored));
        entries.map(|(sequence, _)| life.receipt(*sequence)).collect()
    }

    pub(super) fn stats(&self) -> Stats {
        let settled = self.entries.values().find(|stored| stored.settled);
        Stats {
            ledger: self.ledger.clone(),
            used_bytes: self.used,
            budget_bytes: self.budget,
            cancelled: self.cancelled,
            dead_letters: self.entries.values().map(Stored::dead).sum(),
            dead_letters_dropped: 0,
            retained_since_ms: settled.map(|stored| stored.header.received_at_ms),
            segments: 0,
            watches: 0,
        }
    }

    pub(super) fn recount(&self) -> Ledger {
        let mut ledger = Ledger { book: self.carried, ..Ledger::default() };
        for stored in self.entries.values() {
            add(&mut ledger.book, stored);
            ledger.waiting += u64::from(!stored.settled);
            ledger.in_flight += stored.progress.as_ref().map_or(0, |progress| count(progress).1);
        }
        ledger
    }
}

/// Adds what an entry came to.
fn add(book: &mut Book, stored: &Stored) {
    book.taken += 1;
    book.settled += u64::from(stored.settled);
    if let Some(progress) = &stored.progress {
        move_events(book, &count(progress).0, |total, part| *total += part);
    }
}

fn move_events(book: &mut Book, part: &Book, change: impl Fn(&mut u64, u64)) {
    change(&mut book.mapped, part.mapped);
    change(&mut book.delivered, part.delivered);
    change(&mut book.delivered_degraded, part.delivered_degraded);
    change(&mut book.filtered, part.filtered);
    change(&mut book.duplicate, part.duplicate);
    change(&mut book.dead, part.dead);
    change(&mut book.discarded, part.discarded);
}

fn broken() -> io::Error {
    io::Error::other("the memory journal was told to fail")
}
