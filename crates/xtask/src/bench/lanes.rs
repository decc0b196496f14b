//! What lanes cost: one load, divided among ever more sources with a destination each.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use moehog_emulator::{
    moengage::{Draft, Template},
    posthog::{Config, PostHog},
};
use moehog_tests::TOKEN;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    Plan, median,
    subject::{Kind, Subject},
    throughput::difference,
};

const LANES: [u64; 4] = [1, 10, 100, 1000];
/// Events in a webhook.
const BATCH: usize = 20;
const EVENT_BYTES: usize = 470;
/// Webhooks a second of the load whose cost is measured.
const RATE: f64 = 250.0;
const CONNECTIONS: u64 = 16;
const SETTLE: Duration = Duration::from_secs(120);

/// What one round of a number of lanes gave.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Round {
    /// CPU-seconds per million events at a steady rate.
    cpu_per_million: f64,
    /// Requests to PostHog a second at that rate.
    posthog_requests_per_second: f64,
    /// Events a second that are taken at full load.
    taken_per_second: f64,
    peak_bytes: u64,
}

/// All rounds of a number of lanes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Lanes {
    pub(crate) lanes: u64,
    pub(crate) rounds: Vec<Round>,
}

impl fmt::Display for Lanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} lanes: {:.1} CPU-s/M at {:.0} events/s with {:.0} requests/s to PostHog, {:.0} events/s taken at full load, {:.0} MB at most",
            self.lanes,
            median(self.rounds.iter().map(|round| round.cpu_per_million)),
            RATE * BATCH as f64,
            median(self.rounds.iter().map(|round| round.posthog_requests_per_second)),
            median(self.rounds.iter().map(|round| round.taken_per_second)),
            median(self.rounds.iter().map(|round| round.peak_bytes as f64 / 1e6)),
        )
    }
}

/// Each round measures every number of lanes once.
pub(crate) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Lanes>> {
    let mut all = LANES.map(|lanes| Lanes { lanes, rounds: Vec::new() });
    for number in 1..=plan.rounds {
        for one in &mut all {
            let last = Lanes { rounds: vec![round(plan, one.lanes).await?], ..*one };
            println!("round {number} {last}");
            one.rounds.extend(last.rounds);
        }
    }
    Ok(all.into())
}

async fn round(plan: &Plan, lanes: u64) -> anyhow::Result<Round> {
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config::counts())?.start();
    let names: Vec<_> = (0..lanes)
        .flat_map(|lane| {
            [
                (format!("MOEHOG__SOURCES__S{lane}__TOKENS"), format!("[\"{TOKEN}\"]")),
                (format!("MOEHOG__SOURCES__S{lane}__DESTINATION"), format!("d{lane}")),
                (format!("MOEHOG__DESTINATIONS__D{lane}__API_KEY"), format!("phc_bench_{lane}")),
                (format!("MOEHOG__DESTINATIONS__D{lane}__HOST"), posthog.url()),
            ]
        })
        .collect();
    let variables: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let mut subject = Subject::start(Kind::One, &posthog.url(), plan, &variables).await?;
    let sender = Sender::new(subject.http(), lanes)?;
    // every lane and its key are known
    sender.send(lanes.max(CONNECTIONS), None, Duration::MAX).await?;
    arrived(&posthog, &sender).await?;

    let (first, before, begun) = (posthog.books().counts(), subject.cpu()?, Instant::now());
    let sent = sender.send(u64::MAX, Some(RATE), plan.load).await?;
    let lasted = begun.elapsed().as_secs_f64();
    arrived(&posthog, &sender).await?;
    let used: f64 = difference(subject.cpu()?, before).values().map(|cpu| cpu.total).sum();
    let cpu_per_million = used / ((sent * BATCH as u64) as f64 / 1e6);
    let requests = posthog.books().counts().requests - first.requests;
    let posthog_requests_per_second = requests as f64 / lasted;

    let begun = Instant::now();
    let sent = sender.send(u64::MAX, None, plan.load).await?;
    let taken_per_second = (sent * BATCH as u64) as f64 / begun.elapsed().as_secs_f64();
    arrived(&posthog, &sender).await?;
    let (_, peak_bytes) = subject.memory()?;
    subject.finish().await?;
    Ok(Round { cpu_per_million, posthog_requests_per_second, taken_per_second, peak_bytes })
}

/// Waits until PostHog has all that was taken.
async fn arrived(posthog: &moehog_emulator::posthog::Running, sender: &Sender) -> anyhow::Result<()> {
    let wanted = sender.taken.load(Ordering::Relaxed) * BATCH as u64;
    let all = posthog.books().wait_until(SETTLE, |books| books.counts().arrivals >= wanted).await;
    ensure!(all, "{} of {wanted} events at PostHog", posthog.books().counts().arrivals);
    Ok(())
}

/// Sends webhooks to one source after the other.
struct Sender {
    client: reqwest::Client,
    http: SocketAddr,
    lanes: u64,
    draft: Arc<Draft>,
    taken: Arc<AtomicU64>,
}

impl Sender {
    fn new(http: SocketAddr, lanes: u64) -> anyhow::Result<Self> {
        // somebody else may have
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let draft = Draft::sized(Template::Streams { events: BATCH }, "", 1, EVENT_BYTES);
        Ok(Self {
            client: reqwest::Client::builder().build()?,
            http,
            lanes,
            draft: draft.into(),
            taken: Arc::default(),
        })
    }

    /// Sends at most so many, at most so many a second, for so long. Says how many; each was taken.
    async fn send(&self, most: u64, rate: Option<f64>, lasts: Duration) -> anyhow::Result<u64> {
        let (first, begun, next) = (self.taken.load(Ordering::Relaxed), Instant::now(), Arc::new(AtomicU64::new(0)));
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (client, http, lanes) = (self.client.clone(), self.http, self.lanes);
            let (draft, taken, next) = (self.draft.clone(), self.taken.clone(), next.clone());
            senders.spawn(async move {
                while begun.elapsed() < lasts {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= most {
                        break;
                    }
                    if let Some(rate) = rate {
                        let due = begun + Duration::from_secs_f64(number as f64 / rate);
                        tokio::time::sleep_until(due.into()).await;
                    }
                    let number = first + number;
                    let url = format!("http://{http}/v1/in/s{}", number % lanes);
                    let body = draft.body(number * BATCH as u64).bytes;
                    let request = client.post(url).bearer_auth(TOKEN).header("content-type", "application/json");
                    request.body(body).send().await?.error_for_status().context("is taken")?.bytes().await?;
                    taken.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = senders.join_next().await {
            ended??;
        }
        Ok(self.taken.load(Ordering::Relaxed) - first)
    }
}
