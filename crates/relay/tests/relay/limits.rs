//! Memory is bounded, whatever waits and however large a webhook is.

use std::time::Duration;

use moehog_journal::Journal;
use moehog_proto::journal::EventState;
use tokio::time::sleep;

use crate::{
    rig::Rig,
    sink::{Plan, delivered, retry},
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_backlog_of_any_length_is_carried_within_the_bytes_allowed() {
    let mut rig = Rig::new();
    rig.config.in_flight_bytes = 512 * 1024;
    for webhook in 0..30_000 {
        rig.append(format!("person{}", webhook % 700)).await;
    }
    rig.start();
    let mut most = 0;
    rig.until("all is settled", 10 * MINUTE, |rig| {
        most = most.max(rig.status().lanes().first().map_or(0, |lane| lane.in_flight_bytes));
        rig.journal.stats().ledger.waiting == 0
    })
    .await;
    assert!((100_000..=512 * 1024).contains(&most), "{most} bytes in flight at most");
    rig.check().await;
}

#[tokio::test(start_paused = true)]
async fn a_webhook_larger_than_all_that_is_allowed_is_carried_alone() {
    let mut rig = Rig::new();
    rig.config.in_flight_bytes = 256 * 1024;
    for round in 0..3 {
        rig.append(format!("person{round}")).await;
        rig.append(format!("big{round}\n@{}", "x".repeat(500_000))).await;
        rig.append(format!("@big\n{}", (0..10).map(|n| format!("mapped{n}\n")).collect::<String>())).await;
    }
    rig.start();
    rig.settled(5 * MINUTE).await;
    assert_eq!(rig.journal.stats().ledger.book.delivered, 3 + 3 + 30);
}

#[tokio::test(start_paused = true)]
async fn what_is_mapped_behind_a_webhook_that_is_not_does_not_lock_the_lane() {
    let mut rig = Rig::new();
    rig.config.in_flight_bytes = 256 * 1024;
    rig.config.transform_max_webhooks = 1;
    rig.append("@hang\nanna").await;
    rig.sink.state().planned.remove("anna");
    for webhook in 0..100 {
        rig.append(format!("@big\nperson{webhook}")).await;
    }
    rig.start();
    rig.settled(10 * MINUTE).await;
    assert_eq!(rig.journal.stats().ledger.book.delivered, 100);
}

#[tokio::test(start_paused = true)]
async fn too_many_events_or_bytes_make_a_webhook_one_dead_event() {
    let mut rig = Rig::new();
    rig.config.max_events_per_webhook = 50;
    rig.config.max_mapped_bytes_per_webhook = 250_000;
    let many = rig.append("anna\n".repeat(51)).await;
    let large = rig.append("@big\nbob\nbob\nbob").await;
    rig.sink.state().planned.clear();
    let fits = rig.append("@big\ncarl\ncarl").await;
    rig.start();
    rig.settled(MINUTE).await;
    for (sequence, reason) in [(many, "too_many_events"), (large, "too_large")] {
        let progress = rig.progress(sequence).await;
        assert_eq!(progress.events.len(), 1);
        assert_eq!((progress.events[0].state(), progress.events[0].reason.as_str()), (EventState::Dead, reason));
    }
    assert_eq!(rig.outcome(fits, 1).await.state(), EventState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn one_lane_that_fails_leaves_the_others_their_share() {
    let mut rig = Rig::new();
    rig.config.in_flight_bytes = 512 * 1024;
    rig.sink.script(|request| {
        let bad = request.destination == "bad";
        Plan::all(request, if bad { || retry(0) } else { delivered })
    });
    rig.start();
    for webhook in 0..3_000 {
        rig.append_to("bad", format!("person{webhook}")).await;
    }
    sleep(MINUTE).await;
    for webhook in 0..3_000 {
        rig.append_to("good", format!("other{webhook}")).await;
    }
    let taken = |rig: &Rig| rig.sink.state().taken.len() == 3_000;
    rig.until("the other lane is delivered", Duration::from_secs(10), taken).await;
    rig.check().await;
}
