//! What gives way, and what a crash in the middle of it costs.

use std::sync::atomic::{AtomicI64, Ordering};

use moehog_proto::journal::EventPlace;

use super::*;
use crate::{DeadLetterQuery, disk::simulated::Call, embedded::coding::FRAMES_AT};

/// Fills some segments: of every ten entries one waits, one has a dead letter, the others are delivered.
fn mixed(log: &Log) -> Vec<Sequence> {
    for number in 0..120 {
        append(log, format!("{number:0>200}")).unwrap();
    }
    let records = (1..=120).filter(|sequence| sequence % 10 != 0);
    let state = |sequence| if sequence % 10 == 5 { EventState::Dead } else { EventState::Delivered };
    log.record(1, records.map(|sequence| record_of(sequence, state(sequence), true)).collect()).unwrap();
    log.sync_records().unwrap();
    (1..=120).filter(|sequence| sequence % 10 == 0).collect()
}

/// A journal whose retention is over.
fn old(disk: &SimulatedDisk) -> Log {
    open_after(disk, 8)
}

/// A journal so many days after its clock has stood long enough to be believed.
fn open_after(disk: &SimulatedDisk, days: i64) -> Log {
    let now = Arc::new(AtomicI64::new(0));
    let clock = Clock::new({
        let now = now.clone();
        move || now.load(Ordering::Relaxed)
    });
    let log = Log::open(Arc::new(disk.clone()), Config { clock, ..config() }).unwrap();
    now.fetch_add(2 * 3_600_000, Ordering::Relaxed);
    log.state.lock().learn_ages(log.age.known_ms());
    now.fetch_add(days * 86_400_000, Ordering::Relaxed);
    log
}

/// Appends until one is refused.
fn fill(log: &Log, bytes: usize) -> (Vec<Sequence>, AppendError) {
    let mut taken = Vec::new();
    for _ in 0..2 * config().budget_bytes as usize / bytes {
        match append(log, "x".repeat(bytes)) {
            Ok(receipt) => taken.push(receipt.sequence),
            Err(error) => return (taken, error),
        }
    }
    panic!("twice the budget was taken");
}

#[test]
fn a_rewrite_keeps_what_waits_and_what_is_dead_whatever_call_dies() {
    let mut done = false;
    for at in 0.. {
        let disk = SimulatedDisk::new(at);
        let waiting = mixed(&open(&disk));
        disk.reboot(Death::Kill);
        let log = old(&disk);
        let (before, used) = (log.stats().ledger, log.stats().used_bytes);
        disk.crash_after(at);
        log.maintain();
        done = !disk.crashed();
        disk.reboot([Death::PowerCut, Death::Kill][at as usize % 2]);
        let log = open(&disk);
        assert_eq!(sequences(&log), waiting, "call {at}");
        assert_eq!(log.stats().ledger, before, "call {at}");
        assert_eq!(log.dead_letters(&DeadLetterQuery::default()).unwrap().len(), 12, "call {at}");
        check_books(&log);
        if done {
            assert!(log.stats().used_bytes < used, "{} of {used} bytes", log.stats().used_bytes);
            break;
        }
    }
    assert!(done);
}

#[test]
fn a_rewrite_whose_name_is_not_durable_loses_no_record() {
    for at in 0..400 {
        let disk = SimulatedDisk::new(at);
        let log = open(&disk);
        for number in 0..40 {
            append(&log, format!("{number:0>20}")).unwrap();
        }
        assert_eq!(log.stats().segments, 1);
        settle(&log, 1..=39);
        log.sync_records().unwrap();
        disk.reboot(Death::Kill);
        let log = old(&disk);
        disk.fail(Call::SyncDir, 0, 1);
        log.maintain();
        assert_eq!(disk.failures_of(Call::SyncDir), 1);
        disk.crash_after(at % 20);
        log.maintain();
        disk.reboot(Death::PowerCut);
        let log = open(&disk);
        assert_eq!(sequences(&log), [40], "seed {at}");
        check_books(&log);
    }
}

