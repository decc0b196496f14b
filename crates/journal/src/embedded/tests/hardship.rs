//! What one hard history each was once the end of, and is no more.

use std::sync::atomic::{AtomicI64, Ordering};

use moehog_proto::journal::EventPlace;

use super::{super::Chain, *};
use crate::{DeadLetterQuery, embedded::log::open::OPEN_FILES};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A clock that is moved by hand: what has passed, and how much more it shows.
#[derive(Clone, Default)]
struct Hand {
    passed_ms: Arc<AtomicI64>,
    jumped_ms: Arc<AtomicI64>,
}

impl Hand {
    fn open(&self, disk: &SimulatedDisk) -> Log {
        self.open_with(disk, config())
    }

    fn open_with(&self, disk: &SimulatedDisk, config: Config) -> Log {
        let (shown, passes) = (self.clone(), self.passed_ms.clone());
        let clock = Clock::set_by_hand(
            move || 400 * DAY_MS + shown.passed_ms.load(Ordering::Relaxed) + shown.jumped_ms.load(Ordering::Relaxed),
            move || Duration::from_millis(passes.load(Ordering::Relaxed).unsigned_abs()),
        );
        Log::open(Arc::new(disk.clone()), Config { clock, ..config }).unwrap()
    }

    fn passes(&self, ms: i64) {
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn jumps(&self, ms: i64) {
        self.jumped_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

fn letters(log: &Log) -> usize {
    log.dead_letters(&DeadLetterQuery::default()).unwrap().len()
}

/// The first group of a segment could not be synced, and its file not be removed.
#[test]
fn what_was_refused_stays_refused_whatever_fails_beside_it() {
    for (call, times) in [(Call::Remove, 1), (Call::Remove, 3), (Call::SyncDir, 1), (Call::SyncDir, 3)] {
        for seed in 0..40 {
            let disk = SimulatedDisk::new(seed);
            let log = open(&disk);
            // the first sync is that of the new file
            disk.fail(Call::SyncData, 1, 1);
            disk.fail(call, u64::from(call == Call::SyncDir), times);
            append(&log, "refused").unwrap_err();
            disk.heal();
            append(&log, "taken").unwrap();
            for _ in 0..2 {
                log.maintain();
                log.sync_records().unwrap();
            }
            let cut = seed % 2 == 0;
            if !cut {
                log.close();
            }
            disk.reboot(if cut { Death::PowerCut } else { Death::Kill });
            let bodies: Vec<_> = read(&open(&disk)).into_iter().map(|(_, body)| body).collect();
            assert_eq!(bodies, ["taken"], "{call:?} {times} times, seed {seed}");
        }
    }
}

#[test]
fn delivered_webhooks_give_way_to_a_neighbour_that_fills_the_disk() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    for _ in 0..20 {
        let receipt = append(&log, "x".repeat(50_000)).unwrap();
        settle(&log, [receipt.sequence]);
    }
    log.maintain();
    disk.limit(Some(0));
    for _ in 0..40 {
        let receipt = append(&log, "x".repeat(50_000)).unwrap();
        settle(&log, [receipt.sequence]);
        log.maintain();
    }
    check_books(&log);
    assert_eq!(log.stats().ledger.book.settled, 60);
}

/// What is handed on is stored again before its original goes: where nothing else has room, of what is set aside for that.
#[test]
fn what_is_to_be_handed_on_is_on_a_full_disk_and_within_a_budget_that_has_become_smaller() {
    for segments in [64, 8] {
        let disk = SimulatedDisk::new(1);
        let open = |segments: u64| {
            let config = Config { segment_bytes: 65_536, budget_bytes: segments * 65_536, ..config() };
            Log::open(Arc::new(disk.clone()), config).unwrap()
        };
        let log = open(64);
        let original = |number: usize| {
            let mut pending = pending(format!("{number:0>900}"));
            pending.entry.header.destination = "rule:us,eu".into();
            pending
        };
        let group: Vec<_> = (0..400).map(original).collect();
        let taken: Vec<_> = log.append_group(&group).into_iter().map(|result| result.unwrap().sequence).collect();
        log.close();
        disk.reboot(Death::Kill);
        let log = open(segments);
        disk.limit(Some(0));
        for (number, sequence) in taken.into_iter().enumerate() {
            let mut copy = original(number);
            copy.entry.header.destination = "eu".into();
            copy.entry.header.routed = vec![EventPlace::default()];
            let copy = log.append_group(&[copy]).remove(0).unwrap_or_else(|error| panic!("{number}: {error:?}"));
            settle(&log, [sequence, copy.sequence]);
            log.maintain();
        }
        check_books(&log);
    }
}

#[test]
fn none_of_a_chain_is_ahead_of_one_that_found_no_room() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    disk.limit(Some(20_000));
    let mut chain = Chain::default();
    let mut chained = |bytes: usize| Pending { chain: Some(chain.link()), ..pending("x".repeat(bytes)) };
    let results = log.append_group(&[chained(10), chained(60_000), chained(10)]);
    assert!(matches!(&results[..], [Ok(_), Err(_), Err(AppendError::Behind)]), "{results:?}");
    assert!(append(&log, "of somebody else").is_ok());
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_costs_no_dead_letter() {
    for jump_ms in [31 * DAY_MS, -31 * DAY_MS, 3650 * DAY_MS] {
        let (disk, hand) = (SimulatedDisk::new(1), Hand::default());
        let log = hand.open(&disk);
        let receipt = append(&log, "x").unwrap();
        log.record(1, vec![record_of(receipt.sequence, EventState::Dead, true)]).unwrap();
        log.close();
        disk.reboot(Death::Kill);
        let log = hand.open(&disk);
        hand.passes(2 * HOUR_MS);
        log.maintain();
        hand.jumps(jump_ms);
        log.maintain();
        hand.passes(3000);
        log.maintain();
        hand.jumps(-jump_ms);
        log.maintain();
        assert_eq!(letters(&log), 1, "{jump_ms}");
        for _ in 0..2 {
            hand.passes(32 * DAY_MS);
            log.maintain();
        }
        assert_eq!((letters(&log), log.stats().dead_letters_dropped), (0, 1), "its time comes: {jump_ms}");
    }
}

#[test]
fn a_source_that_sends_once_a_day_has_nothing_kept_for_long_past_its_time() {
    let (disk, hand) = (SimulatedDisk::new(1), Hand::default());
    let log = hand.open(&disk);
    hand.passes(2 * HOUR_MS);
    for _ in 0..60 {
        let mut webhook = pending("x");
        webhook.entry.header.received_at_ms = 400 * DAY_MS + hand.passed_ms.load(Ordering::Relaxed);
        let receipt = log.append_group(&[webhook]).remove(0).unwrap();
        settle(&log, [receipt.sequence]);
        hand.passes(DAY_MS);
        log.maintain();
    }
    let kept_ms = 400 * DAY_MS + hand.passed_ms.load(Ordering::Relaxed) - log.stats().retained_since_ms.unwrap();
    assert!((7 * DAY_MS..10 * DAY_MS).contains(&kept_ms), "{} days", kept_ms / DAY_MS);
}

#[test]
fn a_process_that_was_started_often_opens_few_files() {
    let disk = SimulatedDisk::new(1);
    disk.limit_open_files(OPEN_FILES + 24);
    let open = |disk: &SimulatedDisk| {
        let config = Config { budget_bytes: 64 * config().budget_bytes, ..config() };
        Log::open(Arc::new(disk.clone()), config).unwrap()
    };
    for number in 1..=400 {
        let log = open(&disk);
        append(&log, "x").unwrap();
        settle(&log, (number % 3 == 0).then_some(number));
        log.close();
        disk.reboot(Death::Kill);
    }
    let log = open(&disk);
    assert!(log.stats().segments > 100, "{}", log.stats().segments);
    assert_eq!(read(&log).len(), 400 - 400 / 3);
    log.maintain();
    check_books(&log);
    assert!(disk.open_files() <= OPEN_FILES + 24);
}

/// A failed sync dropped records from the cache, and putting them back failed too: the next sync that works knows nothing of
/// them.
#[test]
fn records_that_could_not_be_put_back_are_not_forgotten_by_a_sync_that_works() {
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let log = open(&disk);
        for body in ["a", "b"] {
            append(&log, body).unwrap();
        }
        settle(&log, [1]);
        disk.fail(Call::SyncData, 0, 1);
        disk.fail(Call::Write, 0, 1);
        log.sync_records().unwrap_err();
        log.sync_records().unwrap();
        disk.reboot([Death::Kill, Death::PowerCut][seed as usize % 2]);
        assert_eq!(sequences(&open(&disk)), [2], "seed {seed}");
    }
}

/// One event of a webhook that waits is dead for so long that dead letters go.
#[test]
fn what_waits_beside_an_old_dead_letter_is_not_written_anew_again_and_again() {
    let (disk, hand) = (SimulatedDisk::new(1), Hand::default());
    let log = hand.open(&disk);
    let receipt = append(&log, "x".repeat(500)).unwrap();
    log.record(1, vec![record_of(receipt.sequence, EventState::Dead, false)]).unwrap();
    log.close();
    disk.reboot(Death::Kill);
    let log = hand.open(&disk);
    for _ in 0..2 {
        hand.passes(40 * DAY_MS);
        log.maintain();
    }
    let written = disk.calls_of(Call::Create);
    for _ in 0..3 {
        log.maintain();
    }
    assert_eq!(disk.calls_of(Call::Create), written);
    assert_eq!(sequences(&log), [receipt.sequence]);
}

#[test]
fn one_source_does_not_push_out_the_dead_letters_of_another() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    let dies = |source: &str, number: usize| {
        let receipt = log.append_group(&[pending_of(source, format!("{number:0>400}"))]).remove(0).unwrap();
        log.record(1, vec![record_of(receipt.sequence, EventState::Dead, true)]).unwrap();
    };
    (0..20).for_each(|number| dies("quiet", number));
    for number in 0..2000 {
        dies("loud", number);
        if number % 100 == 0 {
            log.maintain();
        }
    }
    log.maintain();
    let of = |source: &str| {
        let query = DeadLetterQuery { source: Some(source.into()), limit: usize::MAX, ..DeadLetterQuery::default() };
        log.dead_letters(&query).unwrap().len()
    };
    assert_eq!(of("quiet"), 20);
    assert!((200..1500).contains(&of("loud")), "{}", of("loud"));
    check_books(&log);
}

