//! The mapping, built-in and with ten rules, and the compression alone, on one core.

use std::{
    fmt, fs,
    io::Write as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use flate2::{Compression, write::GzEncoder};
use moehog_emulator::moengage::Draft;
use moehog_proto::transformer::{TransformedWebhook, Webhook, mapped_event::Outcome, transformed_webhook};
use moehog_transformer::{Rules, Transformer};
use serde::Serialize;

use super::{Plan, load::Workload, subject::KEY};

/// As a sender knows it.
const RECEIPT: &str = "3f9a1c2b-e217697277a3b278a25daec74e8c5c58-1d6d";
const TEN_RULES: &str = include_str!("ten_rules.toml");
const LASTS: Duration = Duration::from_secs(3);
const DIFFERENT: u64 = 64;
/// Events in a full request to PostHog.
const REQUEST: usize = 500;

/// Events mapped a second of processor time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mapping {
    pub(crate) streams_events_per_second: f64,
    pub(crate) connector_events_per_second: f64,
    /// Streams events, by a mapping file of ten rules.
    pub(crate) ten_rules_events_per_second: f64,
    /// CPU-seconds to compress a million mapped Streams events as delivery does: requests of 500, level 1.
    pub(crate) gzip_cpu_per_million: f64,
}

impl fmt::Display for Mapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "built-in mapping on one core: {:.0} Streams events/s ({:.2} CPU-s/M), {:.0} Connector events/s ({:.2} CPU-s/M); \
             ten rules: {:.0} Streams events/s ({:.2} CPU-s/M); gzip level 1 {:.2} CPU-s/M",
            self.streams_events_per_second,
            1e6 / self.streams_events_per_second,
            self.connector_events_per_second,
            1e6 / self.connector_events_per_second,
            self.ten_rules_events_per_second,
            1e6 / self.ten_rules_events_per_second,
            self.gzip_cpu_per_million,
        )
    }
}

pub(crate) fn measure() -> anyhow::Result<Mapping> {
    let mapping = Mapping {
        streams_events_per_second: rate(Workload::Batch, Rules::default())?,
        connector_events_per_second: rate(Workload::Single, Rules::default())?,
        ten_rules_events_per_second: rate(Workload::Batch, ten_rules()?)?,
        gzip_cpu_per_million: gzip()?,
    };
    println!("{mapping}");
    Ok(mapping)
}

/// What this revision maps beside another, each by its own `xtask`, in turn.
pub(crate) fn paired(plan: &Plan, against: &Path) -> anyhow::Result<()> {
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for _ in 0..plan.rounds {
        let (other, this) = (printed(against)?, printed(&plan.binaries)?);
        for ((ratios, this), other) in ratios.iter_mut().zip(this).zip(other) {
            ratios.push(this / other);
        }
    }
    for (name, ratios) in ["Streams", "Connector", "ten rules"].iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        let at = |at: usize| ratios.get(at).copied().unwrap_or(f64::NAN);
        let (least, median, most) = (at(0), at(ratios.len() / 2), at(ratios.len().saturating_sub(1)));
        println!(
            "mapping, {name}, events/s by the other's, median of {} pairs: {median:.3} ({least:.3} to {most:.3})",
            ratios.len()
        );
    }
    Ok(())
}

/// The rates that the `xtask` of a directory prints: Streams, Connector, ten rules.
fn printed(binaries: &Path) -> anyhow::Result<[f64; 3]> {
    let mut command = Command::new(binaries.join("xtask"));
    let output = command.args(["bench", "mapping", "--binaries"]).arg(binaries).output().context("start its xtask")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        text.lines().find(|line| line.starts_with("built-in mapping on one core")).context("its xtask prints rates")?;
    let rates: Vec<f64> = line
        .split(" Streams events/s")
        .flat_map(|part| part.split(" Connector events/s"))
        .filter_map(|before| before.rsplit(' ').next()?.parse().ok())
        .collect();
    rates.try_into().map_err(|rates| anyhow::anyhow!("three rates, not {rates:?}"))
}