#[test]
fn an_entry_goes_only_when_its_records_file_says_that_it_is_settled() {
    let disk = SimulatedDisk::new(1);
    let now = Arc::new(AtomicI64::new(0));
    let clock = Clock::new({
        let now = now.clone();
        move || now.load(Ordering::Relaxed)
    });
    let log = Log::open(Arc::new(disk.clone()), Config { clock, ..config() }).unwrap();
    let waiting = mixed(&log);
    let records: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".records")).collect();
    assert!(records.iter().all(|(name, _)| disk.flip(name, FRAMES_AT + 40, 0x55)));
    now.store(8 * 86_400_000, Ordering::Relaxed);
    log.maintain();
    assert!(waiting.iter().all(|sequence| sequences(&log).contains(sequence)));
    disk.reboot(Death::Kill);
    let log = open(&disk);
    check_books(&log);
    assert_eq!(log.stats().ledger.book.taken, 120);
    assert!(log.stats().ledger.waiting > waiting.len() as u64, "what is no longer known to be settled is done again");
}

#[test]
fn what_a_dropped_segment_came_to_is_carried_once_whatever_call_dies() {
    for at in 0.. {
        let disk = SimulatedDisk::new(at);
        let log = open(&disk);
        for number in 0..60 {
            append(&log, format!("{number:0>200}")).unwrap();
        }
        settle(&log, 1..=60);
        log.sync_records().unwrap();
        disk.reboot(Death::Kill);
        let log = old(&disk);
        let before = log.stats().ledger;
        assert_eq!((before.book.settled, before.waiting), (60, 0));
        disk.crash_after(at);
        log.maintain();
        let done = !disk.crashed();
        disk.reboot([Death::PowerCut, Death::Kill][at as usize % 2]);
        let log = old(&disk);
        assert_eq!(log.stats().ledger, before, "call {at}");
        check_books(&log);
        let next = append(&log, "next").unwrap();
        assert_eq!(next.sequence, 61, "call {at}");
        if done {
            assert_eq!(log.stats().segments, 1);
            break;
        }
    }
}

#[test]
fn a_book_whose_name_was_not_durable_is_not_lost_by_a_power_cut_while_opening() {
    for at in 0..150 {
        let disk = SimulatedDisk::new(at);
        let log = open(&disk);
        for number in 0..60 {
            append(&log, format!("{number:0>200}")).unwrap();
        }
        settle(&log, 1..=60);
        log.sync_records().unwrap();
        disk.reboot(Death::Kill);
        let log = old(&disk);
        let before = log.stats().ledger;
        disk.fail(Call::SyncDir, 0, 9);
        log.maintain();
        disk.reboot(Death::Kill);
        disk.crash_after(at);
        drop(Log::open(Arc::new(disk.clone()), config()));
        disk.reboot(Death::PowerCut);
        let log = open(&disk);
        assert_eq!(log.stats().ledger, before, "call {at}");
        check_books(&log);
    }
}

#[test]
fn delivered_webhooks_are_never_a_reason_to_refuse_one() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let held = append(&log, "held").unwrap().sequence;
    // several times the budget
    for number in 0..4000 {
        let receipt = append(&log, format!("{number:0>300}")).unwrap_or_else(|error| panic!("{number}: {error}"));
        settle(&log, [receipt.sequence]);
    }
    assert!(log.stats().used_bytes <= config().budget_bytes);
    assert_eq!(sequences(&log), [held]);
    check_books(&log);
}

