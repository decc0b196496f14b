//! How many requests a delivery makes at a time, over real HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::*;
use moehog_emulator::posthog;
use moehog_proto::{
    Channel,
    delivery::{DeliveryServiceClient, Load},
};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};

/// Callers that call again as soon as they are answered.
#[derive(Clone)]
struct Callers {
    client: DeliveryServiceClient<Channel>,
    calls: Arc<AtomicUsize>,
    loads: Arc<Mutex<Vec<Load>>>,
}

impl Callers {
    fn new(client: DeliveryServiceClient<Channel>) -> Self {
        Self { client, calls: Arc::default(), loads: Arc::default() }
    }

    /// `count` of them; they stop when what this gives is dropped.
    fn start(&self, count: usize) -> JoinSet<()> {
        let mut callers = JoinSet::new();
        for _ in 0..count {
            callers.spawn(self.clone().call_on());
        }
        callers
    }

    async fn call_on(self) {
        loop {
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            let response = deliver(&self.client, "shop", &[event(number, &format!("user_{number}"), "")]).await;
            assert_eq!(words(&response), ["delivered"], "{response:?}");
            self.loads.lock().push(response.load.unwrap());
        }
    }

    /// What calls were told since this was asked before.
    fn take_loads(&self) -> Vec<Load> {
        std::mem::take(&mut self.loads.lock())
    }

    /// Waits until `concurrency` is what the calls of a second are told for the most part.
    async fn told(&self, concurrency: std::ops::RangeInclusive<u32>, callers: &mut JoinSet<()>) {
        let began = Instant::now();
        let mut told = Vec::new();
        while began.elapsed() < Duration::from_secs(180) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(callers.try_join_next().is_none(), "a caller failed");
            let loads = self.take_loads();
            let within = loads.iter().filter(|load| concurrency.contains(&load.concurrency)).count();
            if within * 10 > loads.len() * 9 {
                return;
            }
            told.push(loads.last().map(|load| load.concurrency));
        }
        panic!("not {concurrency:?} in 180 s, but {told:?}");
    }
}

#[tokio::test]
async fn a_posthog_that_does_four_at_a_time_is_asked_for_about_as_many_until_it_does_more() {
    let latency = Duration::from_millis(40);
    let posthog = start(posthog::Config { latency, concurrency: Some(4), ..posthog::Config::with_keys([KEY]) });
    let callers = Callers::new(client(&config(&posthog.url())));
    let few = callers.start(2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(few);
    let mut many = callers.start(20);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let loads = callers.take_loads();
    assert!(loads.iter().any(|load| load.waited_ms > 0), "four more call than there are turns");
    assert!(loads.iter().all(|load| load.max_concurrency == 16));
    callers.told(4..=7, &mut many).await;
    posthog.set_concurrency(None);
    callers.told(16..=16, &mut many).await;
}

#[tokio::test]
async fn a_latency_that_is_as_long_with_one_request_as_with_16_lowers_nothing() {
    let latency = Duration::from_millis(500);
    let posthog = start(posthog::Config { latency, ..posthog::Config::with_keys([KEY]) });
    let callers = Callers::new(client(&config(&posthog.url())));
    let few = callers.start(2);
    tokio::time::sleep(Duration::from_secs(4)).await;
    drop(few);
    let mut many = callers.start(20);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(many.try_join_next().is_none(), "a caller failed");
    let loads = callers.take_loads();
    assert!(loads.len() > 200, "{}", loads.len());
    assert!(loads.iter().all(|load| (load.concurrency, load.max_concurrency) == (16, 16)));
}
