//! What a bad event, a slow destination and a dying delivery service cost.

use std::{collections::HashSet, sync::Arc, time::Duration};

use moehog_journal::Journal;
use moehog_proto::{delivery::EventVerdict, journal::EventState};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::{
    rig::Rig,
    sink::{Plan, delivered, failed, hold, in_doubt, overloaded, rejected, retry},
};

const MINUTE: Duration = Duration::from_secs(60);

fn persons(from: usize, to: usize) -> String {
    let lines: Vec<_> = (from..to).map(|person| format!("person{person}")).collect();
    lines.join("\n")
}

#[tokio::test(start_paused = true)]
async fn an_event_that_breaks_its_call_ends_up_alone_and_costs_itself() {
    let mut rig = Rig::new();
    rig.config.horizon = Duration::from_secs(3600);
    let sequence = rig.append(persons(0, 300)).await;
    rig.sink.script(move |request| {
        let bad = request.events.iter().any(|event| event.position == 77);
        let verdict = match (bad, request.events.len()) {
            (true, 1) => failed,
            (true, _) => in_doubt,
            (false, _) => delivered,
        };
        Plan::all(request, verdict)
    });
    rig.start();
    let one_left = |rig: &Rig| rig.sink.state().taken.len() == 299;
    rig.until("all others are delivered", 2 * MINUTE, one_left).await;
    let calls = rig.sink.state().calls.len();
    assert!(calls <= 20, "{calls} calls to isolate one event of 300");
    // while the lane delivers, and alone with that event, the horizon's clock runs
    for minute in 0..90 {
        rig.append(format!("other{minute}")).await;
        sleep(MINUTE).await;
    }
    rig.settled(MINUTE).await;
    let bad = rig.outcome(sequence, 77).await;
    assert_eq!((bad.state(), bad.reason.as_str()), (EventState::Dead, "expired"));
    assert!(bad.detail.contains("status 500"), "{}", bad.detail);
    let ledger = rig.journal.stats().ledger;
    assert_eq!((ledger.book.delivered, ledger.book.dead), (299 + 90, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_a_dead_letter_with_posthogs_words_and_the_rest_is_delivered() {
    let rig = Rig::started();
    rig.sink.script(|request| Plan::each(request, |event| if event.position == 7 { rejected() } else { delivered() }));
    let sequence = rig.append(persons(0, 300)).await;
    rig.settled(MINUTE).await;
    let bad = rig.outcome(sequence, 7).await;
    assert_eq!((bad.reason.as_str(), bad.detail.as_str()), ("refused", "PostHog said no"));
    let progress = rig.progress(sequence).await;
    assert_eq!(progress.attempts[bad.attempt as usize - 1].status, 503);
    assert_eq!(progress.attempts[bad.attempt as usize - 1].answer, "body");
    assert_eq!(rig.sink.state().calls.len(), 1);
    let letters = rig.journal.dead_letters(moehog_journal::DeadLetterQuery::default()).await.unwrap();
    assert_eq!(letters.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_died_is_resent_byte_for_byte_though_the_mapping_changed_and_the_process_died() {
    let mut rig = Rig::started();
    let mut calls = 0;
    rig.sink.script(move |request| {
        calls += 1;
        let plan = Plan::all(request, if calls == 1 { delivered } else { || retry(600_000) });
        if calls == 1 { plan.dying() } else { plan }
    });
    let sequence = rig.append("anna\nbob").await;
    sleep(Duration::from_millis(100)).await;
    let first = rig.progress(sequence).await;
    let kept = first.events[0].mapped.clone().expect("its bytes are recorded before it is sent again");
    assert_eq!((first.attempts[0].status, first.events[0].attempt), (0, 1));
    assert!(first.attempts[0].answer.contains("connection reset"), "{first:?}");
    sleep(Duration::from_secs(5)).await;
    rig.crash().await;
    rig.mapper.0.lock().revision = 9;
    rig.mapper.0.lock().calls.clear();
    rig.sink.script(|request| Plan::all(request, delivered));
    rig.start();
    rig.settled(MINUTE).await;
    assert!(kept.json.starts_with(b"{\"person\":\"anna\""));
    assert!(rig.mapper.0.lock().calls.is_empty(), "nothing is mapped anew: all its bytes are kept");
    let progress = rig.progress(sequence).await;
    assert_eq!(progress.mapping_revision, "revision 0");
    assert!(progress.events.iter().all(|event| event.mapped.is_none()), "settled events keep no bytes");
}

#[tokio::test(start_paused = true)]
async fn a_new_mapping_skips_final_events_lets_new_ones_join_and_filters_vanished_ones() {
    let mut rig = Rig::started();
    rig.sink.script(|request| {
        // only anna is tried; the rest of the call was not
        Plan::each(request, |event| if event.distinct_id == "anna" { delivered() } else { crate::sink::untried() })
    });
    rig.mapper.0.lock().forget = vec!["dora".into()];
    // by which mapping it was sent is not known then
    rig.mapper.0.lock().keeps_to_itself = true;
    let sequence = rig.append("anna\nbob\ncarl\ndora").await;
    rig.until("anna is recorded", MINUTE, |rig| rig.journal.stats().ledger.book.delivered == 1).await;
    rig.crash().await;
    rig.mapper.0.lock().forget = vec!["carl".into()];
    rig.sink.script(|request| Plan::all(request, delivered));
    rig.start();
    rig.settled(MINUTE).await;
    let states: Vec<_> =
        rig.progress(sequence).await.events.iter().map(|event| (event.position, event.state())).collect();
    let delivered = EventState::Delivered;
    assert_eq!(states, [(0, delivered), (1, delivered), (2, EventState::Filtered), (3, delivered)]);
    assert_eq!(rig.outcome(sequence, 2).await.reason, "remapped");
    assert_eq!(rig.sink.state().taken, [(sequence, 0), (sequence, 1), (sequence, 3)]);
}

/// One event is sent, and the process dies before it is known what became of that; meanwhile the mapping changes. Sent are the
/// bytes of the first revision, unless the transformer cannot map by it again.
#[tokio::test(start_paused = true)]
async fn what_was_being_sent_when_the_process_died_is_mapped_as_it_was() {
    let mut rig = Rig::started();
    rig.sink.script(|request| Plan { after: Duration::from_secs(5), ..Plan::all(request, delivered) });
    let sent = rig.append("anna\nbob").await;
    sleep(Duration::from_secs(1)).await;
    // what is behind it was not sent: it follows the mapping
    let behind = rig.append("anna").await;
    sleep(Duration::from_secs(1)).await;
    rig.crash().await;
    rig.mapper.0.lock().revision = 1;
    rig.mapper.0.lock().forget = vec!["bob".into()];
    rig.start();
    rig.settled(MINUTE).await;
    let revision = async |sequence| rig.progress(sequence).await.mapping_revision;
    assert_eq!((revision(sent).await, revision(behind).await), ("revision 0".into(), "revision 1".into()));
    assert_eq!(rig.progress(sent).await.former_revision, "");
    assert_eq!(rig.journal.stats().ledger.book.delivered, 3, "bob too, who is left out now");
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_mapped_as_it_was_says_so() {
    let mut rig = Rig::started();
    rig.sink.script(|request| Plan { after: Duration::from_secs(5), ..Plan::all(request, delivered) });
    let sent = rig.append("anna").await;
    sleep(Duration::from_secs(1)).await;
    rig.crash().await;
    rig.sink.state().sent.clear();
    (rig.mapper.0.lock().revision, rig.mapper.0.lock().maps_as_now) = (1, true);
    rig.start();
    rig.settled(MINUTE).await;
    let progress = rig.progress(sent).await;
    assert_eq!((&*progress.mapping_revision, &*progress.former_revision), ("revision 1", "revision 0"));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for() {
    let rig = Rig::started();
    let began = Instant::now();
    rig.sink.script(move |request| {
        let early = began.elapsed() < Duration::from_secs(40);
        Plan::all(request, if early { || retry(45_000) } else { delivered })
    });
    rig.append("anna").await;
    rig.settled(2 * MINUTE).await;
    assert!(began.elapsed() >= Duration::from_secs(45));
    assert_eq!(rig.sink.state().calls.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_horizon_counts_trying_and_not_the_process_that_was_down() {
    let mut rig = Rig::new();
    rig.config.horizon = 60 * MINUTE;
    // a neighbour is delivered all the time, so that the circuit stays closed
    rig.sink.script(|request| {
        let bad = |event: &moehog_proto::event::Event| event.distinct_id == "anna";
        Plan::each(request, |event| if bad(event) { failed() } else { delivered() })
    });
    rig.start();
    let sequence = rig.append("anna").await;
    for minute in 0..50 {
        rig.append(format!("person{minute}")).await;
        sleep(MINUTE / 2).await;
        rig.append(format!("person{minute}")).await;
        sleep(MINUTE / 2).await;
    }
    assert!(rig.outcome(sequence, 0).await.attempts >= 5);
    rig.crash().await;
    sleep(600 * MINUTE).await;
    rig.start();
    sleep(MINUTE).await;
    assert_eq!(rig.outcome(sequence, 0).await.state(), EventState::Pending, "50 minutes of trying are not 60");
    for minute in 0..20 {
        rig.append(format!("person{minute}")).await;
        sleep(MINUTE).await;
    }
    let outcome = rig.outcome(sequence, 0).await;
    assert_eq!((outcome.state(), outcome.reason.as_str()), (EventState::Dead, "expired"));
    rig.settled(MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn overload_counts_as_no_attempt_and_halves_the_window() {
    let rig = Rig::started();
    let began = Instant::now();
    rig.sink.script(move |request| {
        let busy = began.elapsed() < 10 * MINUTE;
        Plan::all(request, if busy { overloaded } else { delivered })
    });
    let sequence = rig.append("anna").await;
    sleep(5 * MINUTE).await;
    assert_eq!(rig.status().lanes()[0].window, 1);
    assert_eq!(rig.status().lanes()[0].state, moehog_relay::GateState::Open, "it says nothing of the destination");
    assert!(rig.sink.state().calls.len() > 100);
    rig.settled(10 * MINUTE).await;
    assert_eq!(rig.outcome(sequence, 0).await.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_webhook_twice_travels_in_two_calls() {
    let rig = Rig::new();
    for _ in 0..2 {
        rig.append("anna uuid=5\nbob uuid=6").await;
    }
    rig.append("carl uuid=5").await;
    let mut rig = rig;
    rig.start();
    rig.settled(MINUTE).await;
    assert_eq!(rig.sink.state().taken.iter().collect::<HashSet<_>>().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_window_grows_while_full_calls_wait_and_calls_are_full() {
    let mut rig = Rig::new();
    rig.sink.script(|request| Plan { after: Duration::from_millis(200), ..Plan::all(request, delivered) });
    for webhook in 0..100 {
        rig.append(persons(webhook * 100, webhook * 100 + 100)).await;
    }
    rig.start();
    rig.settled(MINUTE).await;
    let state = rig.sink.state();
    assert!(
        state.most_under_way > 2 && state.most_under_way <= rig.config.deliver_max_calls,
        "{}",
        state.most_under_way
    );
    assert!(state.calls.len() <= 30, "{} calls for 10,000 events", state.calls.len());
}

#[tokio::test(start_paused = true)]
async fn a_big_webhook_is_many_calls_and_its_progress_survives_a_crash() {
    let mut rig = Rig::started();
    rig.sink.script(|request| Plan { after: Duration::from_millis(500), ..Plan::all(request, delivered) });
    let sequence = rig.append(persons(0, 4000)).await;
    rig.until("half is recorded", MINUTE, |rig| rig.journal.stats().ledger.book.delivered >= 2000).await;
    rig.crash().await;
    rig.start();
    rig.settled(MINUTE).await;
    let calls = rig.sink.state().calls.clone();
    let sent: usize = calls.iter().map(|(_, events)| events.len()).sum();
    assert!(sent <= 4000 + 1500, "{sent} events were sent for 4000");
    assert!(rig.progress(sequence).await.events.iter().all(|event| event.state() == EventState::Delivered));
    let seen: HashSet<_> = calls.iter().flat_map(|(_, events)| events).collect();
    assert_eq!(seen.len(), 4000);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_webhook_and_one_without_events_are_one_dead_event_each() {
    let rig = Rig::started();
    let rejected = rig.append("@reject").await;
    let empty = rig.append("@empty").await;
    let parts = rig.append("!filter\n!duplicate\n!dead").await;
    rig.settled(MINUTE).await;
    for (sequence, reason) in [(rejected, "unreadable_json"), (empty, "no_events")] {
        let progress = rig.progress(sequence).await;
        assert_eq!(progress.events.len(), 1);
        assert_eq!((progress.events[0].state(), progress.events[0].reason.as_str()), (EventState::Dead, reason));
    }
    let states: Vec<_> = rig.progress(parts).await.events.iter().map(|event| event.state()).collect();
    assert_eq!(states, [EventState::Filtered, EventState::Duplicate, EventState::Dead]);
    assert!(rig.sink.state().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn behind_a_retry_a_person_waits_and_others_do_not() {
    let rig = Rig::started();
    let began = Instant::now();
    rig.sink.script(move |request| {
        let early = began.elapsed() < Duration::from_secs(20);
        Plan::each(request, |event| if early && event.distinct_id == "anna" { retry(0) } else { delivered() })
    });
    let first = rig.append("anna").await;
    let second = rig.append("anna\nbob").await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.sink.state().taken, [(second, 1)]);
    rig.settled(MINUTE).await;
    assert_eq!(rig.sink.state().taken, [(second, 1), (first, 0), (second, 0)]);
}

/// Calls of a lane whose first so many requests end as told: how many events each of the others has.
async fn recovers_from(verdict: fn() -> EventVerdict, fails: usize) -> Vec<usize> {
    let mut rig = Rig::new();
    rig.append(persons(0, 2000)).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    rig.sink.script({
        let calls = calls.clone();
        move |request| {
            let mut calls = calls.lock();
            calls.push(request.events.len());
            Plan::all(request, if calls.len() <= fails { verdict } else { delivered })
        }
    });
    rig.start();
    rig.settled(10 * MINUTE).await;
    let calls = calls.lock();
    calls[fails..].to_vec()
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_calls_are_as_large_as_before() {
    for (what, verdict, fails) in [
        ("no room", (|| retry(0)) as fn() -> EventVerdict, 40),
        ("a failure of all", in_doubt, 1),
        ("a hold", hold, 20),
    ] {
        let calls = recovers_from(verdict, fails).await;
        // probes of one event come first
        let small = calls.iter().skip_while(|events| **events == 1).filter(|events| **events < 499).count();
        assert_eq!(small, 0, "{what}: {calls:?}");
    }
}