#[test]
fn a_budget_that_the_disk_cannot_hold_is_bounded_by_it_and_delivered_webhooks_give_way_in_time() {
    let disk = SimulatedDisk::new(1);
    disk.set_size(300_000);
    let log = open(&disk);
    assert_eq!((log.stats().budget_bytes, log.config().segment()), (285_000, 11_264));
    // several times the disk
    for number in 0..1000 {
        let receipt = append(&log, "x".repeat(500)).unwrap_or_else(|error| panic!("webhook {number}: {error}"));
        settle(&log, [receipt.sequence]);
        log.maintain();
    }
    // one that holds less than eight of the configured segments
    let small = SimulatedDisk::new(1);
    small.set_size(80_000);
    let log = open(&small);
    assert_eq!((log.stats().budget_bytes, log.config().segment()), (76_000, 9500));
    let roomy = SimulatedDisk::new(1);
    roomy.set_size(1 << 30);
    assert_eq!(open(&roomy).stats().budget_bytes, config().budget_bytes);
}

#[test]
fn webhooks_that_wait_fill_the_budget_and_then_refuse_until_some_are_settled() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    let (taken, refused) = fill(&log, 400);
    assert!(matches!(refused, AppendError::Full { .. }), "{refused}");
    assert!(taken.len() as u64 * 400 > roomy().limit() * 6 / 10, "{}", taken.len());
    settle(&log, taken[..taken.len() / 2].iter().copied());
    append(&log, "again").unwrap();
    check_books(&log);
}

#[test]
fn a_source_alone_fills_half_where_there_are_several() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    log.append_group(&[pending_of("other", "x")]).remove(0).unwrap();
    let (_, refused) = fill(&log, 400);
    assert!(matches!(&refused, AppendError::SourceFull { source_name, .. } if source_name == "s"), "{refused}");
    log.append_group(&[pending_of("other", "x")]).remove(0).unwrap();
}

#[test]
fn dead_letters_past_their_quarter_or_their_time_go_the_oldest_first_and_are_counted() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    for number in 0..1500 {
        let receipt = append(&log, format!("{number:0>400}")).unwrap();
        log.record(1, vec![record_of(receipt.sequence, EventState::Dead, true)]).unwrap();
    }
    log.maintain();
    let letters = |log: &Log| {
        let query = DeadLetterQuery { limit: usize::MAX, ..DeadLetterQuery::default() };
        log.dead_letters(&query).unwrap().iter().map(|letter| letter.receipt.sequence).collect::<Vec<_>>()
    };
    let kept = letters(&log);
    let stats = log.stats();
    assert!(kept.len() > 250 && kept.len() < 1000, "{}", kept.len());
    assert_eq!(kept, (1500 - kept.len() as u64 + 1..=1500).rev().collect::<Vec<_>>(), "the newest");
    assert_eq!(stats.dead_letters, kept.len() as u64);
    assert_eq!(stats.dead_letters + stats.dead_letters_dropped, 1500);
    check_books(&log);
    log.close();
    disk.reboot(Death::Kill);
    let log = open_after(&disk, 31);
    log.maintain();
    assert!(letters(&log).is_empty());
    assert_eq!(log.stats().dead_letters_dropped, 1500);
    check_books(&log);
}

/// What is to be routed can be settled only once it is appended again, for the destinations of its events.
#[test]
fn what_is_to_be_routed_leaves_room_for_being_handed_on() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let to = |destination: &str, routed: &[EventPlace]| {
        let mut pending = pending("x".repeat(300));
        pending.entry.header.destination = destination.into();
        pending.entry.header.routed = routed.to_vec();
        log.append_group(&[pending]).remove(0)
    };
    let limit = loop {
        match to("rule:d,e", &[]) {
            Ok(_) => {}
            Err(AppendError::Full { limit, .. }) => break limit,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(limit, config().limit() - config().segment());
    let handed = (0..9).map(|position| to("d", &[EventPlace { position, ordinal: 0 }])).filter(Result::is_ok).count();
    assert_eq!(handed, 9);
    check_books(&log);
}

/// No source may have more than half of a journal that several use; what it has is handed on all the same.
#[test]
fn what_a_source_hands_on_is_not_asked_for_its_share() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    log.append_group(&[pending_of("other", "y")]).remove(0).unwrap();
    let mut handed_on = pending("x".repeat(300));
    while let Ok(receipt) = append(&log, "x".repeat(300)) {
        assert!(receipt.sequence < 4000, "no source is ever full");
    }
    assert!(matches!(append(&log, "x".repeat(300)), Err(AppendError::SourceFull { .. })));
    handed_on.entry.header.routed = vec![EventPlace::default()];
    log.append_group(&[handed_on]).remove(0).unwrap();
    check_books(&log);
}

