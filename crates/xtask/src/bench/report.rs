//! What was measured, as JSON and as tables.

use std::{fmt, fs};

use serde::Serialize;

use super::{
    backlog::Backlog,
    campaign::Campaign,
    feedback::Feedback,
    lanes::Lanes,
    mapping::Mapping,
    outage::Outage,
    paced::{self, Highest, Paced},
    paired::Paired,
    scale::Step,
    stages::Stages,
    throughput::Throughput,
    trace::Trace,
};

/// One line of the budget.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) must: f64,
    pub(crate) aim: f64,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

/// Everything a run measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    pub(crate) throughput: Vec<Throughput>,
    pub(crate) paired: Vec<Paired>,
    pub(crate) paced: Vec<Paced>,
    pub(crate) highest: Vec<Highest>,
    pub(crate) lanes: Vec<Lanes>,
    pub(crate) mapping: Option<Mapping>,
    pub(crate) outage: Option<Outage>,
    pub(crate) backlog: Vec<Backlog>,
    pub(crate) feedback: Vec<Feedback>,
    pub(crate) campaign: Option<Campaign>,
    pub(crate) stages: Vec<Stages>,
    pub(crate) trace: Vec<Trace>,
    pub(crate) scale: Vec<Step>,
    pub(crate) budget: Vec<Row>,
    /// Measures that gave no figure, and why.
    pub(crate) failures: Vec<String>,
}

/// On what it was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Conditions {
    cores: usize,
    processor: String,
    kernel: String,
    /// Load average of the last minute before the run: other work beside it.
    load_before: String,
}

impl Report {
    pub(crate) fn new() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo").lines().find_map(|line| line.strip_prefix("model name").map(str::to_string));
        Self {
            conditions: Conditions {
                cores: std::thread::available_parallelism().map_or(0, usize::from),
                processor: model.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_string(),
                kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
                load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_string(),
            },
            throughput: Vec::new(),
            paired: Vec::new(),
            paced: Vec::new(),
            highest: Vec::new(),
            lanes: Vec::new(),
            mapping: None,
            outage: None,
            backlog: Vec::new(),
            feedback: Vec::new(),
            campaign: None,
            stages: Vec::new(),
            trace: Vec::new(),
            scale: Vec::new(),
            budget: Vec::new(),
            failures: Vec::new(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conditions { cores, processor, kernel, load_before } = &self.conditions;
        writeln!(formatter, "{cores} cores, {processor}, Linux {kernel}, load {load_before} before the run")?;
        if !self.throughput.is_empty() {
            throughput(formatter, &self.throughput)?;
        }
        for paired in &self.paired {
            writeln!(formatter, "\n{paired}")?;
        }
        if !self.paced.is_empty() {
            writeln!(formatter, "\n{}", paced::HEAD)?;
        }
        for paced in &self.paced {
            writeln!(formatter, "{paced}")?;
        }
        for highest in &self.highest {
            writeln!(formatter, "{highest}")?;
        }
        for lanes in &self.lanes {
            writeln!(formatter, "{lanes}")?;
        }
        if let Some(mapping) = &self.mapping {
            writeln!(formatter, "\n{mapping}")?;
        }
        if let Some(outage) = &self.outage {
            writeln!(
                formatter,
                "\n{} events waiting after an outage: delivered within {:.2} s of PostHog's return, the first after {:.2} s",
                outage.waiting_events, outage.delivered_within_s, outage.first_after_s
            )?;
        }
        for backlog in &self.backlog {
            writeln!(
                formatter,
                "{} webhooks waiting: {:.0} MB, {:.0} MB at most, {:.0} MB after a start, {:.0} MB on disk, start to first 200 {:.0} ms",
                backlog.waiting_webhooks,
                backlog.resident_bytes as f64 / 1e6,
                backlog.peak_bytes as f64 / 1e6,
                backlog.resident_after_start_bytes as f64 / 1e6,
                backlog.disk_bytes as f64 / 1e6,
                backlog.start_to_first_200_ms
            )?;
        }
        for feedback in &self.feedback {
            writeln!(formatter, "{feedback}")?;
        }
        for stages in &self.stages {
            writeln!(formatter, "\n{stages}")?;
        }
        for trace in &self.trace {
            let ((off, on), added) = (trace.costs(), 100.0 * trace.added());
            let (name, rate) = (trace.workload.name(), trace.workload.steady());
            let (rounds, spans) = (trace.rounds.len(), trace.spans);
            writeln!(
                formatter,
                "{name}, {rate} requests/s: tracing off {off:.2} CPU-s/M, 1 % sampled {on:.2}, {added:+.1} % (median of {rounds} \
                 pairs, {spans} spans)"
            )?;
        }
        for step in &self.scale {
            writeln!(formatter, "{step}")?;
        }
        if let Some(campaign) = &self.campaign {
            writeln!(formatter, "\n{campaign}")?;
        }
        if !self.budget.is_empty() {
            writeln!(formatter, "\n| budget | measured | must | aim | |\n| --- | --- | --- | --- | --- |")?;
        }
        for Row { what, unit, must, aim, measured, met } in &self.budget {
            let mark = if *met { "met" } else { "NOT MET" };
            writeln!(formatter, "| {what} | {measured:.1} {unit} | {must} | {aim} | {mark} |")?;
        }
        for failure in &self.failures {
            writeln!(formatter, "FAILED {failure}")?;
        }
        Ok(())
    }
}

fn throughput(formatter: &mut fmt::Formatter<'_>, all: &[Throughput]) -> fmt::Result {
    writeln!(
        formatter,
        "\n| workload | subject | requests/s | events/s | delivered/s | ack p50 ms | p99 | p99.9 | CPU-s/M | RSS idle MB | peak MB |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )?;
    for one in all {
        writeln!(
            formatter,
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} |",
            one.workload.name(),
            one.kind.name(),
            one.median(|round| round.requests_per_second),
            one.median(|round| round.events_per_second),
            one.median(|round| round.delivered_per_second),
            one.median(|round| round.ack_p50_ms),
            one.median(|round| round.ack_p99_ms),
            one.median(|round| round.ack_p999_ms),
            one.median(|round| round.cpu_per_million),
            one.median(|round| round.idle_bytes as f64 / 1e6),
            one.median(|round| round.peak_bytes as f64 / 1e6),
        )?;
    }
    writeln!(formatter, "\nCPU-s/M by process and thread, median:")?;
    for one in all.iter().filter(|one| one.kind.delivers()) {
        writeln!(formatter, "{}, {}", one.workload.name(), one.kind.name())?;
        let Some(round) = one.rounds.first() else { continue };
        for stage in round.stages.keys() {
            let cost = one.median(|round| round.stages.get(stage).copied().unwrap_or(0.0));
            writeln!(formatter, "  {stage:<44} {cost:>7.2}")?;
        }
    }
    Ok(())
}
