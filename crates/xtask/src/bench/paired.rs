//! What this revision costs beside another one: both are measured in each round, one right after the other.
//!
//! On a shared machine the cost of one revision swings by a tenth from minute to minute; the ratio within a pair does not.

use std::{fmt, path::Path};

use serde::Serialize;

use super::{
    Plan,
    load::Workload,
    subject::Kind,
    throughput::{self, Round},
};

/// Rounds of both revisions under one workload, in pairs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Paired {
    pub(crate) workload: Workload,
    pub(crate) kind: Kind,
    /// Of the other revision and of this one.
    pub(crate) pairs: Vec<(Round, Round)>,
}

/// A figure of this revision as a part of the other's: the middle pair and both ends.
struct Ratio {
    least: f64,
    median: f64,
    most: f64,
}

impl Paired {
    fn ratio(&self, figure: impl Fn(&Round) -> f64) -> Ratio {
        let mut ratios: Vec<_> = self.pairs.iter().map(|(other, this)| figure(this) / figure(other)).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |at: usize| ratios.get(at).copied().unwrap_or(f64::NAN);
        Ratio { least: at(0), median: at(ratios.len() / 2), most: at(ratios.len().saturating_sub(1)) }
    }
}

/// Measures moehog as one process and as three, the revision that begins in turn.
pub(crate) async fn measure(workload: Workload, plan: &Plan, against: &Path) -> anyhow::Result<Vec<Paired>> {
    let other = Plan { binaries: against.to_path_buf(), ..plan.clone() };
    let mut all = [Kind::One, Kind::Three].map(|kind| Paired { workload, kind, pairs: Vec::new() });
    for number in 1..=plan.rounds {
        for one in &mut all {
            let measure = async |plan| throughput::round(one.kind, workload, plan, None, &[]).await;
            let pair = if number % 2 == 0 {
                let this = measure(plan).await?;
                (measure(&other).await?, this)
            } else {
                (measure(&other).await?, measure(plan).await?)
            };
            println!(
                "{} pair {number} {:<24} {:>6.1} and {:>6.1} CPU-s/M, {:.3}",
                workload.name(),
                one.kind.name(),
                pair.0.cpu_per_million,
                pair.1.cpu_per_million,
                pair.1.cpu_per_million / pair.0.cpu_per_million,
            );
            one.pairs.push(pair);
        }
    }
    Ok(all.into())
}

impl fmt::Display for Paired {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, subject, pairs) = (self.workload.name(), self.kind.name(), self.pairs.len());
        write!(formatter, "{name}, {subject}, this revision by the other, median of {pairs} pairs (least to most): ")?;
        write!(formatter, "CPU {}", self.ratio(|round| round.cpu_per_million))?;
        write!(formatter, ", events/s {}", self.ratio(|round| round.events_per_second))?;
        write!(formatter, ", delivered/s {}", self.ratio(|round| round.delivered_per_second))?;
        write!(formatter, ", p50 {}", self.ratio(|round| round.ack_p50_ms))?;
        write!(formatter, ", p99 {}", self.ratio(|round| round.ack_p99_ms))?;
        write!(formatter, ", events a request {}", self.ratio(|round| round.events_a_request))?;
        write!(formatter, ", memory {}", self.ratio(|round| round.peak_bytes as f64))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3} ({:.3} to {:.3})", self.median, self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_middle_of_the_pairs() {
        let round = |cost| Round { cpu_per_million: cost, ..Round::default() };
        let pairs = vec![(round(10.0), round(11.0)), (round(20.0), round(20.0)), (round(10.0), round(10.2))];
        let paired = Paired { workload: Workload::ALL[0], kind: Kind::One, pairs };
        assert_eq!(paired.ratio(|round| round.cpu_per_million).to_string(), "1.020 (1.000 to 1.100)");
    }
}
