//! A disk that fails, is full, or goes away.

use super::*;
use crate::{RecordError, disk::simulated::Call};

#[test]
fn a_webhook_given_up_during_its_sync_is_not_read_then_nor_after_a_kill() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    append(&log, "a").unwrap();
    let late = pending("late");
    let decision = late.decision.clone();
    disk.during(Call::SyncData, move || assert!(decision.give_up()));
    let results = log.append_group(&[pending("b"), late, pending("c")]);
    assert!(matches!(&results[..], [Ok(_), Err(AppendError::Deadline), Ok(_)]), "{results:?}");
    let expected = [(1, "a".to_owned()), (2, "b".into()), (4, "c".into())];
    assert_eq!(read(&log), expected);
    assert_eq!((log.stats().ledger.book.taken, log.stats().cancelled), (3, 1));
    check_books(&log);
    disk.reboot(Death::Kill);
    let log = open(&disk);
    assert_eq!(read(&log), expected);
    assert!(log.get(log.receipt(3)).unwrap().is_none());
    check_books(&log);
}

#[test]
fn nothing_is_appended_behind_a_failure_and_no_restart_is_needed() {
    for (call, after) in [(Call::SyncData, 0), (Call::Write, 0)] {
        for seed in 0..20 {
            let disk = SimulatedDisk::new(seed);
            let log = open(&disk);
            append(&log, "a").unwrap();
            disk.fail(call, after, 1);
            let failed = append(&log, "failed").unwrap_err();
            assert!(matches!(failed, AppendError::Write { segment: 1, .. }), "{failed}");
            append(&log, "b").unwrap();
            let expected = [(1, "a".to_owned()), (3, "b".into())];
            assert_eq!(read(&log), expected, "{call:?} {seed}");
            assert_eq!(log.stats().segments, 2);
            disk.reboot(Death::PowerCut);
            let log = open(&disk);
            assert_eq!(read(&log), expected, "{call:?} {seed}");
            check_books(&log);
        }
    }
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut_at_every_call() {
    for at in 0..200 {
        let disk = SimulatedDisk::new(at);
        let log = open(&disk);
        disk.crash_after(at);
        let mut acknowledged = Vec::new();
        for number in 0..12 {
            let group: Vec<_> = (0..3).map(|place| pending(format!("{number} {place}").repeat(20))).collect();
            for (result, pending) in log.append_group(&group).into_iter().zip(&group) {
                if let Ok(receipt) = result {
                    let body = String::from_utf8(pending.entry.body.to_vec()).unwrap();
                    acknowledged.push((receipt.sequence, body));
                }
            }
        }
        disk.reboot(Death::PowerCut);
        let log = open(&disk);
        let there = read(&log);
        assert!(acknowledged.iter().all(|entry| there.contains(entry)), "call {at}: {acknowledged:?}");
        assert_eq!(log.stats().ledger.book.damaged, 0, "call {at}");
        check_books(&log);
    }
}

#[test]
fn a_full_disk_refuses_webhooks_takes_records_and_is_used_again_without_a_restart() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let mut taken = Vec::new();
    disk.limit(Some(24_000));
    let refused = loop {
        match append(&log, "x".repeat(500)) {
            Ok(receipt) => taken.push(receipt.sequence),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Write { .. }), "{refused}");
    assert!(taken.len() >= 10, "{}", taken.len());
    assert_eq!(sequences(&log), taken);
    settle(&log, taken.iter().copied().take(5));
    log.sync_records().unwrap();
    disk.limit(None);
    let receipt = append(&log, "again").unwrap();
    let mut expected: Vec<_> = taken[5..].to_vec();
    expected.push(receipt.sequence);
    assert_eq!(sequences(&log), expected);
    disk.reboot(Death::PowerCut);
    let log = open(&disk);
    assert_eq!(sequences(&log), expected);
    check_books(&log);
}

#[test]
fn a_disk_that_failed_an_append_works_again_once_one_would_be_taken_without_any_being_sent() {
    for call in [Call::SyncData, Call::Write] {
        let disk = SimulatedDisk::new(1);
        let log = open(&disk);
        append(&log, "a").unwrap();
        assert!(log.disk_works());
        disk.fail(call, 0, 1000);
        append(&log, "failed").unwrap_err();
        assert!(!log.disk_works(), "{call:?}");
        log.maintain();
        assert!(!log.disk_works(), "{call:?}: nothing would be taken yet");
        disk.heal();
        log.maintain();
        assert!(log.disk_works(), "{call:?}");
        assert!(disk.files().iter().all(|(name, _)| !name.ends_with(".new")), "{:?}", disk.files());
        append(&log, "b").unwrap();
    }
}

