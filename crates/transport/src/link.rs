//! A way to a service.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use moehog_proto::Channel;

/// A way to a service: the channel that calls go through, and how many replicas it leads to.
#[derive(Debug, Clone)]
pub struct Link {
    /// Where calls go.
    pub channel: Channel,
    /// The replicas that take them.
    pub replicas: Replicas,
    /// They are in this process: it lives and dies with them.
    pub same_process: bool,
}

impl Link {
    /// A way to one replica.
    #[must_use]
    pub fn to_one(channel: Channel) -> Self {
        Self { channel, replicas: Replicas::one(), same_process: false }
    }
}

/// The number of replicas behind a name, as it is known now.
#[derive(Debug, Clone)]
pub struct Replicas(Arc<AtomicUsize>);

impl Replicas {
    /// One, until [`Replicas::set`] says otherwise.
    #[must_use]
    pub fn one() -> Self {
        Self(Arc::new(AtomicUsize::new(1)))
    }

    /// How many there are; at least one, also before the name is resolved.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed).max(1)
    }

    /// Says how many there are from now on.
    pub fn set(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }
}
