//! MoEngage's senders against receivers that answer as told.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod client;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use client::start;
use moehog_emulator::{
    moengage::{
        Draft, Fate, Mark, Outcome, Ramp, Rules, Sender, Target, Template,
        load::{self, Load},
    },
    posthog::{Action, Config, ResetAt, Rule, Running},
};

fn target(posthog: &Running) -> Target {
    format!("{}/capture/", posthog.url()).parse().unwrap()
}

fn answer(status: u16, body: &str) -> Rule {
    Rule::always(Action::Answer { status, body: body.into(), retry_after: None })
}

fn purchases(run: u32) -> Draft {
    Draft::new(Template::Purchase, "phc_a", run)
}

#[tokio::test]
async fn a_connector_counts_200_alone_as_sent_and_never_tries_again() {
    let posthog = start(Config::default());
    for status in [201, 202, 204, 429, 503] {
        posthog.faults().add(answer(status, "").times(1));
    }
    let sender = Sender::connector(target(&posthog));
    let report = sender.run(&Ramp::constant(100.0, Duration::from_millis(60)), purchases(1).bodies(0)).await;
    assert_eq!((report.attempted, report.sent, report.lost, report.events_sent), (6, 1, 5, 1));
    assert_eq!(report.statuses, BTreeMap::from([(200, 1), (201, 1), (202, 1), (204, 1), (429, 1), (503, 1)]));
    assert_eq!(posthog.books().counts().requests, 6);
    assert_eq!(report.latency.len(), 6);
}

#[tokio::test]
async fn a_connector_with_retries_tries_three_times_more() {
    let posthog = start(Config::default());
    posthog.faults().add(Rule::status(503).times(5));
    let sender = Sender::new(target(&posthog), Rules::connector_with_retries().scaled(0.001), 4);
    assert_eq!(
        sender.send(purchases(1).body(0)).await,
        Outcome::Answered { status: 503, body: "transient error, please retry".into() }
    );
    assert!(matches!(sender.send(purchases(1).body(1)).await, Outcome::Answered { status: 200, .. }));
    let attempts: Vec<_> = sender.journal().requests().iter().map(|request| request.attempts.len()).collect();
    assert_eq!(attempts, [4, 2]);
}

