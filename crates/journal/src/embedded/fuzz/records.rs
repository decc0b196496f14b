//! What a records file says, read back.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;
use moehog_proto::{
    Sequence,
    journal::{EntryRecord, Progress, RecordFrame, record_frame::Kind},
};
use prost::Message;

use super::{Flips, held, pieces, take, window};
use crate::{
    Record,
    embedded::{
        coding::Coding,
        coding::VERSION,
        frame,
        records::{self, Content, Records, Replay},
    },
};

const CODING: Coding = Coding { seed: 0x5eed, version: VERSION };

/// What the test wrote.
#[derive(Debug, Default)]
struct Book {
    bytes: Vec<u8>,
    notes: Vec<(u64, RecordFrame)>,
    entries: Vec<(u64, EntryRecord)>,
    epoch: u64,
}

#[test]
fn what_was_recorded_is_known_again() {
    bolero::check!(name = "records").with_iterations(200).with_max_len(1024).for_each(|input: &[u8]| {
        let mut book = Book { bytes: vec![0; CODING.frames_at() as usize], ..Book::default() };
        let (mut flips, mut is_damaged) = (Flips::default(), false);
        for (kind, piece) in pieces(input) {
            match kind % 4 {
                0 => book.note(piece),
                1 => book.entry(piece),
                2 => {
                    is_damaged |= !piece.is_empty();
                    book.bytes.extend_from_slice(piece);
                }
                _ => flips.take(piece),
            }
        }
        is_damaged |= !flips.apply(&mut book.bytes[CODING.frames_at() as usize..]).is_empty();
        let records = open(&book.bytes);
        let replay = records.replay().unwrap();
        if is_damaged {
            is_found(&book, &replay);
        } else {
            is_whole(&book, &replay);
            is_searched(&book, &records);
        }
    });
}

impl Book {
    fn write(&mut self, sequence: Sequence, content: &Content) -> u64 {
        let offset = self.bytes.len() as u64;
        records::encode(&mut self.bytes, CODING, offset - CODING.frames_at(), sequence, content);
        offset
    }

    fn note(&mut self, piece: &[u8]) {
        let Ok(note) = RecordFrame::decode(piece) else { return };
        let offset = self.write(1, &Content::Note(note.clone()));
        if let Some(Kind::Records(records)) = &note.kind {
            self.epoch = self.epoch.max(records.epoch);
            self.entries.extend(records.records.iter().map(|record| (offset, record.clone())));
        }
        self.notes.push((offset, note));
    }

    fn entry(&mut self, mut piece: &[u8]) {
        let [sequence, settled, epoch] = take(&mut piece);
        let Ok(progress) = Progress::decode(piece) else { return };
        let (sequence, settled) = (u64::from(sequence), settled % 2 == 1);
        let record = Record { sequence, progress: progress.clone().into(), settled };
        let offset = self.write(sequence, &Content::Entry(record, epoch.into()));
        self.epoch = self.epoch.max(epoch.into());
        self.entries.push((offset, EntryRecord { sequence, progress: Some(progress), settled, revises: false }));
    }
}

fn open(bytes: &[u8]) -> Records {
    let (file, size) = (held(bytes), bytes.len() as u64);
    Records { file, coding: CODING, end: size, synced: 0, size, new: false, broken: false, tail: Bytes::new() }
}

/// All of an undamaged file counts: of an entry the last record up to the one that settles it.
fn is_whole(book: &Book, replay: &Replay) {
    assert!(!replay.torn && replay.bad.is_empty());
    assert_eq!((replay.end, replay.epoch), (book.bytes.len() as u64, book.epoch));
    let mut window = window(&book.bytes);
    let (mut cancelled, mut damaged) = (BTreeSet::new(), BTreeSet::new());
    for (offset, note) in &book.notes {
        let frame = frame::read(&mut window, CODING, *offset).unwrap().unwrap();
        assert_eq!(RecordFrame::decode(frame.header).as_ref(), Ok(note));
        match &note.kind {
            Some(Kind::Cancelled(note)) => cancelled.extend(&note.sequences),
            Some(Kind::Damaged(note)) => damaged.extend(&note.sequences),
            _ => {}
        }
    }
    assert_eq!((&replay.cancelled, &replay.damaged), (&cancelled, &damaged));
    let mut last: BTreeMap<Sequence, (u64, bool)> = BTreeMap::new();
    for (offset, record) in &book.entries {
        let known = last.entry(record.sequence).or_default();
        if !known.1 {
            *known = (*offset, record.settled);
        }
    }
    let known = replay.entries.iter().map(|(sequence, it)| (*sequence, (it.offset, it.settled)));
    assert_eq!(known.collect::<BTreeMap<_, _>>(), last);
    for (sequence, (offset, _)) in last {
        let of_frame = |(at, record): &&(u64, EntryRecord)| *at == offset && record.sequence == sequence;
        let expected = book.entries.iter().rev().find(of_frame).map(|(_, record)| record.clone());
        assert_eq!(records::read(&mut window, CODING, offset, sequence).unwrap(), expected);
    }
}

/// What is known from a damaged file can be read where it is said to be, and what is bad is in the file.
fn is_found(book: &Book, replay: &Replay) {
    let end = book.bytes.len() as u64;
    assert!(replay.end <= end && replay.bad.iter().all(|(from, until)| from < until && *until <= end));
    let mut window = window(&book.bytes);
    for (sequence, recorded) in &replay.entries {
        assert!(records::read(&mut window, CODING, recorded.offset, *sequence).unwrap().is_some(), "{sequence}");
    }
}

/// An event is found by its uuid in every entry that has it.
fn is_searched(book: &Book, records: &Records) {
    let events = |record: &EntryRecord| record.progress.clone().unwrap_or_default().events;
    let uuid =
        |record: &EntryRecord| events(record).iter().find_map(|event| <[u8; 16]>::try_from(&event.uuid[..]).ok());
    if let Some(uuid) = book.entries.iter().find_map(|(_, record)| uuid(record)) {
        let has = |record: &EntryRecord| events(record).iter().any(|event| event.uuid[..] == uuid);
        let expected: BTreeSet<_> =
            book.entries.iter().filter(|(_, it)| has(it)).map(|(_, it)| Reverse(it.sequence)).collect();
        assert_eq!(records.find(&uuid).unwrap(), expected);
    }
}
