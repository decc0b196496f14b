use moehog_journal::Crashed;
use moehog_proto::{
    Incarnation, JournalId, Mint, Receipt,
    journal::{EntryHeader, Origin},
    transformer::Mapped,
};
use proptest::prelude::*;

use super::*;

fn entry(progress: Option<Progress>) -> Entry {
    Entry {
        receipt: Receipt::plain(JournalId(7), 3),
        header: EntryHeader::default(),
        body: Bytes::from_static(b"body"),
        progress,
        settled: false,
        crashed: Crashed::default(),
        decided: None,
    }
}

fn carried(progress: Option<Progress>) -> Carried {
    Carried::new(entry(progress), None)
}

fn event(json: &str) -> Event {
    Event { uuid: Bytes::from_static(&[1; 16]), json: json.to_string().into(), ..Event::default() }
}

fn mapped(position: u32, ordinal: u32, outcome: Option<mapped_event::Outcome>) -> MappedEvent {
    MappedEvent { position, ordinal, outcome }
}

fn answer(events: Vec<MappedEvent>) -> TransformedWebhook {
    TransformedWebhook { result: Some(transformed_webhook::Result::Mapped(Mapped { events })) }
}

fn made(position: u32, ordinal: u32, json: &str) -> MappedEvent {
    mapped(position, ordinal, Some(mapped_event::Outcome::Event(event(json))))
}

#[test]
fn each_death_is_told_once_also_by_the_process_that_takes_the_entry_up_again() {
    let dead = |position, code: &str| {
        let why = Reason::new(Blame::Body, code, "why");
        mapped(position, 0, Some(mapped_event::Outcome::Dead(why.into())))
    };
    let mut entry = carried(None);
    entry.map(
        answer(vec![dead(0, "forbidden_id"), made(1, 0, "a"), dead(2, "forbidden_id"), dead(3, "missing_event")]),
        "r",
        &Config::default(),
    );
    let told = |entry: &mut Carried| {
        entry.deaths().into_iter().map(|(reason, events)| (reason.code, events)).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut entry), [("forbidden_id".to_string(), 2), ("missing_event".to_string(), 1)]);
    assert!(told(&mut entry).is_empty());
    let stored = (*entry.recorded(Duration::ZERO)).clone();
    let mut again = carried(Some(stored));
    assert!(told(&mut again).is_empty(), "the process before told these");
    again.map(answer(vec![made(1, 0, "a")]), "r", &Config::default());
    again.finish(1, EventState::Dead, Reason::new(Blame::Body, "forbidden_id", "why"));
    assert_eq!(told(&mut again), [("forbidden_id".to_string(), 1)]);
}

#[test]
fn the_transformer_is_told_the_address_of_the_webhook_first_taken_and_its_receipt() {
    let taken = Mint::new(JournalId(7), [1; 16]).receipt(Incarnation(0xabc), 3);
    let of_0_1 = Receipt::plain(JournalId(7), 3);
    let told = |receipt: Receipt, origin: Option<Origin>| {
        let header = EntryHeader { received_at_ms: 5, origin, ..EntryHeader::default() };
        let webhook = webhook_of(Entry { receipt, header, ..entry(None) }, None);
        assert_eq!(webhook.receipt, receipt.to_string());
        (webhook.origin_receipt, webhook.origin_shown, webhook.received_at_ms)
    };
    let address = "0000000000000abc-3".to_string();
    assert_eq!(told(taken, None), (address.clone(), taken.to_string(), 5));
    assert_eq!(told(of_0_1, None), (of_0_1.to_string(), String::new(), 5));
    // routed or replayed since
    let elsewhere = Mint::new(JournalId(7), [1; 16]).receipt(Incarnation(0xabc), 9);
    for (first, expected) in
        [(taken, (address, taken.to_string(), 5)), (of_0_1, (of_0_1.to_string(), String::new(), 5))]
    {
        let header = EntryHeader { received_at_ms: 5, ..EntryHeader::default() };
        let origin = Entry { receipt: first, header, ..entry(None) }.origin();
        assert_eq!(told(elsewhere, Some(origin)), expected);
    }
    // routed by moehog 0.1
    let by_0_1 = Origin { receipt: of_0_1.to_string(), received_at_ms: 4, shown: String::new() };
    assert_eq!(told(elsewhere, Some(by_0_1)), (of_0_1.to_string(), String::new(), 4));
}

