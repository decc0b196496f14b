//! The process's metrics as Prometheus text.

use std::{sync::OnceLock, thread, time::Duration};

use anyhow::Context;
use metrics::counter;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Seconds, from a fast append to a slow PostHog.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Counts and sizes.
const SIZES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 10_000.0, 100_000.0];

/// Makes the process's recorder; a second call does nothing.
pub(crate) fn install() -> anyhow::Result<()> {
    if HANDLE.get().is_some() {
        return Ok(());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&SIZES)
        .and_then(|builder| {
            builder
                .set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Suffix("_seconds".to_string()), &SECONDS)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .context("install the metrics recorder")?;
    let upkeep = handle.clone();
    if HANDLE.set(handle).is_ok() {
        // histogram samples are gathered until somebody folds them: do so although nobody may scrape
        thread::Builder::new()
            .name("metrics".to_string())
            .spawn(move || {
                loop {
                    thread::sleep(Duration::from_secs(5));
                    upkeep.run_upkeep();
                }
            })
            .context("start the metrics thread")?;
    }
    Ok(())
}

/// All metrics of the process in the Prometheus text format; empty before [`crate::init`].
#[must_use]
pub fn metrics_text() -> String {
    HANDLE.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Counts spans that left, whether a collector took them or not.
pub(crate) fn spans_left(exported: bool, spans: u64) {
    let outcome = if exported { "exported" } else { "dropped" };
    counter!("moehog_telemetry_spans_total", "outcome" => outcome).increment(spans);
}
