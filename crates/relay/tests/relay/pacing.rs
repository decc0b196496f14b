//! When calls begin: small ones are few, and nothing waits that need not.

use std::{sync::Arc, time::Duration};

use moehog_journal::{Journal, Until};
use moehog_relay::{Config, WaitsFor};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::{
    rig::{Rig, webhook},
    sink::{Plan, delivered, refused, retry},
};

const PAUSE: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(30);

/// When each call began, in milliseconds, and how many events it had.
#[derive(Clone)]
struct Calls {
    begun: Instant,
    seen: Arc<Mutex<Vec<(u128, usize)>>>,
}

impl Calls {
    /// Of a rig whose calls end as told.
    fn of(rig: &Rig, mut plan: impl FnMut(usize, Plan) -> Plan + Send + 'static) -> Self {
        let calls = Self { begun: Instant::now(), seen: Arc::default() };
        let Self { begun, seen } = calls.clone();
        rig.sink.script(move |request| {
            let mut seen = seen.lock();
            seen.push((begun.elapsed().as_millis(), request.events.len()));
            plan(seen.len(), Plan::all(request, delivered))
        });
        calls
    }

    fn events(&self) -> Vec<usize> {
        self.seen.lock().iter().map(|(_, events)| *events).collect()
    }

    /// Milliseconds between the beginnings of successive calls.
    fn pauses(&self) -> Vec<u128> {
        let seen = self.seen.lock();
        seen.iter().zip(&seen[1..]).map(|((one, _), (next, _))| next - one).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_a_second_are_twenty_calls_a_second_and_the_first_after_calm_goes_at_once() {
    let rig = Rig::started();
    let calls = Calls::of(&rig, |_, plan| plan);
    for number in 0..500 {
        rig.append(format!("person-{number}")).await;
        sleep(Duration::from_millis(2)).await;
    }
    rig.settled(SOON).await;
    let events = calls.events();
    assert_eq!(events[0], 1, "nothing was sent before it: {events:?}");
    assert!(events.len() <= 22, "{events:?}");
    assert!(calls.pauses().iter().all(|pause| *pause >= 49), "{:?}", calls.pauses());
    sleep(Duration::from_secs(1)).await;
    let appended = Instant::now();
    rig.append("after calm").await;
    rig.until("it is sent", PAUSE / 5, |_| calls.events().len() > events.len()).await;
    assert!(appended.elapsed() < PAUSE / 5);
}

#[tokio::test(start_paused = true)]
async fn requests_that_hang_stop_no_calm_lane() {
    let rig = Rig::started();
    let calls = Calls::of(&rig, |number, plan| match number {
        1..=5 => Plan { after: Duration::from_secs(60), ..plan },
        _ => plan,
    });
    for number in 0..5 {
        rig.append(format!("hangs-{number}")).await;
        sleep(PAUSE * 2).await;
    }
    for number in 0..10 {
        rig.append(format!("person-{number}")).await;
        sleep(Duration::from_millis(20)).await;
    }
    rig.until("the others are taken", PAUSE * 2, |rig| rig.journal.stats().ledger.book.delivered == 10).await;
    assert!(calls.pauses().iter().all(|pause| *pause >= 49), "{:?}", calls.pauses());
}

#[tokio::test(start_paused = true)]
async fn a_full_call_goes_at_once_and_so_does_every_call_without_a_pause() {
    let mut rig = Rig::with(Config { deliver_max_events: 10, ..Config::default() });
    rig.start();
    let calls = Calls::of(&rig, |_, plan| plan);
    for number in 0..101 {
        rig.append(format!("person-{number}")).await;
    }
    rig.settled(PAUSE * 2).await;
    assert_eq!(calls.events().iter().filter(|events| **events == 10).count(), 10, "{:?}", calls.events());
    let mut rig = Rig::with(Config { deliver_pause: Duration::ZERO, ..Config::default() });
    rig.start();
    let calls = Calls::of(&rig, |_, plan| plan);
    for number in 0..50 {
        rig.append(format!("person-{number}")).await;
        sleep(Duration::from_millis(30)).await;
    }
    rig.settled(SOON).await;
    assert_eq!(calls.events(), vec![1; 50]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_waits_for_sends_all_before_it_at_once_and_what_is_only_to_be_mapped_waits() {
    let rig = Rig::started();
    let calls = Calls::of(&rig, |_, plan| plan);
    rig.append("first").await;
    sleep(Duration::from_millis(5)).await;
    for number in 0..3 {
        rig.append(format!("gathers-{number}")).await;
    }
    let watched = async |until| {
        let deadline = Instant::now() + SOON;
        rig.journal.append_watched(webhook("default", "watched"), deadline, until).await.unwrap().1.unwrap()
    };
    let mut mapped = watched(Until::Mapped).await;
    let asked = Instant::now();
    mapped.mapped().await;
    assert!(asked.elapsed() < PAUSE / 5, "it is mapped at once");
    assert_eq!(calls.events(), [1]);
    let mut settled = watched(Until::Settled).await;
    settled.settled().await;
    assert!(asked.elapsed() < PAUSE, "{:?}", asked.elapsed());
    assert_eq!(calls.events(), [1, 5]);
    rig.settled(SOON).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_again_goes_when_it_is_due_and_what_was_not_tried_gathers_meanwhile() {
    let mut rig = Rig::with(Config { deliver_pause: Duration::from_secs(10), ..Config::default() });
    rig.start();
    rig.sink.script(|request| {
        let is_first = request.events.iter().any(|event| event.distinct_id == "again");
        Plan::all(request, if is_first { || retry(0) } else { delivered })
    });
    rig.append("again").await;
    sleep(Duration::from_millis(100)).await;
    rig.append("gathers").await;
    let again = |rig: &Rig| {
        rig.sink.state().calls.iter().filter(|(_, events)| events.iter().any(|(sequence, _)| *sequence == 1)).count()
    };
    rig.until("it is tried three times", Duration::from_secs(9), |rig| again(rig) >= 3).await;
    let calls = rig.sink.state().calls.len();
    assert_eq!(calls, again(&rig), "the other gathers");
    rig.until("the other goes too", Duration::from_secs(11), |rig| rig.journal.stats().ledger.book.delivered == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_alone_fills_the_window_and_no_more() {
    let rig = Rig::started();
    rig.sink.script(|request| {
        let is_alone = request.events.len() == 1 && request.events[0].distinct_id != "good";
        let verdict =
            |event: &moehog_proto::event::Event| if event.distinct_id == "good" { delivered() } else { refused() };
        let after = if is_alone { Duration::from_secs(20) } else { Duration::from_millis(20) };
        Plan { after, ..Plan::each(request, verdict) }
    });
    for number in 0..10 {
        rig.append(format!("bad-{number}")).await;
    }
    rig.append("good").await;
    sleep(Duration::from_secs(15)).await;
    assert_eq!(rig.sink.state().most_under_way, 2, "the pause is for what was not tried");
}

#[tokio::test(start_paused = true)]
async fn a_destination_is_sent_no_more_events_a_second_than_it_may_be_and_nothing_is_later_than_that() {
    let of = [("slow".to_string(), 50)].into();
    let mut rig = Rig::with(Config { max_events_per_second: 100, max_events_per_second_of: of, ..Config::default() });
    let sent = Arc::new(Mutex::new(Vec::new()));
    rig.sink.script({
        let sent = sent.clone();
        move |request| {
            let mut sent = sent.lock();
            sent.push((Instant::now(), request.destination.clone(), request.events.len()));
            // what is tried again counts too
            let fails = sent.len() % 10 == 0;
            Plan::all(request, if fails { || retry(0) } else { delivered })
        }
    });
    // two lanes of one destination, and one of another
    for number in 0..1500 {
        rig.append_from("one", "default", format!("one-{number}")).await;
        rig.append_from("two", "default", format!("two-{number}")).await;
        rig.append_from("one", "slow", format!("slow-{number}")).await;
    }
    let began = Instant::now();
    rig.start();
    sleep(Duration::from_secs(10)).await;
    let status = rig.status().lanes();
    assert!(status.iter().all(|lane| lane.backlog == 0), "more deliveries would send no more: {status:?}");
    assert!(status.iter().any(|lane| lane.next_try.is_some_and(|next| next.waits_for == WaitsFor::Ceiling)));
    rig.settled(Duration::from_secs(90)).await;
    for (destination, most) in [("default", 100), ("slow", 50)] {
        let sent = sent.lock();
        let of_it: Vec<_> = sent.iter().filter(|(_, to, _)| to == destination).collect();
        for (at, (first, ..)) in of_it.iter().enumerate() {
            let mut events = 0;
            for (now, _, more) in &of_it[at..] {
                events += more;
                let may = f64::from(most) * ((*now - *first).as_secs_f64() + 1.0) + 0.01;
                assert!(
                    f64::from(u32::try_from(events).unwrap()) <= may,
                    "{destination}: {events} in {:?}",
                    *now - *first
                );
            }
        }
        let events: usize = of_it.iter().map(|(.., events)| events).sum();
        let lasted = (of_it[of_it.len() - 1].0 - began).as_secs_f64();
        assert!(events as f64 > 0.9 * f64::from(most) * lasted, "{destination}: {events} in {lasted} s");
        assert!(of_it.len() as f64 <= 6.0 * lasted, "{} calls in {lasted} s", of_it.len());
    }
}
