//! What each event costs at the rates that users have, beside the bare limit that does the same at the same pace.

use std::{fmt, path::Path, time::Duration};

use serde::Serialize;

use super::{
    Plan,
    campaign::{self, Campaign, Terms},
    median,
    subject::Kind,
};

/// Requests a second: a small shop, a large one, MoEngage's own pace, and more.
const RATES: [u32; 4] = [100, 500, 3334, 5000];
const KINDS: [Kind; 3] = [Kind::BarePost, Kind::One, Kind::Three];

/// All rounds of one subject at one rate.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Paced {
    pub(crate) rate: u32,
    pub(crate) kind: Kind,
    /// Of the other revision that this one is measured beside.
    pub(crate) is_other: bool,
    pub(crate) rounds: Vec<Campaign>,
}

impl Paced {
    fn median(&self, figure: impl Fn(&Campaign) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }
}

/// Each round measures every subject once at a rate, one right after the other.
pub(crate) async fn measure(plan: &Plan, against: Option<&Path>) -> anyhow::Result<Vec<Paced>> {
    let other = against.map(|binaries| Plan { binaries: binaries.to_path_buf(), ..plan.clone() });
    let mut all = Vec::new();
    for rate in RATES {
        let first = all.len();
        for kind in KINDS {
            all.push(Paced { rate, kind, is_other: false, rounds: Vec::new() });
            if other.is_some() && kind != Kind::BarePost {
                all.push(Paced { rate, kind, is_other: true, rounds: Vec::new() });
            }
        }
        // as many events at each rate, but for no longer than a person waits
        let lasts = Duration::from_secs_f64((20_000.0 / f64::from(rate)).clamp(10.0, 60.0));
        let lasts = if plan.quick { lasts / 4 } else { lasts };
        for number in 1..=plan.rounds {
            for one in &mut all[first..] {
                let plan = if one.is_other { other.as_ref().unwrap_or(plan) } else { plan };
                let terms = Terms { kind: one.kind, rate: f64::from(rate), lasts, latency: Duration::ZERO };
                let last = Paced { rounds: vec![campaign::run(plan, terms).await?], ..*one };
                println!("round {number} {last}");
                one.rounds.extend(last.rounds);
            }
        }
    }
    Ok(all)
}

impl fmt::Display for Paced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "| {} | {}{} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1} | {:.1} | {:.1} |",
            self.rate,
            self.kind.name(),
            if self.is_other { ", the other revision" } else { "" },
            self.median(|round| round.cpu_per_million),
            self.median(|round| round.posthog_requests as f64 / round.seconds),
            self.median(|round| round.requests as f64 / round.posthog_requests as f64),
            self.median(|round| round.posthog_bytes as f64 / round.requests as f64),
            self.median(|round| round.ack_p99_ms),
            self.median(|round| round.p50_ms),
            self.median(|round| round.p99_ms),
        )
    }
}

/// Heads the rows.
pub(crate) const HEAD: &str = "| requests/s | subject | CPU-s/M | requests/s to PostHog | events a request | bytes an event | ack p99 ms | received to \
accepted p50 ms | p99 |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |";
