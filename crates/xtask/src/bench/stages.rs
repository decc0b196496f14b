//! What each stage of a webhook's way costs at full load, from samples of the stacks that `perf` takes.

use std::{collections::BTreeMap, fmt, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Config, PostHog};
use serde::Serialize;
use tokio::process::Command;

use super::{
    Plan, directory,
    load::{self, Workload},
    subject::{Kind, Subject},
    throughput::difference,
};

/// Samples a second of each thread that runs, and bytes of its stack that are kept with each.
const SAMPLES: &str = "199";
const STACK: &str = "dwarf,24576";

/// The stages, and parts of the names of functions that are of one. The first that is anywhere in a stack has it: what is called
/// stands before what calls it.
const STAGES: [(&str, &[&str]); 16] = [
    (
        "wake: threads that wait and are woken",
        &["epoll_wait", "futex", "mio::sys::unix::waker", "parking_lot_core::", "sched_yield"],
    ),
    ("gzip", &["zlib_rs::", "flate2::"]),
    ("encode: the body of a request to PostHog", &["moehog_delivery::posthog::request"]),
    ("post: the request to PostHog and its answer", &["hyper::client", "hyper_util::client", "reqwest::"]),
    ("deliver: turns, limits, verdicts", &["moehog_delivery::"]),
    ("transform: the mapping", &["moehog_transformer::"]),
    ("record: what became of events, and notes of calls", &["moehog_journal::embedded::record", "::sync_records"]),
    (
        "read: the journal",
        &["moehog_journal::embedded::read", "EmbeddedClaim as moehog_journal::journal::Claim>::read"],
    ),
    ("call: gRPC within the process", &["moehog_transport::", "tonic::", "moehog_relay::calls"]),
    ("barrier: persons, order, what to do next", &["moehog_relay::"]),
    ("sync", &["fdatasync", "ext4_sync_file"]),
    ("append: frames, write, index", &["moehog_journal::embedded::commit", "moehog_journal::embedded::append"]),
    ("journal, other", &["moehog_journal::"]),
    ("admit: route, secret, limits, answer", &["moehog_gateway::"]),
    ("parse: heads of requests", &["httparse::", "hyper::proto::h1::role", "hyper::proto::h1::decode"]),
    ("accept: connections, sockets, HTTP", &["hyper", "axum", "tokio::net", "moehog_runtime::"]),
];
const OTHER: &str = "other";
/// Parts of the innermost function's name of what is done in every stage.
const EVERYWHERE: [(&str, &[&str]); 2] = [
    ("allocating", &["_rjem_", "tcache", "arena_", "rallocx", "sdallocx"]),
    ("copying", &["memmove", "memcpy", "memset", "copy_user", "_copy_to_iter", "_copy_from_iter", "clear_page"]),
];

/// What the stages of one workload cost.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stages {
    workload: Workload,
    samples: u64,
    /// CPU-seconds per million events, all stages, without `perf`.
    cpu_per_million: f64,
    /// Parts of it by stage, and of what is done in every stage.
    parts: BTreeMap<String, f64>,
    everywhere: BTreeMap<String, f64>,
}

impl fmt::Display for Stages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, samples, cpu_per_million, .. } = self;
        let name = workload.name();
        writeln!(
            formatter,
            "| {name}: stage | CPU-s/M of {cpu_per_million:.1} | % of {samples} samples |\n| --- | --- | --- |"
        )?;
        let mut row = |name: &str, part: f64| {
            writeln!(formatter, "| {name} | {:.2} | {:.1} |", part * cpu_per_million, 100.0 * part)
        };
        for name in STAGES.iter().map(|stage| stage.0).chain([OTHER]) {
            row(name, self.parts.get(name).copied().unwrap_or(0.0))?;
        }
        for (name, part) in &self.everywhere {
            row(&format!("in all stages: {name}"), *part)?;
        }
        Ok(())
    }
}

