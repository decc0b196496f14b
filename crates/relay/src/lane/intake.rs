//! What a lane takes in: entries from the journal, and their events from the transformer.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use moehog_journal::ReadLimit;
use moehog_proto::{
    Sequence,
    journal::Progress,
    transformer::{Rejection, TransformRequest, TransformResponse},
};

use super::{Lane, Now, Step, TransformCall};
use crate::{
    gate::GateState,
    poison::{Failure, TransformQueue},
    progress::{Carried, rejection},
};

/// Most entries of one read.
const READ_ENTRIES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
/// Room for mapped bytes below which no further webhook is transformed.
const MIN_ROOM_BYTES: usize = 64 * 1024;
/// Full calls that wait, from which on a lane reads no further: more would only lie in memory.
const READ_AHEAD_CALLS: usize = 4;
/// Part of its equal part that a lane which is held, or has an open circuit, reads to have events to probe with: an event
/// that its destination chokes on must not be the only one.
const PROBES_SHARE: usize = 8;

impl Lane {
    fn received_limit(&self) -> usize {
        self.limits.bytes / 4
    }

    fn mapped_limit(&self) -> usize {
        match self.gate.state() {
            GateState::Open => self.limits.bytes - self.limits.bytes / 4,
            // what is refused may be a stranger's, and behind it is what would be taken
            _ if self.gate.refuses_everything() => self.limits.equal_bytes - self.limits.equal_bytes / 4,
            _ => self.limits.equal_bytes / PROBES_SHARE,
        }
    }

    /// Whether an entry that was read fits in. One that keeps the bytes of its events needs room for these.
    fn has_room_for(&self, entry: &Carried) -> bool {
        let (received, mapped) = (entry.received_cost(), entry.mapped_cost());
        let mapped_fits = mapped == 0 || self.mapped_bytes + self.reserved_bytes + mapped <= self.mapped_limit();
        self.received_bytes + received <= self.received_limit() && mapped_fits
    }

    pub(super) fn next_read(&mut self, now: Now) -> Option<Step> {
        let idle = self.entries.is_empty();
        if self.draining && !idle {
            return None;
        }
        self.draining = false;
        let parked = !idle && self.mapped_bytes + self.reserved_bytes >= self.mapped_limit();
        // behind what its destination refuses may be what it takes
        let ahead = !self.gate.refuses_everything()
            && self.barrier.ready_together() >= READ_AHEAD_CALLS * self.config.deliver_max_events;
        let full = !idle && self.received_bytes > self.received_limit() / 2;
        let waits = self.read_at.is_some_and(|at| now.instant < at);
        // while it keeps up, what comes during a Transform call is one read and one call after it
        let gathers = self.keeps_up && self.queue.calls() > 0;
        self.wants_bytes |= self.gate.is_open() && !self.caught_up && !ahead && (parked || full);
        if self.reading || self.caught_up || gathers || parked || full || ahead || waits {
            return None;
        }
        self.reading = true;
        let max_bytes = self.received_limit().saturating_sub(self.received_bytes);
        self.reading_bytes = max_bytes;
        Some(Step::Read { from: self.cursor, limit: ReadLimit { max_entries: READ_ENTRIES, max_bytes } })
    }

    /// Takes what was read. `next` is where to read on; `caught_up` says that all that was durable is read.
    pub(crate) fn read(&mut self, batch: Vec<Carried>, next: Sequence, caught_up: bool) {
        (self.reading, self.reading_bytes) = (false, 0);
        (self.read_failures, self.read_at) = (0, None);
        (self.cursor, self.caught_up, self.keeps_up) = (next, caught_up, caught_up);
        for (index, mut entry) in batch.into_iter().enumerate() {
            if !self.entries.is_empty() && !self.has_room_for(&entry) {
                // it stays in the journal and is read again
                (self.cursor, self.caught_up) = (entry.sequence, false);
                self.draining = index == 0;
                break;
            }
            self.cursor_at_ms = entry.received_at_ms;
            if entry.webhook.is_some() && TransformQueue::crashed_too_often(&entry.trial, &self.config) {
                entry.reject(transform_failed());
            }
            self.received_bytes += entry.received_cost();
            self.mapped_bytes += entry.mapped_cost();
            let sequence = entry.sequence;
            let waits = entry.webhook.as_ref().map(|webhook| webhook.body.len());
            let key = self.entries.insert(entry);
            self.order.insert(sequence, key);
            if let Some(bytes) = waits {
                self.queue.push(sequence, key, bytes);
            }
            self.note(key);
        }
        self.enter();
    }

