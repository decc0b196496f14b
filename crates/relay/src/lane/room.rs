//! What a lane uses, gives back, and could use more of.

use std::collections::BTreeMap;

use super::{Lane, RecordCall};
use crate::{
    barrier::Barrier,
    limits::{Limits, Use},
    poison::TransformQueue,
    slab::Slab,
};

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
