//! Writes a journal that has something of everything.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use moehog_journal::{
    NewEntry, Record,
    disk::RealDisk,
    embedded::{Clock, Config, Decision, Log, Pending},
};
use moehog_proto::{
    Sequence, event,
    journal::{Attempt, EntryHeader, EventOutcome, EventState, Origin, Progress},
};

/// When the first webhooks came, milliseconds since the epoch.
const FIRST: i64 = 1_764_000_000_000;
/// Eight days later: what was settled before is past its time.
pub(crate) const LATER: i64 = FIRST + 8 * 86_400_000;

/// Small segments, so that a few webhooks fill several.
pub(crate) fn config() -> Config {
    Config { segment_bytes: 4096, budget_bytes: 64 * 4096, ..Config::default() }
}

/// Writes into an empty directory and leaves the journal open.
pub(crate) fn write(directory: &Path) -> Log {
    let now = Arc::new(AtomicI64::new(FIRST));
    let clock = now.clone();
    let clock = Clock::new(move || clock.load(Ordering::Relaxed));
    let disk = Arc::new(RealDisk::open(directory).expect("a directory"));
    let log = Log::open(disk, Config { clock, ..config() }).expect("a new journal");

    let early = append(&log, "shop", FIRST, 20);
    let (dead, waiting) = (early[7], early[8]);
    let delivered = early.iter().filter(|sequence| ![dead, waiting].contains(sequence));
    let mut records: Vec<_> = delivered.map(|sequence| record(*sequence, &[EventState::Delivered])).collect();
    records.push(record(dead, &[EventState::Delivered, EventState::Dead]));
    log.record(1, records).expect("a record");

    // what is settled goes, as the book of what was dropped, or by writing a segment anew
    now.store(LATER, Ordering::Relaxed);
    log.maintain();

    let late = append(&log, "shop", LATER, 4);
    let others = [EventState::DeliveredDegraded, EventState::Filtered, EventState::Duplicate, EventState::Dead];
    log.record(2, vec![record(late[0], &others), in_doubt(late[1])]).expect("a record");
    let stream = append(&log, "streams", LATER, 2);
    // the process dies while this one is mapped alone
    log.transform_started(&stream[..1]).expect("a note");
    log.transform_started(&late[2..]).expect("a note");
    log.transform_ended(&late[2..]).expect("a note");
    log.sync_records().expect("a sync");
    log
}

/// Appends so many webhooks, and gives their sequences.
pub(crate) fn append(log: &Log, source: &str, at: i64, count: usize) -> Vec<Sequence> {
    let group: Vec<_> = (0..count).map(|number| pending(source, at, number)).collect();
    log.append_group(&group).into_iter().map(|taken| taken.expect("room").sequence).collect()
}

fn pending(source: &str, at: i64, number: usize) -> Pending {
    let is_replay = source == "streams";
    let header = EntryHeader {
        kind: if is_replay { 2 } else { 1 },
        source: source.into(),
        route: if is_replay { "in".into() } else { "capture".into() },
        content_type: "application/json".into(),
        content_encoding: if number == 1 { "identity".into() } else { String::new() },
        received_at_ms: at + number as i64,
        origin: is_replay.then(|| Origin {
            receipt: "0a1b2c3d-5-ffff".into(),
            received_at_ms: FIRST - 1,
            ..Origin::default()
        }),
        destination: "posthog_us".into(),
        idempotency_key: format!("{source}-{number}"),
        trace: (number == 0).then(|| event::TraceContext {
            trace_id_high: 1,
            trace_id_low: 2,
            span_id: 3,
            flags: 1,
            tracestate: "vendor=value".into(),
        }),
        api_key: "phc_shop".into(),
        ..EntryHeader::default()
    };
    let body =
        format!(r#"{{"event":"campaign_sent","distinct_id":"user_{number}","properties":{{"source":"{source}"}}}}"#);
    Pending {
        entry: NewEntry { header, body: body.repeat(3).into() },
        decision: Decision::default(),
        watch: None,
        chain: None,
    }
}

fn outcome(position: usize, state: EventState) -> EventOutcome {
    let dead = state == EventState::Dead;
    EventOutcome {
        position: position as u32,
        uuid: vec![position as u8 + 1; 16].into(),
        state: state.into(),
        reason: if dead { "refused".into() } else { String::new() },
        detail: if dead { "PostHog said `no`".into() } else { String::new() },
        tried_at_ms: FIRST + 5,
        attempts: u32::from(dead),
        attempt: 1,
        ..EventOutcome::default()
    }
}

fn record(sequence: Sequence, states: &[EventState]) -> Record {
    let progress = Progress {
        mapping_revision: "1".into(),
        events: states.iter().enumerate().map(|(position, state)| outcome(position, *state)).collect(),
        attempts: vec![Attempt { started_at_ms: FIRST + 4, duration_ms: 7, status: 400, answer: "no".into() }],
        ..Progress::default()
    };
    Record { sequence, progress: progress.into(), settled: true }
}

/// One event delivered, one that may have reached PostHog and is sent again as it is.
fn in_doubt(sequence: Sequence) -> Record {
    let mapped = event::Event {
        position: 1,
        uuid: vec![2; 16].into(),
        distinct_id: "user_1".into(),
        name: "campaign_sent".into(),
        json: r#"{"event":"campaign_sent"}"#.into(),
        receipt: "kept".into(),
        ..event::Event::default()
    };
    let pending = EventOutcome { mapped: Some(mapped), ..outcome(1, EventState::Pending) };
    let progress = Progress {
        mapping_revision: "2".into(),
        events: vec![outcome(0, EventState::Delivered), pending],
        attempts: vec![Attempt { started_at_ms: LATER, duration_ms: 9, status: 503, answer: "later".into() }],
        transform_deaths: 1,
        trying_ms: 1234,
        ..Progress::default()
    };
    Record { sequence, progress: progress.into(), settled: false }
}
