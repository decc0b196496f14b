//! What is sent: bodies of two sizes, one by one or in batches of 100.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use moehog_emulator::moengage::{
    Target, Template,
    load::{Load, run},
};
use moehog_tests::TOKEN;
use serde::Serialize;

use super::subject::KEY;

/// What kind of webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// A Connector body of 470 bytes.
    Single,
    /// A Connector body of 1 KiB.
    Single1k,
    /// A Streams batch of 100 events of 470 bytes.
    Batch,
    /// A Streams batch of 100 events of 1 KiB.
    Batch1k,
}

impl Workload {
    pub(crate) const ALL: [Self; 4] = [Self::Single, Self::Single1k, Self::Batch, Self::Batch1k];

    /// For a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "single 470 B",
            Self::Single1k => "single 1 KiB",
            Self::Batch => "batch 100 x 470 B",
            Self::Batch1k => "batch 100 x 1 KiB",
        }
    }

    /// Events in a webhook.
    pub(crate) fn events(self) -> u64 {
        if self.is_batch() { 100 } else { 1 }
    }

    /// Connections under full load.
    pub(crate) fn connections(self) -> usize {
        if self.is_batch() { 16 } else { 64 }
    }

    /// Requests a second of a steady load: about half of what three processes take on two cores.
    pub(crate) fn steady(self) -> u32 {
        if self.is_batch() { 600 } else { 20_000 }
    }

    pub(crate) fn template(self) -> Template {
        if self.is_batch() { Template::Streams { events: 100 } } else { Template::Purchase }
    }

    pub(crate) fn event_bytes(self) -> usize {
        match self {
            Self::Single | Self::Batch => 470,
            Self::Single1k | Self::Batch1k => 1024,
        }
    }

    fn is_batch(self) -> bool {
        matches!(self, Self::Batch | Self::Batch1k)
    }
}

/// What came of a load.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) acks: u64,
    /// Answers that are not 200.
    pub(crate) refused: u64,
    /// Requests without an answer.
    pub(crate) failed: u64,
    pub(crate) took: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
}

/// Sends for so long, each connection its next webhook when the last is answered, all together at most `rate` a second.
pub(crate) async fn closed(
    http: SocketAddr,
    workload: Workload,
    connections: usize,
    duration: Duration,
    rate: Option<u32>,
) -> anyhow::Result<Sent> {
    send(Load { duration: Some(duration), connections, rate, ..load(http, workload)? }).await
}

/// Sends so many webhooks.
pub(crate) async fn count(
    http: SocketAddr,
    workload: Workload,
    connections: usize,
    requests: u64,
) -> anyhow::Result<Sent> {
    send(Load { requests: Some(requests), connections, ..load(http, workload)? }).await
}

/// Sends so many webhooks, of which the first holds the event of this number: no other part has events of these numbers.
pub(crate) async fn part(http: SocketAddr, workload: Workload, first: u64, requests: u64) -> anyhow::Result<Sent> {
    let connections = workload.connections();
    send(Load { requests: Some(requests), connections, first, ..load(http, workload)? }).await
}

/// Where a workload goes: Connector bodies as the tutorial sends them, batches to a source of their own.
pub(crate) fn target(http: SocketAddr, workload: Workload) -> anyhow::Result<Target> {
    let path = if workload.is_batch() { "/v1/in/default" } else { "/capture/" };
    let target: Target = format!("http://{http}{path}").parse()?;
    Ok(if workload.is_batch() { target.bearer(TOKEN) } else { target })
}

fn load(http: SocketAddr, workload: Workload) -> anyhow::Result<Load> {
    let target = target(http, workload)?;
    let key = KEY.to_string();
    Ok(Load { template: workload.template(), event_bytes: workload.event_bytes(), key, ..Load::connector(target) })
}

async fn send(load: Load) -> anyhow::Result<Sent> {
    let report = run(load).await.context("load")?;
    let acks = report.statuses.get(&200).copied().unwrap_or(0);
    Ok(Sent {
        acks,
        refused: report.requests - acks,
        failed: report.broken,
        took: report.elapsed,
        p50: report.latency.quantile(0.5),
        p99: report.latency.quantile(0.99),
        p999: report.latency.quantile(0.999),
    })
}
