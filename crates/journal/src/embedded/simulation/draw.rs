//! What a history draws: webhooks and what becomes of their events.

use bytes::Bytes;
use moehog_proto::{
    event::Event,
    journal::{Attempt, EntryHeader, EventOutcome, EventPlace, EventState, Progress},
};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

use crate::NewEntry;

const SOURCES: [&str; 3] = ["streams", "connector", "c"];
/// The second is of webhooks whose events are still to be routed.
const DESTINATIONS: [&str; 2] = ["eu", "rule:us,eu"];

/// Every source that a history may use.
pub(super) fn sources() -> impl Iterator<Item = &'static str> {
    SOURCES.into_iter()
}

/// Every lane that a history uses.
pub(super) fn lanes() -> impl Iterator<Item = (&'static str, &'static str)> {
    SOURCES.into_iter().flat_map(|source| DESTINATIONS.map(|destination| (source, destination)))
}

/// The webhook of number `id`.
pub(super) fn webhook(random: &mut StdRng, id: usize, sources: usize, segment: u64, now_ms: i64) -> NewEntry {
    let segment = usize::try_from(segment).expect("small");
    let length = match random.random_range(0..100) {
        0..5 => 0,
        5..55 => random.random_range(1..200),
        55..92 => random.random_range(200..segment / 4),
        92..97 => random.random_range(segment / 2..segment),
        _ => random.random_range(segment..segment * 2),
    };
    let mut body = vec![0; length];
    // Some bodies look like an unwritten part of a file.
    if random.random_bool(0.9) {
        StdRng::seed_from_u64(id as u64).fill_bytes(&mut body);
    }
    let destination = DESTINATIONS[random.random_range(0..2)];
    // some of the others are events that were routed
    let routed = destination == DESTINATIONS[0] && random.random_bool(0.2);
    let header = EntryHeader {
        source: SOURCES[random.random_range(0..sources)].into(),
        destination: destination.into(),
        received_at_ms: now_ms,
        idempotency_key: id.to_string(),
        routed: if routed { vec![EventPlace::default()] } else { Vec::new() },
        ..EntryHeader::default()
    };
    NewEntry { header, body: Bytes::from(body) }
}

/// What became of some events: all final, or some still open.
pub(super) fn progress(random: &mut StdRng, settled: bool, dead: bool) -> Progress {
    let finals = [EventState::Delivered, EventState::DeliveredDegraded, EventState::Filtered, EventState::Duplicate];
    let mut events: Vec<EventOutcome> = (0..random.random_range(0..4_u32))
        .map(|position| EventOutcome {
            position,
            uuid: vec![position as u8; 16].into(),
            state: finals[random.random_range(0..4)].into(),
            ..EventOutcome::default()
        })
        .collect();
    if dead && random.random_bool(0.3) {
        let position = events.len() as u32;
        let (state, reason) = (EventState::Dead.into(), "rejected".to_owned());
        events.push(EventOutcome { position, state, reason, attempt: 1, ..EventOutcome::default() });
    }
    if !settled {
        let mut json = vec![0; random.random_range(0..300)];
        random.fill_bytes(&mut json);
        events.push(EventOutcome {
            position: events.len() as u32,
            state: EventState::Pending.into(),
            attempts: random.random_range(0..5),
            mapped: random.random_bool(0.5).then(|| Event { json: json.into(), ..Event::default() }),
            ..EventOutcome::default()
        });
    }
    let answer = Attempt { started_at_ms: 1, duration_ms: 2, status: 400, answer: "no".into() };
    let attempts = if random.random_bool(0.5) { vec![answer] } else { Vec::new() };
    Progress { mapping_revision: random.random_range(0..1000_u32).to_string(), events, attempts, ..Progress::default() }
}
