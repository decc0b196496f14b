//! `moehog-emulator moengage connector|streams`.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use moehog_emulator::moengage::{
    Draft, Histogram, Ramp, Report, Rules, Sender, Target, Template,
    load::{self, Load, LoadReport},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Product {
    /// A Connector campaign: one request a user, 5 s, exactly 200, no second attempt.
    Connector(Connector),
    /// Streams: batches, any 2xx, again after 30, 60 and 120 s.
    Streams(Streams),
}

#[derive(Debug, Args)]
pub(crate) struct Connector {
    #[command(flatten)]
    common: Common,
    /// Which of the tutorial's bodies.
    #[arg(long, value_enum, default_value_t = Body::Purchase)]
    body: Body,
    /// The workspace has retries: three more attempts, 5 s apart.
    #[arg(long)]
    retries: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Streams {
    #[command(flatten)]
    common: Common,
    /// Events in a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// What campaigns do, as the documentation's samples have it, in place of purchases.
    #[arg(long)]
    campaign: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Body {
    Generic,
    Purchase,
    Identify,
}

#[derive(Debug, Args)]
struct Common {
    /// The endpoint, http:// only.
    #[arg(long)]
    url: String,
    /// Webhooks a second, sent when due however long the answers take. Without it, a closed loop: as fast as it goes.
    #[arg(long)]
    rate: Option<f64>,
    /// Start at this many webhooks a second and move evenly to --rate.
    #[arg(long, requires = "rate")]
    from_rate: Option<f64>,
    /// Webhooks in all.
    #[arg(long)]
    count: Option<u64>,
    /// Seconds in all.
    #[arg(long)]
    seconds: Option<f64>,
    /// Connections at most.
    #[arg(long)]
    connections: Option<usize>,
    /// The project key in Connector bodies.
    #[arg(long, default_value = "phc_emulator")]
    key: String,
    /// A bearer token.
    #[arg(long)]
    token: Option<String>,
    /// More headers, `Name: value`.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// Bytes of a Connector body, or of an event in a batch; 0 is as small as it gets.
    #[arg(long, default_value_t = 0)]
    event_bytes: usize,
    /// How many users the events are about.
    #[arg(long, default_value_t = 1_000_000)]
    users: u64,
    /// Tells this run's events from another's; two runs with the same number send the same events.
    #[arg(long)]
    run: Option<u32>,
    /// Waits between attempts, this many times as long.
    #[arg(long, default_value_t = 1.0)]
    wait_scale: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Threads; 0 is one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// What a run comes to.
enum Outcome {
    Open(Report),
    Closed(LoadReport),
}

pub(crate) fn run(product: Product) -> anyhow::Result<ExitCode> {
    let (common, template, rules) = match product {
        Product::Connector(connector) => {
            let template = match connector.body {
                Body::Generic => Template::Generic,
                Body::Purchase => Template::Purchase,
                Body::Identify => Template::Identify,
            };
            let rules = if connector.retries { Rules::connector_with_retries() } else { Rules::connector() };
            (connector.common, template, rules)
        }
        Product::Streams(streams) => {
            let events = streams.batch;
            let template = if streams.campaign { Template::Campaign { events } } else { Template::Streams { events } };
            (streams.common, template, Rules::streams())
        }
    };
    let as_json = common.json;
    let outcome = super::runtime(common.threads)?.block_on(send(common, template, rules))?;
    let is_whole = match &outcome {
        Outcome::Open(report) => report.sent == report.attempted,
        Outcome::Closed(report) => report.broken == 0 && report.statuses.keys().all(|status| *status == 200),
    };
    show(&outcome, as_json)?;
    // a script can tell a run in which something was lost
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

async fn send(common: Common, template: Template, rules: Rules) -> anyhow::Result<Outcome> {
    let mut target: Target = common.url.parse()?;
    if let Some(token) = &common.token {
        target = target.bearer(token);
    }
    for header in &common.headers {
        let (name, value) = header.split_once(':').with_context(|| format!("header {header:?} has no colon"))?;
        target = target.header(name.trim(), value.trim());
    }
    let run = common.run.unwrap_or_else(rand::random);
    let Some(rate) = common.rate else {
        let load = Load {
            connections: common.connections.unwrap_or(64),
            requests: common.count,
            duration: common.seconds.map(Duration::from_secs_f64),
            template,
            key: common.key,
            event_bytes: common.event_bytes,
            run,
            users: common.users,
            ..Load::connector(target)
        };
        anyhow::ensure!(load.requests.is_some() || load.duration.is_some(), "say --count or --seconds");
        return Ok(Outcome::Closed(load::run(load).await.with_context(|| format!("connect to {}", common.url))?));
    };
    let from = common.from_rate.unwrap_or(rate);
    let seconds = match (common.seconds, common.count) {
        (Some(seconds), _) => seconds,
        (None, Some(count)) => count as f64 * 2.0 / (from + rate),
        (None, None) => anyhow::bail!("say --count or --seconds"),
    };
    let ramp = Ramp::default().then(from, rate, Duration::from_secs_f64(seconds));
    let draft = Draft::sized(template, &common.key, run, common.event_bytes).users(common.users);
    let bodies = draft.bodies(0).take(common.count.map_or(usize::MAX, |count| count as usize));
    let sender = Sender::new(target, rules.scaled(common.wait_scale), common.connections.unwrap_or(1024));
    Ok(Outcome::Open(sender.run(&ramp, bodies).await))
}

fn show(outcome: &Outcome, as_json: bool) -> io::Result<()> {
    let mut out = io::stdout();
    if as_json {
        return match outcome {
            Outcome::Open(report) => writeln!(out, "{}", report.json()),
            Outcome::Closed(report) => writeln!(out, "{}", report.json()),
        };
    }
    let (statuses, broken) = match outcome {
        Outcome::Open(report) => {
            let Report { attempted, sent, lost, events_sent, .. } = report;
            writeln!(out, "{attempted} webhooks due, {sent} sent ({events_sent} events), {lost} lost")?;
            show_latency(&mut out, "from when it was due", &report.latency)?;
            (&report.statuses, report.broken + report.timed_out)
        }
        Outcome::Closed(report) => {
            let (rate, seconds) = (report.requests_per_second(), report.elapsed.as_secs_f64());
            writeln!(out, "{} webhooks answered in {seconds:.2} s, {rate:.0} a second", report.requests)?;
            writeln!(out, "{} events answered 200", report.events_sent)?;
            show_latency(&mut out, "closed loop", &report.latency)?;
            (&report.statuses, report.broken)
        }
    };
    for (status, count) in statuses {
        writeln!(out, "  {count:>10}  answered {status}")?;
    }
    if broken > 0 {
        writeln!(out, "  {broken:>10}  not answered")?;
    }
    Ok(())
}

fn show_latency(out: &mut impl Write, what: &str, latency: &Histogram) -> io::Result<()> {
    let at = |share| latency.quantile(share).as_secs_f64() * 1000.0;
    let (p50, p95, p99, p999) = (at(0.5), at(0.95), at(0.99), at(0.999));
    let max = latency.max().as_secs_f64() * 1000.0;
    writeln!(out, "latency {what}: p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms")
}
