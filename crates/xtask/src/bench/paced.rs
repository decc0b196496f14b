//! What each event costs at the rates that users have, beside the bare limit that does the same at the same pace; and the highest rate
//! that is held.

use std::{fmt, path::Path, time::Duration};

use serde::Serialize;

use super::{
    Plan,
    campaign::{self, Campaign, Terms},
    load::Workload,
    median,
    subject::Kind,
};

/// Requests a second: a small shop, a large one, MoEngage's own pace, and more; and Streams batches of 100 events.
const LOADS: [(Workload, u32); 6] = [
    (Workload::Single, 100),
    (Workload::Single, 500),
    (Workload::Single, 3334),
    (Workload::Single, 5000),
    (Workload::Batch, 10),
    (Workload::Batch, 100),
];
/// How long PostHog takes.
const LATENCIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_secs(1)];
const KINDS: [Kind; 3] = [Kind::BarePost, Kind::One, Kind::Three];

/// A rate is held while no answer is later than this, of a hundred 99.
const IN_TIME_MS: f64 = 250.0;
/// The first rate that is tried, and by how much the next is higher.
const FROM: f64 = 4000.0;
const HIGHER: f64 = 1.25;

/// All rounds of one subject at one rate.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Paced {
    pub(crate) workload: Workload,
    pub(crate) rate: u32,
    pub(crate) latency: Duration,
    pub(crate) kind: Kind,
    /// Of the other revision that this one is measured beside.
    pub(crate) is_other: bool,
    pub(crate) rounds: Vec<Campaign>,
}

/// The highest rate of single events that was held.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Highest {
    pub(crate) kind: Kind,
    pub(crate) rate: f64,
    pub(crate) ack_p99_ms: f64,
}

impl Paced {
    fn median(&self, figure: impl Fn(&Campaign) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }
}

/// Each round measures every subject once at a rate, one right after the other, PostHog answering at once.
pub(crate) async fn measure(plan: &Plan, against: Option<&Path>) -> anyhow::Result<Vec<Paced>> {
    let other = against.map(|binaries| Plan { binaries: binaries.to_path_buf(), ..plan.clone() });
    compare(plan, other.as_ref(), &[Duration::ZERO]).await
}

/// All rates beside all latencies of PostHog, once.
pub(crate) async fn matrix(plan: &Plan) -> anyhow::Result<Vec<Paced>> {
    compare(&Plan { rounds: 1, ..plan.clone() }, None, &LATENCIES).await
}

async fn compare(plan: &Plan, other: Option<&Plan>, latencies: &[Duration]) -> anyhow::Result<Vec<Paced>> {
    let mut all = Vec::new();
    for ((workload, rate), latency) in
        LOADS.iter().flat_map(|load| latencies.iter().map(move |latency| (*load, *latency)))
    {
        let first = all.len();
        // what a bare limit posts are bodies as they came: a list of events is no event
        for kind in KINDS.into_iter().filter(|kind| workload == Workload::Single || *kind != Kind::BarePost) {
            all.push(Paced { workload, rate, latency, kind, is_other: false, rounds: Vec::new() });
            if other.is_some() && kind != Kind::BarePost {
                all.push(Paced { workload, rate, latency, kind, is_other: true, rounds: Vec::new() });
            }
        }
        // as many events at each rate, but for no longer than a person waits
        let lasts = Duration::from_secs_f64((20_000.0 / f64::from(rate)).clamp(10.0, 60.0));
        let lasts = if plan.quick { lasts / 4 } else { lasts };
        for number in 1..=plan.rounds {
            for one in &mut all[first..] {
                let plan = if one.is_other { other.unwrap_or(plan) } else { plan };
                let terms = Terms { kind: one.kind, workload, rate: f64::from(rate), lasts, latency };
                let last = Paced { rounds: vec![campaign::run(plan, terms).await?], ..*one };
                println!("round {number} {last}");
                one.rounds.extend(last.rounds);
            }
        }
    }
    Ok(all)
}

/// Ever higher rates of single events until one is not held: answers that are late or not 200, or a sender that falls behind.
pub(crate) async fn highest(plan: &Plan, kind: Kind) -> anyhow::Result<Highest> {
    let lasts = Duration::from_secs(if plan.quick { 3 } else { 10 });
    let mut held = Highest { kind, rate: 0.0, ack_p99_ms: 0.0 };
    let mut rate = FROM;
    loop {
        let terms = Terms { kind, workload: Workload::Single, rate, lasts, latency: Duration::ZERO };
        let campaign = campaign::run(plan, terms).await?;
        let is_held = campaign.not_200 == 0
            && campaign.ack_p99_ms <= IN_TIME_MS
            && campaign.seconds <= lasts.as_secs_f64() + IN_TIME_MS / 1e3;
        println!("{} at {rate:.0}/s: {}", kind.name(), if is_held { "held" } else { "not held" });
        if !is_held {
            return Ok(held);
        }
        held = Highest { rate, ack_p99_ms: campaign.ack_p99_ms, ..held };
        // whole requests in whole seconds
        rate = (rate * HIGHER / 100.0).round() * 100.0;
    }
}

impl fmt::Display for Highest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, rate, ack_p99_ms } = self;
        write!(formatter, "{}: {rate:.0} single events a second are held, ack p99 {ack_p99_ms:.1} ms", kind.name())
    }
}

impl fmt::Display for Paced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.rounds.iter().filter_map(|round| Some(round.syncs? as f64 / round.events as f64));
        let syncs = median(counted);
        write!(
            formatter,
            "| {} {}/s | {} ms | {}{} | {:.0} | {:.1} | {:.1} | {:.0} | {} | {:.2} | {:.1} | {:.1} | {:.1} |",
            if self.workload == Workload::Batch { "batch" } else { "single" },
            self.rate,
            self.latency.as_millis(),
            self.kind.name(),
            if self.is_other { ", the other revision" } else { "" },
            self.median(|round| round.cpu_per_million),
            self.median(|round| round.posthog_requests as f64 / round.seconds),
            self.median(|round| round.events as f64 / round.posthog_requests as f64),
            self.median(|round| round.posthog_bytes as f64 / round.events as f64),
            if syncs.is_nan() { "-".to_string() } else { format!("{syncs:.3}") },
            self.median(|round| round.wakes as f64 / round.events as f64),
            self.median(|round| round.ack_p99_ms),
            self.median(|round| round.p50_ms),
            self.median(|round| round.p99_ms),
        )
    }
}

/// Heads the rows.
pub(crate) const HEAD: &str = "| webhooks | PostHog | subject | CPU-s/M | requests/s to PostHog | events a request | bytes an event | syncs an event \
| wakes an event | ack p99 ms | received to accepted p50 ms | p99 |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";
