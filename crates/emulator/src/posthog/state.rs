//! What all connections of a server share.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::posthog::{Books, Config, Faults, Keys, Release};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) books: Books,
    pub(crate) faults: Faults,
    changing: RwLock<Changing>,
    numbers: AtomicU64,
}

/// What can change while the server runs.
#[derive(Debug)]
struct Changing {
    keys: Keys,
    over_quota: BTreeSet<String>,
    latency: Duration,
    turns: Option<Arc<Semaphore>>,
    interned: Option<Arc<str>>,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        let changing = Changing {
            keys: config.keys.clone(),
            over_quota: BTreeSet::new(),
            latency: config.latency,
            turns: config.concurrency.map(|turns| Arc::new(Semaphore::new(turns))),
            interned: None,
        };
        Self {
            faults: Faults::new(config.seed),
            config,
            books: Books::default(),
            changing: RwLock::new(changing),
            numbers: AtomicU64::new(0),
        }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn knows(&self, key: &str) -> bool {
        match &self.changing.read().keys {
            Keys::Any => true,
            Keys::Known(keys) => keys.contains(key),
        }
    }

    pub(crate) fn add_key(&self, key: &str) {
        if let Keys::Known(keys) = &mut self.changing.write().keys {
            keys.insert(key.to_owned());
        }
    }

    pub(crate) fn is_over_quota(&self, key: &str) -> bool {
        self.changing.read().over_quota.contains(key)
    }

    pub(crate) fn set_over_quota(&self, key: &str, is_over: bool) {
        let over_quota = &mut self.changing.write().over_quota;
        if is_over {
            over_quota.insert(key.to_owned());
        } else {
            over_quota.remove(key);
        }
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        self.changing.write().latency = latency;
    }

    pub(crate) fn set_concurrency(&self, turns: Option<usize>) {
        self.changing.write().turns = turns.map(|turns| Arc::new(Semaphore::new(turns)));
    }

    /// Waits for its turn where only so many requests are worked on at once.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turns = self.changing.read().turns.clone()?;
        turns.acquire_owned().await.ok()
    }

    /// Takes the configured latency and `more`.
    pub(crate) async fn pause(&self, more: Duration) {
        let pause = self.changing.read().latency + more;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// The same key shared, for the usual case of one key after another.
    pub(crate) fn intern(&self, key: &str) -> Arc<str> {
        if let Some(last) = self.changing.read().interned.as_ref().filter(|last| &***last == key) {
            return last.clone();
        }
        let fresh: Arc<str> = key.into();
        self.changing.write().interned = Some(fresh.clone());
        fresh
    }
}

impl Config {
    /// Older servers drop the connection of a sender whose body is too large instead of draining it.
    pub(crate) fn hangs_up(&self) -> bool {
        self.release == Release::Mid2024
    }

    pub(crate) fn too_large_status(&self) -> http::StatusCode {
        match self.release {
            Release::Current => http::StatusCode::PAYLOAD_TOO_LARGE,
            Release::Mid2024 => http::StatusCode::BAD_REQUEST,
        }
    }
}
