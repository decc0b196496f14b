//! What is under way follows the replicas of delivery, what they bear, and what other lanes want.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use moehog_journal::Journal;
use moehog_proto::delivery::Load;
use moehog_relay::{Config, LaneStatus};
use tokio::time::{Instant, sleep};

use crate::{
    rig::Rig,
    sink::{Plan, delivered, hold, overloaded, retry},
};

const MINUTE: Duration = Duration::from_secs(60);
const PERSONS: usize = 1_000_000;

/// Small calls, so that many are under way with few events.
fn small_calls() -> Config {
    Config { deliver_max_events: 4, ..Config::default() }
}

/// Deliveries that each make 16 requests at a time of five seconds, and keep 16 calls waiting in line. The relay is told
/// what the real ones tell.
fn deliveries(rig: &Rig, replicas: usize) {
    rig.deliveries.set(replicas);
    let free_at = vec![Instant::now(); 16 * replicas];
    let free_at = Arc::new(parking_lot::Mutex::new(free_at));
    rig.sink.script(move |request| {
        let (mut free_at, now) = (free_at.lock(), Instant::now());
        let load =
            |waited: Duration| Load { waited_ms: waited.as_millis() as u32, concurrency: 16, max_concurrency: 16 };
        if free_at.iter().filter(|at| **at > now + Duration::from_secs(5)).count() >= 16 * replicas {
            return Plan { load: Some(load(Duration::ZERO)), ..Plan::all(request, overloaded) };
        }
        let Some(first) = free_at.iter_mut().min() else { return Plan::all(request, overloaded) };
        let begins = (*first).max(now);
        *first = begins + Duration::from_secs(5);
        let plan = Plan { load: Some(load(begins - now)), ..Plan::all(request, delivered) };
        Plan { after: *first - now, ..plan }
    });
}

fn only(rig: &Rig) -> LaneStatus {
    rig.status().lanes().remove(0)
}

