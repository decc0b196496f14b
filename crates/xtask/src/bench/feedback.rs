//! What it costs a Connector's answer to wait for its mapping: with nothing waiting, and with a backlog because PostHog is down.

use std::{fmt, time::Duration};

use anyhow::ensure;
use moehog_emulator::posthog::{Config, PostHog, Running};
use serde::Serialize;

use super::{
    Plan,
    load::{self, Workload},
    subject::{Kind, Subject},
};

/// Webhooks that wait for a PostHog that is down.
const BACKLOG: u64 = 10_000;
/// Requests a second, over so many connections: a campaign's pace, not its most.
const RATE: u32 = 1_000;
const CONNECTIONS: usize = 16;

/// Times to an answer, in milliseconds, medians of the rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Times {
    p50_ms: f64,
    p99_ms: f64,
}

/// With the wait and without it, by turns.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Feedback {
    pub(crate) waiting_webhooks: u64,
    pub(crate) with_wait: Times,
    pub(crate) without: Times,
    pub(crate) not_200: u64,
}

impl fmt::Display for Feedback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waiting_webhooks, with_wait, without, not_200 } = self;
        write!(
            formatter,
            "feedback, {waiting_webhooks} webhooks waiting, {RATE} Connector requests/s: ack p50 {:.2} / p99 {:.2} ms with the wait for \
             the mapping, {:.2} / {:.2} ms without; {not_200} not 200",
            with_wait.p50_ms, with_wait.p99_ms, without.p50_ms, without.p99_ms
        )
    }
}

pub(crate) async fn measure(plan: &Plan, is_backlog: bool) -> anyhow::Result<Feedback> {
    let (waits, posthog) = start(plan, "300ms", is_backlog).await?;
    let (waits_not, other) = start(plan, "0ms", is_backlog).await?;
    let (mut times, mut not_200) = ([Vec::new(), Vec::new()], 0);
    for round in 0..plan.rounds {
        for at in [round % 2, 1 - round % 2] {
            let http = if at == 0 { waits.http() } else { waits_not.http() };
            let sent = load::closed(http, Workload::Single, CONNECTIONS, plan.load, Some(RATE)).await?;
            not_200 += sent.refused + sent.failed;
            times[at].push((sent.p50, sent.p99));
        }
    }
    waits.finish().await?;
    waits_not.finish().await?;
    drop((posthog, other));
    let [with_wait, without] = times.map(|times| Times {
        p50_ms: middle(times.iter().map(|time| time.0)),
        p99_ms: middle(times.iter().map(|time| time.1)),
    });
    let waiting_webhooks = if is_backlog { BACKLOG } else { 0 };
    let feedback = Feedback { waiting_webhooks, with_wait, without, not_200 };
    println!("{feedback}");
    Ok(feedback)
}

async fn start(plan: &Plan, wait: &str, is_backlog: bool) -> anyhow::Result<(Subject, Running)> {
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config::counts())?.start();
    let mut subject =
        Subject::start(Kind::One, &posthog.url(), plan, &[("MOEHOG__FEEDBACK__WAIT", wait.to_string())]).await?;
    if is_backlog {
        posthog.down().await;
        for expected in ["destination takes nothing", "moehog_delivery"] {
            subject.deployment()?.expect(expected);
        }
        let load = load::count(subject.http(), Workload::Single, CONNECTIONS, BACKLOG).await?;
        ensure!(load.refused == 0 && load.failed == 0, "{} refused, {} failed", load.refused, load.failed);
    }
    Ok((subject, posthog))
}

fn middle(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<_> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
