//! What a lane uses, gives back, and could use more of.

use std::{collections::BTreeMap, time::Duration};

use moehog_proto::delivery::DeliverRequest;
use tokio::time::Instant;

use super::{Lane, RecordCall};
use crate::{
    barrier::Barrier,
    limits::{Limits, Use},
    poison::TransformQueue,
    slab::Slab,
};

/// How long a call that is not full waits for more at most, while a backlog is read and mapped.
pub(super) const GATHER: Duration = Duration::from_millis(100);

impl Lane {
    /// Says what this lane may use from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.window.set_most(limits.deliver_calls, limits.deliver_calls_of_all);
        self.queue.set_most_calls(limits.transform_calls);
        self.limits = limits;
        self.wants_bytes = false;
    }

    /// What it uses and wants.
    pub(crate) fn uses(&self) -> Use {
        Use {
            bytes: self.received_bytes + self.mapped_bytes + self.reserved_bytes + self.reading_bytes,
            wants_bytes: self.wants_bytes,
            calls: self.window.under_way(),
            wants_calls: self.window.is_cut_short() && self.full_waits(),
            concurrency: self.load.concurrency(),
        }
    }

    /// A lane whose gate is shut, and which holds more than its part, forgets what it holds: all of it is recorded, and is
    /// read again. So what one destination refuses takes no memory from others.
    pub(super) fn give_back(&mut self) {
        let is_idle = self.window.under_way() == 0 && self.queue.calls() == 0 && self.outlet.is_idle() && !self.reading;
        let holds = self.received_bytes + self.mapped_bytes;
        if self.gate.is_open() || holds <= self.limits.equal_bytes || !is_idle || !self.is_recorded() {
            return;
        }
        (self.entries, self.order, self.barrier) = (Slab::new(), BTreeMap::new(), Barrier::new());
        self.queue = TransformQueue::new(&self.config);
        self.queue.set_most_calls(self.limits.transform_calls);
        self.unrecorded = RecordCall::default();
        (self.received_bytes, self.mapped_bytes, self.draining) = (0, 0, false);
        (self.cursor, self.caught_up, self.keeps_up) = (0, false, false);
    }

    /// As many events wait as a call holds, or as many bytes.
    pub(super) fn full_waits(&self) -> bool {
        let (ready, all) = (self.barrier.ready_events(), self.barrier.len().max(1));
        let bytes = (self.mapped_bytes as u128 * ready as u128 / all as u128) as usize;
        ready >= self.config.deliver_max_events || ready > 0 && bytes >= self.config.deliver_max_bytes
    }

    /// Whether a call that is not full waits for what is being read or mapped of a backlog: where many calls end at once,
    /// others in part would take the places of full ones. While none is under way, or little is read, nothing waits.
    pub(super) fn gathers(&mut self, now: Instant) -> bool {
        let more_comes = !self.keeps_up && (self.reading || self.queue.calls() > 0);
        if !more_comes || self.window.under_way() == 0 || self.full_waits() {
            self.gathers_until = None;
            return false;
        }
        now < *self.gathers_until.get_or_insert(now + GATHER)
    }

    /// How much of a full call it is, in thousandths: by events or by bytes, whichever fills it sooner.
    pub(super) fn fullness_of(&self, request: &DeliverRequest) -> usize {
        let bytes: usize = request.events.iter().map(|event| event.json.len()).sum();
        let by_events = 1000 * request.events.len() / self.config.deliver_max_events.max(1);
        by_events.max(1000 * bytes / self.config.deliver_max_bytes.max(1)).min(1000)
    }

    /// Full Deliver calls that those under way would be.
    pub(crate) fn full_calls(&self) -> f64 {
        self.fullness as f64 / 1000.0
    }

    /// More deliveries would do more of this lane's work: its destination takes what is sent, as many calls are under way
    /// as deliveries work on, or as memory holds, and more waits.
    pub(crate) fn wants_deliveries(&self) -> bool {
        let calls_are_full = self.window.is_exhausted() && self.full_waits();
        let memory_is_full = self.wants_bytes && self.barrier.ready_events() == 0 && self.window.under_way() > 0;
        self.gate.is_open() && !self.load.is_held_back() && (calls_are_full || memory_is_full)
    }

    /// When the last entry that was read was received, milliseconds since the epoch.
    pub(crate) fn read_until_ms(&self) -> i64 {
        self.cursor_at_ms
    }
}
