//! The closed loop: so many connections, each sending its next webhook when the last is answered.
//!
//! It says what a receiver can take, not how it fares at a given rate: a receiver that stalls is sent less meanwhile. Use
//! [`Sender::run`](crate::moengage::Sender::run) for that.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::moengage::{Draft, Histogram, Target, Template, sender::latency, wire::Connection};

/// What to send and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub target: Target,
    /// Connections, each kept alive.
    pub connections: usize,
    /// Ends after so many webhooks.
    pub requests: Option<u64>,
    /// Ends after so long; with neither, it runs until dropped.
    pub duration: Option<Duration>,
    /// Begins at most so many webhooks a second, over all connections.
    pub rate: Option<u32>,
    /// What kind of body.
    pub template: Template,
    /// The project key in Connector bodies.
    pub key: String,
    /// Bytes of a Connector body, or of an event in a batch; 0 is as small as it gets.
    pub event_bytes: usize,
    /// Tells this run's events from another's.
    pub run: u32,
    /// The number of the first event.
    pub first: u64,
    /// How many users the events are about.
    pub users: u64,
}

impl Load {
    /// Connector purchases of 470 bytes over 64 connections, without end.
    #[must_use]
    pub fn connector(target: Target) -> Self {
        Self {
            target,
            connections: 64,
            requests: None,
            duration: None,
            rate: None,
            template: Template::Purchase,
            key: "phc_load".into(),
            event_bytes: 470,
            run: 1,
            first: 0,
            users: 1_000_000,
        }
    }

    /// Streams batches of 100 events of 470 bytes over 16 connections, without end.
    #[must_use]
    pub fn streams(target: Target) -> Self {
        Self { template: Template::Streams { events: 100 }, connections: 16, ..Self::connector(target) }
    }
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// Webhooks answered.
    pub requests: u64,
    /// Events in the webhooks answered 200.
    pub events_sent: u64,
    /// Webhooks by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Webhooks whose connection broke.
    pub broken: u64,
    /// From the first webhook to the last answer.
    pub elapsed: Duration,
    /// From a webhook's first byte to its answer's last.
    pub latency: Histogram,
}

impl LoadReport {
    /// Webhooks answered a second.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// The figures as JSON; latencies in milliseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "requests": self.requests,
            "events_sent": self.events_sent,
            "statuses": self.statuses,
            "broken": self.broken,
            "seconds": self.elapsed.as_secs_f64(),
            "requests_per_second": self.requests_per_second(),
            "latency_ms": latency(&self.latency),
        })
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.events_sent += other.events_sent;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.broken += other.broken;
        self.latency.merge(&other.latency);
    }
}

/// What the connections of a load share.
#[derive(Debug, Default)]
struct Shared {
    begun: AtomicU64,
    is_over: AtomicBool,
}

/// Sends until the load is over.
///
/// # Errors
///
/// No first connection could be made.
pub async fn run(load: Load) -> io::Result<LoadReport> {
    drop(Connection::open(&load.target.authority).await?);
    let shared = Arc::new(Shared::default());
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..load.connections {
        let draft = Draft::seeded(load.template, &load.key, load.run, load.event_bytes, index as u64).users(load.users);
        tasks.spawn(connection(load.clone(), draft, begun.into(), shared.clone()));
    }
    if let Some(duration) = load.duration {
        let shared = shared.clone();
        tasks.spawn(async move {
            // with a number of requests beside it, whichever comes first ends the load
            let end = tokio::time::Instant::now() + duration;
            while !shared.is_over.load(Ordering::Relaxed) && tokio::time::Instant::now() < end {
                tokio::time::sleep_until(end.min(tokio::time::Instant::now() + Duration::from_millis(20))).await;
            }
            shared.is_over.store(true, Ordering::Relaxed);
            LoadReport::default()
        });
    }
    let mut report = LoadReport::default();
    while let Some(ended) = tasks.join_next().await {
        report.add(&ended.map_err(io::Error::other)?);
    }
    report.elapsed = begun.elapsed();
    Ok(report)
}

async fn connection(load: Load, draft: Draft, started: tokio::time::Instant, shared: Arc<Shared>) -> LoadReport {
    let head = load.target.head(draft.body_bytes()).into_bytes();
    let body = head.len();
    let mut request = head;
    request.extend_from_slice(draft.bytes());
    let mut report = LoadReport::default();
    let mut open: Option<Connection> = None;
    let step = draft.events().max(1) as u64;
    while !shared.is_over.load(Ordering::Relaxed) {
        let index = shared.begun.fetch_add(1, Ordering::Relaxed);
        if load.requests.is_some_and(|requests| index >= requests) {
            shared.is_over.store(true, Ordering::Relaxed);
            break;
        }
        if let Some(rate) = load.rate {
            tokio::time::sleep_until(started + Duration::from_secs_f64(index as f64 / f64::from(rate))).await;
        }
        draft.stamp(&mut request[body..], load.first + index * step);
        let connection = match &mut open {
            Some(connection) => connection,
            none => match Connection::open(&load.target.authority).await {
                Ok(connection) => none.insert(connection),
                Err(_) => {
                    report.broken += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let begun = Instant::now();
        match connection.exchange(&request).await {
            Ok(reply) => {
                report.latency.record(begun.elapsed());
                report.requests += 1;
                *report.statuses.entry(reply.status).or_default() += 1;
                if reply.status == 200 {
                    report.events_sent += step;
                }
                if !reply.keeps {
                    open = None;
                }
            }
            Err(_) => {
                report.broken += 1;
                open = None;
            }
        }
    }
    report
}
