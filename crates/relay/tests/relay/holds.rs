//! A destination that is held or takes nothing: its lane waits, loses nothing, and no other lane notices.

use std::time::Duration;

use moehog_journal::Journal;
use moehog_proto::journal::EventState;
use moehog_relay::{Config, GateState, Relay};
use moehog_transport::Link;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    rig::Rig,
    sink::{Plan, delivered, hold, retry},
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_held_destination_waits_and_the_others_flow() {
    let rig = Rig::started();
    let began = Instant::now();
    rig.sink.script(move |request| {
        let held = request.destination == "wrong" && began.elapsed() < 60 * MINUTE;
        Plan::all(request, if held { hold } else { delivered })
    });
    for webhook in 0..200 {
        rig.append_to("wrong", format!("person{webhook}")).await;
        rig.append_to("right", format!("other{webhook}")).await;
    }
    let right = |rig: &Rig| rig.sink.state().taken.len() == 200;
    rig.until("the right destination has all", Duration::from_secs(5), right).await;
    sleep(30 * MINUTE).await;
    let lanes = rig.status().lanes();
    let wrong = lanes.iter().find(|lane| lane.destination == "wrong").unwrap();
    assert!(matches!(&wrong.state, GateState::Held { reason } if reason.remedy == "set destinations.default.api_key"));
    assert_eq!(wrong.unsettled, 200);
    let probes: Vec<_> = rig.sink.state().calls.iter().filter(|call| call.0 == "wrong").skip(2).cloned().collect();
    assert!(probes.iter().all(|(_, events)| events.len() == 1), "{probes:?}");
    assert!((60..150).contains(&probes.len()), "{} probes in half an hour", probes.len());
    assert_ne!(probes[0].1, probes[1].1, "another person's event each time");
    rig.settled(40 * MINUTE).await;
    let ledger = rig.journal.stats().ledger;
    assert_eq!(ledger.book.delivered, 400);
    assert_eq!(rig.outcome(1, 0).await.attempts, 0, "a hold is no attempt");
}

#[tokio::test(start_paused = true)]
async fn a_hold_stops_the_horizons_clock() {
    let mut rig = Rig::new();
    rig.config.horizon = 60 * MINUTE;
    rig.start();
    let began = Instant::now();
    rig.sink.script(move |request| {
        let held = began.elapsed() < 1000 * MINUTE;
        let first = began.elapsed() < 1001 * MINUTE;
        Plan::all(
            request,
            if held {
                hold
            } else if first {
                || retry(0)
            } else {
                delivered
            },
        )
    });
    let sequence = rig.append("anna").await;
    rig.settled(1100 * MINUTE).await;
    assert_eq!(rig.outcome(sequence, 0).await.state(), EventState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_outage_opens_the_circuit_costs_little_and_ends_within_seconds() {
    let rig = Rig::started();
    let began = Instant::now();
    rig.sink.script(move |request| {
        let out = began.elapsed() < 60 * MINUTE;
        Plan::all(request, if out { || retry(0) } else { delivered })
    });
    for webhook in 0..2000 {
        rig.append(format!("person{webhook}")).await;
    }
    sleep(60 * MINUTE - began.elapsed()).await;
    assert!(matches!(rig.status().lanes()[0].state, GateState::CircuitOpen { .. }));
    let calls = rig.sink.state().calls.clone();
    let sent: usize = calls.iter().map(|(_, events)| events.len()).sum();
    assert!(sent < 6000, "{sent} events were sent in an hour's outage");
    let persons: std::collections::HashSet<_> = calls[10..].iter().flat_map(|(_, events)| events).collect();
    assert!(persons.len() > 1000, "{} persons were probed", persons.len());
    rig.settled(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_chokes_posthog_does_not_keep_the_circuit_open() {
    let rig = Rig::started();
    let began = Instant::now();
    rig.sink.script(move |request| {
        let out = began.elapsed() < MINUTE;
        let bad = request.events.iter().any(|event| event.distinct_id == "person0");
        Plan::all(request, if out || bad { || retry(0) } else { delivered })
    });
    for webhook in 0..20 {
        rig.append(format!("person{webhook}")).await;
    }
    sleep(3 * MINUTE).await;
    assert_eq!(rig.sink.state().taken.len(), 19);
    assert_eq!(rig.status().lanes()[0].in_flight_events, 1);
}

#[tokio::test(start_paused = true)]
async fn memory_is_flat_while_a_destination_is_held_whatever_waits() {
    let mut rig = Rig::new();
    rig.config.in_flight_bytes = 1024 * 1024;
    rig.sink.script(|request| Plan::all(request, hold));
    for webhook in 0..20_000 {
        rig.append(format!("person{webhook}\nother{webhook}")).await;
    }
    rig.start();
    let mut most = 0;
    for _ in 0..200 {
        sleep(Duration::from_millis(500)).await;
        most = most.max(rig.status().lanes()[0].in_flight_bytes);
    }
    assert!(most <= 1024 * 1024, "{most} bytes in flight");
    let lane = rig.status().lanes().remove(0);
    assert_eq!(lane.unsettled, 20_000);
    assert!(lane.in_flight_entries < 4000, "{lane:?}");
    rig.sink.script(|request| Plan::all(request, delivered));
    rig.settled(5 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_service_that_is_not_there_costs_no_attempt_and_no_trying() {
    let rig = Rig::new();
    // a real address that nobody listens on
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("list://{}", free.local_addr().unwrap()).parse().unwrap();
    drop(free);
    let gone = moehog_transport::connect(&address, &moehog_transport::ClientConfig::default());
    let transformer = moehog_proto::channel(moehog_proto::transformer::server(rig.mapper.clone()));
    let relay = Relay::new(
        rig.journal.clone(),
        Link::to_one(transformer),
        gone,
        Config { horizon: Duration::from_secs(1), ..Config::default() },
    );
    let status = relay.status();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(relay.run(shutdown.clone()));
    let sequence = rig.append("anna").await;
    let is_open = |state: &GateState| matches!(state, GateState::CircuitOpen { .. });
    rig.until("the circuit opens", MINUTE, |_| status.lanes().iter().any(|lane| is_open(&lane.state))).await;
    sleep(MINUTE).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(rig.progress(sequence).await.events, [], "nothing was sent, so nothing is recorded");
    let mut rig = rig;
    rig.start();
    rig.settled(MINUTE).await;
    assert_eq!(rig.outcome(sequence, 0).await.attempts, 0);
}
