//! What a lane may have under way: it follows the replicas of both services, and what other lanes leave.

use std::{collections::HashMap, sync::Arc};

use moehog_transport::Replicas;
use parking_lot::Mutex;

use crate::{
    Config,
    ceiling::Ceiling,
    evidence::Evidence,
    overdraft::{Account, Lent, Overdraft},
    pool::{Membership, Pool},
};

/// Part of all bytes that there is beyond them, for webhooks that do not fit into the part of their lane.
const OVERDRAFT: usize = 4;

/// What a lane may use now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes in memory.
    pub(crate) bytes: usize,
    /// Its equal part of the bytes: what it keeps at most while its gate is shut.
    pub(crate) equal_bytes: usize,
    /// Bytes beyond these, for one webhook that does not fit into them.
    pub(crate) overdraft: Lent,
    /// Deliver calls.
    pub(crate) deliver_calls: usize,
    /// Deliver calls of all lanes of its destination.
    pub(crate) deliver_calls_of_all: usize,
    /// Transform calls.
    pub(crate) transform_calls: usize,
    /// Others use some of what it could use.
    pub(crate) contended: bool,
}

/// What a lane uses and wants.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Use {
    pub(crate) bytes: usize,
    pub(crate) wants_bytes: bool,
    /// Bytes that it needs, and not merely wants, beyond its part; 0 is none.
    pub(crate) overdraft: usize,
    pub(crate) calls: usize,
    pub(crate) wants_calls: bool,
    /// Requests to its destination that one delivery makes at a time at most, as deliveries say.
    pub(crate) concurrency: usize,
}

/// What the lanes of a relay divide among themselves.
#[derive(Debug)]
pub(crate) struct Bounds {
    config: Arc<Config>,
    transformers: Replicas,
    deliveries: Replicas,
    bytes: Arc<Pool>,
    overdraft: Arc<Overdraft>,
    destinations: Mutex<HashMap<String, Shared>>,
}

/// What all lanes of a destination share: its Deliver calls, and what came of them.
#[derive(Debug)]
struct Shared {
    calls: Arc<Pool>,
    evidence: Arc<Evidence>,
    ceiling: Arc<Ceiling>,
}

/// A lane's part of it.
#[derive(Debug)]
pub(crate) struct Room {
    bounds: Arc<Bounds>,
    bytes: Membership,
    overdraft: Account,
    calls: Membership,
    evidence: Arc<Evidence>,
    ceiling: Arc<Ceiling>,
}

impl Bounds {
    pub(crate) fn new(config: Arc<Config>, transformers: Replicas, deliveries: Replicas) -> Arc<Self> {
        let (bytes, overdraft) = (Pool::new(), Overdraft::new());
        Arc::new(Self { config, transformers, deliveries, bytes, overdraft, destinations: Mutex::default() })
    }

    /// A place for one more lane of this destination.
    pub(crate) fn join(self: &Arc<Self>, destination: &str) -> Room {
        let mut destinations = self.destinations.lock();
        // one without lanes is one that nothing waits for
        destinations.retain(|_, shared| Arc::strong_count(&shared.calls) > 1);
        let of_it = self.config.max_events_per_second_of.get(destination).copied();
        let per_second = of_it.unwrap_or(self.config.max_events_per_second);
        let new = || Shared { calls: Pool::new(), evidence: Evidence::new(), ceiling: Ceiling::new(per_second) };
        let Shared { calls, evidence, ceiling } = destinations.entry(destination.to_string()).or_insert_with(new);
        let (bytes, overdraft) = (self.bytes.join(), self.overdraft.open());
        let (calls, evidence, ceiling) = (calls.join(), evidence.clone(), ceiling.clone());
        Room { bounds: self.clone(), bytes, overdraft, calls, evidence, ceiling }
    }
}

impl Room {
    /// What the destination does with events, in all lanes.
    pub(crate) fn evidence(&self) -> Arc<Evidence> {
        self.evidence.clone()
    }

    /// How many events a second the destination is sent.
    pub(crate) fn ceiling(&self) -> Arc<Ceiling> {
        self.ceiling.clone()
    }

    /// What the lane may use, now that it uses and wants this.
    pub(crate) fn limits(&self, lane: Use) -> Limits {
        let Bounds { config, transformers, deliveries, .. } = &*self.bounds;
        let replicas = deliveries.count();
        let all_bytes = config.in_flight(replicas);
        let all_calls = config.deliver_calls(replicas, lane.concurrency);
        let bytes = self.bytes.divide(all_bytes, lane.bytes, lane.wants_bytes);
        let calls = self.calls.divide(all_calls, lane.calls, lane.wants_calls);
        let overdraft = self.overdraft.ask(lane.overdraft, all_bytes / OVERDRAFT);
        Limits {
            bytes: bytes.limit,
            equal_bytes: bytes.equal,
            overdraft,
            deliver_calls: calls.limit.max(1),
            deliver_calls_of_all: all_calls,
            transform_calls: config.transform_calls.max(1) * transformers.count(),
            contended: bytes.limit < all_bytes || calls.limit < all_calls || overdraft.bytes < lane.overdraft,
        }
    }
}

impl Limits {
    /// Those of a lane that has no other beside it, with one replica of each service.
    #[cfg(test)]
    pub(crate) fn alone(config: &Config) -> Self {
        let bounds = Bounds::new(Arc::new(config.clone()), Replicas::one(), Replicas::one());
        bounds.join("default").limits(Use { concurrency: crate::lane::CONCURRENCY, ..Use::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_a_destination_share_its_calls_and_nothing_is_kept_of_one_without_lanes() {
        let bounds = Bounds::new(Arc::new(Config::default()), Replicas::one(), Replicas::one());
        let busy = |calls| Use { calls, wants_calls: true, concurrency: 16, ..Use::default() };
        let (first, second, other) = (bounds.join("eu"), bounds.join("eu"), bounds.join("us"));
        assert_eq!(other.limits(busy(20)).deliver_calls, 20);
        first.limits(busy(10));
        assert_eq!(second.limits(busy(10)).deliver_calls, 10, "20 are divided");
        drop((first, second));
        let again = bounds.join("key:phc_1");
        assert_eq!(bounds.destinations.lock().len(), 2, "us and the new one");
        drop((other, again));
    }
}
