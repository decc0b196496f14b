//! Events that go where their mapping rules say, each by its destination's lane.

use std::{collections::HashSet, time::Duration};

use moehog_journal::{
    Journal,
    memory::{Appends, Memory},
};
use moehog_proto::journal::{EventOutcome, EventState, Kind, Origin};
use moehog_relay::Config;
use tokio::time::Instant;

use crate::{
    rig::{Rig, webhook},
    sink::{Plan, delivered, hold, retry},
};

const MINUTE: Duration = Duration::from_secs(60);
const RULED: &str = "rule:main,eu,us";

impl Rig {
    /// Appends without a plan: that an event is sent is not checked against the others of its person.
    async fn append_ruled(&self, destination: &str, body: &str) -> u64 {
        let entry = webhook(destination, body);
        self.journal.append(entry, Instant::now() + MINUTE).await.unwrap().sequence
    }

    /// Persons in the order in which a destination took them.
    fn taken_by(&self, destination: &str) -> Vec<String> {
        let state = self.sink.state();
        state.gone_to.iter().filter(|(to, ..)| to == destination).map(|(_, person, _)| person.clone()).collect()
    }

    async fn handed_to(&self, outcome: &EventOutcome) -> moehog_journal::Entry {
        assert_eq!((outcome.state(), outcome.reason.as_str()), (EventState::Filtered, "routed"), "{outcome:?}");
        let receipt = self.journal.receipt(&outcome.routed_to).unwrap();
        self.journal.get(receipt).await.unwrap().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn each_event_goes_to_the_destination_of_its_rule_and_the_others_to_the_first() {
    let rig = Rig::started();
    let sequence = rig.append_ruled(RULED, "anna >eu\nbert\n!filter\n!dead\ncarl >us\ndora >eu\nemil >main").await;
    rig.settled(MINUTE).await;
    assert_eq!(rig.taken_by("eu"), ["anna", "dora"]);
    assert_eq!(rig.taken_by("us"), ["carl"]);
    assert_eq!(rig.taken_by("main"), ["bert", "emil"]);
    let events = rig.progress(sequence).await.events;
    assert_eq!((events[2].state(), events[3].state()), (EventState::Filtered, EventState::Dead));
    assert_eq!(events[0].routed_to, events[5].routed_to, "one entry a destination");
    let entry = rig.handed_to(&events[0]).await;
    let first = rig.journal.receipt_of(sequence);
    let origin =
        Origin { receipt: first.address(), shown: first.to_string(), received_at_ms: entry.header.received_at_ms };
    assert_eq!((entry.origin(), entry.header.kind()), (origin, Kind::Routed));
    assert_eq!((entry.header.destination.as_str(), entry.settled), ("eu", true));
    let outcomes = entry.progress.unwrap().events;
    let states: Vec<_> = outcomes.iter().map(|event| (event.position, event.state())).collect();
    assert_eq!(states, [(0, EventState::Delivered), (5, EventState::Delivered)], "its own events and no other");
    assert_eq!(outcomes[0].uuid, events[0].uuid, "the webhook first taken makes the uuid");
    let book = rig.journal.stats().ledger.book;
    assert_eq!((book.taken, book.mapped, book.delivered, book.filtered, book.dead), (4, 12, 5, 6, 1));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_held_stops_no_other_not_even_the_first() {
    for held in ["main", "eu"] {
        let rig = Rig::started();
        let began = Instant::now();
        rig.sink.script(move |request| {
            let held = request.destination == held && began.elapsed() < 60 * MINUTE;
            Plan::all(request, if held { hold } else { delivered })
        });
        for webhook in 0..300 {
            rig.append_ruled(RULED, &format!("a{webhook} >eu\nb{webhook}\nc{webhook} >us")).await;
        }
        let free: Vec<_> = ["main", "eu", "us"].into_iter().filter(|name| *name != held).collect();
        let all = |rig: &Rig| free.iter().all(|name| rig.taken_by(name).len() == 300);
        rig.until("the others have all", Duration::from_secs(10), all).await;
        assert!(rig.taken_by(held).is_empty());
        let lanes = rig.journal.lanes();
        assert_eq!(
            lanes.iter().map(|lane| (lane.destination.as_str(), lane.unsettled)).collect::<Vec<_>>(),
            [(held, 300)]
        );
        rig.settled(70 * MINUTE).await;
        assert_eq!(rig.taken_by(held).len(), 300);
    }
}

#[tokio::test(start_paused = true)]
async fn a_persons_events_keep_their_order_on_the_way_to_each_destination() {
    let rig = Rig::started();
    let mut refused = HashSet::new();
    rig.sink.script(move |request| {
        Plan::each(request, |event| if refused.insert(event.uuid.clone()) { retry(10) } else { delivered() })
    });
    for _ in 0..40 {
        rig.append_ruled(RULED, "anna >eu\nanna\nbert >eu").await;
    }
    rig.settled(60 * MINUTE).await;
    let state = rig.sink.state();
    for (destination, person, count) in [("eu", "anna", 40), ("eu", "bert", 40), ("main", "anna", 40)] {
        let of = |gone: &&(String, String, bytes::Bytes)| gone.0 == destination && gone.1 == person;
        let uuids: Vec<_> = state.gone_to.iter().filter(of).map(|gone| gone.2.clone()).collect();
        assert!(uuids.is_sorted() && uuids.len() == count, "{destination} {person}: {uuids:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_the_source_does_not_name_costs_the_event_and_is_told() {
    let rig = Rig::started();
    for destination in [RULED, "main", "key:phc_x"] {
        let sequence = rig.append_ruled(destination, "anna >mars\nbert").await;
        rig.settled(MINUTE).await;
        let events = rig.progress(sequence).await.events;
        assert_eq!((events[0].state(), events[0].reason.as_str()), (EventState::Dead, "rule_destination"));
        assert!(events[0].detail.contains("`mars`, which is not in `routes` of its source"), "{}", events[0].detail);
        assert!(!rig.taken_by("mars").contains(&"anna".to_string()));
    }
    assert_eq!(rig.taken_by("main"), ["bert", "bert"]);
    let sequence = rig.append_ruled("main", "anna >main").await;
    rig.settled(MINUTE).await;
    assert_eq!(rig.outcome(sequence, 0).await.state(), EventState::Delivered, "the one it goes to anyway");
}

#[tokio::test(start_paused = true)]
async fn a_mapping_that_changes_while_an_event_waits_sends_it_nowhere_else() {
    let rig = Rig::started();
    let began = Instant::now();
    rig.sink.script(move |request| {
        let held = began.elapsed() < 10 * MINUTE;
        Plan::all(request, if held { hold } else { delivered })
    });
    rig.append_ruled(RULED, "anna >eu,us\nbert\ncarl").await;
    let routed = |rig: &Rig| rig.journal.lanes().iter().all(|lane| !lane.destination.starts_with("rule:"));
    rig.until("all is handed on", MINUTE, routed).await;
    let mut rig = rig;
    rig.crash().await;
    rig.mapper.0.lock().revision = 1;
    rig.mapper.0.lock().forget = vec!["carl".into()];
    rig.start();
    rig.settled(20 * MINUTE).await;
    assert_eq!(
        (rig.taken_by("eu"), rig.taken_by("us"), rig.taken_by("main")),
        (vec!["anna".to_string()], vec![], vec!["bert".to_string()])
    );
}

#[tokio::test(start_paused = true)]
async fn whenever_the_process_dies_every_event_arrives_where_it_belongs_and_a_copy_has_its_uuid() {
    for seed in 0..40_u64 {
        let mut rig = Rig::started();
        for webhook in 0..30 {
            // each mapping sends it elsewhere
            rig.append_ruled(RULED, &format!("a{webhook} >eu,us,eu,us\nb{webhook}")).await;
            if webhook % 10 == 9 {
                tokio::time::sleep(Duration::from_micros((seed * 7919) % 45_000)).await;
                rig.crash().await;
                rig.mapper.0.lock().revision += 1;
                rig.start();
            }
        }
        rig.settled(60 * MINUTE).await;
        let state = rig.sink.state();
        let of = |destination: &str| -> HashSet<_> {
            state.gone_to.iter().filter(|gone| gone.0 == destination).map(|gone| gone.2.clone()).collect()
        };
        assert_eq!((of("eu").len() + of("us").len(), of("main").len()), (30, 30), "seed {seed}");
        let persons: HashSet<_> = state.gone_to.iter().map(|gone| (gone.0.clone(), gone.1.clone())).collect();
        assert_eq!(persons.len(), 60, "seed {seed}: each person at one destination");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_appended_is_handed_on_later() {
    for appends in [Appends::Full, Appends::Fail, Appends::Hang] {
        let rig = Rig::started();
        rig.append_ruled(RULED, "anna >eu\nbert").await;
        rig.journal.set_appends(appends);
        tokio::time::sleep(30 * MINUTE).await;
        assert!(rig.sink.state().gone_to.is_empty());
        rig.journal.set_appends(Appends::Work);
        rig.settled(MINUTE).await;
        assert_eq!((rig.taken_by("eu").len(), rig.taken_by("main").len()), (1, 1), "{appends:?}");
    }
}

/// Webhooks that wait for their mapping may fill a journal, and each needs room in it to be handed on.
#[tokio::test(start_paused = true)]
async fn a_journal_that_is_full_of_what_is_to_be_routed_empties_itself() {
    let mut rig = Rig::over(Memory::with_budget(200_000), Config::default());
    let mut taken = 0;
    loop {
        // a large one finds no room where the small one behind it does
        let padding = "x".repeat(if taken % 2 == 0 { 2000 } else { 10 });
        let body = format!("anna >eu\nbert\n@{padding}");
        if rig.journal.append(webhook(RULED, &body), Instant::now() + MINUTE).await.is_err() {
            break;
        }
        taken += 1;
    }
    rig.start();
    rig.settled(60 * MINUTE).await;
    assert!(taken > 100, "{taken}");
    assert_eq!((rig.taken_by("eu").len(), rig.taken_by("main").len()), (taken, taken));
}
