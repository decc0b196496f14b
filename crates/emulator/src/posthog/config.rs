//! What kind of PostHog to be.

use std::{collections::BTreeSet, time::Duration};

/// What kind of PostHog to be. The default is today's cloud with any key.
#[derive(Debug, Clone)]
pub struct Config {
    /// The project keys of this region.
    pub keys: Keys,
    /// Whose rules apply where today's differ from those of an older self-hosted server.
    pub release: Release,
    /// How much is kept of what arrives.
    pub store: Store,
    /// Largest body on the wire, in bytes; larger is a 413. Today 20 MiB, on older servers 2 MiB.
    pub max_body_bytes: usize,
    /// Largest body once decompressed, in bytes.
    pub max_decoded_bytes: usize,
    /// Largest event, in bytes of the record it becomes: its JSON, encoded once more as a JSON string.
    pub max_event_bytes: usize,
    /// Answer 401 to a key that no project owns. PostHog can (`TOKEN_VALIDATION_MODE=enforce`) but does not: it
    /// answers 200 and drops the events.
    pub refuse_unknown_keys: bool,
    /// Have the v1 endpoint, which only some deployments have.
    pub v1: bool,
    /// Have `/flags/`, which older servers do not: they have `/decide` alone.
    pub flags: bool,
    /// A sender that is silent for so long in the middle of its body gets a 408.
    pub stall: Duration,
    /// Time that each capture request takes at least.
    pub latency: Duration,
    /// Capture requests worked on at once; more wait. `None` is no limit.
    pub concurrency: Option<usize>,
    /// Seed of the rules that act by chance.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: Keys::Any,
            release: Release::Current,
            store: Store::Full,
            max_body_bytes: 20 << 20,
            max_decoded_bytes: 100 << 20,
            max_event_bytes: 1_000_000,
            refuse_unknown_keys: false,
            v1: true,
            flags: true,
            stall: Duration::from_secs(30),
            latency: Duration::ZERO,
            concurrency: None,
            seed: 0,
        }
    }
}

impl Config {
    /// Today's PostHog with these project keys and no other.
    pub fn with_keys<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: Keys::Known(keys.into_iter().map(Into::into).collect()), ..Self::default() }
    }

    /// Today's PostHog with any key, keeping counts only: a sink for load.
    pub fn counts() -> Self {
        Self { store: Store::Counts, ..Self::default() }
    }

    /// A self-hosted server of mid 2024: 2 MiB on the wire, oversized events are a 400, three routes fewer.
    pub fn of_2024() -> Self {
        Self {
            release: Release::Mid2024,
            max_body_bytes: 2 << 20,
            max_decoded_bytes: usize::MAX,
            v1: false,
            ..Self::default()
        }
    }
}

/// The project keys a region knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Every well-formed key belongs to some project.
    Any,
    /// These keys alone; others are answered 200 and their events dropped, and `/flags/` says 401.
    Known(BTreeSet<String>),
}

/// Whose rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// PostHog Cloud in 2026. Source: PostHog/posthog, rust/capture (read 2026-08).
    Current,
    /// Source: PostHog/hog-rs, capture, 2024-06-21, probed on loopback (read 2026-08).
    Mid2024,
}

/// How much is kept of what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Every request and every event with its bytes.
    Full,
    /// Counts alone: arrivals, and how many are distinct by PostHog's key. A few hundred nanoseconds an event beside
    /// decompression; wrong types inside an event go unseen.
    Counts,
}
