//! Files that are not as they were written.

use super::{super::OpenError, *};
use crate::embedded::{
    blocks::write_small,
    coding::{FRAMES_AT, REVISED},
    format::Format,
};

const ACTIVE: &str = "0000000000000001.webhooks";

/// Five webhooks, each in a group of its own, in a file that was not sealed; and where each frame ends.
fn five() -> (SimulatedDisk, Vec<u64>) {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let mut ends = Vec::new();
    for number in 1..=5 {
        append(&log, format!("body {number}")).unwrap();
        ends.push(log.state.lock().segments[&1].webhooks.end);
    }
    disk.reboot(Death::Kill);
    (disk, ends)
}

#[test]
fn a_file_cut_anywhere_is_read_up_to_the_cut() {
    let (disk, ends) = five();
    for cut in 0..=ends[4] {
        let disk = copy(&disk, |name, bytes| {
            if name == ACTIVE {
                bytes.truncate(cut as usize);
            }
        });
        let log = open(&disk);
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
        assert_eq!(sequences(&log), (1..=whole).collect::<Vec<_>>(), "cut at {cut}");
        assert_eq!(log.stats().ledger.book.damaged, 0);
        check_books(&log);
        let next = append(&log, "next").unwrap();
        disk.reboot(Death::PowerCut);
        assert_eq!(read(&open(&disk)).last().unwrap(), &(next.sequence, "next".to_owned()), "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_costs_one_webhook_and_is_told() {
    let (disk, ends) = five();
    for at in 0..ends[4] {
        let disk = copy(&disk, |name, bytes| {
            if name == ACTIVE {
                bytes[at as usize] ^= 0x55;
            }
        });
        let log = open(&disk);
        let hit = ends.iter().position(|end| at < *end).unwrap() as u64 + 1;
        let (lost, damaged) = match hit {
            _ if at < FRAMES_AT => (None, 0),
            // Nothing says that the last one was ever synced: a torn tail.
            5 => (Some(5), 0),
            hit => (Some(hit), 1),
        };
        let expected: Vec<_> = (1..=5).filter(|sequence| Some(*sequence) != lost).collect();
        assert_eq!(sequences(&log), expected, "byte {at}");
        assert_eq!(log.stats().ledger.book.damaged, damaged, "byte {at}");
        check_books(&log);
        let kept = disk.files().iter().filter(|(name, _)| name.ends_with(".quarantine")).count() as u64;
        assert_eq!(kept, damaged, "byte {at}");
        drop(log);
        disk.reboot(Death::PowerCut);
        let log = open(&disk);
        assert_eq!(sequences(&log), expected, "byte {at}, opened again");
        assert_eq!(log.stats().ledger.book.damaged, damaged, "byte {at}, opened again");
    }
}

#[test]
fn what_only_a_foot_tells_is_durable_before_it_is_used() {
    // the foot lies in one sector or in two, and behind the last frame or behind what is left of it
    for (bytes, is_first) in (0..512).step_by(64).flat_map(|bytes| [(bytes, true), (bytes, false)]) {
        let whole = SimulatedDisk::new(1);
        let log = open(&whole);
        assert!(log.append_group(&[pending("torn"), pending("x".repeat(bytes))]).iter().all(Result::is_ok));
        let end = log.state.lock().segments[&1].webhooks.end;
        whole.reboot(Death::Kill);
        let torn = copy(&whole, |name, bytes| {
            if name == ACTIVE {
                bytes[if is_first { FRAMES_AT + 60 } else { end - 1 } as usize] ^= 0x55;
            }
        });
        for (seed, death) in (0..6).flat_map(|seed| [(seed, Death::Kill), (seed, Death::PowerCut)]) {
            for call in 10..60 {
                let disk = SimulatedDisk::new(seed);
                disk.put_all(&torn.copy());
                disk.crash_after(call);
                drop(Log::open(Arc::new(disk.clone()), config()));
                disk.reboot(death);
                for (more, again) in [Death::PowerCut, Death::Kill, Death::Kill].into_iter().enumerate() {
                    let more = more as u64;
                    let log = open(&disk);
                    let book = log.stats().ledger.book;
                    let counts = (book.taken, book.damaged, book.unconfirmed);
                    assert_eq!(counts, (1 + more, 0, 1), "{bytes} bytes, seed {seed}, {death:?} in call {call}");
                    append(&log, "more").unwrap();
                    disk.reboot(again);
                }
            }
        }
    }
}

#[test]
fn a_changed_byte_of_a_sealed_file_costs_one_webhook_at_most() {
    let (disk, ends) = five();
    open(&disk).close();
    disk.reboot(Death::Kill);
    let size = disk.content(ACTIVE).unwrap().len() as u64;
    assert!(size > ends[4]);
    for at in 0..size {
        let disk = copy(&disk, |name, bytes| {
            if name == ACTIVE {
                bytes[at as usize] ^= 0x55;
            }
        });
        let log = open(&disk);
        let hit = ends.iter().position(|end| at < *end).filter(|_| at >= FRAMES_AT).map(|place| place as u64 + 1);
        let expected: Vec<_> = (1..=5).filter(|sequence| Some(*sequence) != hit).collect();
        assert_eq!(sequences(&log), expected, "byte {at}");
        assert_eq!(log.stats().ledger.book.damaged, u64::from(hit.is_some()), "byte {at}");
        check_books(&log);
        disk.reboot(Death::Kill);
        let log = open(&disk);
        assert_eq!(sequences(&log), expected, "byte {at}, opened again");
        assert_eq!(log.stats().ledger.book.damaged, u64::from(hit.is_some()), "byte {at}, opened again");
    }
}

#[test]
fn a_changed_byte_of_the_records_brings_an_entry_back_and_takes_none_away() {
    let (disk, _) = five();
    let log = open(&disk);
    for sequence in 1..=4 {
        settle(&log, [sequence]);
        log.sync_records().unwrap();
    }
    disk.reboot(Death::Kill);
    let records = "0000000000000001.records";
    for at in 0..disk.content(records).unwrap().len() {
        let disk = copy(&disk, |name, bytes| {
            if name == records {
                bytes[at] ^= 0x55;
            }
        });
        let log = open(&disk);
        let waiting = sequences(&log);
        assert!(waiting.contains(&5) && waiting.len() <= 2, "byte {at}: {waiting:?}");
        check_books(&log);
        settle(&log, waiting);
        disk.reboot(Death::Kill);
        let log = open(&disk);
        assert_eq!(log.stats().ledger.book.settled, 5, "byte {at}");
        check_books(&log);
    }
}

#[test]
fn a_segment_without_a_readable_head_is_kept_aside_and_counted() {
    let (disk, _) = five();
    let log = open(&disk);
    append(&log, "next").unwrap();
    disk.reboot(Death::Kill);
    let disk = copy(&disk, |name, bytes| {
        if name == ACTIVE {
            bytes[..FRAMES_AT as usize].fill(0xff);
        }
    });
    let log = open(&disk);
    assert_eq!(sequences(&log), [6]);
    assert_eq!(log.stats().ledger.book.damaged, 5);
    check_books(&log);
    assert!(disk.files().iter().any(|(name, _)| name == "0000000000000001.unreadable"));
}

#[test]
fn a_newer_format_is_refused_by_its_number_and_a_second_process_too() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let second = Log::open(Arc::new(disk.clone()), config()).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    drop(log);
    disk.reboot(Death::Kill);
    let newer = crate::embedded::format::Format { version: 1000, journal: 7, identity: None };
    crate::embedded::blocks::write_small(&disk, "format", &newer).unwrap();
    let error = Log::open(Arc::new(disk.clone()), config()).unwrap_err().to_string();
    assert!(error.contains("format 1000") && error.contains("reads format 3:"), "{error}");
    // what a process is started over in the end-to-end test
    assert!(disk.content("format").unwrap() == include_bytes!("../../../testdata/newer/format"));
}

/// What is left of a foot is no webhook.
#[test]
fn a_foot_that_is_damaged_or_half_written_hides_and_adds_nothing() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    append(&log, "a").unwrap();
    append(&log, "b").unwrap();
    log.close();
    disk.reboot(Death::Kill);
    let whole = disk.content(ACTIVE).unwrap();
    let end = whole.windows(4).rposition(|bytes| bytes == [0xff; 4]).unwrap();
    for length in end..whole.len() {
        disk.put(ACTIVE, Some(whole[..length].to_vec()));
        assert_unharmed(&disk, &format!("cut at {length}"));
    }
    for at in end + 8..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        disk.put(ACTIVE, Some(flipped));
        assert_unharmed(&disk, &format!("flipped at {at}"));
    }
}