#[test]
fn a_webhook_that_is_taken_shows_that_the_disk_works() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    disk.fail(Call::SyncData, 0, 1);
    append(&log, "failed").unwrap_err();
    assert!(!log.disk_works());
    append(&log, "taken").unwrap();
    assert!(log.disk_works());
}

#[test]
fn a_full_disk_works_again_when_what_was_refused_would_fit_and_a_full_journal_is_no_failure() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    disk.limit(Some(10_000));
    let refused = (0..100).find_map(|_| append(&log, "x".repeat(2000)).err()).unwrap();
    assert!(matches!(refused, AppendError::Write { .. }), "{refused}");
    for free in [0, 1000] {
        disk.limit(Some(free));
        log.maintain();
        assert!(!log.disk_works(), "{free} bytes are too few for what was refused");
    }
    disk.limit(None);
    log.maintain();
    assert!(log.disk_works());

    let log = open(&SimulatedDisk::new(1));
    let refused = (0..1000).find_map(|_| append(&log, "x".repeat(2000)).err()).unwrap();
    assert!(matches!(refused, AppendError::Full { .. }), "{refused}");
    assert!(log.disk_works());
}

#[test]
fn a_record_that_fails_counts_for_nothing_and_may_be_repeated() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let bodies: Vec<_> = (0..60).map(|number| format!("{number:0>100}")).collect();
    let group: Vec<_> = bodies.iter().map(pending_body).collect();
    assert!(log.append_group(&group).iter().all(Result::is_ok));
    let before = log.stats().ledger;
    let records: Vec<_> = (1..=60).map(|sequence| record_of(sequence, EventState::Delivered, true)).collect();
    let fail = |log: &Log| {
        // the second of several records files
        disk.fail(Call::Create, 1, 1);
        let failed = log.record(1, records.clone()).unwrap_err();
        assert!(matches!(failed, RecordError::Write { .. }), "{failed}");
        assert_eq!(log.stats().ledger, before);
        check_books(log);
    };
    fail(&log);
    disk.reboot(Death::Kill);
    let log = open(&disk);
    assert_eq!(log.stats().ledger, before);
    fail(&log);
    log.record(1, records).unwrap();
    assert_eq!(log.stats().ledger.waiting, 0);
    check_books(&log);
}

#[test]
fn records_outlive_a_failed_sync_of_theirs() {
    for seed in 0..40 {
        let disk = SimulatedDisk::new(seed);
        let log = open(&disk);
        for body in ["a", "b", "c"] {
            append(&log, body).unwrap();
        }
        settle(&log, [1]);
        disk.fail(Call::SyncData, 0, 1);
        log.sync_records().unwrap_err();
        settle(&log, [2]);
        log.sync_records().unwrap();
        disk.reboot(Death::PowerCut);
        assert_eq!(sequences(&open(&disk)), [3], "seed {seed}");
    }
}

#[test]
fn what_a_process_finds_after_a_failed_sync_and_a_kill_is_durable_before_it_is_used() {
    let mut found = 0;
    for seed in 0..40 {
        let disk = SimulatedDisk::new(seed);
        let log = open(&disk);
        append(&log, "a").unwrap();
        // Neither can the segment be sealed then, nor the cancellation written down.
        for call in [Call::SyncData, Call::Truncate, Call::Create] {
            disk.fail(call, 0, 10);
        }
        append(&log, "failed".repeat(300)).unwrap_err();
        disk.reboot(Death::Kill);
        let there = read(&open(&disk));
        assert_eq!(there[0], (1, "a".to_owned()), "seed {seed}");
        found += there.len() - 1;
        disk.reboot(Death::PowerCut);
        let log = open(&disk);
        assert_eq!(read(&log), there, "seed {seed}");
        assert_eq!(log.stats().ledger.book.damaged, 0, "seed {seed}");
    }
    assert!(found > 0, "no failed append was ever found: this shows nothing");
}

#[test]
fn what_was_refused_stays_away_though_the_cache_of_a_killed_process_forgot_it() {
    for seed in 0..100 {
        let disk = SimulatedDisk::new(seed);
        let log = open(&disk);
        append(&log, "a").unwrap();
        // the append, the foot behind what is left, and the note of the refusal
        disk.fail(Call::SyncData, 0, 3);
        append(&log, "refused").unwrap_err();
        disk.reboot(Death::Kill);
        let log = open(&disk);
        append(&log, "b").unwrap();
        let expected = read(&log);
        disk.reboot(Death::PowerCut);
        let log = open(&disk);
        assert_eq!(read(&log), expected, "seed {seed}");
        check_books(&log);
    }
}
