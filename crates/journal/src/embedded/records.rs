//! A records file: what is known of the entries of one segment. The last record of an entry counts, and one that settles
//! it is the last.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    io,
    sync::Arc,
};

use bytes::Bytes;
use memchr::memmem;
use moehog_proto::{
    Sequence,
    journal::{EntryRecord, RecordFrame, record_frame::Kind},
};
use prost::{Message, encoding};

use super::{
    blocks::create_over,
    coding::Coding,
    counts::Counts,
    decisions::Decisions,
    format::{self, Foot, Head, RecordsFoot},
    frame,
    webhooks::AHEAD,
    window::Window,
};
use crate::{
    Record,
    disk::{Disk, File},
    journal::holds,
};

/// An open records file.
#[derive(Debug, Clone)]
pub(super) struct Records {
    pub(super) file: Arc<dyn File>,
    pub(super) coding: Coding,
    /// Where the frames end.
    pub(super) end: u64,
    /// All below is synced.
    pub(super) synced: u64,
    /// Bytes the file takes.
    pub(super) size: u64,
    /// The name is not yet durable.
    pub(super) new: bool,
    /// A write or a sync failed: it is to be written anew before anything is appended.
    pub(super) broken: bool,
    /// Of a broken one its last bytes, where a failed sync may have dropped them from the file.
    pub(super) tail: Bytes,
}

pub(super) fn name(first: Sequence) -> String {
    format!("{first:016x}.records")
}

/// The record of an entry that counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded {
    /// Where its frame is.
    pub(super) offset: u64,
    /// Bytes of the frame.
    pub(super) length: u64,
    pub(super) settled: bool,
    pub(super) counts: Counts,
}

/// A call that has ended is of no interest any more, nor is its beginning, which takes as much.
pub(super) const ENDED: u64 = 2;

/// Transform calls begun and not ended, by the entries they held.
pub(super) type Started = HashMap<Box<[Sequence]>, u32>;

/// All that a records file says.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) entries: HashMap<Sequence, Recorded>,
    pub(super) cancelled: BTreeSet<Sequence>,
    pub(super) damaged: BTreeSet<Sequence>,
    pub(super) started: Started,
    pub(super) decisions: Decisions,
    pub(super) epoch: u64,
    /// Bytes of records that no longer count.
    pub(super) garbage: u64,
    /// Behind the last good frame.
    pub(super) end: u64,
    /// All below was synced, as the frames tell.
    pub(super) synced: u64,
    /// Bytes that were damaged and passed over.
    pub(super) bad: Vec<(u64, u64)>,
    /// Whether there was anything behind the last good frame, or a bad one before.
    pub(super) torn: bool,
}

impl Replay {
    fn take(&mut self, offset: u64, length: u64, sequence: Sequence, frame: RecordFrame) {
        match frame.kind {
            Some(Kind::Records(records)) => {
                self.epoch = self.epoch.max(records.epoch);
                for record in records.records {
                    let is_settled = self.entries.get(&record.sequence).is_some_and(|known| known.settled);
                    if is_settled && !record.revises {
                        continue;
                    }
                    if is_settled && !record.settled {
                        // it is mapped by what is in force then
                        self.decisions.undecide(record.sequence);
                    }
                    let counts = record.progress.as_ref().map(Counts::of).unwrap_or_default();
                    let recorded = Recorded { offset, length, settled: record.settled, counts };
                    if let Some(before) = self.entries.insert(record.sequence, recorded) {
                        self.garbage += before.length;
                    }
                }
            }
            Some(Kind::Cancelled(cancelled)) => self.cancelled.extend(cancelled.sequences),
            Some(Kind::Damaged(damaged)) => self.damaged.extend(damaged.sequences),
            Some(Kind::TransformStarted(started)) => *self.started.entry(started.sequences.into()).or_default() += 1,
            Some(Kind::TransformEnded(ended)) => {
                end_transform(&mut self.started, &ended.sequences);
                self.garbage += ENDED * length;
            }
            Some(Kind::Decided(decided)) => {
                self.decisions.decide(&decided.revision, &decided.sequences);
                self.garbage += length;
            }
            Some(Kind::Mapping(mapping)) => drop(self.decisions.mappings.insert(mapping.revision.into(), mapping.text)),
            None => tracing::warn!(sequence, "a record of a kind this version does not know is passed over"),
        }
    }

    /// Highest sequence of which something was recorded: readers had seen it, so it was synced.
    pub(super) fn read_up_to(&self) -> Sequence {
        // a call that began may have held entries of other segments too
        self.entries.keys().copied().max().unwrap_or(0)
    }

    /// Highest sequence that anything was said of.
    pub(super) fn highest(&self) -> Sequence {
        self.sequences().max().unwrap_or(0)
    }

