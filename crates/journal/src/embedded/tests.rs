//! One promise of the log at a time, at every byte and every disk call.

mod apart;
mod damage;
mod failures;
mod flood;
mod hardship;
mod restarts;
mod space;

use std::{num::NonZeroUsize, sync::Arc, thread, time::Duration};

use futures::FutureExt;

use moehog_proto::{
    Receipt, Sequence,
    journal::{EntryHeader, EventOutcome, EventState, Progress},
};

use super::{Clock, Config, Decision, Log, Pending, log::record::UNSYNCED};
use crate::{
    AppendError, NewEntry, ReadLimit, Record,
    disk::{
        Disk,
        simulated::{Call, Death, SimulatedDisk},
    },
};

const ALL: ReadLimit = ReadLimit { max_entries: NonZeroUsize::MAX, max_bytes: usize::MAX };

fn config() -> Config {
    Config { segment_bytes: 11_264, budget_bytes: 64 * 11_264, clock: Clock::new(|| 0), ..Config::default() }
}

/// Segments of which the heads are a small part.
fn roomy() -> Config {
    Config { segment_bytes: 65_536, budget_bytes: 24 * 65_536, ..config() }
}

fn open_roomy(disk: &SimulatedDisk) -> Log {
    Log::open(Arc::new(disk.clone()), roomy()).unwrap()
}

fn open(disk: &SimulatedDisk) -> Log {
    Log::open(Arc::new(disk.clone()), config()).unwrap()
}

fn pending_of(source: &str, body: impl Into<String>) -> Pending {
    let header = EntryHeader { source: source.into(), destination: "d".into(), ..EntryHeader::default() };
    Pending {
        entry: NewEntry { header, body: body.into().into() },
        decision: Decision::default(),
        watch: None,
        chain: None,
    }
}

fn pending(body: impl Into<String>) -> Pending {
    pending_of("s", body)
}

/// Appends one webhook in a group of its own.
fn append(log: &Log, body: impl Into<String>) -> Result<Receipt, AppendError> {
    log.append_group(&[pending(body)]).remove(0)
}

fn read(log: &Log) -> Vec<(Sequence, String)> {
    let batch = log.read("s", "d", 0, ALL).unwrap();
    let body = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    batch.entries.iter().map(|entry| (entry.sequence(), body(&entry.body))).collect()
}

fn sequences(log: &Log) -> Vec<Sequence> {
    read(log).into_iter().map(|(sequence, _)| sequence).collect()
}

fn record_of(sequence: Sequence, state: EventState, settled: bool) -> Record {
    let event = EventOutcome { uuid: vec![7; 16].into(), state: state.into(), ..EventOutcome::default() };
    Record { sequence, progress: Progress { events: vec![event], ..Progress::default() }.into(), settled }
}

fn settle(log: &Log, sequences: impl IntoIterator<Item = Sequence>) {
    let records = sequences.into_iter().map(|sequence| record_of(sequence, EventState::Delivered, true));
    log.record(1, records.collect()).unwrap();
}

/// Both books agree, and balance.
fn check_books(log: &Log) {
    let ledger = log.stats().ledger;
    assert_eq!(log.recount().unwrap(), ledger);
    let book = &ledger.book;
    assert_eq!(book.taken, book.settled + ledger.waiting + book.damaged, "{ledger:?}");
    let events = book.delivered + book.delivered_degraded + book.filtered + book.duplicate + book.dead;
    assert_eq!(book.mapped, events + ledger.in_flight, "{ledger:?}");
}

/// Another disk with the same files, changed by `change`.
fn copy(disk: &SimulatedDisk, change: impl Fn(&str, &mut Vec<u8>)) -> SimulatedDisk {
    let other = SimulatedDisk::new(1);
    for (name, _) in disk.files() {
        let mut bytes = disk.content(&name).unwrap();
        change(&name, &mut bytes);
        let file = other.create(&name).unwrap();
        file.write_at(&bytes, 0).unwrap();
        file.sync_data().unwrap();
    }
    other.sync_dir().unwrap();
    other
}

#[test]
fn what_was_recorded_comes_with_the_entry_and_survives_a_kill() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    for body in ["a", "b", "c"] {
        append(&log, body).unwrap();
    }
    let pending = record_of(2, EventState::Pending, false);
    log.record(1, vec![record_of(1, EventState::Delivered, true), pending.clone()]).unwrap();
    log.record(1, vec![pending.clone()]).unwrap();
    disk.reboot(Death::Kill);
    let log = open(&disk);
    let batch = log.read("s", "d", 0, ALL).unwrap();
    let progress: Vec<_> = batch.entries.iter().map(|entry| (entry.sequence(), entry.progress.clone())).collect();
    assert_eq!(progress, [(2, Some((*pending.progress).clone())), (3, None)]);
    let receipt = log.receipt(1);
    let entry = log.get(receipt).unwrap().unwrap();
    assert!(entry.settled);
    assert_eq!(entry.progress.unwrap().events.len(), 1);
    check_books(&log);
}

#[test]
fn a_record_after_the_settling_one_changes_nothing() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    append(&log, "a").unwrap();
    let (settled, open_again) = (EventState::Delivered, EventState::Pending);
    log.record(1, vec![record_of(1, settled, true), record_of(1, open_again, false)]).unwrap();
    let before = log.stats().ledger;
    assert_eq!((before.book.delivered, before.waiting), (1, 0));
    log.record(1, vec![record_of(1, EventState::Dead, true), record_of(9, EventState::Dead, true)]).unwrap();
    assert_eq!(log.stats().ledger, before);
    disk.reboot(Death::Kill);
    let log = open(&disk);
    assert_eq!(log.stats().ledger, before);
    check_books(&log);
}

