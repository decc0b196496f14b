//! A process that is started again and again.

use super::*;
use crate::disk::simulated::Files;

fn open_large(disk: &SimulatedDisk) -> Log {
    let config = Config { segment_bytes: 1 << 20, budget_bytes: 1 << 28, ..config() };
    Log::open(Arc::new(disk.clone()), config).unwrap()
}

/// The files that so many starts leave, with what was settled, is dead or was given up in each, and what waits.
fn after_starts(starts: usize) -> (Files, Vec<(Sequence, String)>) {
    let disk = SimulatedDisk::new(1);
    let mut expected = Vec::new();
    for number in 0..starts {
        let log = open_large(&disk);
        let group: Vec<_> = (0..4).map(|place| pending(format!("{number} {place}"))).collect();
        let given_up = group[3].decision.clone();
        disk.during(Call::SyncData, move || assert!(given_up.give_up()));
        let taken: Vec<_> = log.append_group(&group).into_iter().flatten().collect();
        assert_eq!(taken.len(), 3);
        settle(&log, [taken[0].sequence]);
        log.record(1, vec![record_of(taken[1].sequence, EventState::Dead, number % 2 == 0)]).unwrap();
        log.transform_started(&[taken[2].sequence]).unwrap();
        expected = read(&log);
        match number % 3 {
            0 => log.close(),
            _ => log.sync_records().unwrap(),
        }
        drop(log);
        disk.reboot(if number % 2 == 0 { Death::PowerCut } else { Death::Kill });
    }
    (disk.copy(), expected)
}

#[test]
fn starts_leave_few_segments_and_all_that_was_in_them() {
    let (files, expected) = after_starts(60);
    let disk = SimulatedDisk::new(1);
    disk.put_all(&files);
    let log = open_large(&disk);
    assert!(log.stats().segments < 20, "{}", log.stats().segments);
    assert_eq!(read(&log), expected);
    let book = log.stats().ledger.book;
    assert_eq!((book.taken, book.settled, book.dead, book.damaged, book.unconfirmed), (180, 90, 60, 0, 0));
    check_books(&log);
    let letters = log.dead_letters(&crate::DeadLetterQuery::default()).unwrap();
    assert_eq!(letters.len(), 60);
    // which opening took it, and what died with it, is as it was
    for (sequence, body) in &expected {
        let entry = log.get(log.receipt(*sequence)).unwrap().unwrap();
        assert_eq!((&entry.receipt.sequence, &entry.body[..]), (sequence, body.as_bytes()));
    }
    let incarnations: std::collections::BTreeSet<_> =
        expected.iter().map(|(sequence, _)| log.receipt(*sequence).incarnation.0).collect();
    assert_eq!(incarnations.len(), 60);
}

#[test]
fn a_call_that_ended_after_a_segment_was_sealed_is_not_one_that_died() {
    let disk = SimulatedDisk::new(1);
    let start = || {
        let log = open_large(&disk);
        append(&log, "x").unwrap();
        log
    };
    drop(start());
    disk.reboot(Death::Kill);
    start().transform_started(&[1, 2]).unwrap();
    disk.reboot(Death::Kill);
    let log = start();
    log.transform_started(&[1, 2]).unwrap();
    settle(&log, [1]);
    log.sync_records().unwrap();
    log.maintain();
    log.transform_ended(&[1, 2]).unwrap();
    drop(log);
    disk.reboot(Death::Kill);
    drop(start());
    disk.reboot(Death::Kill);
    let log = open_large(&disk);
    assert!(log.holds_merged());
    let batch = log.read("s", "d", 0, ALL).unwrap();
    let crashed: Vec<_> = batch.entries.iter().map(|it| (it.crashed.alone, it.crashed.together)).collect();
    assert_eq!(crashed, [(0, 1), (0, 0), (0, 0)]);
}

#[test]
fn segments_are_merged_whatever_call_dies() {
    let (files, expected) = after_starts(5);
    for at in 0.. {
        let disk = SimulatedDisk::new(at);
        disk.put_all(&files);
        disk.crash_after(at);
        let config = Config { segment_bytes: 1 << 20, budget_bytes: 1 << 28, ..config() };
        drop(Log::open(Arc::new(disk.clone()), config));
        let survived = !disk.crashed();
        disk.reboot(if at % 2 == 0 { Death::PowerCut } else { Death::Kill });
        let log = open_large(&disk);
        assert_eq!(read(&log), expected, "call {at}");
        assert_eq!(log.stats().ledger.book.damaged, 0, "call {at}");
        check_books(&log);
        if survived {
            assert!(at > 50, "{at}");
            break;
        }
    }
}