    /// Those that anything was said of.
    pub(super) fn sequences(&self) -> impl Iterator<Item = Sequence> {
        self.entries.keys().chain(&self.cancelled).chain(&self.damaged).copied()
    }
}

pub(super) fn end_transform(started: &mut Started, sequences: &[Sequence]) {
    if let Some(calls) = started.get_mut(sequences) {
        *calls -= 1;
        if *calls == 0 {
            started.remove(sequences);
        }
    }
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Content {
    Note(RecordFrame),
    /// What is known of one entry, and the epoch of the claim that says so.
    Entry(Record, u64),
}

impl From<Kind> for Content {
    fn from(kind: Kind) -> Self {
        Self::Note(RecordFrame { kind: Some(kind) })
    }
}

/// Puts one frame into `buffer`.
pub(super) fn encode(buffer: &mut Vec<u8>, coding: Coding, synced: u64, sequence: Sequence, content: &Content) {
    frame::encode(buffer, coding, sequence.max(1), synced, |buffer| {
        let start = buffer.len();
        match content {
            Content::Note(note) => note.encode(buffer).unwrap_or_else(|_| unreachable!("a vector has room")),
            Content::Entry(record, epoch) => encode_entry(buffer, record, *epoch),
        }
        buffer.len() - start
    });
}

/// Writes `RecordFrame { records: Records { records: [EntryRecord { .. }], epoch } }` without making one: the messages
/// around a progress would each measure it anew, and own it.
fn encode_entry(buffer: &mut Vec<u8>, record: &Record, epoch: u64) {
    let progress = record.progress.encoded_len();
    let settled = if record.settled { encoding::bool::encoded_len(3, &true) } else { 0 };
    let entry = encoding::uint64::encoded_len(1, &record.sequence) + nested(2, progress) + settled;
    let epoch_bytes = if epoch == 0 { 0 } else { encoding::uint64::encoded_len(2, &epoch) };
    begin(buffer, 1, nested(1, entry) + epoch_bytes);
    begin(buffer, 1, entry);
    encoding::uint64::encode(1, &record.sequence, buffer);
    begin(buffer, 2, progress);
    record.progress.encode_raw(buffer);
    if record.settled {
        encoding::bool::encode(3, &true, buffer);
    }
    if epoch != 0 {
        encoding::uint64::encode(2, &epoch, buffer);
    }
}

/// Bytes of a message of `bytes` with its tag and length.
fn nested(tag: u32, bytes: usize) -> usize {
    encoding::key_len(tag) + encoding::encoded_len_varint(bytes as u64) + bytes
}

/// Writes a message's tag and length.
fn begin(buffer: &mut Vec<u8>, tag: u32, bytes: usize) {
    encoding::encode_key(tag, encoding::WireType::LengthDelimited, buffer);
    encoding::encode_varint(bytes as u64, buffer);
}

impl Records {
    /// Makes a file under `name`, with a durable head: one that cannot be read is damage then, and no torn beginning. Its
    /// name is durable after the next sync of the directory.
    pub(super) fn create(disk: &dyn Disk, name: &str, head: &Head) -> io::Result<Self> {
        let file = create_over(disk, name)?;
        file.write_at(&head.to_bytes(), 0)?;
        file.sync_data()?;
        let (coding, end) = (head.coding(), head.coding().frames_at());
        Ok(Self { file, coding, end, synced: 0, size: end, new: true, broken: false, tail: Bytes::new() })
    }

    pub(super) fn window(&self, ahead: usize) -> Window {
        Window::new(self.file.clone(), self.end, ahead).with_tail(self.tail.clone())
    }

    /// The entries whose records name an event with this uuid, newest first. The bytes of a frame are searched before
    /// anything of it is decoded.
    pub(super) fn find(&self, uuid: &[u8; 16]) -> io::Result<BTreeSet<Reverse<Sequence>>> {
        let (mut window, mut offset) = (self.window(AHEAD), self.coding.frames_at());
        let (finder, mut found) = (memmem::Finder::new(uuid), BTreeSet::new());
        while offset < self.end {
            let frame = match frame::read(&mut window, self.coding, offset)? {
                Some(frame) => Some(frame),
                None => frame::find(&mut window, self.coding, offset + 1, self.end, &(1..=u64::MAX))?,
            };
            let Some(frame) = frame else { break };
            offset = frame.end;
            if finder.find(&frame.header).is_none() {
                continue;
            }
            if let Some(Kind::Records(records)) = RecordFrame::decode(frame.header).unwrap_or_default().kind {
                let holding = |record: &&EntryRecord| record.progress.as_ref().is_some_and(|it| holds(it, uuid));
                found.extend(records.records.iter().filter(holding).map(|record| Reverse(record.sequence)));
            }
        }
        Ok(found)
    }

    /// Reads everything up to `end`.
    pub(super) fn replay(&self) -> io::Result<Replay> {
        let mut window = self.window(AHEAD);
        let (mut offset, mut synced) = (self.coding.frames_at(), self.synced);
        let mut good: Vec<(u64, u64, Sequence, RecordFrame)> = Vec::new();
        let mut replay = Replay { end: offset, ..Replay::default() };
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        // Frames behind a gap count only once one of them says that the gap was synced.
        while offset < self.end {
            let frame = match frame::read(&mut window, self.coding, offset)? {
                Some(frame) => frame,
                None => {
                    replay.torn = true;
                    let found = frame::find(&mut window, self.coding, offset + 1, self.end, &(1..=u64::MAX))?;
                    gaps.push((offset, found.as_ref().map_or(self.end, |frame| frame.offset)));
                    let Some(frame) = found else { break };
                    frame
                }
            };
            offset = frame.end;
            synced = synced.max(frame.synced);
            let decoded = RecordFrame::decode(frame.header.clone()).unwrap_or_default();
            good.push((frame.offset, frame.end - frame.offset, frame.sequence, decoded));
            let settled = gaps.last().is_none_or(|gap| gap.0 < synced);
            if settled {
                for (offset, length, sequence, frame) in good.drain(..) {
                    replay.take(offset, length, sequence, frame);
                }
                replay.end = offset;
                replay.bad.append(&mut gaps);
            }
        }
        if let Some(gap) = gaps.first().filter(|gap| gap.0 < synced) {
            // Damage that runs to the end of what was synced.
            replay.bad.push(*gap);
        }
        replay.synced = synced;
        Ok(replay)
    }
}

/// A records file as it was found.
pub(super) enum Found {
    /// Everything of it was settled and synced.
    Sealed(Records, RecordsFoot),
    /// Still written to.
    Open(Records, Replay),
    /// Its head is gone.
    Unreadable,
}

/// Opens the file of the segment `first`; none where it has no records.
pub(super) fn open(disk: &dyn Disk, first: Sequence) -> io::Result<Found> {
    let file = disk.open(&name(first))?;
    let size = file.len()?;
    let Some(head) = Head::read(&*file)? else { return Ok(Found::Unreadable) };
    let (coding, tail) = (head.coding(), Bytes::new());
    let mut records = Records { file, coding, end: size, synced: 0, size, new: false, broken: false, tail };
    match format::read_foot::<RecordsFoot>(&*records.file, records.coding.seed)? {
        Foot::Whole { frames_end, foot } => {
            (records.end, records.synced) = (frames_end, frames_end);
            return Ok(Found::Sealed(records, foot));
        }
        Foot::Damaged { frames_end } => (records.end, records.synced, records.broken) = (frames_end, frames_end, true),
        Foot::None => {}
    }
    let replay = records.replay()?;
    records.end = replay.end;
    records.broken |= replay.torn;
    Ok(Found::Open(records, replay))
}

/// The stored record at `offset`, which is one of the entry `sequence`.
pub(super) fn read(
    window: &mut Window,
    coding: Coding,
    offset: u64,
    sequence: Sequence,
) -> io::Result<Option<EntryRecord>> {
    let Some(frame) = frame::read(window, coding, offset)? else { return Ok(None) };
    let Some(Kind::Records(records)) = RecordFrame::decode(frame.header).unwrap_or_default().kind else {
        return Ok(None);
    };
    Ok(records.records.into_iter().rev().find(|record| record.sequence == sequence))
}

#[cfg(test)]
mod tests {
    use moehog_proto::journal::{EventOutcome, Progress, Records as Recording};

    use super::*;

    #[test]
    fn an_entry_is_written_as_the_messages_around_it_would_be() {
        let long = EventOutcome { reason: "r".repeat(300), ..EventOutcome::default() };
        let progresses = [Progress::default(), Progress { events: vec![long; 70], ..Progress::default() }];
        for (sequence, progress) in [(1, &progresses[0]), (u64::MAX, &progresses[1]), (300, &progresses[1])] {
            for (settled, epoch) in [(false, 0), (true, 0), (true, 1), (false, u64::MAX)] {
                let record = EntryRecord { sequence, progress: Some(progress.clone()), settled, revises: false };
                let whole = Kind::Records(Recording { records: vec![record], epoch });
                let mut bytes = Vec::new();
                encode_entry(&mut bytes, &Record { sequence, progress: progress.clone().into(), settled }, epoch);
                assert_eq!(bytes, RecordFrame { kind: Some(whole) }.encode_to_vec());
            }
        }
    }
}
