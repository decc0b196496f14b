//! For all interleavings of verdicts, retries, holds, call deaths and crashes: a person's events arrive in order,
//! nothing is lost, nothing is sent again once it is recorded final.

use std::{collections::HashMap, time::Duration};

use moehog_journal::Journal;
use moehog_proto::{delivery::DeliverRequest, journal::EventState};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::sleep;

use crate::{
    rig::Rig,
    sink::{Plan, delivered, hold, overloaded, rejected, retry, untried},
};

/// What happens in a history, in order.
#[derive(Debug, Clone)]
enum Happens {
    /// A webhook with these persons' events.
    Webhook(Vec<u8>),
    /// Time passes.
    Pause(u64),
    /// The process dies and starts again.
    Crash,
    /// The relay stops and starts again.
    Stop,
    /// The journal stores nothing for a while.
    DiskFails(u64),
    /// The transformer is gone for a while.
    TransformerDown(u64),
    /// The mapping changes.
    Remap,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => proptest::collection::vec(0..4_u8, 1..5).prop_map(Happens::Webhook),
        4 => (1..400_u64).prop_map(Happens::Pause),
        1 => (400..5000_u64).prop_map(Happens::Pause),
        2 => Just(Happens::Crash),
        1 => Just(Happens::Stop),
        1 => (1..300_u64).prop_map(Happens::DiskFails),
        1 => (1..300_u64).prop_map(Happens::TransformerDown),
        1 => Just(Happens::Remap),
    ]
}

/// Anything may become of the first calls; after that all goes well.
fn chaos(seed: u64, calls: u32) -> impl FnMut(&DeliverRequest) -> Plan + Send {
    let mut chance = SmallRng::seed_from_u64(seed);
    let mut left = calls;
    move |request| {
        if left == 0 {
            return Plan::all(request, delivered);
        }
        left -= 1;
        let whole_call: u8 = chance.random_range(0..12);
        let mut after = HashMap::<String, ()>::new();
        let mut plan = Plan::each(request, |event| {
            // as delivery promises: behind a retry of a person nothing of this person was tried
            if after.contains_key(&event.distinct_id) {
                return untried();
            }
            let verdict = match whole_call {
                0 => retry(0),
                1 => hold(),
                2 => overloaded(),
                3 => untried(),
                _ => match chance.random_range(0..10) {
                    0 => retry(chance.random_range(0..800)),
                    1 => rejected(),
                    2 => untried(),
                    3 => overloaded(),
                    _ => delivered(),
                },
            };
            if verdict != delivered() && verdict != rejected() {
                after.insert(event.distinct_id.clone(), ());
            }
            verdict
        });
        plan.after = Duration::from_millis(chance.random_range(0..300));
        plan.dies = chance.random_range(0..6) == 0;
        if chance.random_range(0..10) == 0 {
            plan.verdicts.truncate(request.events.len() / 2);
        }
        plan
    }
}

async fn history(steps: Vec<Happens>, seed: u64) {
    let mut rig = Rig::started();
    rig.sink.script(chaos(seed, 60));
    let mut webhooks = Vec::new();
    let crashed = steps.iter().any(|step| matches!(step, Happens::Crash));
    for step in steps {
        match step {
            Happens::Webhook(persons) => {
                let lines: Vec<_> = persons.iter().map(|person| format!("person{person}")).collect();
                webhooks.push((rig.append(lines.join("\n")).await, persons.len()));
            }
            Happens::Pause(ms) => sleep(Duration::from_millis(ms)).await,
            Happens::Crash => {
                rig.crash().await;
                rig.start();
            }
            Happens::Stop => {
                rig.stop().await;
                rig.start();
            }
            Happens::DiskFails(ms) => {
                rig.journal.set_records_fail(true);
                sleep(Duration::from_millis(ms)).await;
                rig.journal.set_records_fail(false);
            }
            Happens::TransformerDown(ms) => {
                rig.mapper.0.lock().down = true;
                sleep(Duration::from_millis(ms)).await;
                rig.mapper.0.lock().down = false;
            }
            Happens::Remap => rig.mapper.0.lock().revision += 1,
        }
    }
    rig.settled(Duration::from_secs(3600)).await;
    rig.stop().await;
    let taken = rig.sink.state().taken.clone();
    for (sequence, events) in webhooks {
        let progress = rig.progress(sequence).await;
        // three crashes of the process with a webhook alone in its call make what was not sent of it dead: that is not a loss
        if progress.events.iter().all(|event| event.reason == "transform_failed") {
            continue;
        }
        assert_eq!(progress.events.len(), events, "webhook {sequence} lost an event: {progress:?}");
        for event in &progress.events {
            match event.state() {
                EventState::Delivered => assert!(taken.contains(&(sequence, event.position)), "{sequence} {event:?}"),
                EventState::Dead => {
                    let of_crashes = crashed && event.reason == "transform_failed";
                    assert!(of_crashes || event.reason == "refused", "{event:?}");
                }
                state => panic!("webhook {sequence} ended {state:?}"),
            }
        }
    }
    assert_eq!(rig.journal.stats().ledger.in_flight, 0);
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn persons_keep_their_order_whatever_happens(
        steps in proptest::collection::vec(happens(), 1..40), seed in any::<u64>(),
    ) {
        run(history(steps, seed));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_until_what_became_of_the_earlier_one_is_recorded() {
    let mut rig = Rig::new();
    // two calls at a time from the start
    rig.deliveries.set(4);
    rig.start();
    rig.sink.script(|request| Plan { after: Duration::from_secs(1), ..Plan::all(request, delivered) });
    let first = rig.append("anna").await;
    sleep(Duration::from_millis(100)).await;
    let second = rig.append("anna\nbob").await;
    sleep(Duration::from_millis(500)).await;
    rig.journal.set_records_fail(true);
    sleep(Duration::from_secs(5)).await;
    let calls: Vec<_> = rig.sink.state().calls.iter().map(|(_, events)| events.clone()).collect();
    assert_eq!(
        calls,
        [[(first, 0)], [(second, 1)]],
        "bob waits for nobody, anna's second event for the first's record"
    );
    rig.journal.set_records_fail(false);
    rig.settled(Duration::from_secs(10)).await;
    assert_eq!(rig.sink.state().taken, [(first, 0), (second, 1), (second, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_not_mapped_holds_back_what_is_behind_it() {
    let mut rig = Rig::new();
    rig.config.transform_max_webhooks = 1;
    let first = rig.append("@slow\nanna").await;
    let second = rig.append("anna").await;
    rig.start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.mapper.0.lock().calls, [[first], [second]]);
    assert!(rig.sink.state().calls.is_empty(), "the second is mapped and waits for the first");
    rig.settled(Duration::from_secs(10)).await;
    assert_eq!(rig.sink.state().taken, [(first, 0), (second, 0)]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_a_transform_call_is_one_call_after_it() {
    let rig = Rig::started();
    rig.append("@slow\nanna").await;
    for webhook in 0..50 {
        sleep(Duration::from_millis(20)).await;
        rig.append(format!("person{webhook}")).await;
    }
    rig.settled(Duration::from_secs(10)).await;
    assert_eq!(rig.mapper.0.lock().calls.len(), 2);
}
