//! Posts one webhook after the other over a few connections, and keeps the book that the oracle judges by.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{Deployment, Sent, connector, post, setup, streams, tutorial};

/// After no answer or a refusal; a dead process is not hammered.
const PAUSE: Duration = Duration::from_millis(20);
/// Time between webhooks that are posted only so that something is taken.
const BETWEEN: Duration = Duration::from_millis(100);
/// MoEngage gives a Connector request up after five seconds.
/// Source: MoEngage, "Connector Campaigns", errors (read 2026-11-24).
const PATIENCE: Duration = Duration::from_secs(5);

/// What stands in the person of every bad event; PostHog must be told to refuse it.
///
/// No hexadecimal digits alone: an id must not hold it by chance.
pub const BAD: &str = "unwanted-";
/// Of so many webhooks one has a bad event.
const BAD_ONE_OF: u32 = 50;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many senders, each with one request at a time.
    pub connections: u64,
    /// What ids are drawn from.
    pub seed: u64,
    /// How long each waits after an answer.
    pub pause: Duration,
    /// Whether one webhook of fifty has an event that nobody can deliver: a body that is no JSON, or a person with [`BAD`].
    pub bad: bool,
    /// Whether the bodies carry an id of their own; where not, moehog derives the UUIDs.
    pub own_ids: bool,
}

impl Load {
    /// Webhooks with ids and nothing bad, one after the other.
    #[must_use]
    pub fn new(connections: u64, seed: u64) -> Self {
        Self { connections, seed, pause: Duration::ZERO, bad: false, own_ids: true }
    }
}

/// Running senders.
#[derive(Debug)]
pub struct Sender {
    target: SocketAddr,
    key: String,
    load: Load,
    book: Arc<Mutex<Vec<Sent>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Sender {
    /// Starts `connections` senders. Every fourth webhook is a Streams batch of ten events, the others are Connector bodies.
    #[must_use]
    pub fn start(target: SocketAddr, key: &str, connections: u64, seed: u64) -> Self {
        Self::load(target, key, Load::new(connections, seed))
    }

    /// Starts senders of this load.
    #[must_use]
    pub fn load(target: SocketAddr, key: &str, load: Load) -> Self {
        let (book, stop) = (Arc::<Mutex<Vec<Sent>>>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for connection in 0..load.connections {
            let (book, stop, key) = (book.clone(), stop.clone(), key.to_string());
            let mut chance = StdRng::seed_from_u64(load.seed.wrapping_mul(1_000).wrapping_add(connection));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let sent = one(target, Webhook::draw(&key, load, &mut chance)).await;
                    let pause = if sent.status == Some(200) { load.pause } else { PAUSE };
                    book.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            });
        }
        Self { target, key: key.to_string(), load, book, stop, tasks }
    }

    /// How many webhooks were answered 200 so far.
    #[must_use]
    pub fn taken(&self) -> usize {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.iter().filter(|sent| sent.status == Some(200)).count()
    }

    /// Lets each sender finish its request, and waits until nothing waits any more and the books close. Meanwhile webhooks
    /// with nothing bad are posted, ten a second: what was refused is dead only beside what is taken.
    ///
    /// # Errors
    ///
    /// A sender panicked, webhooks still wait after `deadline`, or the books do not close.
    pub async fn drain(self, moehog: &Deployment, deadline: Duration) -> anyhow::Result<Vec<Sent>> {
        let (target, key, begun) = (self.target, self.key.clone(), Instant::now());
        let good = Load { bad: false, ..self.load };
        let mut chance = StdRng::seed_from_u64(good.seed.wrapping_mul(1_000).wrapping_add(good.connections));
        let mut sent = self.stop().await?;
        while let Err(waits) = moehog.settled(BETWEEN).await {
            if begun.elapsed() > deadline {
                return Err(waits.context(format!("{deadline:?} after the last")));
            }
            sent.push(one(target, Webhook::draw(&key, good, &mut chance)).await);
        }
        moehog.balanced().await?;
        Ok(sent)
    }

    /// Lets each sender finish its request, and gives the book.
    ///
    /// # Errors
    ///
    /// A sender panicked.
    pub async fn stop(mut self) -> anyhow::Result<Vec<Sent>> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a sender")?;
        }
        Ok(std::mem::take(&mut *self.book.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// One that is to be sent.
struct Webhook {
    path: &'static str,
    token: Option<String>,
    persons: Vec<String>,
    bad: Vec<String>,
    body: String,
}

impl Webhook {
    fn draw(key: &str, load: Load, chance: &mut StdRng) -> Self {
        let mut ids: Vec<String> = (0..10).map(|_| id(chance)).collect();
        let is_batch = load.own_ids && ids[0].starts_with(['0', '1', '2', '3']);
        let is_bad = load.bad && chance.random_ratio(1, BAD_ONE_OF);
        if is_bad && is_batch && chance.random_ratio(1, 4) {
            return Self::stream(ids.split_off(9), Vec::new()).unreadable();
        }
        ids.truncate(if is_batch { 10 } else { 1 });
        let mut bad = Vec::new();
        if is_bad {
            let at = chance.random_range(0..ids.len());
            ids[at].insert_str(0, BAD);
            bad.push(ids[at].clone());
        }
        if is_batch { Self::stream(ids, bad) } else { Self::connector(key, load.own_ids, ids, bad) }
    }

    fn stream(persons: Vec<String>, bad: Vec<String>) -> Self {
        let (token, body) = (Some(format!("Bearer {}", setup::TOKEN)), streams(&persons));
        Self { path: "/v1/in/default", token, persons, bad, body }
    }

    fn connector(key: &str, own_ids: bool, persons: Vec<String>, bad: Vec<String>) -> Self {
        let body = match own_ids {
            true => connector(key, &persons[0], persons[0].trim_start_matches(BAD)),
            false => {
                let [campaign, ..] = tutorial(key, &persons[0]);
                campaign
            }
        };
        Self { path: "/capture/", token: None, persons, bad, body }
    }

    /// The same, cut off before its last brace.
    fn unreadable(mut self) -> Self {
        self.body.pop();
        Self { bad: self.persons.clone(), ..self }
    }
}

/// The shape of a version 4 UUID.
fn id(chance: &mut StdRng) -> String {
    let bits: u128 = chance.random();
    let text = format!("{bits:032x}");
    format!("{}-{}-4{}-8{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

async fn one(target: SocketAddr, webhook: Webhook) -> Sent {
    let begun = Instant::now();
    let request = deliver(target, webhook.path, webhook.token, webhook.body);
    let answer = tokio::time::timeout(PATIENCE, request).await.ok().flatten();
    Sent {
        persons: webhook.persons,
        bad: webhook.bad,
        status: answer.as_ref().map(|answer| answer.status),
        receipt: answer.and_then(|answer| answer.receipt()),
        begun,
        ended: Instant::now(),
    }
}

async fn deliver(target: SocketAddr, path: &str, token: Option<String>, body: String) -> Option<crate::Answer> {
    let mut headers = vec![("content-type", "application/json")];
    if let Some(token) = &token {
        headers.push(("authorization", token));
    }
    post(target, path, &headers, body).await.ok()
}
