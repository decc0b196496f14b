//! Memory and start time while webhooks wait for a PostHog that is down.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Config, PostHog};
use moehog_tests::{connector, post};
use serde::Serialize;

use super::{
    Plan,
    load::{self, Workload},
    subject::{KEY, Kind, Subject},
};

/// How long the relay may look at the backlog before its memory is read.
const LOOK: Duration = Duration::from_secs(5);
const STARTS: usize = 5;

/// What a backlog costs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Backlog {
    pub(crate) waiting_webhooks: u64,
    pub(crate) disk_bytes: u64,
    /// Memory with the backlog, some seconds after it was taken.
    pub(crate) resident_bytes: u64,
    /// The most it ever was, while the backlog was taken or waited.
    pub(crate) peak_bytes: u64,
    /// Memory some seconds after a kill -9 and a start over the backlog.
    pub(crate) resident_after_start_bytes: u64,
    /// From the start of the process to its first 200, the middle of several starts after kill -9.
    pub(crate) start_to_first_200_ms: f64,
}

/// Lets `webhooks` wait; 0 is an empty journal.
pub(crate) async fn measure(plan: &Plan, webhooks: u64) -> anyhow::Result<Backlog> {
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config::counts())?.start();
    posthog.down().await;
    let mut subject = Subject::start(Kind::One, &posthog.url(), plan, &[]).await?;
    // what a PostHog that is down looks like
    for expected in ["destination takes nothing", "moehog_delivery"] {
        subject.deployment()?.expect(expected);
    }
    if webhooks > 0 {
        let load = load::count(subject.http(), Workload::Single, 64, webhooks).await?;
        ensure!(load.refused == 0 && load.failed == 0, "{} refused, {} failed", load.refused, load.failed);
    }
    tokio::time::sleep(LOOK).await;
    let (resident_bytes, peak_bytes) = subject.memory()?;
    let disk_bytes = subject.disk_bytes();

    let http = subject.http();
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let deployment = subject.deployment()?;
        let service = deployment.keeper();
        deployment.kill(service)?;
        let begun = Instant::now();
        deployment.spawn(service)?;
        first_200(http).await?;
        starts.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    starts.sort_by(f64::total_cmp);
    tokio::time::sleep(LOOK).await;
    let (resident_after_start_bytes, _) = subject.memory()?;
    // a restart has to show what it still holds: nothing of the backlog may be gone
    let status = subject.deployment()?.ask("/api/status").await?;
    let waiting = status["ledger"]["webhooks"]["waiting"].as_u64().context("the ledger says how many wait")?;
    ensure!(waiting == webhooks + STARTS as u64, "{waiting} wait of {} taken", webhooks + STARTS as u64);
    subject.finish().await?;

    let backlog = Backlog {
        waiting_webhooks: webhooks,
        disk_bytes,
        resident_bytes,
        peak_bytes,
        resident_after_start_bytes,
        start_to_first_200_ms: starts[STARTS / 2],
    };
    println!(
        "backlog of {webhooks}: {} MB, {} MB after a start, first 200 after {:.0} ms",
        resident_bytes / 1_000_000,
        resident_after_start_bytes / 1_000_000,
        backlog.start_to_first_200_ms
    );
    Ok(backlog)
}

async fn first_200(http: std::net::SocketAddr) -> anyhow::Result<()> {
    let body = connector(KEY, "start", "6f1c7a52-6a44-4c8e-8a0e-5b8f0c2d9e01");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if post(http, "/capture/", &[], body.clone()).await.is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    anyhow::bail!("no 200 within a minute of the start")
}