#[test]
fn a_read_ends_at_its_limits_and_says_where_to_go_on() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let bodies: Vec<_> = (0..200).map(|number| format!("{number:0>100}")).collect();
    let group: Vec<_> = bodies.iter().map(pending_body).collect();
    assert!(log.append_group(&group).iter().all(Result::is_ok));
    settle(&log, (1..=200).filter(|sequence| sequence % 3 == 0));
    for limit in [1, 7, 150] {
        let limit = ReadLimit { max_entries: NonZeroUsize::new(limit).unwrap(), max_bytes: 1000 };
        let (mut from, mut found) = (0, Vec::new());
        loop {
            let batch = log.read("s", "d", from, limit).unwrap();
            assert!(batch.entries.len() <= limit.max_entries.get().min(10));
            found.extend(batch.entries.iter().map(|entry| (entry.sequence(), entry.body.clone())));
            from = batch.next;
            if batch.entries.is_empty() {
                break;
            }
        }
        let expected: Vec<_> = (1..=200_u64).filter(|sequence| sequence % 3 != 0).collect();
        assert_eq!(found.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|(sequence, body)| body == bodies[*sequence as usize - 1].as_bytes()));
        assert_eq!(from, 201);
    }
    assert!(log.stats().segments > 4);
}

fn pending_body(body: &String) -> Pending {
    pending(body)
}

#[test]
fn an_entry_larger_than_a_segment_has_one_of_its_own() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let large = "x".repeat(20_000);
    for body in ["a", &large, "b"] {
        append(&log, body).unwrap();
    }
    assert_eq!(log.stats().segments, 3);
    disk.reboot(Death::PowerCut);
    assert_eq!(read(&open(&disk)), [(1, "a".into()), (2, large), (3, "b".into())]);
}

#[test]
fn only_calls_that_a_process_died_in_are_told_of() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    for body in ["a", "b", "c"] {
        append(&log, body).unwrap();
    }
    log.transform_started(&[1, 2]).unwrap();
    log.transform_started(&[3]).unwrap();
    log.transform_ended(&[3]).unwrap();
    let crashed = |log: &Log| {
        let batch = log.read("s", "d", 0, ALL).unwrap();
        batch.entries.iter().map(|entry| (entry.crashed.alone, entry.crashed.together)).collect::<Vec<_>>()
    };
    assert_eq!(crashed(&log), [(0, 0); 3], "it is still alive");
    disk.reboot(Death::Kill);
    let log = open(&disk);
    assert_eq!(crashed(&log), [(0, 1), (0, 1), (0, 0)]);
    log.transform_started(&[1]).unwrap();
    disk.reboot(Death::Kill);
    let log = open(&disk);
    log.transform_started(&[1]).unwrap();
    log.transform_ended(&[1]).unwrap();
    disk.reboot(Death::Kill);
    assert_eq!(crashed(&open(&disk)), [(1, 1), (0, 1), (0, 0)]);
}

/// Nothing but the amount makes these durable: no second passes here.
#[test]
fn records_are_synced_when_there_are_many_of_them() {
    let disk = SimulatedDisk::new(1);
    let config = Config { budget_bytes: 1 << 30, segment_bytes: 1 << 26, ..config() };
    let log = Log::open(Arc::new(disk.clone()), config.clone()).unwrap();
    append(&log, "a").unwrap();
    let mut record = record_of(1, EventState::Pending, false);
    Arc::make_mut(&mut record.progress).events[0].reason = "r".repeat(UNSYNCED / 4);
    for _ in 0..4 {
        log.record(1, vec![record.clone()]).unwrap();
        let waiting: usize = log.state.lock().segments.values().map(|segment| segment.unsynced.len()).sum();
        assert!(waiting <= UNSYNCED, "{waiting} bytes are kept");
    }
    disk.reboot(Death::PowerCut);
    let entries = Log::open(Arc::new(disk), config).unwrap().read("s", "d", 0, ALL).unwrap().entries;
    assert_eq!(entries[0].progress, Some((*record.progress).clone()));
}

#[test]
fn a_record_that_comes_while_a_watch_begins_is_told_and_one_under_way_is_waited_for() {
    let disk = SimulatedDisk::new(1);
    let log = Arc::new(open(&disk));
    let receipts = ["a", "b"].map(|body| append(&log, body).unwrap());

    let (recorder, first) = (log.clone(), receipts[0]);
    disk.during(Call::Read, move || settle(&recorder, [first.sequence]));
    let mut watch = log.watch(first).unwrap().unwrap();
    assert!(watch.settled().now_or_never().is_some(), "recorded after the watch had looked at what is stored");

    let (watcher, second) = (log.clone(), receipts[1]);
    let (begun, watched) = std::sync::mpsc::channel();
    disk.during(Call::Write, move || {
        thread::spawn(move || begun.send(watcher.watch(second)).unwrap());
        thread::sleep(Duration::from_millis(100));
    });
    settle(&log, [second.sequence]);
    let mut watch = watched.recv().unwrap().unwrap().unwrap();
    assert!(watch.settled().now_or_never().is_some(), "the record had looked for watchers before this one");
}