#[test]
fn a_segment_of_which_only_the_end_of_its_frames_is_known_stays_counted_when_more_is_appended() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    append(&log, "a").unwrap();
    log.close();
    disk.reboot(Death::Kill);
    let mut bytes = disk.content(ACTIVE).unwrap();
    let foot = bytes.windows(4).rposition(|bytes| bytes == [0xff; 4]).unwrap();
    bytes[FRAMES_AT as usize..foot + 12].fill(0);
    disk.put(ACTIVE, Some(bytes));
    disk.put("marks", None);
    for more in 0..3 {
        let log = open(&disk);
        let book = log.stats().ledger.book;
        assert_eq!((book.taken, book.damaged, book.unconfirmed), (1 + more, 1, 0));
        append(&log, "more").unwrap();
        let book = log.stats().ledger.book;
        assert_eq!((book.taken, book.damaged, book.unconfirmed), (2 + more, 1, 0));
        check_books(&log);
        drop(log);
        disk.reboot(Death::Kill);
    }
}

fn assert_unharmed(disk: &SimulatedDisk, what: &str) {
    let log = open(disk);
    let book = log.stats().ledger.book;
    assert_eq!(sequences(&log), [1, 2], "{what}");
    assert_eq!((book.taken, book.damaged, book.unconfirmed), (2, 0, 0), "{what}");
    check_books(&log);
    drop(log);
    disk.reboot(Death::Kill);
}

