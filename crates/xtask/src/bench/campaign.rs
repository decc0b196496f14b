//! A full MoEngage campaign: an open loop that does not slow down, against a PostHog that takes its time.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use moehog_emulator::{
    moengage::{Draft, Histogram, Mark, Ramp, Rules, Sender},
    posthog::{Books, Config, PostHog, Running},
};
use moehog_runtime::spawn_apart;
use serde::Serialize;
use tokio::sync::{broadcast::error::RecvError, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Plan,
    load::{self, Workload},
    subject::{KEY, Kind, Subject},
    throughput::difference,
};

/// 200,000 requests a minute, the most MoEngage sends by default.
const RATE: f64 = 3334.0;
const LATENCY: Duration = Duration::from_millis(200);
/// The books keep every event; a long campaign is forgotten piece by piece.
const FORGET: Duration = Duration::from_secs(10);

/// How webhooks come, and what is behind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) kind: Kind,
    pub(super) workload: Workload,
    /// Requests a second.
    pub(super) rate: f64,
    pub(super) lasts: Duration,
    /// Of PostHog.
    pub(super) latency: Duration,
}

/// What a campaign came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Campaign {
    pub(crate) requests: u64,
    pub(crate) events: u64,
    pub(crate) not_200: u64,
    pub(crate) seconds: f64,
    /// From the moment a request was due to its answer.
    pub(crate) ack_p50_ms: f64,
    pub(crate) ack_p99_ms: f64,
    pub(crate) ack_max_ms: f64,
    /// From the moment a request was due until PostHog answered for its event.
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) peak_bytes: u64,
    /// CPU-seconds per million events, all processes.
    pub(crate) cpu_per_million: f64,
    /// Requests to PostHog, and their bytes.
    pub(crate) posthog_requests: u64,
    pub(crate) posthog_bytes: u64,
    /// Syncs of appends; none of a bare limit, which does not count them.
    pub(crate) syncs: Option<u64>,
    /// How often a thread was woken, all processes.
    pub(crate) wakes: u64,
}

impl fmt::Display for Campaign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "campaign of {} requests in {:.0} s, PostHog answering in 200 ms: {} not 200; ack p50 {:.1} ms, p99 {:.1} ms, most {:.0} ms; \
             received to accepted p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms; {:.0} MB at most",
            self.requests,
            self.seconds,
            self.not_200,
            self.ack_p50_ms,
            self.ack_p99_ms,
            self.ack_max_ms,
            self.p50_ms,
            self.p95_ms,
            self.p99_ms,
            self.peak_bytes as f64 / 1e6,
        )
    }
}

pub(crate) async fn measure(plan: &Plan) -> anyhow::Result<Campaign> {
    let terms =
        Terms { kind: Kind::One, workload: Workload::Single, rate: RATE, lasts: plan.campaign, latency: LATENCY };
    let campaign = run(plan, terms).await?;
    println!("{campaign}");
    Ok(campaign)
}