/// One process under full load: its cost, then the same with `perf` beside it.
///
/// # Errors
///
/// There is no `perf`, or it may not look at a process of this user.
pub(crate) async fn measure(workload: Workload, plan: &Plan) -> anyhow::Result<Stages> {
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config::counts())?;
    let posthog = posthog.start();
    let mut subject = Subject::start(Kind::One, &posthog.url(), plan, &[]).await?;
    let http = subject.http();
    load::count(http, workload, 1, 1).await?;
    let before = subject.cpu()?;
    let sent = load::closed(http, workload, workload.connections(), plan.load, None).await?;
    let wanted = (sent.acks + 1) * workload.events();
    let all = posthog.books().wait_until(Duration::from_secs(60), |books| books.counts().arrivals >= wanted).await;
    ensure!(all, "events are late");
    let used: f64 = difference(subject.cpu()?, before).values().map(|cpu| cpu.total).sum();

    let directory = directory("perf")?;
    let data = directory.path().join("perf.data");
    let process = subject.deployment()?.process(moehog_tests::Service::Moehog)?.id();
    let mut perf = Command::new("perf");
    perf.args([
        "record",
        "--quiet",
        "--freq",
        SAMPLES,
        "--call-graph",
        STACK,
        "--pid",
        &process.to_string(),
        "--output",
    ]);
    perf.arg(&data).arg("--").args(["sleep", &(plan.load.as_secs().max(2) - 1).to_string()]);
    let mut perf =
        perf.stdin(Stdio::null()).spawn().context("start `perf`; Debian has it in the package linux-perf")?;
    load::closed(http, workload, workload.connections(), plan.load, None).await?;
    ensure!(perf.wait().await?.success(), "`perf record` failed; it needs kernel.perf_event_paranoid of 1 or less");
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "--fields", "comm,ip,sym", "--input"]).arg(&data);
    let script = script.stderr(Stdio::null()).output().await.context("start `perf script`")?;
    subject.finish().await?;

    let (mut parts, mut everywhere, mut samples) = (BTreeMap::new(), BTreeMap::new(), 0_u64);
    for stack in String::from_utf8_lossy(&script.stdout).split("\n\n").map(functions).filter(|stack| !stack.is_empty())
    {
        samples += 1;
        *parts.entry(stage(&stack).to_string()).or_default() += 1.0;
        if let Some(name) = of(&EVERYWHERE, |part| stack[0].contains(part)) {
            *everywhere.entry(name.to_string()).or_default() += 1.0;
        }
    }
    ensure!(samples > 0, "`perf` took no samples");
    parts.values_mut().chain(everywhere.values_mut()).for_each(|count: &mut f64| *count /= samples as f64);
    let cpu_per_million = used / ((sent.acks * workload.events()) as f64 / 1e6);
    Ok(Stages { workload, samples, cpu_per_million, parts, everywhere })
}

/// The functions of a sample, the innermost first: lines of an address and a name below one with the thread's.
fn functions(sample: &str) -> Vec<&str> {
    let lines = sample.lines().filter(|line| line.starts_with([' ', '\t']));
    lines.filter_map(|line| Some(line.trim().split_once(' ')?.1)).collect()
}

fn stage(stack: &[&str]) -> &'static str {
    of(&STAGES, |part| stack.iter().any(|function| function.contains(part))).unwrap_or(OTHER)
}

fn of(all: &[(&'static str, &[&str])], fits: impl Fn(&str) -> bool) -> Option<&'static str> {
    all.iter().find(|(_, parts)| parts.iter().any(|part| fits(part))).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_has_the_sample_and_not_what_calls_it() {
        let sample = "relay\n\t  7f01 memmove\n\t  55d2 moehog_transformer::mapping::map\n\t  55d3 moehog_relay::walk::Walk::run\n";
        let stack = functions(sample);
        assert_eq!(stack, ["memmove", "moehog_transformer::mapping::map", "moehog_relay::walk::Walk::run"]);
        assert_eq!(stage(&stack), "transform: the mapping");
        assert_eq!(stage(&stack[2..]), "barrier: persons, order, what to do next");
        assert_eq!(stage(&stack[..1]), OTHER);
        assert_eq!(of(&EVERYWHERE, |part| stack[0].contains(part)), Some("copying"));
    }
}
