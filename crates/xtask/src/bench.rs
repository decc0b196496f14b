//! `cargo xtask bench`: moehog against the bare limits and its budget, interleaved in one run.
//!
//! Costs are CPU-seconds per million events of all moehog processes, from the operating system, from the start of the load until the
//! emulated PostHog has every event. Wall-clock figures stand beside them; on a shared machine they swing, the costs do not.

mod backlog;
mod bare;
mod budget;
mod campaign;
mod feedback;
mod lanes;
mod load;
mod mapping;
mod outage;
mod paced;
mod paired;
mod report;
mod scale;
mod stages;
mod subject;
mod throughput;
mod trace;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};

use self::report::Report;
use crate::workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure; everything when none is named.
    #[arg(value_enum)]
    measures: Vec<Measure>,
    /// Shorter rounds and smaller backlogs: minutes instead of an hour.
    #[arg(long)]
    quick: bool,
    /// Interleaved rounds of the throughput measures.
    #[arg(long)]
    rounds: Option<usize>,
    /// Minutes of the campaign.
    #[arg(long)]
    minutes: Option<u64>,
    /// Directory with the release binaries of another revision (its `xtask` for the mapping; all of a
    /// `cargo build --release --workspace`, since what is built alone has another allocator): the throughput measures and the mapping then give
    /// what this one costs beside it, in pairs of rounds.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Directory with release binaries; built when none is named.
    #[arg(long, hide = true)]
    binaries: Option<PathBuf>,
    #[command(subcommand)]
    bare: Option<Bare>,
}

#[derive(Debug, clap::Subcommand)]
enum Bare {
    /// Serves a bare limit until killed.
    #[command(hide = true)]
    Bare(bare::Arguments),
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    /// One Connector body of 470 bytes a request, 64 connections.
    Single,
    /// The same with bodies of 1 KiB.
    #[value(name = "single-1k")]
    Single1k,
    /// Streams batches of 100 events of 470 bytes, 16 connections.
    Batch,
    /// The same with events of 1 KiB.
    #[value(name = "batch-1k")]
    Batch1k,
    /// The built-in mapping alone.
    Mapping,
    /// 180,000 events that wait after an outage of PostHog.
    Outage,
    /// Memory and start time with webhooks waiting.
    Backlog,
    /// Answers that wait for their mapping and such that do not, with nothing waiting and with 10,000 webhooks waiting.
    Feedback,
    /// 3,334 requests a second against a PostHog that takes 200 ms.
    Campaign,
    /// 100 to 5,000 requests a second, beside a bare limit that does the same at the same pace.
    Paced,
    /// The same and Streams batches beside a PostHog at 0, 100 and 1,000 ms, once, and the highest rate that is held.
    Matrix,
    /// One load divided among 1 to 1,000 sources with a destination each.
    Lanes,
    /// What each stage of a webhook's way costs at full load; needs `perf`.
    Stages,
    /// What tracing adds to the cost, one trace in a hundred sampled.
    Trace,
    /// 1 to 16 deliveries behind a name with the product's defaults, one gateway and two, PostHog at 5 s, 1 s and 200 ms.
    Scale,
}

/// How long and how large.
#[derive(Debug, Clone)]
struct Plan {
    rounds: usize,
    load: Duration,
    /// Webhooks that wait.
    backlogs: Vec<u64>,
    campaign: Duration,
    binaries: PathBuf,
    quick: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(Bare::Bare(arguments)) = &arguments.bare {
        return bare::run(arguments);
    }
    let Some(binaries) = &arguments.binaries else {
        // the sender and the sink share the machine with what they measure: they run optimised too
        let binaries = binaries(true)?;
        let mut command = Command::new(binaries.join("xtask"));
        command.args(std::env::args_os().skip(1)).arg("--binaries").arg(&binaries);
        return Ok(command.status().context("start the optimised xtask")?.success());
    };
    let plan = Plan {
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 2 } else { 5 }),
        load: Duration::from_secs(if arguments.quick { 3 } else { 10 }),
        backlogs: if arguments.quick { vec![0, 10_000, 100_000] } else { vec![0, 10_000, 1_000_000] },
        campaign: Duration::from_secs(60 * arguments.minutes.unwrap_or(if arguments.quick { 1 } else { 10 })),
        binaries: binaries.clone(),
        quick: arguments.quick,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(measure(arguments, &plan))?;
    let path = workspace::target().join("bench.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
    println!("\n{report}\n\nJSON: {}", path.display());
    Ok(report.failures.is_empty() && report.budget.iter().all(|row| row.met))
}

