//! Requests, events and their cost, for the bare limits and moehog in turn.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::ensure;
use moehog_emulator::posthog::{Config, PostHog};
use moehog_tests::Cpu;
use serde::Serialize;

use super::{
    Plan,
    load::{self, Workload},
    median,
    subject::{Kind, Subject},
};

const SETTLE: Duration = Duration::from_secs(120);
/// Time without work before idle memory is read: what is freed goes back to the system within a second or two.
const REST: Duration = Duration::from_secs(3);

/// One round of one subject.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Round {
    pub(crate) requests_per_second: f64,
    pub(crate) events_per_second: f64,
    /// From the start of the load until the last event was at PostHog.
    pub(crate) delivered_per_second: f64,
    pub(crate) ack_p50_ms: f64,
    pub(crate) ack_p99_ms: f64,
    pub(crate) ack_p999_ms: f64,
    /// CPU-seconds per million events, all processes.
    pub(crate) cpu_per_million: f64,
    /// The same by process and thread.
    pub(crate) stages: BTreeMap<String, f64>,
    pub(crate) idle_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) events: u64,
    /// Events in each request to PostHog, on average; 0 where none are sent.
    pub(crate) events_a_request: f64,
}

/// All rounds of one subject under one workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Throughput {
    pub(crate) workload: Workload,
    pub(crate) kind: Kind,
    pub(crate) rounds: Vec<Round>,
}

impl Throughput {
    /// The middle of what the rounds gave.
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }
}

/// Each round measures every subject once, so that what else the machine does meets all of them.
pub(crate) async fn measure(workload: Workload, plan: &Plan) -> anyhow::Result<Vec<Throughput>> {
    let mut all = Kind::ALL.map(|kind| Throughput { workload, kind, rounds: Vec::new() });
    for number in 1..=plan.rounds {
        for one in &mut all {
            let round = round(one.kind, workload, plan, None, &[]).await?;
            println!(
                "{} round {number} {:<24} {:>9.0} events/s  {:>6.1} CPU-s/M  p99 {:>6.1} ms  {:>5.0} events a request",
                workload.name(),
                one.kind.name(),
                round.events_per_second,
                round.cpu_per_million,
                round.ack_p99_ms,
                round.events_a_request,
            );
            one.rounds.push(round);
        }
    }
    Ok(all.into())
}

/// One round, at full load where no `rate` of requests is given; `variables` are set for the processes.
pub(crate) async fn round(
    kind: Kind,
    workload: Workload,
    plan: &Plan,
    rate: Option<u32>,
    variables: &[(&str, String)],
) -> anyhow::Result<Round> {
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config::counts())?.start();
    let mut subject = Subject::start(kind, &posthog.url(), plan, variables).await?;
    // the first webhook pays for connections and the check of the key
    load::closed(subject.http(), workload, 1, Duration::from_millis(100), None).await?;
    settled(&posthog, kind).await?;
    let first = posthog.books().counts();

    let (begun, before) = (Instant::now(), subject.cpu()?);
    let load = load::closed(subject.http(), workload, workload.connections(), plan.load, rate).await?;
    ensure!(load.refused == 0 && load.failed == 0, "{}: {} refused, {} failed", kind.name(), load.refused, load.failed);
    let events = load.acks * workload.events();
    let wanted = if kind.delivers() { first.arrivals + events } else { 0 };
    let all = posthog.books().wait_until(SETTLE, |books| books.counts().arrivals >= wanted).await;
    let took = begun.elapsed();
    let last = posthog.books().counts();
    let arrivals = last.arrivals;
    ensure!(all && arrivals == wanted, "{}: {arrivals} of {wanted} events at PostHog after {took:?}", kind.name());
    let requests = last.requests - first.requests;
    let used = difference(subject.cpu()?, before);
    let (_, peak_bytes) = subject.memory()?;
    tokio::time::sleep(REST).await;
    let (idle_bytes, _) = subject.memory()?;
    subject.finish().await?;

    let millions = events as f64 / 1e6;
    let milliseconds = |latency: Duration| latency.as_secs_f64() * 1e3;
    Ok(Round {
        requests_per_second: load.acks as f64 / load.took.as_secs_f64(),
        events_per_second: events as f64 / load.took.as_secs_f64(),
        delivered_per_second: events as f64 / took.as_secs_f64(),
        ack_p50_ms: milliseconds(load.p50),
        ack_p99_ms: milliseconds(load.p99),
        ack_p999_ms: milliseconds(load.p999),
        cpu_per_million: used.values().map(|cpu| cpu.total).sum::<f64>() / millions,
        stages: stages(&used, millions),
        idle_bytes,
        peak_bytes,
        events,
        events_a_request: if requests == 0 { 0.0 } else { events as f64 / requests as f64 },
    })
}

/// Waits until nothing more arrives, so that a round starts at rest.
async fn settled(posthog: &moehog_emulator::posthog::Running, kind: Kind) -> anyhow::Result<()> {
    if !kind.delivers() {
        return Ok(());
    }
    let some = posthog.books().wait_until(SETTLE, |books| books.counts().arrivals > 0).await;
    ensure!(some, "{}: the first event never reached PostHog", kind.name());
    let mut seen = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let arrivals = posthog.books().counts().arrivals;
        if arrivals == seen {
            return Ok(());
        }
        seen = arrivals;
    }
}

/// What each process used between two looks.
pub(super) fn difference(after: BTreeMap<String, Cpu>, mut before: BTreeMap<String, Cpu>) -> BTreeMap<String, Cpu> {
    after.into_iter().map(|(name, cpu)| (name.clone(), cpu - before.remove(&name).unwrap_or_default())).collect()
}

/// Cost by process, and within it by thread where a thread has a name of its own.
fn stages(used: &BTreeMap<String, Cpu>, millions: f64) -> BTreeMap<String, f64> {
    let mut stages = BTreeMap::new();
    for (process, cpu) in used {
        stages.insert(process.clone(), cpu.total / millions);
        for (thread, seconds) in cpu.threads.iter().filter(|(_, seconds)| **seconds > 0.0) {
            stages.insert(format!("{process}/{thread}"), seconds / millions);
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_round() {
        let round = |cost| Round { cpu_per_million: cost, ..Round::default() };
        let rounds = vec![round(30.0), round(10.0), round(20.0)];
        let all = Throughput { workload: Workload::ALL[0], kind: Kind::One, rounds };
        assert!((all.median(|round| round.cpu_per_million) - 20.0).abs() < f64::EPSILON);
    }
}