#[test]
fn the_first_mapping_lists_all_events() {
    let mut carried = carried(None);
    let filtered = mapped(0, 1, Some(mapped_event::Outcome::Filtered("rule 2".into())));
    carried.map(answer(vec![made(0, 0, "a"), filtered, made(2, 0, "b")]), "r1", &Config::default());
    assert_eq!(carried.events.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2]);
    let progress = carried.recorded(Duration::ZERO);
    assert_eq!((progress.mapping_revision.as_str(), progress.events.len()), ("r1", 3));
    assert!(!carried.settled());
    assert!(!carried.dirty, "nothing is recorded before something is final");
}

#[test]
fn a_bound_that_was_lowered_kills_nothing_that_was_mapped_before() {
    let two = || answer(vec![made(0, 0, "a"), made(1, 0, "b")]);
    let config = Config { max_events_per_webhook: 1, max_mapped_bytes_per_webhook: 1, ..Config::default() };
    let mut new = carried(None);
    new.map(two(), "r1", &config);
    assert!(new.settled() && new.progress.events[0].reason == "too_many_events");
    let one_is_delivered = Progress {
        events: vec![
            EventOutcome { state: EventState::Delivered.into(), ..EventOutcome::default() },
            EventOutcome { position: 1, state: EventState::Pending.into(), ..EventOutcome::default() },
        ],
        ..Progress::default()
    };
    let decided = Entry { decided: Some(Mapping { revision: "r1".into(), ..Mapping::default() }), ..entry(None) };
    for mut known in [carried(Some(one_is_delivered)), Carried::new(decided, None)] {
        known.map(two(), "r1", &config);
        assert!(!known.settled(), "{:?}", known.progress);
    }
}

#[test]
fn an_answer_that_breaks_its_contract_is_one_dead_event() {
    let short = Event { uuid: Bytes::from_static(&[1; 3]), ..event("x") };
    for events in [
        vec![made(1, 0, "a"), made(0, 0, "b")],
        vec![made(1, 0, "a"), made(1, 0, "b")],
        vec![mapped(0, 0, Some(mapped_event::Outcome::Event(short)))],
        vec![made(0, 0, "")],
    ] {
        let mut carried = carried(None);
        carried.map(answer(events), "r1", &Config::default());
        assert!(carried.settled() && carried.dirty);
        assert_eq!(carried.progress.events.len(), 1);
        assert_eq!(carried.progress.events[0].reason, "invalid_mapping");
    }
    let mut carried = carried(None);
    carried.map(TransformedWebhook::default(), "r1", &Config::default());
    assert_eq!(carried.progress.events[0].reason, "invalid_mapping");
}

#[test]
fn an_event_that_may_have_been_sent_outlives_a_rejection_of_its_webhook() {
    let kept =
        EventOutcome { mapped: Some(event("sent")), state: EventState::Pending.into(), ..EventOutcome::default() };
    let lost = EventOutcome { position: 1, state: EventState::Pending.into(), ..EventOutcome::default() };
    let mut carried = carried(Some(Progress { events: vec![kept, lost], ..Progress::default() }));
    assert!(carried.webhook.is_some(), "one event has no bytes: it is mapped anew");
    carried.reject(&Reason::new(Blame::Body, "unreadable_json", "line 1"));
    assert_eq!(carried.events, [(0, event("sent"))]);
    assert_eq!(carried.progress.events[1].state(), EventState::Dead);
    assert!(!carried.settled());
    carried.finish(0, EventState::Delivered, Reason::default());
    assert!(carried.settled());
}

