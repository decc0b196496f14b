//! Stopping loses nothing, and a relay whose claim is gone sends nothing more.

use std::time::Duration;

use moehog_journal::Journal;
use moehog_proto::journal::EventState;
use tokio::time::{Instant, sleep};

use crate::{
    rig::Rig,
    sink::{Plan, delivered},
};

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_the_calls_under_way_and_records_them() {
    let mut rig = Rig::started();
    rig.sink.script(|request| Plan { after: Duration::from_secs(3), ..Plan::all(request, delivered) });
    let first = rig.append("anna").await;
    sleep(Duration::from_millis(100)).await;
    let second = rig.append("anna").await;
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    rig.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(rig.outcome(first, 0).await.state(), EventState::Delivered);
    assert_eq!(rig.progress(second).await.events.len(), 0, "nothing is begun after the stop");
    rig.start();
    rig.settled(Duration::from_secs(10)).await;
    assert_eq!(rig.sink.state().taken, [(first, 0), (second, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_outlasts_the_grace_is_recorded_as_maybe_sent() {
    let mut rig = Rig::started();
    rig.sink.script(|request| Plan { after: Duration::from_secs(90), ..Plan::all(request, delivered) });
    let sequence = rig.append("anna").await;
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    rig.stop().await;
    assert!((20..23).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let outcome = rig.outcome(sequence, 0).await;
    assert_eq!(outcome.state(), EventState::Pending);
    assert!(outcome.mapped.is_some(), "its bytes are kept for the resend");
    rig.mapper.0.lock().revision = 3;
    rig.sink.script(|request| Plan::all(request, delivered));
    rig.start();
    rig.settled(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_relay_whose_claim_is_stale_sends_nothing_more() {
    let rig = Rig::started();
    rig.sink.script(|request| Plan { after: Duration::from_secs(1), ..Plan::all(request, delivered) });
    rig.append("anna").await;
    rig.append("anna").await;
    rig.append("bob").await;
    rig.append("bob").await;
    sleep(Duration::from_millis(500)).await;
    // another process opens the journal while this relay still runs
    let other = rig.journal.restart();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.sink.state().calls.len(), 1, "the record of the first call is refused");
    assert_eq!(other.stats().ledger.waiting, 4);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_another_relay_holds_is_taken_once_it_is_given_up() {
    let mut rig = Rig::new();
    let other = rig.journal.claim("shop").await.unwrap();
    rig.start();
    rig.append("anna").await;
    sleep(Duration::from_secs(30)).await;
    assert!(rig.sink.state().calls.is_empty());
    drop(other);
    rig.settled(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn reads_that_fail_are_tried_again() {
    let rig = Rig::started();
    rig.append("anna").await;
    rig.settled(Duration::from_secs(5)).await;
    rig.journal.set_reads_fail(true);
    rig.append("bob").await;
    sleep(Duration::from_secs(30)).await;
    rig.journal.set_reads_fail(false);
    rig.settled(Duration::from_secs(5)).await;
}