#[test]
fn webhooks_on_a_full_disk_take_nothing_of_what_is_for_records() {
    let disk = SimulatedDisk::new(1);
    let config = Config { segment_bytes: 1 << 20, budget_bytes: 64 << 20, ..config() };
    let log = Log::open(Arc::new(disk.clone()), config).unwrap();
    let mut taken: Vec<_> = (0..100).map(|_| append(&log, "x".repeat(1000)).unwrap().sequence).collect();
    // a neighbour leaves this
    disk.limit(Some(300_000));
    // the relay goes on meanwhile
    while let Ok(receipt) = append(&log, "x".repeat(1000)) {
        taken.push(receipt.sequence);
        for sequence in taken.iter().rev().take(10) {
            log.transform_started(&[*sequence]).unwrap();
            log.transform_ended(&[*sequence]).unwrap();
        }
        log.maintain();
        assert!(taken.len() < 10_000);
    }
    for sequence in &taken {
        log.transform_started(&[*sequence]).unwrap();
        log.transform_ended(&[*sequence]).unwrap();
        settle(&log, [*sequence]);
    }
    log.sync_records().unwrap();
    assert_eq!(sequences(&log), Vec::<Sequence>::new());
    check_books(&log);
}

#[test]
fn a_file_that_could_not_be_written_anew_is_cleared_away() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    append(&log, "a").unwrap();
    settle(&log, [1]);
    log.sync_records().unwrap();
    disk.fail(Call::Rename, 0, 1);
    log.compact_records(1).unwrap_err();
    assert!(disk.files().iter().all(|(name, _)| !name.ends_with(".new")), "{:?}", disk.files());
    log.compact_records(1).unwrap();
    check_books(&log);
}

#[test]
fn a_lost_book_of_what_was_let_go_is_no_loss_of_webhooks() {
    let disk = SimulatedDisk::new(1);
    // the second book leaves the first in the other slot
    for waits in [None, Some("waits")] {
        let log = open(&disk);
        for number in 0..15 {
            let receipt = append(&log, format!("{number:0>900}")).unwrap();
            settle(&log, [receipt.sequence]);
        }
        if let Some(body) = waits {
            append(&log, body).unwrap();
        }
        log.close();
        disk.reboot(Death::Kill);
        let log = old(&disk);
        for _ in 0..3 {
            log.maintain();
        }
        assert_eq!(log.stats().segments, u64::from(waits.is_some()), "all others are let go");
        disk.reboot(Death::Kill);
    }
    let check = |change: &dyn Fn(&str, &mut Vec<u8>), what: &str| {
        let log = open(&copy(&disk, change));
        let book = log.stats().ledger.book;
        assert_eq!((book.taken, book.settled, book.damaged), (31, 30, 0), "{what}");
        check_books(&log);
    };
    let size = disk.content("carried").unwrap().len();
    for slot in [0..size / 2, size / 2..size] {
        let change = |name: &str, bytes: &mut Vec<u8>| {
            if name == "carried" {
                bytes[slot.clone()].fill(0);
            }
        };
        check(&change, &format!("without {slot:?}"));
    }
    for lost in [&["carried"][..], &["carried", "marks"]] {
        lost.iter().for_each(|name| disk.put(name, None));
        check(&|_, _| (), &format!("without {lost:?}"));
    }
}
