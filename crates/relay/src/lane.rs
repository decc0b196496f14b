//! One lane's decisions: what to read, map, send and record next. It does none of it.
//!
//! [`Lane::next`] gives the steps to take now; what comes of a step is told to the lane, and may make new steps ready.
//! In memory are the entries within the lane's share of bytes and nothing else: a lane that is held, or full, stops
//! reading, and what waits behind stays in the journal.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use moehog_journal::{ReadLimit, Record};
use moehog_proto::{Sequence, delivery::DeliverRequest, journal::Book, transformer::TransformRequest};
use tokio::time::Instant;

use crate::{
    Config,
    backoff::{Backoff, Chance},
    barrier::Barrier,
    evidence::{self, Evidence},
    gate::{Change, Gate, GateState, Permit},
    limits::Limits,
    poison::{Taken, TransformQueue},
    progress::Carried,
    route::Parcel,
    slab::{Key, Slab},
    spans,
    window::Window,
};

mod intake;
mod load;
mod outlet;
mod room;
mod verdicts;

#[cfg(test)]
pub(crate) use load::CONCURRENCY;
use load::Told;
use outlet::Outlet;
pub(crate) use {outlet::RouteCall, verdicts::DeliverEnd};

/// How soon a lane that waits for what other lanes use looks again.
const CONTENDED_POLL: Duration = Duration::from_millis(50);

/// A point in time, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Milliseconds since the epoch.
    pub(crate) epoch_ms: i64,
}

/// What is to be done now.
#[derive(Debug)]
pub(crate) enum Step {
    /// Read entries from the journal; tell [`Lane::read`].
    Read { from: Sequence, limit: ReadLimit },
    /// Call the transformer; tell [`Lane::transformed`] or [`Lane::transform_failed`].
    Transform(TransformCall, TransformRequest),
    /// Call delivery; tell [`Lane::delivered`].
    Deliver(DeliverCall, DeliverRequest),
    /// Hand events on to other lanes; tell [`Lane::routed`].
    Route(RouteCall, Vec<Parcel>),
    /// Record; tell [`Lane::recorded`] or [`Lane::record_failed`].
    Record(RecordCall, Vec<Record>),
}

/// A Transform call under way.
#[derive(Debug)]
pub(crate) struct TransformCall {
    pub(crate) taken: Taken,
    pub(crate) sequences: Vec<Sequence>,
    /// Bytes kept free for its answer.
    reserved: usize,
}

/// A Deliver call under way.
#[derive(Debug)]
pub(crate) struct DeliverCall {
    pub(crate) events: Vec<Key>,
    pub(crate) probe: bool,
    /// Thousandths of a full call that it is.
    fullness: usize,
}

/// A record call under way.
#[derive(Debug, Default)]
pub(crate) struct RecordCall {
    entries: Vec<Key>,
    /// Persons that are free once it is stored.
    persons: Vec<u64>,
    /// Bytes of events that are final once it is stored.
    freed: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    config: Config,
    evidence: Arc<Evidence>,
    outlet: Outlet,
    entries: Slab<Carried>,
    /// Entries whose events have not entered the barrier.
    order: BTreeMap<Sequence, Key>,
    queue: TransformQueue,
    barrier: Barrier,
    gate: Gate,
    window: Window,
    load: Told,
    /// Of the Deliver calls under way, in thousandths of a full call.
    fullness: usize,
    /// Until then a call that is not full waits for more.
    gathers_until: Option<Instant>,
    chance: Chance,
    retry: Backoff,
    /// For what was refused alone.
    suspects: Backoff,
    /// For waits that are nobody's fault: delivery has no room or is not there.
    short: Backoff,
    /// Successive calls that delivery had no room for.
    overloads: u32,
    unrecorded: RecordCall,
    recording: bool,
    record_failures: u32,
    record_at: Option<Instant>,
    cursor: Sequence,
    /// When the entry before the cursor was received, milliseconds since the epoch.
    cursor_at_ms: i64,
    reading: bool,
    caught_up: bool,
    /// The last read left nothing behind.
    keeps_up: bool,
    read_failures: u32,
    read_at: Option<Instant>,
    /// The next webhook is larger than the room left: nothing is read until nothing is in flight.
    draining: bool,
    stopping: bool,
    limits: Limits,
    /// More would be read or mapped, were there room for it.
    wants_bytes: bool,
    /// Bytes that a read under way may bring.
    reading_bytes: usize,
    received_bytes: usize,
    mapped_bytes: usize,
    reserved_bytes: usize,
    changes: Vec<Change>,
    settled: Book,
}

