//! What a history comes to once in a thousand, made to happen each time.

use std::sync::Arc;

use moehog_proto::{
    Sequence,
    journal::{EntryHeader, Progress},
};

use crate::{
    NewEntry, Record,
    disk::simulated::{Call, Death, SimulatedDisk},
    embedded::{Config, Decision, Log, Pending},
};

use super::draw;

fn open(disk: &SimulatedDisk) -> Log {
    let config = Config { segment_bytes: 24_576, budget_bytes: 4_000_000, ..Config::default() };
    Log::open(Arc::new(disk.clone()), config).expect("opens")
}

fn waiting(log: &Log) -> Vec<Sequence> {
    let (source, destination) = draw::lanes().next().expect("some");
    let limit = crate::ReadLimit { max_entries: std::num::NonZeroUsize::MAX, max_bytes: usize::MAX };
    log.read(source, destination, 0, limit).expect("readable").entries.iter().map(crate::Entry::sequence).collect()
}

/// A sync of records fails, and so does putting them back; the process is killed. The next one finds them in the cache
/// alone, marked as written, where neither its own sync nor its own kill may be trusted with them.
#[test]
fn records_that_a_process_found_are_there_for_the_one_after_it() {
    let mut found = 0;
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let log = open(&disk);
        let (source, destination) = draw::lanes().next().expect("some");
        let header = EntryHeader { source: source.into(), destination: destination.into(), ..EntryHeader::default() };
        let pending = || Pending {
            entry: NewEntry { header: header.clone(), body: vec![1; 300].into() },
            decision: Decision::default(),
            watch: None,
            chain: None,
        };
        assert!(log.append_group(&[pending(), pending()]).iter().all(Result::is_ok));
        log.record(1, vec![Record { sequence: 1, progress: Progress::default().into(), settled: true }])
            .expect("stored");
        disk.fail(Call::SyncData, 0, 10);
        disk.fail(Call::Write, 0, 10);
        log.sync_records().expect_err("told to fail");
        disk.reboot(Death::Kill);

        let there = waiting(&open(&disk));
        found += usize::from(there == [2]);
        for death in [Death::Kill, Death::PowerCut] {
            disk.reboot(death);
            assert_eq!(waiting(&open(&disk)), there, "seed {seed}, {death:?}");
        }
    }
    assert!(found > 0 && found < 60, "the cache held all or nothing: this shows nothing");
}