#[tokio::test]
async fn a_connector_waits_as_long_as_its_timeout_and_no_longer() {
    assert_eq!(Rules::connector().timeout, Duration::from_secs(5));
    let posthog = start(Config::default());
    posthog.faults().add(Rule::always(Action::Delay { ms: 400 }));
    let sender = Sender::new(target(&posthog), Rules::connector().timeout(Duration::from_millis(100)), 4);
    let begun = Instant::now();
    assert_eq!(sender.send(purchases(1).body(0)).await, Outcome::TimedOut);
    assert!((100..350).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let patient = Sender::new(target(&posthog), Rules::connector(), 4);
    assert!(matches!(patient.send(purchases(1).body(0)).await, Outcome::Answered { status: 200, .. }));
}

#[tokio::test]
async fn streams_take_any_2xx_and_send_the_same_batch_again_until_it_is_lost() {
    let posthog = start(Config::default());
    posthog.faults().add(answer(202, "").times(1));
    posthog.faults().add(Rule::status(500).times(5));
    let sender = Sender::new(target(&posthog), Rules::streams().scaled(0.0005), 4);
    let draft = Draft::new(Template::Streams { events: 100 }, "", 3);
    assert!(matches!(sender.send(draft.body(0)).await, Outcome::Answered { status: 202, .. }));
    let begun = Instant::now();
    assert!(matches!(sender.send(draft.body(100)).await, Outcome::Answered { status: 500, .. }));
    assert!(begun.elapsed() >= Duration::from_millis(105), "15, 30 and 60 ms");
    let exchanges = posthog.books().exchanges();
    assert_eq!(exchanges.len(), 5);
    assert!(exchanges[1..].iter().all(|exchange| exchange.body == exchanges[1].body));
    let fates = sender.journal().fates();
    assert_eq!(fates.len(), 200);
    assert_eq!(fates[&Mark { run: 3, number: 99 }], Fate::Promised { receipt: None });
    assert!(matches!(fates[&Mark { run: 3, number: 100 }], Fate::Refused { status: Some(500), .. }));
}

#[tokio::test]
async fn the_journal_says_what_a_receiver_owes_each_event() {
    let posthog = start(Config::default());
    let receipt = r#"{"status":"Ok","receipt":"r-1","trace_id":"t"}"#;
    posthog.faults().add(answer(200, receipt).times(1));
    posthog.faults().add(answer(413, "too large").times(1));
    posthog.faults().add(Rule::always(Action::Reset { at: ResetAt::AfterReading }).times(1));
    posthog.faults().add(Rule::always(Action::AnswerLost).times(1));
    let sender = Sender::connector(target(&posthog));
    for number in 0..4 {
        sender.send(purchases(9).body(number)).await;
    }
    posthog.down().await;
    assert!(matches!(sender.send(purchases(9).body(4)).await, Outcome::Refused(_)));
    let fates: Vec<_> = sender.journal().fates().into_values().collect();
    assert_eq!(fates[0], Fate::Promised { receipt: Some("r-1".into()) });
    assert!(matches!(fates[1], Fate::Refused { status: Some(413), .. }));
    assert_eq!((&fates[2], &fates[3]), (&Fate::Open, &Fate::Open));
    assert!(matches!(fates[4], Fate::Refused { status: None, .. }));
    // the lost answer's event is in the receiver's books under its mark, the others are not
    let stored: Vec<_> = posthog.books().arrivals().iter().filter_map(|event| Mark::find(&event.raw)).collect();
    assert_eq!(stored, [Mark { run: 9, number: 3 }]);
}

#[tokio::test]
async fn an_open_loop_does_not_wait_for_its_receiver_and_counts_the_waiting() {
    let posthog = start(Config::default());
    // every answer takes 300 ms, and there is one connection: the last of 5 waits for all before it
    posthog.faults().add(Rule::always(Action::Delay { ms: 100 }));
    let sender = Sender::new(target(&posthog), Rules::connector(), 1);
    let report = sender.run(&Ramp::constant(1_000.0, Duration::from_millis(5)), purchases(1).bodies(0)).await;
    assert_eq!((report.attempted, report.sent), (5, 5));
    assert!(report.latency.max() >= Duration::from_millis(490), "{:?}", report.latency.max());
    assert!(report.latency.quantile(0.2) < Duration::from_millis(300));

    let wide = Sender::new(target(&posthog), Rules::connector(), 64);
    let report = wide.run(&Ramp::constant(200.0, Duration::from_millis(200)), purchases(2).bodies(0)).await;
    assert_eq!(report.sent, 40);
    assert!(
        report.elapsed >= Duration::from_millis(295) && report.elapsed < Duration::from_secs(2),
        "{:?}",
        report.elapsed
    );
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_loses_nothing() {
    let posthog = start(Config::default());
    let sender = Sender::connector(target(&posthog));
    assert!(matches!(sender.send(purchases(1).body(0)).await, Outcome::Answered { status: 200, .. }));
    posthog.down().await;
    posthog.up().unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(matches!(sender.send(purchases(1).body(1)).await, Outcome::Answered { status: 200, .. }));
}

#[tokio::test]
async fn an_early_refusal_of_a_large_body_is_read() {
    let posthog = start(Config { max_body_bytes: 1 << 20, ..Config::default() });
    let sender = Sender::connector(target(&posthog));
    let outcome = sender.send(Draft::sized(Template::Purchase, "phc_a", 1, 1_500_000).body(0)).await;
    assert!(matches!(outcome, Outcome::Answered { status: 413, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_closed_loop_sends_each_number_once() {
    let posthog = start(Config::default());
    let load = Load { requests: Some(500), connections: 8, run: 5, users: 50, ..Load::connector(target(&posthog)) };
    let report = load::run(load).await.unwrap();
    assert_eq!((report.requests, report.events_sent, report.broken), (500, 500, 0));
    assert_eq!((report.statuses, report.latency.len()), (BTreeMap::from([(200, 500)]), 500));
    let mut marks: Vec<_> =
        posthog.books().arrivals().iter().map(|event| Mark::find(&event.raw).unwrap().number).collect();
    marks.sort_unstable();
    assert_eq!(marks, (0..500).collect::<Vec<_>>());
    assert!(posthog.books().exchanges().iter().all(|exchange| exchange.wire_bytes == 470));
    assert_eq!(posthog.books().counts().persons, 50);

    let timed = Load { duration: Some(Duration::from_millis(100)), ..Load::streams(target(&posthog)) };
    let report = load::run(timed).await.unwrap();
    assert!(report.requests > 0 && report.elapsed >= Duration::from_millis(100));
    // a Streams batch is no shape of PostHog's
    assert_eq!(report.statuses.keys().collect::<Vec<_>>(), [&400]);

    posthog.down().await;
    assert!(load::run(Load { requests: Some(1), ..Load::connector(target(&posthog)) }).await.is_err());
}