#[test]
fn the_newest_requests_are_kept_and_events_point_at_them() {
    let mut carried = carried(None);
    carried.map(answer(vec![made(0, 0, "a"), made(1, 0, "b")]), "r1", &Config::default());
    for status in 1..=25 {
        let attempt = carried.add_attempt(&Answer { status, ..Answer::default() });
        carried.tried(if status == 3 { 1 } else { 0 }, status.into(), attempt);
        carried.prune_attempts();
    }
    assert_eq!(carried.progress.attempts.len(), MAX_ATTEMPTS_KEPT);
    assert_eq!(carried.progress.attempts[0].status, 6);
    assert_eq!((carried.progress.events[0].attempt, carried.progress.events[1].attempt), (20, 0));
}

/// What a stored event is, in short.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Final,
    Sent,
    Unsent,
}

fn known() -> impl Strategy<Value = Known> {
    prop_oneof![Just(Known::Final), Just(Known::Sent), Just(Known::Unsent)]
}

proptest! {
    #[test]
    fn matching_keeps_what_is_final_and_what_may_have_been_sent_and_loses_nothing(
        stored in proptest::collection::btree_map((0..6_u32, 0..2_u32), known(), 1..8),
        new in proptest::collection::btree_map((0..6_u32, 0..2_u32), 0..4_u8, 1..8),
    ) {
        let outcomes = stored.iter().map(|((position, ordinal), known)| EventOutcome {
            position: *position,
            ordinal: *ordinal,
            state: if *known == Known::Final { EventState::Delivered } else { EventState::Pending }.into(),
            mapped: (*known == Known::Sent).then(|| event("old bytes")),
            ..EventOutcome::default()
        });
        let stored_progress = Progress { events: outcomes.collect(), ..Progress::default() };
        let mut carried = carried(Some(stored_progress.clone()));
        let needs_mapping = stored.values().any(|known| *known == Known::Unsent)
            || stored.values().all(|known| *known == Known::Final);
        prop_assert_eq!(carried.webhook.is_some(), needs_mapping);
        if needs_mapping {
            let events = new.iter().map(|((position, ordinal), kind)| {
                let outcome = match kind {
                    0 => mapped_event::Outcome::Event(event("new bytes")),
                    1 => mapped_event::Outcome::Filtered("rule".into()),
                    2 => mapped_event::Outcome::Duplicate(true),
                    _ => mapped_event::Outcome::Dead(Reason::new(Blame::Body, "missing_event", "").into()),
                };
                mapped(*position, *ordinal, Some(outcome))
            });
            carried.map(answer(events.collect()), "r2", &Config::default());
        }
        let places: Vec<_> = carried.progress.events.iter().map(|event| (event.position, event.ordinal)).collect();
        prop_assert!(places.is_sorted_by(|a, b| a < b), "{:?}", places);
        let open = carried.progress.events.iter().filter(|event| !is_final(event)).count();
        prop_assert_eq!(open, carried.events.len(), "each open event has its bytes");
        prop_assert_eq!(carried.settled(), open == 0);
        for (place, known) in &stored {
            let index = places.iter().position(|at| at == place).expect("a stored event never disappears");
            let event = &carried.progress.events[index];
            let bytes = carried.events.iter().find(|(at, _)| *at as usize == index).map(|(_, event)| event.json.clone());
            match (known, new.get(place)) {
                (Known::Final, _) => prop_assert_eq!(event.state(), EventState::Delivered),
                (Known::Sent, _) => prop_assert_eq!(bytes.as_deref(), Some(&b"old bytes"[..])),
                (Known::Unsent, Some(0)) => prop_assert_eq!(bytes.as_deref(), Some(&b"new bytes"[..])),
                (Known::Unsent, Some(_)) => prop_assert!(is_final(event)),
                (Known::Unsent, None) => prop_assert_eq!(event.reason.as_str(), "remapped"),
            }
        }
        for place in new.keys().filter(|_| needs_mapping) {
            prop_assert!(places.contains(place), "a new event joins");
        }
    }
}
