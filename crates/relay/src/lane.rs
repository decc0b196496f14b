//! One lane's decisions: what to read, map, send and record next. It does none of it.
//!
//! [`Lane::next`] gives the steps to take now; what comes of a step is told to the lane, and may make new steps ready.
//! In memory are the entries within the lane's share of bytes and nothing else: a lane that is held, or full, stops
//! reading, and what waits behind stays in the journal.
//!
//! The way of an entry, and who has it; an arrow to the left is a call that failed:
//!
//! ```text
//!  journal --Read--> queue --Transform--> order --> barrier <==Deliver==> verdicts
//!  (reader)          (poison)  <--died--   |        (one call a person)      |
//!                                          v                                 v
//!                                        outlet <==Route==> other lanes    recorder --Record--> journal
//! ```
//!
//! An entry leaves `order` in journal order, once it is mapped; a person leaves the barrier's call once what became of it is
//! recorded. The budget says how much of that may be in memory, the gate whether the destination is sent to. What waits for
//! evidence and fills the memory steps aside, back into the journal, and is read again later.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use moehog_journal::{ReadLimit, Record};
use moehog_proto::{Sequence, delivery::DeliverRequest, transformer::TransformRequest};
use slab::Slab;
use tokio::time::Instant;

use crate::{
    Config,
    backoff::{Backoff, Chance},
    barrier::Barrier,
    ceiling::Ceiling,
    evidence::{self, Evidence},
    gate::{Change, Gate, GateState, Permit},
    limits::Limits,
    poison::{Taken, TransformQueue},
    progress::Carried,
    route::Parcel,
    slab::Key,
};

mod aside;
mod budget;
mod fate;
mod intake;
mod load;
mod outlet;
mod passing;
mod reader;
mod recorder;
mod reopened;
mod sending;
mod verdicts;
mod waits;

use aside::Aside;
use budget::Budget;
#[cfg(test)]
pub(crate) use load::CONCURRENCY;
use outlet::Outlet;
use passing::Passings;
use reader::Reader;
use recorder::Recorder;
use reopened::Reopened;
use sending::Sending;
pub(crate) use {fate::DeliverEnd, outlet::RouteCall, passing::Passing, recorder::RecordCall, sending::DeliverCall};

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
    /// Read entries from the journal, none from `until` on; tell [`Lane::read`].
    Read { from: Sequence, until: Sequence, limit: ReadLimit },
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

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    config: Config,
    evidence: Arc<Evidence>,
    entries: Slab<Carried>,
    /// Entries whose events have not entered the barrier.
    order: BTreeMap<Sequence, Key>,
    reader: Reader,
    aside: Option<Aside>,
    reopened: Reopened,
    /// Nothing steps aside before.
    steps_aside_from: Option<Instant>,
    budget: Budget,
    queue: TransformQueue,
    barrier: Barrier,
    gate: Gate,
    sending: Sending,
    outlet: Outlet,
    recorder: Recorder,
    pace: Pace,
    chance: Chance,
    stopping: bool,
    changes: Vec<Change>,
    passings: Passings,
}

/// How long an event waits for its next try.
#[derive(Debug)]
struct Pace {
    retry: Backoff,
    /// For what was refused alone.
    suspects: Backoff,
    /// For waits that are nobody's fault: delivery has no room or is not there.
    short: Backoff,
    /// Successive calls that delivery had no room for.
    overloads: u32,
}

impl Lane {
    pub(crate) fn new(
        destination: &str,
        config: &Config,
        (limits, evidence, ceiling): (Limits, Arc<Evidence>, Arc<Ceiling>),
        seed: u64,
        now: Instant,
    ) -> Self {
        let short = Backoff::new(config.retry_first / 5, config.circuit_probe_max);
        let suspects = Backoff::new(config.retry_first, evidence::RETRY_MAX.min(config.retry_max));
        let retry = Backoff::new(config.retry_first, config.retry_max);
        Self {
            evidence,
            entries: Slab::new(),
            order: BTreeMap::new(),
            reader: Reader::new(short),
            aside: None,
            reopened: Reopened::default(),
            steps_aside_from: None,
            queue: TransformQueue::new(config),
            barrier: Barrier::new(),
            gate: Gate::new(config, now),
            sending: Sending::new(limits.deliver_calls_of_all, ceiling),
            outlet: Outlet::new(destination, short),
            recorder: Recorder::new(short),
            pace: Pace { retry, suspects, short, overloads: 0 },
            chance: Chance::new(seed),
            stopping: false,
            budget: Budget::new(limits),
            changes: Vec::new(),
            passings: Passings::default(),
            config: config.clone(),
        }
    }

    /// The next step, until none is left to take now.
    pub(crate) fn next(&mut self, now: Now) -> Option<Step> {
        self.barrier.wake(now.instant);
        self.give_back(now.instant);
        self.step_aside(now.instant);
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
        // others end calls of theirs, and nobody tells this lane
        let uses = self.uses();
        let contended = self.budget.limits.contended && (uses.wants_bytes || uses.wants_calls);
        let [steps_aside_from, stays_until] = self.steps_aside_at();
        let room = contended.then_some(now + CONTENDED_POLL);
        let wakes = [
            self.recorder.wake_at(),
            self.barrier.due(),
            probe,
            self.outlet.wake_at(),
            self.queue.due(),
            self.reader.wake_at(),
            room,
            self.budget.look_at(now).map(|at| at.max(now + CONTENDED_POLL)),
            self.sending.gathers_until(),
            self.sending.paced_until(now),
            steps_aside_from,
            stays_until,
        ];
        let relevant = if self.stopping { 1 } else { wakes.len() };
        wakes.into_iter().take(relevant).flatten().filter(|at| *at > now).min()
    }

    /// No more is begun; what is under way is recorded.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// It has read all there is: more comes when the journal grows.
    pub(crate) fn waits_for_growth(&self) -> bool {
        self.reader.waits_for_growth() && !self.stopping && self.queue.calls() == 0
    }

    /// The journal has grown.
    pub(crate) fn grown(&mut self) {
        self.reader.grown();
    }

    pub(crate) fn gate(&self) -> &GateState {
        self.gate.state()
    }

    pub(crate) fn in_flight(&self) -> (usize, usize, usize) {
        (self.entries.len(), self.barrier.len(), self.budget.held())
    }

    /// What is worth a log line since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}

#[cfg(test)]
mod tests;
