//! What deliveries say of how much they do for a lane's destination.

use super::DeliverEnd;

/// Requests that a delivery makes at a time until one has said it: the default of its `limits.concurrency`.
pub(crate) const CONCURRENCY: usize = 16;
/// Weight of the latest answer.
const WEIGHT: f64 = 0.125;
/// Part of their most requests at a time below which deliveries are held back by the destination itself.
const HELD_BACK: f64 = 0.9;

/// See the module.
#[derive(Debug)]
pub(crate) struct Told {
    most: usize,
    /// Requests at a time now, as a part of the most, smoothed.
    part: f64,
    /// Part of the last call's time that it waited for its turn.
    waited: f64,
}

impl Told {
    pub(crate) fn new() -> Self {
        Self { most: CONCURRENCY, part: 1.0, waited: 0.0 }
    }

    /// Takes note of what an answer says. One of a delivery of an earlier release says nothing.
    pub(crate) fn hear(&mut self, end: &DeliverEnd) {
        let DeliverEnd::Answered { response, took } = end else {
            self.waited = 0.0;
            return;
        };
        let load = response.load.unwrap_or_default();
        self.waited = f64::from(load.waited_ms) / 1000.0 / took.as_secs_f64().max(0.001);
        if load.max_concurrency > 0 {
            self.most = load.max_concurrency as usize;
            let part = f64::from(load.concurrency) / f64::from(load.max_concurrency);
            self.part += WEIGHT * (part.min(1.0) - self.part);
        }
    }

    /// Requests to the destination that one delivery makes at a time at most.
    pub(crate) fn concurrency(&self) -> usize {
        self.most
    }

    /// Part of the last call's time that it waited for its turn.
    pub(crate) fn waited(&self) -> f64 {
        self.waited
    }

    /// Deliveries make fewer requests at a time than they could, since the destination bears no more: more deliveries would
    /// not help.
    pub(crate) fn is_held_back(&self) -> bool {
        self.part < HELD_BACK
    }
}
