//! What is known of one segment in memory: little more than a bit an entry.

use std::collections::{BTreeSet, HashMap};

use moehog_proto::{Sequence, journal::Book};

use super::{
    bits::Bits,
    decisions::Decisions,
    format::RecordsFoot,
    index::{Index, LaneId},
    records::{Recorded, Records, Replay, Started},
    webhooks::Webhooks,
};
use crate::Crashed;

/// A webhooks file and the records of its entries.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) index: Index,
    pub(super) webhooks: Webhooks,
    /// None before the first record.
    pub(super) records: Option<Records>,
    /// Set when the records file is sealed.
    pub(super) foot: Option<RecordsFoot>,
    /// Entries with dead letters.
    pub(super) dead: Bits,
    pub(super) cancelled: BTreeSet<Sequence>,
    /// Entries found damaged by a reader.
    pub(super) damaged: BTreeSet<Sequence>,
    /// Records of entries that are not settled.
    pub(super) open: HashMap<Sequence, Recorded>,
    pub(super) crashed: HashMap<Sequence, Crashed>,
    pub(super) started: Started,
    pub(super) decisions: Decisions,
    /// What the segment came to, entries that were rewritten away included.
    pub(super) book: Book,
    pub(super) in_flight: u64,
    /// Bytes of records that no longer count.
    pub(super) garbage: u64,
    /// The last bytes of the records file, which no sync has covered yet: a failed sync may drop them from the file.
    pub(super) unsynced: Vec<u8>,
    /// Of each entry; kept while the segment is appended to.
    pub(super) places: Vec<Place>,
}

/// When an entry was received and where its frame begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Milliseconds after the first of the segment.
    pub(super) age_ms: u32,
    pub(super) offset: u64,
}

impl Segment {
    /// A segment that begins.
    pub(super) fn new(index: Index, webhooks: Webhooks) -> Self {
        Self {
            index,
            webhooks,
            records: None,
            foot: None,
            dead: Bits::default(),
            cancelled: BTreeSet::new(),
            damaged: BTreeSet::new(),
            open: HashMap::new(),
            crashed: HashMap::new(),
            started: Started::new(),
            decisions: Decisions::default(),
            book: Book::default(),
            in_flight: 0,
            garbage: 0,
            unsynced: Vec::new(),
            places: Vec::new(),
        }
    }

    /// A segment whose records are `replay`.
    pub(super) fn replayed(index: Index, webhooks: Webhooks, records: Option<Records>, replay: Replay) -> Self {
        let mut segment = Self::new(index, webhooks);
        let members = Members::count(&segment.index, &segment.webhooks, &replay);
        (segment.book, segment.in_flight) = (members.book, members.in_flight);
        (segment.records, segment.garbage) = (records, replay.garbage);
        for lane in &mut segment.index.lanes {
            lane.waiting = lane.present.clone();
        }
        for (sequence, recorded) in replay.entries {
            if segment.waits_in(sequence).is_none() || replay.cancelled.contains(&sequence) {
                continue;
            }
            segment.note_dead(sequence, recorded.counts.dead > 0);
            match recorded.settled {
                true => drop(segment.stop_waiting(sequence)),
                false => drop(segment.open.insert(sequence, recorded)),
            }
        }
        for sequence in replay.cancelled.iter().chain(&replay.damaged) {
            if segment.stop_waiting(*sequence) {
                segment.open.remove(sequence);
                segment.note_dead(*sequence, false);
            }
        }
        for (sequences, calls) in &replay.started {
            for sequence in sequences.iter().filter(|sequence| segment.index.contains(**sequence)) {
                let crashed = segment.crashed.entry(*sequence).or_default();
                match sequences.len() {
                    1 => crashed.alone += calls,
                    _ => crashed.together += calls,
                }
            }
        }
        (segment.cancelled, segment.damaged, segment.started) = (replay.cancelled, replay.damaged, replay.started);
        let mut decisions = Decisions::default();
        decisions.merge(&replay.decisions, |sequence| segment.waits_in(sequence).is_some());
        segment.decisions = decisions;
        segment
    }

    /// A write or sync of the records file failed that may have dropped from it what was not synced.
    pub(super) fn break_records(&mut self) {
        if let Some(records) = &mut self.records {
            (records.broken, records.tail) = (true, self.unsynced.clone().into());
        }
    }

    /// A segment whose records file is sealed.
    pub(super) fn sealed(index: Index, webhooks: Webhooks, records: Records, foot: RecordsFoot) -> Self {
        let mut segment = Self::new(index, webhooks);
        segment.records = Some(records);
        segment.seal_records(foot);
        segment
    }

    /// Takes over what the sealed records say.
    pub(super) fn seal_records(&mut self, foot: RecordsFoot) {
        self.book = foot.book.unwrap_or_default();
        self.in_flight = foot.in_flight;
        let first = self.index.first;
        self.dead = Bits::default();
        for number in Bits::from_bytes(&foot.dead).from(0).filter(|number| self.index.contains(first + number)) {
            self.dead.insert(number);
        }
        self.cancelled = foot.cancelled.iter().copied().collect();
        self.damaged = foot.damaged.iter().copied().collect();
        self.foot = Some(RecordsFoot { dead: bytes::Bytes::new(), cancelled: Vec::new(), damaged: Vec::new(), ..foot });
        self.open = HashMap::new();
        self.crashed = HashMap::new();
        self.started = Started::new();
        self.decisions = Decisions::default();
    }

    pub(super) fn waiting(&self) -> u64 {
        self.index.waiting()
    }

