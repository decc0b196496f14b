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

use crate::{Sent, connector, post, setup, streams};

/// After no answer or a refusal; a dead process is not hammered.
const PAUSE: Duration = Duration::from_millis(20);
/// MoEngage gives a Connector request up after five seconds.
/// Source: MoEngage, "Connector Campaigns", errors (read 2026-11-24).
const PATIENCE: Duration = Duration::from_secs(5);

/// Running senders.
#[derive(Debug)]
pub struct Sender {
    book: Arc<Mutex<Vec<Sent>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Sender {
    /// Starts `connections` senders. Every fourth webhook is a Streams batch of ten events, the others are Connector bodies.
    #[must_use]
    pub fn start(target: SocketAddr, key: &str, connections: u64, seed: u64) -> Self {
        let (book, stop) = (Arc::<Mutex<Vec<Sent>>>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for connection in 0..connections {
            let (book, stop, key) = (book.clone(), stop.clone(), key.to_string());
            let mut chance = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(connection));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let sent = one(target, &key, &mut chance).await;
                    let taken = sent.status == Some(200);
                    book.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
                    if !taken {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            });
        }
        Self { book, stop, tasks }
    }

    /// How many webhooks were answered 200 so far.
    #[must_use]
    pub fn taken(&self) -> usize {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.iter().filter(|sent| sent.status == Some(200)).count()
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

async fn one(target: SocketAddr, key: &str, chance: &mut StdRng) -> Sent {
    let mut id = || {
        let bits: u128 = chance.random();
        // the shape of a version 4 UUID
        let text = format!("{bits:032x}");
        format!("{}-{}-4{}-8{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
    };
    let batch: Vec<String> = (0..10).map(|_| id()).collect();
    let begun = Instant::now();
    let (persons, request) = if batch[0].starts_with(['0', '1', '2', '3']) {
        let body = streams(&batch);
        let token = format!("Bearer {}", setup::TOKEN);
        (batch, tokio::time::timeout(PATIENCE, deliver(target, "/v1/in/default", Some(token), body)).await)
    } else {
        let body = connector(key, &batch[0], &batch[0]);
        (batch[..1].to_vec(), tokio::time::timeout(PATIENCE, deliver(target, "/capture/", None, body)).await)
    };
    let answer = request.ok().flatten();
    Sent {
        persons,
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
