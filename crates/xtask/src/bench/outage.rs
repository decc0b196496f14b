//! Events that wait while PostHog is down, and how fast they leave once it is back.

use std::time::{Duration, Instant};

use anyhow::ensure;
use moehog_emulator::posthog::{Config, PostHog};
use serde::Serialize;

use super::{
    Plan,
    load::{self, Workload},
    subject::{Kind, Subject},
};

/// 30,000 events a second for six seconds, as the peers were measured.
const EVENTS: u64 = 180_000;
const LASTS: Duration = Duration::from_secs(6);

/// What an outage came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outage {
    pub(crate) waiting_events: u64,
    /// From PostHog's return to the last event.
    pub(crate) delivered_within_s: f64,
    /// From PostHog's return to the first event: what the relay had put off its next try.
    pub(crate) first_after_s: f64,
}

pub(crate) async fn measure(plan: &Plan) -> anyhow::Result<Outage> {
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config::counts())?.start();
    let mut subject = Subject::start(Kind::One, &posthog.url(), plan, &[]).await?;
    // what a PostHog that is down looks like
    for expected in ["destination takes nothing", "moehog_delivery"] {
        subject.deployment()?.expect(expected);
    }
    load::count(subject.http(), Workload::Batch, 1, 1).await?;
    let arrivals = || posthog.books().counts().arrivals;
    ensure!(posthog.books().wait_until(LASTS, |books| books.counts().arrivals == 100).await, "the first batch is late");

    posthog.down().await;
    let begun = Instant::now();
    let load = load::count(subject.http(), Workload::Batch, 16, EVENTS / Workload::Batch.events()).await?;
    ensure!(
        load.refused == 0 && load.failed == 0,
        "{} refused, {} failed while PostHog was down",
        load.refused,
        load.failed
    );
    tokio::time::sleep(LASTS.saturating_sub(begun.elapsed())).await;

    let back = Instant::now();
    posthog.up()?;
    let first = posthog.books().wait_until(Duration::from_secs(60), |books| books.counts().arrivals > 100).await;
    let first_after_s = back.elapsed().as_secs_f64();
    let all =
        posthog.books().wait_until(Duration::from_secs(60), |books| books.counts().arrivals >= 100 + EVENTS).await;
    let delivered_within_s = back.elapsed().as_secs_f64();
    ensure!(first && all, "{} of {EVENTS} waiting events a minute after the outage", arrivals() - 100);
    subject.finish().await?;
    let outage = Outage { waiting_events: EVENTS, delivered_within_s, first_after_s };
    println!(
        "outage: {EVENTS} waiting events delivered within {delivered_within_s:.2} s, the first after {first_after_s:.2} s"
    );
    Ok(outage)
}
