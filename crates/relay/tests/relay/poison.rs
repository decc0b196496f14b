//! A webhook that breaks the transformer costs itself.

use std::time::Duration;

use moehog_journal::Journal;
use moehog_proto::journal::EventState;
use tokio::time::sleep;

use crate::rig::Rig;

const MINUTE: Duration = Duration::from_secs(60);

async fn poisoned(marker: &str) -> (Rig, u64) {
    let mut rig = Rig::new();
    for webhook in 0..20 {
        rig.append(format!("person{webhook}")).await;
    }
    let bad = rig.append(format!("{marker}\nanna")).await;
    // what the bad webhook plans is never made
    rig.sink.state().planned.remove("anna");
    for webhook in 0..20 {
        rig.append(format!("person{webhook}")).await;
    }
    rig.start();
    (rig, bad)
}

async fn costs_itself(rig: &Rig, bad: u64) {
    rig.settled(2 * MINUTE).await;
    let ledger = rig.journal.stats().ledger;
    assert_eq!((ledger.book.delivered, ledger.book.dead), (40, 1));
    let outcome = rig.outcome(bad, 0).await;
    assert_eq!((outcome.state(), outcome.reason.as_str()), (EventState::Dead, "transform_failed"));
    assert_eq!(rig.progress(bad).await.transform_deaths, 3);
    let alone = rig.mapper.0.lock().calls.iter().filter(|call| **call == [bad]).count();
    assert_eq!(alone, 3, "three deaths alone");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_kills_the_transformer_is_found_and_costs_itself() {
    let (rig, bad) = poisoned("@die").await;
    costs_itself(&rig, bad).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_found_too_where_a_proxy_takes_calls_for_a_transformer_that_is_restarting() {
    let (rig, bad) = poisoned("@die").await;
    rig.mapper.0.lock().restart = Duration::from_secs(5);
    costs_itself(&rig, bad).await;
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_never_ends_is_found_by_the_deadline() {
    let (rig, bad) = poisoned("@hang").await;
    costs_itself(&rig, bad).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_transformer_is_gone_no_webhook_is_blamed() {
    let rig = Rig::started();
    rig.mapper.0.lock().down = true;
    for webhook in 0..10 {
        rig.append(format!("person{webhook}")).await;
    }
    sleep(60 * MINUTE).await;
    rig.mapper.0.lock().down = false;
    rig.settled(MINUTE).await;
    let ledger = rig.journal.stats().ledger;
    assert_eq!((ledger.book.delivered, ledger.book.dead), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn deaths_are_remembered_over_a_restart() {
    let (mut rig, bad) = poisoned("@die").await;
    rig.until("one death is recorded", MINUTE, |rig| {
        rig.mapper.0.lock().calls.iter().filter(|call| **call == [bad]).count() == 2
    })
    .await;
    sleep(Duration::from_millis(10)).await;
    rig.stop().await;
    assert_eq!(rig.progress(bad).await.transform_deaths, 2);
    rig.start();
    costs_itself(&rig, bad).await;
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_kills_the_whole_process_is_found_and_costs_itself() {
    let mut rig = Rig::new();
    (rig.same_process, rig.config.crash_watch) = (true, Duration::from_secs(3));
    for webhook in 0..5 {
        rig.append(format!("person{webhook}")).await;
    }
    let bad = rig.append("@hang\nanna").await;
    rig.sink.state().planned.remove("anna");
    let mut deaths = 0;
    loop {
        // the process dies whenever it works on that webhook
        rig.start();
        let called = rig.mapper.0.lock().calls.len();
        sleep(Duration::from_secs(5)).await;
        let calls = rig.mapper.0.lock().calls[called..].to_vec();
        if !calls.iter().any(|call| call.contains(&bad)) {
            break;
        }
        rig.crash().await;
        deaths += 1;
        assert!(deaths < 10);
    }
    assert_eq!(deaths, 4, "once with others, three times alone");
    rig.settled(MINUTE).await;
    let ledger = rig.journal.stats().ledger;
    assert_eq!((ledger.book.delivered, ledger.book.dead), (5, 1));
    assert_eq!(rig.outcome(bad, 0).await.reason, "transform_failed");
}

/// Webhooks wait while the transformer hangs, and the process dies again and again for reasons of its own.
async fn deaths_of_others_cost_nothing(same_process: bool, lives: Duration) {
    let mut rig = Rig::new();
    rig.same_process = same_process;
    rig.mapper.0.lock().hangs = true;
    for webhook in 0..10 {
        rig.append(format!("person{webhook}")).await;
    }
    for _ in 0..12 {
        rig.start();
        sleep(lives).await;
        rig.crash().await;
    }
    rig.mapper.0.lock().hangs = false;
    rig.start();
    rig.settled(5 * MINUTE).await;
    let ledger = rig.journal.stats().ledger;
    assert_eq!((ledger.book.delivered, ledger.book.dead), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_crashes_while_the_transformer_hangs_costs_no_webhook() {
    deaths_of_others_cost_nothing(false, Duration::from_secs(25)).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_crashes_of_something_else_costs_no_webhook() {
    deaths_of_others_cost_nothing(true, Duration::from_secs(25)).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_lives_longer_than_it_watches_costs_no_webhook_either() {
    deaths_of_others_cost_nothing(true, Duration::from_secs(70)).await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_and_answers_that_come_late_cost_no_webhook() {
    let rig = Rig::started();
    rig.mapper.0.lock().takes = Duration::from_secs(12);
    for webhook in 0..10 {
        rig.append(format!("person{webhook}")).await;
    }
    for _ in 0..10 {
        sleep(2 * MINUTE).await;
        let mut mapper = rig.mapper.0.lock();
        mapper.down = !mapper.down;
        mapper.takes = Duration::from_secs(12) - mapper.takes;
    }
    rig.mapper.0.lock().down = false;
    rig.mapper.0.lock().takes = Duration::ZERO;
    rig.settled(5 * MINUTE).await;
    assert_eq!(rig.journal.stats().ledger.book.dead, 0);
}
