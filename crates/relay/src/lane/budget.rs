//! The bytes that a lane holds, and those that it may.

use std::time::Duration;

use tokio::time::Instant;

use super::{Aside, Lane};
use crate::{
    barrier::Barrier,
    gate::{Gate, GateState},
    limits::{Limits, Use},
};

/// Room for mapped bytes below which no further webhook is transformed.
pub(super) const MIN_ROOM_BYTES: usize = 64 * 1024;
/// A webhook that needs no more in memory needs no room of its own: a lane may carry it whatever its part is.
pub(super) const SMALL: usize = 64 * 1024;
/// How long one webhook may keep the room that others wait for while none of its events is sent.
const OVERDRAWN_MOST: Duration = Duration::from_secs(60);
/// Part of its equal part that a lane which is held, or has an open circuit, reads to have events to probe with: an event
/// that its destination chokes on must not be the only one.
const PROBES_SHARE: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) limits: Limits,
    /// More would be read or mapped, were there room for it.
    pub(super) wants_more: bool,
    /// That a read under way may bring.
    pub(super) reading: usize,
    /// Of webhooks that are not mapped.
    pub(super) received: usize,
    /// Of events that are not final, or whose end is not recorded.
    pub(super) mapped: usize,
    /// Kept free for the answers of Transform calls.
    pub(super) reserved: usize,
    /// Needed for one webhook that does not fit into what the lane may hold; 0 is none.
    pub(super) overdraft: usize,
    overdrawn_since: Option<Instant>,
    /// Bytes of the events of a webhook for which there was no room: it is mapped again once there is.
    pub(super) answer: Option<usize>,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            wants_more: false,
            reading: 0,
            received: 0,
            mapped: 0,
            reserved: 0,
            overdraft: 0,
            overdrawn_since: None,
            answer: None,
        }
    }

    /// In memory now.
    pub(super) fn held(&self) -> usize {
        self.received + self.mapped
    }

    /// All that others cannot use.
    fn used(&self) -> usize {
        self.held() + self.reserved + self.reading
    }

    /// Asks for room for a webhook that needs so many bytes, where the lane, which holds nothing else, has less. Says whether
    /// it is there.
    pub(super) fn overdraw(&mut self, bytes: usize) -> bool {
        self.overdraft = if bytes > self.limits.bytes.max(SMALL) { bytes } else { 0 };
        !self.waits_for_overdraft()
    }

    fn waits_for_overdraft(&self) -> bool {
        self.overdraft > self.limits.overdraft.bytes
    }

    /// From when on it is to look, again and again, whether it got what it asked for, or others want what it has: nobody tells.
    pub(super) fn look_at(&self, now: Instant) -> Option<Instant> {
        match self.waits_for_overdraft() {
            true => Some(now),
            false => self.overdrawn_since.map(|since| since + OVERDRAWN_MOST),
        }
    }

    pub(super) fn received_limit(&self) -> usize {
        self.limits.bytes / 4
    }

    pub(super) fn mapped_limit(&self, gate: &Gate) -> usize {
        match gate.state() {
            GateState::Open => self.limits.bytes - self.limits.bytes / 4,
            // what is refused may be a stranger's, and behind it is what would be taken
            _ if gate.refuses_everything() => self.limits.equal_bytes - self.limits.equal_bytes / 4,
            _ => self.limits.equal_bytes / PROBES_SHARE,
        }
    }

    /// What may be mapped beyond what is.
    pub(super) fn mapped_room(&self, gate: &Gate) -> usize {
        (self.mapped_limit(gate) + self.limits.overdraft.bytes).saturating_sub(self.mapped + self.reserved)
    }

    /// Room for mapped bytes below which no further webhook is transformed.
    pub(super) fn least_room(&self, gate: &Gate) -> usize {
        MIN_ROOM_BYTES.min(self.mapped_limit(gate) / 8)
    }

    /// Whether what was read fits in: the bytes of a webhook, and those of the events that it keeps. These leave room to map
    /// what stands before them.
    pub(super) fn fits(&self, (received, mapped): (usize, usize), gate: &Gate) -> bool {
        self.received + received <= self.received_limit()
            && (mapped == 0 || mapped + self.least_room(gate) <= self.mapped_room(gate))
    }
}

impl Lane {
    /// Says what this lane may use from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.sending.set_most(&limits);
        self.queue.set_most_calls(limits.transform_calls);
        self.budget.limits = limits;
        self.budget.wants_more = false;
    }

    /// What it uses and wants.
    pub(crate) fn uses(&self) -> Use {
        let (calls, concurrency) = self.sending.uses();
        Use {
            bytes: self.budget.used(),
            wants_bytes: self.budget.wants_more,
            overdraft: self.budget.overdraft,
            calls,
            wants_calls: self.sending.is_cut_short() && self.full_waits(),
            concurrency,
        }
    }

    /// What was needed for one large webhook is given back once it is mapped and what is left of it fits.
    fn settle_overdraft(&mut self, now: Instant) {
        let aside = self.aside.as_ref().is_some_and(Aside::awaits_room);
        let awaits = aside || self.reader.awaits.is_some() || self.budget.answer.is_some() || self.reader.under_way;
        let is_mapped = self.queue.webhooks() == 0;
        if !awaits && is_mapped && self.budget.used() <= self.budget.limits.bytes {
            self.budget.overdraft = 0;
        }
        let overdrawn = self.budget.overdraft > 0;
        self.budget.overdrawn_since = overdrawn.then(|| self.budget.overdrawn_since.unwrap_or(now));
    }

    /// A lane whose gate is shut, and which holds more than its part, forgets what it holds: all of it is recorded, and is
    /// read again. So what one destination refuses takes no memory from others. One with a large webhook, of which nothing can be
    /// sent, does so for another that waits for the room. It is read again when its destination, or its first event, is tried next.
    pub(super) fn give_back(&mut self, now: Instant) {
        self.settle_overdraft(now);
        let holds = self.budget.held();
        // what waits for evidence steps aside instead, and what is known of it is kept
        let steps_aside = self.gate.refuses_everything();
        let is_shut = !self.gate.is_open() && !steps_aside && holds > self.budget.limits.equal_bytes;
        let kept_long = |since| now.saturating_duration_since(since) >= OVERDRAWN_MOST;
        let is_wanted = self.budget.limits.overdraft.is_wanted
            && self.barrier.ready_events() == 0
            && self.budget.overdrawn_since.is_some_and(kept_long);
        if !(is_shut || is_wanted) || !self.is_quiet() {
            return;
        }
        let not_before = if is_shut { self.probe_at(now) } else { self.barrier.due() };
        // an event that is to try the destination now is not forgotten before
        if is_shut && not_before.is_none() && self.barrier.ready_events() > 0 {
            return;
        }
        self.forget();
        (self.barrier, self.aside) = (Barrier::after(&self.barrier), None);
        self.reader.rewind(not_before);
    }
}