/// Everything of `name` from an older copy on, as those who restore single files do.
#[test]
fn an_older_copy_of_records_says_nothing_of_webhooks_that_another_opening_took() {
    let open = |disk: &SimulatedDisk| Log::open(Arc::new(disk.clone()), roomy()).unwrap();
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    append(&log, "a").unwrap();
    // neither sealed nor synced: the records say that 2 was refused
    disk.fail(Call::SyncData, 0, 1);
    disk.fail(Call::Truncate, 0, 1);
    append(&log, "refused").unwrap_err();
    let records = "0000000000000001.records";
    let older = disk.content(records).unwrap();
    disk.reboot(Death::PowerCut);
    // of which the power cut left nothing, nor of these
    let disk = copy(&disk, |name, bytes| {
        if name == records {
            bytes.clear();
        }
    });
    for body in ["b", "c", "d", "e"] {
        append(&open(&disk), body).unwrap();
        disk.reboot(Death::PowerCut);
    }
    let log = open(&disk);
    assert!(log.holds_merged());
    let expected = read(&log);
    assert_eq!(expected.len(), 5, "{expected:?}");
    assert_eq!(expected[1], (2, "b".to_owned()));
    log.close();
    let disk = copy(&disk, |name, bytes| {
        if name == records {
            *bytes = older.clone();
        }
    });
    let log = open(&disk);
    assert_eq!(read(&log), expected);
    assert_eq!(log.stats().ledger.book.taken, 5);
    assert!(disk.content("0000000000000001-records.unreadable").is_some(), "{:?}", disk.files());
    check_books(&log);
}

#[test]
fn a_read_that_lies_once_while_opening_counts_nothing() {
    let (disk, _) = five();
    for after in 0..300 {
        let disk = copy(&disk, |_, _| {});
        disk.lie(after);
        let log = open(&disk);
        let book = log.stats().ledger.book;
        assert_eq!((book.taken, book.damaged, book.unconfirmed), (5, 0, 0), "read {after}");
        assert_eq!(sequences(&log), [1, 2, 3, 4, 5], "read {after}");
    }
}

#[test]
fn what_an_opening_recovered_is_marked_at_once() {
    let (disk, _) = five();
    drop(open(&disk));
    disk.reboot(Death::Kill);
    let disk = copy(&disk, |name, bytes| {
        if name == ACTIVE {
            bytes.truncate(FRAMES_AT as usize);
        }
    });
    let log = open(&disk);
    assert_eq!((sequences(&log).len(), log.stats().ledger.book.damaged), (0, 5));
    check_books(&log);
}

#[test]
fn a_sealed_file_with_a_damaged_record_keeps_its_book_when_it_would_be_written_anew() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    append(&log, "a").unwrap();
    append(&log, "b").unwrap();
    settle(&log, [1, 2]);
    log.close();
    disk.reboot(Death::Kill);
    let log = open(&disk);
    log.maintain();
    log.close();
    disk.reboot(Death::Kill);
    let disk = copy(&disk, |name, bytes| {
        if name == "0000000000000001.records" {
            bytes[FRAMES_AT as usize + 40] ^= 1;
        }
    });
    let log = open(&disk);
    let ledger = log.stats().ledger;
    assert_eq!((ledger.book.settled, ledger.waiting), (2, 0));
    log.compact_records(1).unwrap();
    assert_eq!(log.stats().ledger, ledger);
    log.close();
    disk.reboot(Death::Kill);
    assert_eq!(open(&disk).stats().ledger, ledger);
}

#[test]
fn a_directory_of_a_newer_format_stays_as_it_is() {
    let (disk, _) = five();
    let newer = Format { version: REVISED + 1, ..Format::default() };
    write_small(&disk, "format", &newer).unwrap();
    disk.create("left.new").unwrap();
    let before = disk.files();
    assert!(before.iter().any(|(name, _)| name == "reserve"), "{before:?}");
    let opened = Log::open(Arc::new(disk.clone()), config());
    assert!(matches!(opened, Err(OpenError::NewerFormat { .. })));
    assert_eq!(disk.files(), before);
}
