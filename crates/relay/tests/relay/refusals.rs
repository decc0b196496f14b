//! A destination that refuses: an event is dead where the fault is its own, and not of another's.

use std::time::Duration;

use moehog_journal::Journal;
use moehog_proto::{event::Event, journal::EventState};
use moehog_relay::GateState;
use tokio::time::{Instant, sleep};

use crate::{
    rig::Rig,
    sink::{Plan, delivered, failed, refused},
};

const MINUTE: Duration = Duration::from_secs(60);

fn is_bad(event: &Event) -> bool {
    event.distinct_id.starts_with("bad")
}

fn verdict_of(event: &Event) -> moehog_proto::delivery::EventVerdict {
    if is_bad(event) { refused() } else { delivered() }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_refuses_everything_for_a_minute_costs_no_event() {
    let rig = Rig::started();
    let began = Instant::now();
    rig.sink.script(move |request| match began.elapsed() < MINUTE {
        true => Plan::refusing(request),
        false => Plan::each(request, verdict_of),
    });
    for second in 0..60 {
        for part in 0..5 {
            let persons: Vec<_> = (0..20).map(|person| format!("person{second}-{part}-{person}")).collect();
            let bad = if second % 10 == 3 && part == 0 { format!("\nbad{second}") } else { String::new() };
            rig.append(persons.join("\n") + &bad).await;
            sleep(Duration::from_millis(200)).await;
        }
        if second == 40 {
            assert_eq!(rig.journal.stats().ledger.book.dead, 0);
            let state = rig.status().lanes()[0].state.clone();
            assert!(matches!(&state, GateState::Held { reason } if reason.code == "refuses_everything"), "{state:?}");
        }
    }
    // halved down to single events, eight of which are enough
    let requests: usize = rig.sink.state().calls.iter().map(|(_, events)| (2 * events.len() - 1).min(24)).sum();
    let sizes: Vec<_> = rig.sink.state().calls.iter().map(|(_, events)| events.len()).collect();
    assert!(requests < 200, "{requests} requests in a minute of which each was refused, in calls of {sizes:?} events");
    // what is taken now decides; of a destination that took what it had refused it takes a while
    for webhook in 0..300 {
        rig.append(format!("later{webhook}")).await;
        sleep(Duration::from_secs(1)).await;
    }
    rig.settled(MINUTE).await;
    let ledger = rig.journal.stats().ledger;
    assert_eq!((ledger.book.delivered, ledger.book.dead), (6000 + 300, 6));
}

#[tokio::test(start_paused = true)]
async fn a_bad_event_is_dead_once_another_was_taken_between_its_refusals() {
    let rig = Rig::started();
    rig.sink.script(|request| Plan::each(request, verdict_of));
    let sequence = rig.append("anna\nbad").await;
    let after = rig.append("bad").await;
    sleep(5 * MINUTE).await;
    let bad = rig.outcome(sequence, 1).await;
    assert_eq!(bad.state(), EventState::Pending, "nothing was taken since it was refused first");
    assert_eq!((bad.reason.as_str(), bad.detail.as_str()), ("refused", "PostHog said no"));
    assert_eq!(rig.outcome(sequence, 0).await.state(), EventState::Delivered, "only its person waits");
    rig.append("bob").await;
    sleep(MINUTE).await;
    let bad = rig.outcome(sequence, 1).await;
    let told = (bad.state(), bad.reason.as_str(), bad.detail.as_str());
    assert_eq!(told, (EventState::Dead, "refused", "PostHog said no"));
    let next = rig.outcome(after, 0).await;
    assert_eq!(next.state(), EventState::Pending, "its person's next one is judged for itself");
    rig.append("bob").await;
    rig.settled(MINUTE).await;
    assert_eq!(rig.status().lanes()[0].state, GateState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_posts_only_bad_events_delays_nobody() {
    let rig = Rig::started();
    // delivery tries no more than the first eight alone where none is taken
    rig.sink.script(|request| match request.events.iter().all(is_bad) {
        true => Plan::refusing(request),
        false => Plan::each(request, verdict_of),
    });
    for webhook in 0..6000 {
        rig.append(format!("bad{webhook}")).await;
    }
    sleep(10 * MINUTE).await;
    assert!(matches!(rig.status().lanes()[0].state, GateState::Held { .. }));
    for webhook in 0..20 {
        let sequence = rig.append(format!("good{webhook}")).await;
        let began = Instant::now();
        while rig.outcome(sequence, 0).await.state() != EventState::Delivered {
            let waits = began.elapsed() > Duration::from_secs(4);
            assert!(!waits, "good event {webhook} waits: {:?}", rig.status().lanes());
            sleep(Duration::from_secs(1)).await;
        }
        sleep(MINUTE / 2).await;
        rig.append(format!("bad too {webhook}")).await;
        sleep(MINUTE / 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn bad_events_beyond_what_memory_holds_step_aside_and_are_judged_in_turn() {
    let mut rig = Rig::new();
    // some hundred of 4,000
    rig.config.in_flight_bytes = 256 * 1024;
    rig.sink.script(|request| match request.events.iter().all(is_bad) {
        true => Plan::refusing(request),
        false => Plan::each(request, verdict_of),
    });
    rig.start();
    for webhook in 0..4000 {
        // the person of the last one has more behind it, and good ones are hidden among them
        rig.append(format!("bad{}", webhook.min(3990))).await;
        if webhook % 1000 == 600 {
            rig.append(format!("hidden{webhook}")).await;
        }
    }
    sleep(10 * MINUTE).await;
    for webhook in 0..20 {
        let sequence = rig.append(format!("good{webhook}")).await;
        let began = Instant::now();
        while rig.outcome(sequence, 0).await.state() != EventState::Delivered {
            let waits = began.elapsed() > Duration::from_secs(10);
            assert!(!waits, "good event {webhook} waits: {:?}", rig.status().lanes());
            sleep(Duration::from_secs(1)).await;
        }
        sleep(MINUTE / 2).await;
    }
    let began = Instant::now();
    while rig.journal.stats().ledger.waiting > 0 {
        let lanes = rig.status().lanes();
        assert!(lanes[0].in_flight_bytes <= 256 * 1024, "{lanes:?}");
        assert!(began.elapsed() < 120 * MINUTE, "bad ones wait: {lanes:?} {:?}", rig.journal.stats());
        rig.append(format!("new{}", began.elapsed().as_secs())).await;
        sleep(Duration::from_secs(1)).await;
    }
    rig.check().await;
    assert_eq!(rig.journal.stats().ledger.book.dead, 4000);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_while_nothing_else_is_sent_is_dead_after_a_day() {
    let rig = Rig::started();
    rig.sink.script(|request| Plan::each(request, verdict_of));
    let sequence = rig.append("bad").await;
    sleep(23 * 60 * MINUTE).await;
    assert_eq!(rig.outcome(sequence, 0).await.state(), EventState::Pending);
    rig.settled(2 * 60 * MINUTE).await;
    let bad = rig.outcome(sequence, 0).await;
    assert_eq!((bad.state(), bad.reason.as_str()), (EventState::Dead, "refused_alone"));
    assert!(bad.detail.ends_with("the last answer was refused: PostHog said no"), "{}", bad.detail);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_took_what_it_refused_must_refuse_more_often() {
    let rig = Rig::started();
    let mut refusals = std::collections::HashMap::from([("once".to_owned(), 1), ("thrice".to_owned(), 3)]);
    rig.sink.script(move |request| {
        Plan::each(request, |event| match refusals.get_mut(&event.distinct_id) {
            Some(left) if *left > 0 => {
                *left -= 1;
                refused()
            }
            _ => delivered(),
        })
    });
    for person in ["once", "thrice"] {
        rig.append(person).await;
        for webhook in 0..30 {
            rig.append(format!("{person}{webhook}")).await;
            sleep(Duration::from_secs(1)).await;
        }
    }
    rig.settled(MINUTE).await;
    assert_eq!(rig.journal.stats().ledger.book.dead, 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_refused_past_the_horizon_is_not_dead_of_one_failure() {
    let mut rig = Rig::new();
    rig.config.horizon = 10 * MINUTE;
    let mut failures = 3;
    let began = Instant::now();
    rig.sink.script(move |request| {
        Plan::each(request, |_| {
            if began.elapsed() < 11 * MINUTE {
                return refused();
            }
            failures -= i32::from(failures > 0);
            if failures > 0 { failed() } else { delivered() }
        })
    });
    rig.start();
    rig.append("anna").await;
    rig.settled(30 * MINUTE).await;
    assert_eq!(rig.journal.stats().ledger.book.dead, 0);
}
