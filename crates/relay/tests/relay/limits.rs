//! Memory is bounded, whatever waits and however large a webhook is.

use std::{sync::Arc, time::Duration};

use moehog_journal::Journal;
use moehog_proto::journal::EventState;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

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

/// Bytes that all lanes hold.
fn held(rig: &Rig) -> usize {
    rig.status().lanes().iter().map(|lane| lane.in_flight_bytes).sum()
}

/// Sixteen destinations, each with a webhook that is as large as all that is allowed, and small ones around it; `dead` ones
/// take nothing for a while.
async fn large_webhooks(body: fn(usize) -> String, (large, dead): (usize, fn(usize) -> bool)) {
    const ALLOWED: usize = 1024 * 1024;
    let mut rig = Rig::new();
    rig.config.in_flight_bytes = ALLOWED;
    rig.mapper.0.lock().takes = Duration::from_millis(200);
    let began = Instant::now();
    rig.sink.script(move |request| {
        let number = request.destination.trim_start_matches('d').parse().unwrap();
        let fails = dead(number) && began.elapsed() < 20 * MINUTE;
        Plan::all(request, if fails { || retry(0) } else { delivered })
    });
    for lane in 0..16 {
        for round in 0..2 {
            if lane % 4 > 1 {
                rig.append_to(&format!("d{lane}"), format!("before{lane}-{round}")).await;
            }
            rig.append_to(&format!("d{lane}"), body(lane)).await;
            rig.append_to(&format!("d{lane}"), format!("after{lane}-{round}")).await;
        }
    }
    rig.start();
    let bound = ALLOWED + ALLOWED / 4 + large + 16 * 64 * 1024;
    let (mut most, mut restarted) = (0, false);
    while began.elapsed() < 20 * MINUTE {
        most = most.max(held(&rig));
        sleep(Duration::from_millis(20)).await;
        if began.elapsed() > 10 * MINUTE && !restarted {
            let calls = rig.mapper.0.lock().calls.len();
            assert!(calls < 4_000, "{calls} calls in ten minutes: what is given back is read again and again");
            for (at, lane) in rig.status().lanes().iter().enumerate() {
                let number: usize = lane.destination.trim_start_matches('d').parse().unwrap();
                assert!(dead(number) || lane.unsettled == 0, "{at} waits beside dead ones: {lane:?}");
            }
            rig.crash().await;
            rig.start();
            restarted = true;
        }
    }
    assert!(most <= bound, "{most} bytes in memory, {bound} are allowed");
    rig.settled(20 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn large_webhooks_of_many_lanes_are_carried_within_one_bound_and_dead_destinations_starve_no_other() {
    let body = |lane| format!("big{lane}\n@{}", "x".repeat(900_000));
    large_webhooks(body, (900_100, |lane| lane % 2 == 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_webhook_that_waits_for_its_retry_after_gives_its_room_to_another() {
    let mut rig = Rig::new();
    // all ten of a webhook go together
    rig.config.deliver_max_bytes = 1024 * 1024;
    rig.config.in_flight_bytes = 512 * 1024;
    let asked = Arc::new(Mutex::new(Vec::new()));
    rig.sink.script({
        let asked = asked.clone();
        move |request| {
            let mut plan = Plan::all(request, delivered);
            if request.destination == "waits" {
                asked.lock().push(Instant::now());
                // the first call is not taken
                if asked.lock().len() == 1 {
                    plan.verdicts.fill(retry(300_000));
                }
            }
            plan
        }
    });
    let body = |name: &str| format!("@big\n{}", (0..10).map(|n| format!("{name}{n}\n")).collect::<String>());
    rig.append_to("waits", body("a")).await;
    rig.start();
    sleep(Duration::from_secs(5)).await;
    rig.append_to("other", body("b")).await;
    let taken = |rig: &Rig| rig.sink.state().gone_to.iter().filter(|(to, ..)| to == "other").count() == 10;
    rig.until("the other is delivered", 3 * MINUTE, taken).await;
    rig.settled(20 * MINUTE).await;
    assert_eq!(rig.journal.stats().ledger.book.delivered, 20);
    let asked = asked.lock();
    let waited = asked[1] - asked[0];
    assert!(waited >= 5 * MINUTE, "sent again after {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn webhooks_that_become_large_are_carried_within_it_too() {
    let body = |lane| format!("@big\n{}", (0..10).map(|n| format!("mapped{lane}-{n}\n")).collect::<String>());
    large_webhooks(body, (1_100_000, |lane| lane % 2 == 0)).await;
}