#[test]
fn nothing_is_acknowledged_into_a_directory_that_somebody_removed_or_replaced() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk);
    let active = || disk.files().into_iter().map(|(name, _)| name).rfind(|name| name.ends_with(".webhooks"));
    append(&log, "before").unwrap();
    disk.put(&active().unwrap(), None);
    append(&log, "into a file without a name").unwrap_err();
    assert!(!log.disk_works());
    append(&log, "into the next file").unwrap();
    disk.move_away(true);
    append(&log, "elsewhere").unwrap_err();
    log.maintain();
    assert!(!log.disk_works());
    disk.move_away(false);
    log.maintain();
    assert!(log.disk_works());
    append(&log, "back").unwrap();
}

#[test]
fn a_source_that_is_configured_has_its_share_before_it_has_sent_anything() {
    let disk = SimulatedDisk::new(1);
    let config = Config { sources: vec!["s".into(), "fresh".into()], ..roomy() };
    let log = Log::open(Arc::new(disk.clone()), config).unwrap();
    let refused = loop {
        if let Err(error) = append(&log, "x".repeat(5000)) {
            break error;
        }
    };
    assert!(matches!(refused, AppendError::SourceFull { .. }), "{refused}");
    log.append_group(&[pending_of("fresh", "x".repeat(5000))]).remove(0).unwrap();
}