    /// The lane in which the entry waits.
    pub(super) fn waits_in(&self, sequence: Sequence) -> Option<LaneId> {
        let number = sequence.checked_sub(self.index.first)?;
        self.index.lanes.iter().find(|lane| lane.waiting.contains(number)).map(|lane| lane.lane)
    }

    /// The entry is settled, cancelled or damaged. False where it did not wait.
    pub(super) fn stop_waiting(&mut self, sequence: Sequence) -> bool {
        let Some(number) = sequence.checked_sub(self.index.first) else { return false };
        self.index.lanes.iter_mut().any(|lane| lane.waiting.remove(number))
    }

    /// A settled entry is open again.
    pub(super) fn wait_again(&mut self, sequence: Sequence) {
        let number = sequence - self.index.first;
        if let Some(lane) = self.index.lanes.iter_mut().find(|lane| lane.present.contains(number)) {
            lane.waiting.insert(number);
        }
    }

    pub(super) fn note_dead(&mut self, sequence: Sequence, dead: bool) {
        let number = sequence - self.index.first;
        match dead {
            true => self.dead.insert(number),
            false => self.dead.remove(number),
        };
    }

    /// Whether the entry is there and settled.
    pub(super) fn is_settled(&self, sequence: Sequence) -> bool {
        self.index.contains(sequence)
            && self.waits_in(sequence).is_none()
            && !self.cancelled.contains(&sequence)
            && !self.damaged.contains(&sequence)
    }

    /// Begin and end of an entry's frame, where they are known.
    pub(super) fn place_of(&self, sequence: Sequence) -> Option<(u64, u64)> {
        let number = usize::try_from(sequence.checked_sub(self.index.first)?).ok()?;
        let place = self.places.get(number)?;
        Some((place.offset, self.places.get(number + 1).map_or(self.webhooks.end, |next| next.offset)))
    }

    /// Bytes the segment takes on the disk.
    pub(super) fn size(&self) -> u64 {
        self.webhooks.size + self.records.as_ref().map_or(0, |records| records.size)
    }

    /// Bytes of entries that wait, in the lanes that `of` takes.
    pub(super) fn waiting_bytes(&self, of: impl Fn(LaneId) -> bool) -> u64 {
        let lanes: Vec<_> = self.index.lanes.iter().filter(|lane| of(lane.lane) && !lane.waiting.is_empty()).collect();
        match lanes.is_empty() {
            true => 0,
            false => self.index.bytes_of(self.webhooks.end, |block| {
                lanes.iter().fold(0, |word, lane| word | lane.waiting.word(block))
            }),
        }
    }

    /// Bytes of settled entries with dead letters, in the lanes that `of` takes.
    pub(super) fn dead_bytes(&self, of: impl Fn(LaneId) -> bool) -> u64 {
        if self.dead.is_empty() {
            return 0;
        }
        let lanes: Vec<_> = self.index.lanes.iter().filter(|lane| of(lane.lane)).collect();
        let settled =
            |block| lanes.iter().fold(0, |word, lane| word | lane.present.word(block) & !lane.waiting.word(block));
        self.index.bytes_of(self.webhooks.end, |block| self.dead.word(block) & settled(block))
    }

    /// Bytes that a rewrite would keep.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.index.bytes_of(self.webhooks.end, |block| {
            self.index.lanes.iter().fold(self.dead.word(block), |word, lane| word | lane.waiting.word(block))
        })
    }

    /// When the oldest waiting entry of `lane` was received, or a little before.
    pub(super) fn received_at_ms(&self, number: u64) -> i64 {
        let block = self.index.received_at_ms.get((number / super::index::BLOCK) as usize).copied().unwrap_or(0);
        match (self.places.get(number as usize), self.index.received_at_ms.first()) {
            (Some(place), Some(first)) => first + i64::from(place.age_ms),
            _ => block,
        }
    }
}

/// What the entries of a segment came to, counted from its files.
pub(super) struct Members {
    pub(super) book: Book,
    pub(super) in_flight: u64,
}

impl Members {
    pub(super) fn count(index: &Index, webhooks: &Webhooks, replay: &Replay) -> Self {
        let mut book = webhooks.rewritten.as_ref().and_then(|rewritten| rewritten.removed).unwrap_or_default();
        let mut in_flight = webhooks.rewritten.as_ref().map_or(0, |rewritten| rewritten.in_flight);
        let member = |sequence: &Sequence| {
            (index.contains(*sequence) || index.damaged.contains(*sequence)) && !replay.cancelled.contains(sequence)
        };
        let cancelled = |sequence: &Sequence| replay.cancelled.contains(sequence);
        let gone = replay.cancelled.iter().filter(|sequence| index.contains(**sequence)).count() as u64;
        book.taken += index.frames() - gone + index.lost;
        book.taken += index.damaged.sequences().filter(|sequence| !cancelled(sequence)).count() as u64;
        for (_, recorded) in replay.entries.iter().filter(|(sequence, _)| member(sequence)) {
            recorded.counts.add_to(&mut book, &mut in_flight);
            book.settled += u64::from(recorded.settled);
        }
        let settled = |sequence: &Sequence| replay.entries.get(sequence).is_some_and(|known| known.settled);
        let told = replay.damaged.iter().copied().filter(|sequence| !index.damaged.contains(*sequence));
        let damaged = index.damaged.sequences().chain(told).filter(|sequence| member(sequence) && !settled(sequence));
        book.damaged += index.lost + damaged.count() as u64;
        book.unconfirmed += index.unconfirmed.sequences().filter(|sequence| !cancelled(sequence)).count() as u64;
        Self { book, in_flight }
    }
}
