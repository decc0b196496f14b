//! Sends webhooks by MoEngage's rules, at the rate that a ramp says.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::moengage::{Body, Histogram, Journal, Outcome, Ramp, Rules, Target, journal::Attempt, wire::Connection};

/// Bytes of an answer that the journal keeps.
const KEPT_ANSWER: usize = 4096;

/// A MoEngage workspace with one endpoint; clones share its connections and its journal.
#[derive(Debug, Clone)]
pub struct Sender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    target: Target,
    rules: Rules,
    journal: Journal,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Webhooks due.
    pub attempted: u64,
    /// Webhooks that MoEngage counts as sent.
    pub sent: u64,
    /// Webhooks lost: refused or unanswered at their last attempt.
    pub lost: u64,
    /// Events in the webhooks sent.
    pub events_sent: u64,
    /// Attempts by status, as a marketer would see them.
    pub statuses: BTreeMap<u16, u64>,
    /// Attempts that got no answer in time.
    pub timed_out: u64,
    /// Attempts whose connection broke or was refused.
    pub broken: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// From the moment at which each webhook was due to the end of its first attempt.
    pub latency: Histogram,
}

impl Report {
    /// The figures as JSON; durations in milliseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "attempted": self.attempted,
            "sent": self.sent,
            "lost": self.lost,
            "events_sent": self.events_sent,
            "statuses": self.statuses,
            "timed_out": self.timed_out,
            "broken": self.broken,
            "seconds": self.elapsed.as_secs_f64(),
            "latency_ms": latency(&self.latency),
        })
    }
}

/// p50, p95, p99, p99.9 and the maximum, in milliseconds.
pub(crate) fn latency(histogram: &Histogram) -> Value {
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    json!({
        "p50": millis(histogram.quantile(0.5)),
        "p95": millis(histogram.quantile(0.95)),
        "p99": millis(histogram.quantile(0.99)),
        "p99.9": millis(histogram.quantile(0.999)),
        "max": millis(histogram.max()),
    })
}

impl Sender {
    /// A sender with these rules and at most so many connections.
    #[must_use]
    pub fn new(target: Target, rules: Rules, connections: usize) -> Self {
        Self(Arc::new(Inner {
            target,
            rules,
            journal: Journal::default(),
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(connections.max(1))),
        }))
    }

    /// A Connector campaign, with as many connections as 3,334 requests a second need against a slow receiver.
    #[must_use]
    pub fn connector(target: Target) -> Self {
        Self::new(target, Rules::connector(), 1024)
    }

    /// A Streams set-up.
    #[must_use]
    pub fn streams(target: Target) -> Self {
        Self::new(target, Rules::streams(), 64)
    }

    /// What was sent and what came back.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Sends one webhook, with all the attempts its rules allow. Says the outcome of the last.
    pub async fn send(&self, body: Body) -> Outcome {
        let mut report = Report::default();
        self.carry(body, Instant::now(), &mut report).await
    }

    /// Sends webhooks as they fall due, however long the receiver takes. Latency counts from then, so that a receiver that
    /// stalls shows all the waiting it causes. Ends when the last attempt has.
    pub async fn run(&self, ramp: &Ramp, mut bodies: impl Iterator<Item = Body> + Send) -> Report {
        let total = Arc::new(Mutex::new(Report::default()));
        let tasks = TaskTracker::new();
        let begun = Instant::now();
        let mut number = 0;
        while let Some(due) = ramp.due(number) {
            let due = begun + due;
            let now = Instant::now();
            if due > now {
                tokio::time::sleep(due - now).await;
            }
            let Some(body) = bodies.next() else { break };
            let (sender, total) = (self.clone(), total.clone());
            drop(tasks.spawn(async move {
                let mut report = Report::default();
                drop(sender.carry(body, due, &mut report).await);
                total.lock().add(&report);
            }));
            number += 1;
        }
        tasks.close();
        tasks.wait().await;
        let mut report = std::mem::take(&mut *total.lock());
        report.elapsed = begun.elapsed();
        report
    }

    async fn carry(&self, body: Body, due: Instant, report: &mut Report) -> Outcome {
        let inner = &*self.0;
        let events = body.marks.len() as u64;
        let place = inner.journal.begin(body.marks);
        report.attempted += 1;
        let mut waits = inner.rules.waits.iter();
        loop {
            let (begun_at, outcome) = self.attempt(&body.bytes).await;
            if report.latency.is_empty() {
                report.latency.record(due.elapsed());
            }
            let is_sent = matches!(outcome, Outcome::Answered { status, .. } if inner.rules.is_sent(status));
            match &outcome {
                Outcome::Answered { status, .. } => *report.statuses.entry(*status).or_default() += 1,
                Outcome::TimedOut => report.timed_out += 1,
                Outcome::Broken(_) | Outcome::Refused(_) => report.broken += 1,
            }
            let attempt = Attempt { begun_at, ended_at: SystemTime::now(), outcome: outcome.clone() };
            inner.journal.attempted(place, attempt, is_sent);
            if is_sent {
                report.sent += 1;
                report.events_sent += events;
                return outcome;
            }
            match waits.next() {
                Some(wait) => tokio::time::sleep(*wait).await,
                None => {
                    report.lost += 1;
                    return outcome;
                }
            }
        }
    }

    async fn attempt(&self, body: &[u8]) -> (SystemTime, Outcome) {
        let inner = &*self.0;
        // closed only with the sender itself
        let _turn = inner.turns.acquire().await;
        let begun_at = SystemTime::now();
        let outcome = match tokio::time::timeout(inner.rules.timeout, inner.exchange(body)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::TimedOut,
        };
        (begun_at, outcome)
    }
}

impl Inner {
    async fn exchange(&self, body: &[u8]) -> Outcome {
        let mut request = self.target.head(body.len()).into_bytes();
        request.extend_from_slice(body);
        let mut connection = match self.idle_connection() {
            Some(connection) => connection,
            None => match Connection::open(&self.target.authority).await {
                Ok(connection) => connection,
                Err(error) => return Outcome::Refused(error.to_string()),
            },
        };
        match connection.exchange(&request).await {
            Ok(reply) => {
                let answer = connection.body(&reply);
                let kept = &answer[..answer.len().min(KEPT_ANSWER)];
                let body = String::from_utf8_lossy(kept).into_owned();
                if reply.keeps {
                    self.idle.lock().push(connection);
                }
                Outcome::Answered { status: reply.status, body }
            }
            Err(error) => Outcome::Broken(error.to_string()),
        }
    }

    /// A connection that the receiver has not closed meanwhile.
    fn idle_connection(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop()).find(Connection::is_open)
    }
}

impl Report {
    /// Adds another's figures.
    pub fn add(&mut self, other: &Self) {
        self.attempted += other.attempted;
        self.sent += other.sent;
        self.lost += other.lost;
        self.events_sent += other.events_sent;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.timed_out += other.timed_out;
        self.broken += other.broken;
        self.latency.merge(&other.latency);
    }
}