#[test]
fn what_a_failed_sync_dropped_of_records_is_read_from_memory() {
    for settled in [false, true] {
        let disk = SimulatedDisk::new(1);
        let log = open(&disk);
        let receipt = append(&log, "a").unwrap();
        log.record(1, vec![record_of(receipt.sequence, EventState::Dead, settled)]).unwrap();
        // the sync, and the write that puts back what it dropped
        disk.fail(Call::SyncData, 0, 1);
        disk.fail(Call::Write, 0, 1000);
        log.sync_records().unwrap_err();
        let entry = log.get(receipt).unwrap().unwrap();
        assert_eq!(entry.progress.expect("known").events.len(), 1, "{settled}");
        assert_eq!(log.find(&[7; 16]).unwrap(), [1]);
        assert_eq!(log.dead_letters(&crate::DeadLetterQuery::default()).unwrap().len(), 1);
        disk.heal();
        log.sync_records().unwrap();
        disk.reboot(Death::PowerCut);
        let log = open(&disk);
        assert_eq!(log.get(receipt).unwrap().unwrap().progress.expect("known").events.len(), 1, "{settled}");
        check_books(&log);
    }
}

#[test]
fn what_was_let_go_between_merged_segments_stays_counted_where_its_book_is_lost() {
    let (disk, hand) = (SimulatedDisk::new(1), Hand::default());
    let open_for = |retention| {
        let config = Config { segment_bytes: 1 << 20, budget_bytes: 1 << 28, retention, ..config() };
        hand.open_with(&disk, config)
    };
    let open = || open_for(Duration::from_secs(3600));
    for (body, goes) in [("a", false), ("goes", true), ("b", false)] {
        let log = open();
        let receipt = append(&log, body).unwrap();
        settle(&log, goes.then_some(receipt.sequence));
        log.close();
        disk.reboot(Death::Kill);
    }
    // it goes before there are enough of them to be merged
    let log = open_for(Duration::ZERO);
    for _ in 0..4 {
        hand.passes(HOUR_MS);
        log.maintain();
    }
    assert_eq!(log.stats().segments, 2);
    log.close();
    disk.reboot(Death::Kill);
    for body in ["c", "d"] {
        append(&open(), body).unwrap();
        disk.reboot(Death::Kill);
    }
    assert!(open().holds_merged());
    disk.reboot(Death::Kill);
    disk.remove("carried").unwrap();
    let log = open();
    assert_eq!(sequences(&log), [1, 3, 4, 5]);
    let book = log.stats().ledger.book;
    assert_eq!((book.taken, book.settled, book.damaged), (5, 1, 0));
    check_books(&log);
}