    /// A read failed.
    pub(crate) fn read_failed(&mut self, now: Now) {
        (self.reading, self.reading_bytes) = (false, 0);
        self.read_failures += 1;
        self.read_at = Some(now.instant + self.short.delay(self.read_failures, Duration::ZERO, self.chance.draw()));
    }

    pub(super) fn next_transform(&mut self, now: Now) -> Option<Step> {
        if !self.queue.ready(&self.config, now.instant) {
            return None;
        }
        let used = self.mapped_bytes + self.reserved_bytes;
        let room = self.mapped_limit().saturating_sub(used);
        // one webhook of any size is taken when nothing else can move: all that is mapped may wait behind it
        let stuck = self.barrier.len() == 0 && self.outlet.is_idle() && self.queue.calls() == 0;
        if room < MIN_ROOM_BYTES.min(self.mapped_limit() / 8) && !stuck {
            self.wants_bytes = self.gate.is_open();
            return None;
        }
        let taken = self.queue.take(&self.entries, &self.config, now.instant)?;
        let expected = 4 * taken.bytes + 1024 * taken.entries.len();
        let reserved = expected.max(MIN_ROOM_BYTES).min(room).max(1);
        self.reserved_bytes += reserved;
        let entries = taken.entries.iter().filter_map(|key| self.entries.get(*key));
        let (sequences, webhooks) = entries.filter_map(|entry| Some((entry.sequence, entry.webhook.clone()?))).unzip();
        let request = TransformRequest { webhooks, max_response_bytes: reserved as u64 };
        Some(Step::Transform(TransformCall { taken, sequences, reserved }, request))
    }

    /// Takes the transformer's answer: whole webhooks from the first on. What is known of each is handed to `announce`.
    pub(crate) fn transformed(
        &mut self,
        call: TransformCall,
        response: TransformResponse,
        mut announce: impl FnMut(Sequence, &Arc<Progress>),
    ) {
        self.reserved_bytes -= call.reserved;
        self.queue.answered(&call.taken, response.webhooks.len(), &self.entries);
        for (key, answer) in call.taken.entries.iter().zip(response.webhooks) {
            let Some(entry) = self.entries.get_mut(*key) else { continue };
            self.received_bytes -= entry.received_cost();
            entry.map(answer, &response.mapping_revision, &self.config);
            announce(entry.sequence, &entry.progress);
            self.mapped_bytes += entry.mapped_cost();
            self.note(*key);
        }
        self.enter();
    }

    /// A Transform call failed.
    pub(crate) fn transform_failed(&mut self, call: TransformCall, failure: Failure, now: Now) {
        self.reserved_bytes -= call.reserved;
        let when = (now.instant, self.chance.draw());
        let failed = self.queue.failed(&call.taken, failure, &mut self.entries, &self.config, when);
        for key in &failed.counted {
            if let Some(entry) = self.entries.get_mut(*key) {
                entry.dirty = true;
            }
            self.note(*key);
        }
        for key in failed.dead {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            self.received_bytes -= entry.received_cost();
            entry.reject(transform_failed());
            self.mapped_bytes += entry.mapped_cost();
            self.note(key);
        }
        self.enter();
    }

    /// Lets events out, in journal order, up to the first entry that is not mapped.
    fn enter(&mut self) {
        while let Some(first) = self.order.first_entry() {
            let key = *first.get();
            let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.webhook.is_none()) else { return };
            first.remove();
            let (sequence, events) = (entry.sequence, std::mem::take(&mut entry.events));
            self.let_out(key, sequence, events);
        }
    }
}

fn transform_failed() -> Rejection {
    rejection("transform_failed", "the transformer died each time it was given this webhook alone")
}
