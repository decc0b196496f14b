//! What tracing costs: moehog's three processes without a collector, and with one that gets one trace in a hundred.
//!
//! At a rate that leaves the machine room: at full load what costs time lowers the rate, and what is done so many times a second,
//! syncs above all, then falls on fewer events. That would be counted as the cost of tracing.

use moehog_tests::Collector;
use serde::Serialize;

use super::{Plan, load::Workload, median, subject::Kind, throughput};

/// One workload with tracing off and on, round by round.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trace {
    pub(crate) workload: Workload,
    /// CPU-seconds per million events, off and on, measured one after the other.
    pub(crate) rounds: Vec<(f64, f64)>,
    /// Spans that the collector got.
    pub(crate) spans: usize,
}

impl Trace {
    /// The middle of what tracing adds, as a part of the cost without it.
    pub(crate) fn added(&self) -> f64 {
        median(self.rounds.iter().map(|(off, on)| on / off - 1.0))
    }

    /// The middle of the costs, off and on.
    pub(crate) fn costs(&self) -> (f64, f64) {
        (median(self.rounds.iter().map(|(off, _)| *off)), median(self.rounds.iter().map(|(_, on)| *on)))
    }
}

/// Each round measures both, the one that begins in turn.
pub(crate) async fn measure(workload: Workload, plan: &Plan) -> anyhow::Result<Trace> {
    let collector = Collector::start().await?;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_string()),
        ("OTEL_TRACES_SAMPLER_ARG", "0.01".to_string()),
    ];
    let mut trace = Trace { workload, rounds: Vec::new(), spans: 0 };
    for number in 1..=plan.rounds {
        let (mut off, mut on) = (0.0, 0.0);
        for traced in [number % 2 == 0, number % 2 == 1] {
            let variables: &[_] = if traced { &variables } else { &[] };
            let cost = throughput::round(Kind::Three, workload, plan, Some(workload.steady()), variables)
                .await?
                .cpu_per_million;
            *(if traced { &mut on } else { &mut off }) = cost;
        }
        println!("{} round {number} tracing off {off:.1}, 1 % {on:.1} CPU-s/M", workload.name());
        trace.rounds.push((off, on));
    }
    trace.spans = collector.spans().len();
    anyhow::ensure!(trace.spans > 0, "the collector got no span");
    Ok(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tracing_adds_is_the_middle_of_the_pairs() {
        let rounds = vec![(10.0, 11.0), (20.0, 20.0), (10.0, 10.2)];
        let trace = Trace { workload: Workload::ALL[0], rounds, spans: 1 };
        assert!((trace.added() - 0.02).abs() < 1e-9);
        assert_eq!(trace.costs(), (10.0, 11.0));
    }
}