fn ten_rules() -> anyhow::Result<Rules> {
    let rules = Rules::read(TEN_RULES, None).map_err(|problems| anyhow::anyhow!("ten_rules.toml: {problems:?}"))?;
    ensure!(rules.count() == 10, "{} rules", rules.count());
    Ok(rules)
}

fn rate(workload: Workload, rules: Rules) -> anyhow::Result<f64> {
    let transformer = Transformer::new(&moehog_transformer::Mapping::default(), rules);
    let draft = Draft::sized(workload.template(), KEY, 3, workload.event_bytes());
    let webhooks: Vec<_> = draft.bodies(0).take(DIFFERENT as usize).map(|body| webhook(workload, body.bytes)).collect();
    for webhook in &webhooks {
        let events = events(&transformer.transform(webhook));
        ensure!(events == workload.events(), "{events} events of a webhook with {}", workload.events());
    }
    let (begun, before) = (Instant::now(), on_processor()?);
    let mut mapped = 0;
    while begun.elapsed() < LASTS {
        for webhook in &webhooks {
            mapped += events(&transformer.transform(webhook));
        }
    }
    Ok(mapped as f64 / (on_processor()? - before))
}

fn gzip() -> anyhow::Result<f64> {
    let transformer = Transformer::new(&moehog_transformer::Mapping::default(), Rules::default());
    let draft = Draft::sized(Workload::Batch.template(), KEY, 3, Workload::Batch.event_bytes());
    let mut request = Vec::new();
    let mut events = 0_u64;
    for body in draft.bodies(0).take(REQUEST / Workload::Batch.events() as usize) {
        let Some(transformed_webhook::Result::Mapped(mapped)) =
            transformer.transform(&webhook(Workload::Batch, body.bytes)).result
        else {
            continue;
        };
        for event in mapped.events {
            if let Some(Outcome::Event(event)) = event.outcome {
                request.extend_from_slice(&event.json);
                events += 1;
            }
        }
    }
    ensure!(events == REQUEST as u64, "{events} events for a request of {REQUEST}");
    let (begun, before) = (Instant::now(), on_processor()?);
    let mut compressed = 0;
    while begun.elapsed() < LASTS {
        let mut encoder = GzEncoder::new(Vec::with_capacity(request.len() / 2), Compression::new(1));
        encoder.write_all(&request)?;
        ensure!(!encoder.finish()?.is_empty(), "nothing came out");
        compressed += events;
    }
    Ok((on_processor()? - before) * 1e6 / compressed as f64)
}

fn webhook(workload: Workload, body: bytes::Bytes) -> Webhook {
    let (source, route) = if workload.events() > 1 { ("default", "in") } else { ("capture", "capture") };
    let api_key = if workload.events() > 1 { String::new() } else { KEY.to_string() };
    Webhook {
        receipt: RECEIPT.to_string(),
        origin_receipt: "0123456789abcdef-12f".to_string(),
        origin_shown: RECEIPT.to_string(),
        // as the events say: one from another time would be dated anew
        received_at_ms: moehog_runtime::epoch_ms(),
        source: source.to_string(),
        route: route.to_string(),
        content_type: "application/json".to_string(),
        api_key,
        body,
        ..Webhook::default()
    }
}

fn events(transformed: &TransformedWebhook) -> u64 {
    match &transformed.result {
        Some(transformed_webhook::Result::Mapped(mapped)) => {
            mapped.events.iter().filter(|event| matches!(event.outcome, Some(Outcome::Event(_)))).count() as u64
        }
        _ => 0,
    }
}

/// Processor time of this thread in seconds: what else runs on the machine is not in it.
fn on_processor() -> anyhow::Result<f64> {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat").context("read /proc/thread-self/schedstat")?;
    let nanoseconds: f64 = schedule.split(' ').next().context("a figure")?.parse()?;
    Ok(nanoseconds / 1e9)
}
