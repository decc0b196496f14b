//! The lane's Deliver calls: how many are under way, how full they are, and which events the next one takes.

use std::{sync::Arc, time::Duration};

use moehog_proto::delivery::DeliverRequest;
use tokio::time::Instant;

use super::{DeliverEnd, Lane, Now, Step, load::Told};
use crate::{
    barrier::Waiting,
    ceiling::Ceiling,
    gate::Permit,
    limits::Limits,
    mappings::{Decision, decide},
    progress::Carried,
    slab::Key,
    window::{CallEnd, Window},
};

/// How long a call that is not full waits for more at most, while a backlog is read and mapped.
pub(super) const GATHER: Duration = Duration::from_millis(100);

/// A Deliver call under way.
#[derive(Debug)]
pub(crate) struct DeliverCall {
    pub(crate) events: Vec<Key>,
    pub(crate) probe: bool,
    pub(crate) began: Instant,
    /// What the journal is to know before.
    pub(crate) decisions: Vec<Decision>,
    /// Thousandths of a full call that it is.
    fullness: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sending {
    window: Window,
    load: Told,
    /// Of the calls under way, in thousandths of a full call.
    fullness: usize,
    /// Until then a call that is not full waits for more.
    gathers_until: Option<Instant>,
    /// When one that was not full began last.
    small_began: Option<Instant>,
    ceiling: Arc<Ceiling>,
    /// Until then the destination was sent as much as it may be.
    paced_until: Option<Instant>,
}

impl Sending {
    pub(super) fn new(most_calls: usize, ceiling: Arc<Ceiling>) -> Self {
        Self {
            window: Window::new(most_calls),
            load: Told::new(),
            fullness: 0,
            gathers_until: None,
            small_began: None,
            ceiling,
            paced_until: None,
        }
    }

    pub(super) fn set_most(&mut self, limits: &Limits) {
        self.window.set_most(limits.deliver_calls, limits.deliver_calls_of_all);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.window.under_way() == 0
    }

    /// More calls would be under way, were they not divided among lanes.
    pub(super) fn is_cut_short(&self) -> bool {
        self.window.is_cut_short()
    }

    /// Calls under way, and requests that one delivery makes at a time at most.
    pub(super) fn uses(&self) -> (usize, usize) {
        (self.window.under_way(), self.load.concurrency())
    }

    pub(super) fn gathers_until(&self) -> Option<Instant> {
        self.gathers_until
    }

    /// Until when the destination was sent as much as it may be, if that is so.
    pub(super) fn paced_until(&self, now: Instant) -> Option<Instant> {
        self.paced_until.filter(|at| *at > now)
    }

    /// A call was answered, or was not.
    pub(super) fn hear(&mut self, call: &DeliverCall, end: &DeliverEnd) {
        self.fullness -= call.fullness;
        self.load.hear(end);
    }

    /// What was heard ends the call.
    pub(super) fn ended(&mut self, overloaded: bool, worked: bool, full_waits: bool) {
        self.window.end(CallEnd { overloaded, worked, full_waits, waited: self.load.waited() });
    }
}

impl Lane {
    pub(super) fn next_deliver(&mut self, now: Now) -> Option<Step> {
        if self.barrier.ready_events() == 0 {
            return None;
        }
        let permit = self.gate.permit(now.instant, self.barrier.has_news());
        let is_full = self.full_waits();
        let (most, bytes) = (self.config.deliver_max_events, self.config.deliver_max_bytes);
        // a few events that try the destination are not kept back
        let most = match self.sending.ceiling.room((self.barrier.ready_events(), most), now.instant) {
            Ok(most) => most,
            Err(at) if permit == Permit::Calls => {
                self.sending.paced_until = Some(at);
                return None;
            }
            Err(_) => most,
        };
        let events = match permit {
            Permit::Calls => match (self.sending.window.has_room(), self.gathers(is_full, now.instant)) {
                (true, false) => self.barrier.take(most, bytes),
                (true, true) => self.barrier.take_tried(most, bytes),
                (false, false) if self.is_calm(is_full) => self.barrier.take_untried(most, bytes),
                (false, _) => return None,
            },
            Permit::Probe => {
                let chance = &mut self.chance;
                self.barrier.take_probe(self.gate.probe_events(), || chance.draw())
            }
            Permit::Look => self.barrier.take_news(),
            Permit::Nothing(_) => return None,
        };
        if events.is_empty() {
            return None;
        }
        let probe = permit != Permit::Calls;
        if probe {
            self.gate.probing(permit == Permit::Look, now.instant);
        }
        self.sending.window.begin();
        self.sending.ceiling.sent(events.len(), now.instant);
        if !probe && !is_full && events.first().and_then(|key| self.barrier.get(*key)).is_some_and(Waiting::is_untried)
        {
            self.sending.small_began = Some(now.instant);
        }
        let clock = self.gate.clock(now.instant);
        let mut request = DeliverRequest { destination: self.outlet.destination().to_string(), events: Vec::new() };
        request.events.reserve_exact(events.len());
        let mut decisions = Vec::new();
        for key in &events {
            let Some(waiting) = self.barrier.get(*key) else { continue };
            if let Some(entry) = self.entries.get_mut(waiting.entry) {
                entry.trying_since.get_or_insert(clock);
                if let Some(mapping) = entry.undecided() {
                    decide(&mut decisions, mapping, entry.sequence);
                }
            }
            request.events.push(waiting.event.clone());
        }
        let fullness = self.fullness_of(&request);
        self.sending.fullness += fullness;
        Some(Step::Deliver(DeliverCall { events, probe, began: now.instant, decisions, fullness }, request))
    }