/// An open loop at a steady rate.
pub(super) async fn run(
    plan: &Plan,
    Terms { kind, workload, rate, lasts, latency }: Terms,
) -> anyhow::Result<Campaign> {
    let (posthog, _threads) = posthog_apart(latency).await?;
    let mut subject = Subject::start(kind, &posthog.url(), plan, &[]).await?;
    load::count(subject.http(), workload, 1, 1).await?;
    let arrive = |books: &Books| books.counts().arrivals == workload.events();
    ensure!(posthog.books().wait_until(Duration::from_secs(10), arrive).await, "the first event is late");

    let (first, before, syncs) = (posthog.books().counts(), subject.cpu()?, subject.syncs().await?);
    let ramp = Ramp::constant(rate, lasts);
    let sender = Sender::new(load::target(subject.http(), workload)?, Rules::connector(), 1024);
    let draft = Draft::sized(workload.template(), KEY, 2, workload.event_bytes());
    let begun = SystemTime::now();
    let watching = tokio::spawn(watch(posthog.books().clone(), (ramp.clone(), workload.events()), (begun, latency)));
    let report = sender.run(&ramp, draft.bodies(0)).await;
    let (stored, wait, totals) = watching.await?;
    let used = difference(subject.cpu()?, before);
    let (_, peak_bytes) = subject.memory()?;
    let syncs = subject.syncs().await?.zip(syncs).map(|(after, before)| after - before);
    let sent = report.sent * workload.events();
    ensure!(stored == sent, "{stored} of {sent} events at PostHog");
    subject.finish().await?;

    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    Ok(Campaign {
        requests: report.attempted,
        events: stored,
        not_200: report.attempted - report.sent,
        seconds: report.elapsed.as_secs_f64(),
        ack_p50_ms: milliseconds(report.latency.quantile(0.5)),
        ack_p99_ms: milliseconds(report.latency.quantile(0.99)),
        ack_max_ms: milliseconds(report.latency.max()),
        p50_ms: milliseconds(wait.quantile(0.5)),
        p95_ms: milliseconds(wait.quantile(0.95)),
        p99_ms: milliseconds(wait.quantile(0.99)),
        peak_bytes,
        cpu_per_million: used.values().map(|cpu| cpu.total).sum::<f64>() / (stored.max(1) as f64 / 1e6),
        posthog_requests: totals.requests.saturating_sub(first.requests),
        posthog_bytes: totals.wire_bytes.saturating_sub(first.wire_bytes),
        syncs,
        wakes: used.values().map(|cpu| cpu.wakes).sum(),
    })
}

/// A PostHog on a thread of its own: what it makes of a batch is not to hold up the sender, whose answers are timed. It ends with
/// the handle.
async fn posthog_apart(latency: Duration) -> anyhow::Result<(Running, AbortOnDropHandle<()>)> {
    let (tell, told) = oneshot::channel();
    let threads = spawn_apart("posthog", 1, async move {
        let config = Config { latency, ..Config::default() };
        let running = PostHog::bind(([127, 0, 0, 1], 0).into(), config).map(PostHog::start);
        // whoever asked may have gone
        let _gone = tell.send(running);
        std::future::pending().await
    });
    let threads = AbortOnDropHandle::new(threads.context("threads of PostHog")?);
    Ok((told.await.context("PostHog's thread ended")??, threads))
}

/// Requests and bytes that the books had before they were cleared, and have now.
#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    wire_bytes: u64,
}

impl Totals {
    fn add(&mut self, books: &Books) {
        let counts = books.counts();
        self.requests += counts.requests;
        self.wire_bytes += counts.wire_bytes;
    }
}

/// Counts events as they are stored, with the time since each was due, until all are there or none has come for long.
async fn watch(
    books: Books,
    (ramp, events): (Ramp, u64),
    (begun, latency): (SystemTime, Duration),
) -> (u64, Histogram, Totals) {
    let mut stored = books.subscribe();
    let (mut count, mut wait, mut totals) = (0, Histogram::default(), Totals::default());
    let mut forgotten_at = tokio::time::Instant::now();
    while count < ramp.requests() * events {
        let event = match tokio::time::timeout(Duration::from_secs(30), stored.recv()).await {
            Ok(Ok(event)) => event,
            Ok(Err(RecvError::Lagged(missed))) => {
                // stored, but seen too late to be timed
                count += missed;
                continue;
            }
            Ok(Err(RecvError::Closed)) | Err(_) => break,
        };
        if let Some(due) =
            Mark::find(&event.raw).filter(|mark| mark.run == 2).and_then(|mark| ramp.due(mark.number / events))
        {
            count += 1;
            let stored_at =
                UNIX_EPOCH + Duration::from_nanos(u64::try_from(event.arrived_at.as_nanosecond()).unwrap_or(0));
            // it is stored when the request is read, and answered so much later
            wait.record(stored_at.duration_since(begun + due).unwrap_or_default() + latency);
        }
        if forgotten_at.elapsed() > FORGET {
            totals.add(&books);
            books.clear();
            forgotten_at = tokio::time::Instant::now();
        }
    }
    totals.add(&books);
    (count, wait, totals)
}