impl Lane {
    pub(crate) fn new(
        destination: &str,
        config: &Config,
        (limits, evidence): (Limits, Arc<Evidence>),
        seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            evidence,
            outlet: Outlet::new(destination),
            entries: Slab::new(),
            order: BTreeMap::new(),
            queue: TransformQueue::new(config),
            barrier: Barrier::new(),
            gate: Gate::new(config, now),
            window: Window::new(limits.deliver_calls_of_all),
            load: Told::new(),
            fullness: 0,
            gathers_until: None,
            chance: Chance::new(seed),
            retry: Backoff::new(config.retry_first, config.retry_max),
            suspects: Backoff::new(config.retry_first, evidence::RETRY_MAX.min(config.retry_max)),
            short: Backoff::new(config.retry_first / 5, config.circuit_probe_max),
            overloads: 0,
            unrecorded: RecordCall::default(),
            recording: false,
            record_failures: 0,
            record_at: None,
            cursor: 0,
            cursor_at_ms: 0,
            reading: false,
            caught_up: false,
            keeps_up: false,
            read_failures: 0,
            read_at: None,
            draining: false,
            stopping: false,
            limits,
            wants_bytes: false,
            reading_bytes: 0,
            received_bytes: 0,
            mapped_bytes: 0,
            reserved_bytes: 0,
            changes: Vec::new(),
            settled: Book::default(),
            config: config.clone(),
        }
    }

    /// The next step, until none is left to take now.
    pub(crate) fn next(&mut self, now: Now) -> Option<Step> {
        self.barrier.wake(now.instant);
        self.give_back();
        if let Some(step) = self.next_record(now) {
            return Some(step);
        }
        if self.stopping {
            return None;
        }
        self.next_deliver(now)
            .or_else(|| self.next_route(now))
            .or_else(|| self.next_transform(now))
            .or_else(|| self.next_read(now))
    }

    /// When a step may become ready although nothing else happens.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let probe = match self.gate.permit(now, self.barrier.has_news()) {
            Permit::Nothing(at) if self.barrier.ready_events() > 0 => at,
            _ => None,
        };
        let record = self.record_at.filter(|_| !self.recording);
        // others end calls of theirs, and nobody tells this lane
        let uses = self.uses();
        let contended = self.limits.contended && (uses.wants_bytes || uses.wants_calls);
        let room = contended.then_some(now + CONTENDED_POLL);
        let wakes = [
            record,
            self.barrier.due(),
            probe,
            self.outlet.wake_at(),
            self.queue.due(),
            self.read_at,
            room,
            self.gathers_until,
        ];
        let relevant = if self.stopping { 1 } else { wakes.len() };
        wakes.into_iter().take(relevant).flatten().filter(|at| *at > now).min()
    }

    /// No more is begun; what is under way is recorded.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// All that is known is recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        !self.recording && self.unrecorded.entries.is_empty()
    }

    /// It has read all there is: more comes when the journal grows.
    pub(crate) fn waits_for_growth(&self) -> bool {
        self.caught_up && !self.reading && !self.stopping && self.queue.calls() == 0
    }

    /// The journal has grown.
    pub(crate) fn grown(&mut self) {
        self.caught_up = false;
    }

    pub(crate) fn gate(&self) -> &GateState {
        self.gate.state()
    }

    pub(crate) fn window(&self) -> (usize, usize) {
        (self.window.under_way(), self.window.size())
    }

    pub(crate) fn in_flight(&self) -> (usize, usize, usize) {
        (self.entries.len(), self.barrier.len(), self.received_bytes + self.mapped_bytes)
    }

    /// What is worth a log line since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// What the entries settled since the last call came to.
    pub(crate) fn take_settled(&mut self) -> Book {
        std::mem::take(&mut self.settled)
    }

    fn next_deliver(&mut self, now: Now) -> Option<Step> {
        if self.barrier.ready_events() == 0 {
            return None;
        }
        let permit = self.gate.permit(now.instant, self.barrier.has_news());
        let events = match permit {
            Permit::Calls if self.window.has_room() && !self.gathers(now.instant) => {
                self.barrier.take(self.config.deliver_max_events, self.config.deliver_max_bytes)
            }
            Permit::Probe => {
                let chance = &mut self.chance;
                self.barrier.take_probe(self.gate.probe_events(), || chance.draw())
            }
            Permit::Look => self.barrier.take_news(),
            Permit::Calls | Permit::Nothing(_) => return None,
        };
        if events.is_empty() {
            return None;
        }
        let probe = permit != Permit::Calls;
        if probe {
            self.gate.probing(permit == Permit::Look, now.instant);
        }
        self.window.begin();
        self.gathers_until = None;
        let clock = self.gate.clock(now.instant);
        let mut request = DeliverRequest { destination: self.outlet.destination().to_string(), events: Vec::new() };
        request.events.reserve_exact(events.len());
        for key in &events {
            let Some(waiting) = self.barrier.get(*key) else { continue };
            if let Some(entry) = self.entries.get_mut(waiting.entry) {
                entry.trying_since.get_or_insert(clock);
            }
            request.events.push(waiting.event.clone());
        }
        let fullness = self.fullness_of(&request);
        self.fullness += fullness;
        Some(Step::Deliver(DeliverCall { events, probe, fullness }, request))
    }

    /// Lists an entry for the next record.
    fn note(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.dirty && !entry.listed) {
            entry.listed = true;
            self.unrecorded.entries.push(key);
        }
    }

    fn next_record(&mut self, now: Now) -> Option<Step> {
        if self.unrecorded.entries.is_empty() {
            // nothing new is known of these: they were not tried
            for person in std::mem::take(&mut self.unrecorded.persons) {
                self.barrier.release(person, now.instant);
            }
        }
        let waits = self.record_at.is_some_and(|at| now.instant < at);
        if self.recording || waits || self.unrecorded.entries.is_empty() {
            return None;
        }
        self.recording = true;
        let call = std::mem::take(&mut self.unrecorded);
        let clock = self.gate.clock(now.instant);
        let mut records = Vec::with_capacity(call.entries.len());
        for key in &call.entries {
            let Some(entry) = self.entries.get_mut(*key) else { continue };
            (entry.dirty, entry.listed) = (false, false);
            let progress = entry.recorded(clock);
            let settled = entry.settled();
            if settled && let Some(traced) = &entry.traced {
                entry.settling = spans::settle(traced, &progress);
            }
            records.push(Record { sequence: entry.sequence, progress, settled });
        }
        Some(Step::Record(call, records))
    }

    /// A record is stored: its persons are free, its settled entries are forgotten.
    pub(crate) fn recorded(&mut self, call: RecordCall, now: Now) {
        self.recording = false;
        (self.record_failures, self.record_at) = (0, None);
        for key in call.entries {
            // one that changed since is in the next record
            if self.entries.get(key).is_some_and(|entry| entry.settled() && !entry.dirty)
                && let Some(entry) = self.entries.remove(key)
            {
                self.order.remove(&entry.sequence);
                add(&mut self.settled, &moehog_journal::count(&entry.progress).0);
            }
        }
        for person in call.persons {
            self.barrier.release(person, now.instant);
        }
        self.mapped_bytes -= call.freed;
    }

    /// A record was not stored: it is made again, with what is known by then.
    pub(crate) fn record_failed(&mut self, call: RecordCall, now: Now) {
        self.recording = false;
        self.record_failures += 1;
        self.record_at = Some(now.instant + self.short.delay(self.record_failures, Duration::ZERO, self.chance.draw()));
        for key in call.entries {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.dirty = true;
            }
            self.note(key);
        }
        self.unrecorded.persons.extend(call.persons);
        self.unrecorded.freed += call.freed;
    }
}

fn add(total: &mut Book, entry: &Book) {
    total.settled += 1;
    total.mapped += entry.mapped;
    total.delivered += entry.delivered;
    total.delivered_degraded += entry.delivered_degraded;
    total.filtered += entry.filtered;
    total.duplicate += entry.duplicate;
    total.dead += entry.dead;
}

#[cfg(test)]
mod tests;