    /// The journal noted the decisions of the call before it was made. Until this is known, each call notes them for itself:
    /// one does not wait for what another is about to note.
    pub(crate) fn was_noted(&mut self, call: &DeliverCall) {
        if call.decisions.is_empty() {
            return;
        }
        for key in &call.events {
            let entry = self.barrier.get(*key).and_then(|waiting| self.entries.get_mut(waiting.entry));
            entry.into_iter().for_each(Carried::was_noted);
        }
    }

    /// Deliver calls under way, and those that may be.
    pub(crate) fn window(&self) -> (usize, usize) {
        (self.sending.window.under_way(), self.sending.window.size())
    }

    /// As many events wait as a call holds, or as many bytes.
    pub(super) fn full_waits(&self) -> bool {
        let (ready, all) = (self.barrier.ready_events(), self.barrier.len().max(1));
        let bytes = (self.budget.mapped as u128 * ready as u128 / all as u128) as usize;
        ready >= self.config.deliver_max_events || ready > 0 && bytes >= self.config.deliver_max_bytes
    }

    /// Whether what was not tried goes although as many calls are under way as the window holds: a lane that keeps up fills none, and those
    /// that hang, however many, stop no other. The pause keeps these few.
    fn is_calm(&self, is_full: bool) -> bool {
        let is_paced = !self.config.deliver_pause.is_zero() && self.pace.overloads == 0;
        is_paced && self.reader.keeps_up && !is_full && !self.sending.window.is_at_limit()
    }

    /// Whether what was not tried waits for more, since a call of it would not be full. It waits for the pause after the last such call;
    /// and, while calls are under way, for what is being read or mapped of a backlog: where many end at once, others in part would
    /// take the places of full ones. Nothing waits that somebody waits for.
    fn gathers(&mut self, is_full: bool, now: Instant) -> bool {
        let until = if is_full || self.barrier.is_awaited() { None } else { self.gathered_at(now) };
        self.sending.gathers_until = until.filter(|at| now < *at);
        self.sending.gathers_until.is_some()
    }

    fn gathered_at(&self, now: Instant) -> Option<Instant> {
        let paused = self.sending.small_began.map(|at| at + self.config.deliver_pause);
        let more_comes = !self.reader.keeps_up && (self.reader.under_way || self.queue.calls() > 0);
        let mapped = (more_comes && self.sending.window.under_way() > 0)
            .then(|| self.sending.gathers_until.unwrap_or(now + GATHER));
        paused.max(mapped)
    }

    /// How much of a full call it is, in thousandths: by events or by bytes, whichever fills it sooner.
    fn fullness_of(&self, request: &DeliverRequest) -> usize {
        let bytes: usize = request.events.iter().map(|event| event.json.len()).sum();
        let by_events = 1000 * request.events.len() / self.config.deliver_max_events.max(1);
        by_events.max(1000 * bytes / self.config.deliver_max_bytes.max(1)).min(1000)
    }

    /// Full Deliver calls that those under way would be.
    pub(crate) fn full_calls(&self) -> f64 {
        self.sending.fullness as f64 / 1000.0
    }

    /// More deliveries would do more of this lane's work: its destination takes what is sent, as many calls are under way
    /// as deliveries work on, or as memory holds, and more waits.
    pub(crate) fn wants_deliveries(&self, now: Instant) -> bool {
        let calls_are_full = self.sending.window.is_exhausted() && self.full_waits();
        let memory_is_full =
            self.budget.wants_more && self.barrier.ready_events() == 0 && self.sending.window.under_way() > 0;
        let is_held_back = self.sending.load.is_held_back() || self.sending.paced_until(now).is_some();
        self.gate.is_open() && !is_held_back && (calls_are_full || memory_is_full)
    }

    /// When the last entry that was read was received, milliseconds since the epoch.
    pub(crate) fn read_until_ms(&self) -> i64 {
        self.reader.cursor_at_ms
    }
}
