//! Logs, traces and metrics, and the trace context that travels with every webhook and event.
//!
//! Logs are JSON lines on stderr, metrics are Prometheus text, spans go to the OTLP collector that
//! `OTEL_EXPORTER_OTLP_ENDPOINT` names. Without one no span is ever made: every webhook still has a trace id. What is
//! sampled is decided once, where a trace begins; see [`trace`].

mod export;
mod init;
mod lines;
mod metrics;
mod sampling;
pub mod terminal;
pub mod trace;

pub use self::{
    init::{Config, Guard, init},
    lines::LogFormat,
    metrics::metrics_text,
};