#[tokio::test(start_paused = true)]
async fn one_gateway_keeps_sixteen_deliveries_busy_and_follows_their_number() {
    let mut rig = Rig::with(small_calls());
    for webhook in 0..28_000 {
        rig.append(format!("person{webhook}")).await;
    }
    rig.sink.state().planned.clear();
    deliveries(&rig, 1);
    rig.start();
    for replicas in [1, 4, 16, 2] {
        deliveries(&rig, replicas);
        sleep(MINUTE).await;
        let before = rig.sink.state().taken.len();
        sleep(MINUTE / 2).await;
        let came = rig.sink.state().taken.len() - before;
        let ideal = 6 * 16 * replicas * 4;
        assert!(came * 100 > ideal * 90, "{replicas} deliveries: {came} events of {ideal}");
    }
    rig.settled(60 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_counts_only_while_more_deliveries_would_help() {
    let mut rig = Rig::with(small_calls());
    for webhook in 0..8_000 {
        rig.append(format!("person{}", webhook % PERSONS)).await;
    }
    rig.sink.state().planned.clear();
    deliveries(&rig, 1);
    rig.start();
    sleep(MINUTE).await;
    let lane = only(&rig);
    assert!(lane.calls >= 16, "{lane:?}");
    assert_eq!(lane.backlog, lane.unsettled - lane.in_flight_entries as u64, "{lane:?}");
    assert!(lane.backlog > 5_000 && lane.backlog_since_ms.is_some(), "{lane:?}");

    let held_back = Load { waited_ms: 0, concurrency: 4, max_concurrency: 16 };
    rig.sink.script(move |request| {
        let plan = Plan { load: Some(held_back), ..Plan::all(request, delivered) };
        Plan { after: Duration::from_secs(60), ..plan }
    });
    sleep(3 * MINUTE).await;
    let lane = only(&rig);
    assert!(lane.unsettled > 4_000, "{lane:?}");
    assert_eq!((lane.backlog, lane.backlog_since_ms), (0, None), "PostHog bears no more: {lane:?}");

    rig.sink.script(|request| Plan::all(request, hold));
    sleep(3 * MINUTE).await;
    assert_eq!(only(&rig).backlog, 0, "held: {:?}", only(&rig));
    rig.sink.script(|request| Plan::all(request, || retry(0)));
    sleep(3 * MINUTE).await;
    assert_eq!(only(&rig).backlog, 0, "its circuit is open: {:?}", only(&rig));
    rig.sink.script(|request| Plan::all(request, delivered));
    rig.settled(60 * MINUTE).await;
    assert!(rig.status().lanes().iter().all(|lane| lane.backlog == 0 && lane.calls == 0));
}

#[tokio::test(start_paused = true)]
async fn a_campaign_that_is_kept_up_with_is_no_backlog() {
    let rig = {
        let mut rig = Rig::with(small_calls());
        deliveries(&rig, 1);
        rig.start();
        rig
    };
    let mut most = 0;
    for second in 0..120 {
        // 16 requests of five seconds are 12.8 events a second
        for webhook in 0..6 {
            rig.append(format!("person{second}x{webhook}")).await;
        }
        sleep(Duration::from_secs(1)).await;
        most = most.max(rig.status().lanes().iter().map(|lane| lane.backlog).max().unwrap_or_default());
    }
    assert_eq!(most, 0);
    rig.settled(MINUTE).await;
}

/// Two sources of one destination are two lanes.
#[tokio::test(start_paused = true)]
async fn the_lanes_of_one_destination_share_its_calls() {
    let mut rig = Rig::with(small_calls());
    let sources = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    for webhook in 0..12_000 {
        rig.append_from("early", "default", format!("early{webhook}")).await;
    }
    rig.sink.state().planned.clear();
    rig.deliveries.set(4);
    rig.sink.script({
        let sources = sources.clone();
        move |request| {
            let source = usize::from(request.events[0].distinct_id.starts_with("late"));
            sources[source].fetch_add(request.events.len(), Ordering::Relaxed);
            Plan { after: Duration::from_secs(5), ..Plan::all(request, delivered) }
        }
    });
    rig.start();
    sleep(MINUTE).await;
    for webhook in 0..4_000 {
        rig.append_from("late", "default", format!("late{webhook}")).await;
    }
    rig.sink.state().planned.clear();
    sleep(MINUTE).await;
    let before = [0, 1].map(|at| sources[at].load(Ordering::Relaxed));
    sleep(MINUTE).await;
    let [early, late] = [0, 1].map(|at| sources[at].load(Ordering::Relaxed) - before[at]);
    assert!(
        late * 10 > early * 8,
        "{early} events of the early source, {late} of the late one: {:#?}",
        rig.status().lanes()
    );
    assert!(rig.sink.state().most_under_way <= 80, "{}", rig.sink.state().most_under_way);
    rig.settled(60 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_failing_destination_holds_it_gives_back() {
    let mut rig = Rig::with(Config { in_flight_bytes: 512 * 1024, ..Config::default() });
    let fails = Arc::new(parking_lot::Mutex::new(HashSet::from(["bad".to_string()])));
    rig.sink.script({
        let fails = fails.clone();
        move |request| {
            let verdict = if fails.lock().contains(&request.destination) { || retry(0) } else { delivered };
            Plan::all(request, verdict)
        }
    });
    for webhook in 0..4_000 {
        rig.append_to("bad", format!("person{webhook}")).await;
    }
    rig.start();
    sleep(MINUTE).await;
    let alone = only(&rig).in_flight_bytes;
    assert!(alone > 300_000, "it may use all while nobody else wants any: {alone}");
    for webhook in 0..4_000 {
        rig.append_to("good", format!("other{webhook}")).await;
    }
    let mut most = 0;
    rig.until("the other is delivered", 10 * MINUTE, |rig| {
        let lanes = rig.status().lanes();
        most = most.max(lanes.iter().map(|lane| lane.in_flight_bytes).sum());
        rig.sink.state().taken.len() == 4_000
    })
    .await;
    assert!(most <= 512 * 1024 + 64 * 1024, "{most} bytes in all");
    sleep(MINUTE).await;
    let bad = rig.status().lanes().into_iter().find(|lane| lane.destination == "bad").unwrap();
    assert!(bad.in_flight_bytes <= 256 * 1024, "{bad:?}");
    fails.lock().clear();
    rig.settled(60 * MINUTE).await;
    assert_eq!(rig.journal.stats().ledger.book.delivered, 8_000);
}
