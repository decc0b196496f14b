//! Sets up a process's logs, traces and metrics once.

use std::env;

use anyhow::Context;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use serde::Deserialize;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    export,
    lines::{Lines, LogFormat},
    metrics,
    sampling::Sampling,
    trace,
};

/// Section `[telemetry]`. Traces are set up by the standard `OTEL_*` variables.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is logged: a level, or targets with levels as in `info,moehog_relay=debug`.
    pub log: String,
    /// How log lines look.
    pub format: LogFormat,
}

impl Default for Config {
    fn default() -> Self {
        Self { log: "info".to_string(), format: LogFormat::Json }
    }
}

impl Config {
    /// Why `log` cannot be meant, where it cannot: a sentence that goes on from the key. A word that is no level is a target's name to the
    /// filter, which then lets nothing else through.
    #[must_use]
    pub fn log_fault(&self) -> Option<String> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        const EXAMPLE: &str = "write a level such as info, or info,moehog_relay=debug";
        if self.log.parse::<Targets>().is_err() {
            return Some(format!("is no filter: {EXAMPLE}"));
        }
        let words: Vec<_> = self.log.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            return Some(format!("is empty, so that nothing is logged: {EXAMPLE}"));
        }
        let is_level = |word: &&&str| word.parse::<LevelFilter>().is_ok();
        let stray = words.iter().find(|word| !is_level(word) && !word.contains('=') && !word.starts_with("moehog"));
        let stray = stray.filter(|_| !words.iter().any(|word| is_level(&word)))?;
        Some(format!("has `{stray}`, which is no level ({}): {EXAMPLE}", LEVELS.join(", ")))
    }
}

/// Flushes what is not exported yet when dropped.
#[derive(Debug)]
pub struct Guard(Option<SdkTracerProvider>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::debug!(%error, "flush spans");
        }
    }
}

/// Sets up logs, traces and metrics for a process named `service`. Call it inside the runtime, once.
///
/// # Errors
///
/// The log filter is malformed, or the variables of the exporter are.
pub fn init(service: &'static str, config: &Config) -> anyhow::Result<Guard> {
    metrics::install()?;
    let wanted: Targets = config.log.parse().with_context(|| format!("telemetry.log `{}`", config.log))?;
    let provider = provider(service)?;
    let lines = Lines::new(config.format, std::io::stderr, wanted, provider.is_some());
    let spans = provider.as_ref().map(|provider| {
        trace::enable(Sampling::from_variables(|name| env::var(name).ok()), provider.tracer("moehog"));
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("moehog"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
    });
    tracing_subscriber::registry().with(lines).with(spans).try_init().context("set up logs")?;
    Ok(Guard(provider))
}

fn provider(service: &'static str) -> anyhow::Result<Option<SdkTracerProvider>> {
    if !export::wanted() {
        return Ok(None);
    }
    let resource = Resource::builder();
    let resource =
        if env::var_os("OTEL_SERVICE_NAME").is_some() { resource } else { resource.with_service_name(service) };
    let instance = format!("{:016x}", rand::random::<u64>());
    let own = [("service.version", env!("CARGO_PKG_VERSION").to_string()), ("service.instance.id", instance)];
    let told = env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let untold = own.into_iter().filter(|(name, _)| !told.contains(&format!("{name}=")));
    let resource = resource.with_attributes(untold.map(|(name, value)| KeyValue::new(name, value)));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(export::exporter()?)
        // whether a trace is recorded was decided where it began: spans of others are never made
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(resource.build())
        .build();
    Ok(Some(provider))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_lets_nothing_through_is_told_of() {
        let fault = |log: &str| Config { log: log.to_string(), ..Config::default() }.log_fault();
        for fine in
            ["info", "OFF", "info,moehog_relay=debug", "moehog_relay=debug", "warn,hyper", "moehog_journal", "3"]
        {
            assert_eq!(fault(fine), None, "{fine}");
        }
        for (log, says) in [
            (
                "infoo",
                "has `infoo`, which is no level (off, error, warn, info, debug, trace): write a level such as info, or \
                 info,moehog_relay=debug",
            ),
            ("moehog=loud", "is no filter: write a level such as info, or info,moehog_relay=debug"),
            ("", "is empty, so that nothing is logged: write a level such as info, or info,moehog_relay=debug"),
        ] {
            assert_eq!(fault(log).as_deref(), Some(says), "{log}");
        }
    }
}