async fn measure(arguments: &Arguments, plan: &Plan) -> anyhow::Result<Report> {
    // what needs a tool that a machine may not have is measured when it is named
    let wanted = |measure| {
        let all = arguments.measures.is_empty() && measure != Measure::Stages;
        all || arguments.measures.contains(&measure)
    };
    let mut report = Report::new();
    let workloads = [Measure::Single, Measure::Single1k, Measure::Batch, Measure::Batch1k];
    for (measure, workload) in workloads.into_iter().zip(load::Workload::ALL) {
        if !wanted(measure) {
            continue;
        }
        if let Some(against) = &arguments.against {
            let measured = paired::measure(workload, plan, against).await;
            report.paired.extend(keep(measured, workload.name(), &mut report.failures).unwrap_or_default());
        } else {
            let measured = throughput::measure(workload, plan).await;
            report.throughput.extend(keep(measured, workload.name(), &mut report.failures).unwrap_or_default());
        }
    }
    if wanted(Measure::Mapping) {
        match &arguments.against {
            None => report.mapping = keep(mapping::measure(), "mapping", &mut report.failures),
            Some(against) => {
                keep(mapping::paired(plan, against), "mapping", &mut report.failures);
            }
        }
    }
    if wanted(Measure::Outage) {
        report.outage = keep(outage::measure(plan).await, "outage", &mut report.failures);
    }
    if wanted(Measure::Backlog) {
        for webhooks in &plan.backlogs {
            let name = format!("backlog of {webhooks}");
            report.backlog.extend(keep(backlog::measure(plan, *webhooks).await, &name, &mut report.failures));
        }
    }
    if wanted(Measure::Feedback) {
        for is_backlog in [false, true] {
            let measured = feedback::measure(plan, is_backlog).await;
            report.feedback.extend(keep(measured, "feedback", &mut report.failures));
        }
    }
    if wanted(Measure::Campaign) {
        report.campaign = keep(campaign::measure(plan).await, "campaign", &mut report.failures);
    }
    if wanted(Measure::Paced) {
        let measured = paced::measure(plan, arguments.against.as_deref()).await;
        report.paced = keep(measured, "paced", &mut report.failures).unwrap_or_default();
    }
    if wanted(Measure::Matrix) {
        report.paced.extend(keep(paced::matrix(plan).await, "matrix", &mut report.failures).unwrap_or_default());
        for kind in [subject::Kind::BarePost, subject::Kind::One, subject::Kind::Three] {
            report.highest.extend(keep(paced::highest(plan, kind).await, "highest rate", &mut report.failures));
        }
    }
    if wanted(Measure::Lanes) {
        report.lanes = keep(lanes::measure(plan).await, "lanes", &mut report.failures).unwrap_or_default();
    }
    if wanted(Measure::Stages) {
        for workload in [load::Workload::ALL[0], load::Workload::ALL[2]] {
            report.stages.extend(keep(stages::measure(workload, plan).await, "stages", &mut report.failures));
        }
    }
    if wanted(Measure::Trace) {
        for workload in [load::Workload::ALL[0], load::Workload::ALL[2]] {
            report.trace.extend(keep(trace::measure(workload, plan).await, "trace", &mut report.failures));
        }
    }
    if wanted(Measure::Scale) {
        report.scale = keep(scale::measure(plan).await, "scale", &mut report.failures).unwrap_or_default();
    }
    report.budget = budget::judge(&report);
    Ok(report)
}

/// The middle of what rounds gave.
fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What was measured, or a failure beside what else was.
fn keep<T>(measured: anyhow::Result<T>, name: &str, failures: &mut Vec<String>) -> Option<T> {
    measured
        .map_err(|error| {
            eprintln!("{name} failed: {error:#}");
            failures.push(format!("{name}: {error:#}"));
        })
        .ok()
}

/// Builds every binary and says where they are.
pub(crate) fn binaries(release: bool) -> anyhow::Result<PathBuf> {
    println!("building binaries");
    let mut arguments = vec!["build", "--workspace", "--bins"];
    arguments.extend(release.then_some("--release"));
    let executables = workspace::build(&arguments)?;
    let moehog = executables.iter().find(|executable| executable.target == "moehog");
    let directory = moehog.and_then(|moehog| moehog.path.parent()).context("the build made no binary `moehog`")?;
    ensure!(directory.is_dir(), "no directory {}", directory.display());
    Ok(directory.to_path_buf())
}

/// A temporary directory on the disk that builds are on; `/tmp` may be memory, where fdatasync costs nothing.
fn directory(name: &str) -> anyhow::Result<tempfile::TempDir> {
    let parent: &Path = &workspace::target();
    tempfile::Builder::new().prefix(&format!("bench-{name}-")).tempdir_in(parent).context("make a directory")
}
