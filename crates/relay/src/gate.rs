//! Whether a lane may send: open, held by its destination, or with an open circuit.
//!
//! A hold (wrong key, quota) and a circuit (successive calls without one event taken) let single events through, slowly,
//! to see whether the destination works. Both stop the lane's trying clock, which the horizon is measured by; a circuit only where
//! it is the destination that fails, and not an event or two.
//!
//! ```text
//!              5 calls, none taken                    a probe is taken, or refused by itself
//!      Open ------------------------> CircuitOpen -------------------------> Open
//!        |                                |
//!        | `hold`: key, quota, a page     | `hold`, or all are refused
//!        +------------> Held <------------+
//!        | all are        |
//!        | refused        | a probe is taken; where the destination had given a reason of its own,
//!        +--------------->| one that is refused or fails by itself does, too
//!                         +--------------------------------------------------> Open
//! ```
//!
//! The clock runs in `Open`, in `CircuitOpen` while what fails may be an event or two, and never in `Held`.

use std::time::Duration;

use moehog_proto::{Blame, Reason};
use tokio::time::Instant;

use crate::{Config, backoff::Backoff, barrier::TRIED_ALONE};

/// What a lane's calls find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    /// Events flow.
    Open,
    /// The destination refuses everything until a person acts; single events probe it.
    Held {
        /// What delivery says is wrong, and the remedy.
        reason: Reason,
    },
    /// Successive calls ended without one event taken; single events probe the destination.
    CircuitOpen {
        /// How the last call ended.
        reason: Reason,
    },
}

/// Lone refusals with none taken, from which on a lane is held that has the events of several persons refused.
const REFUSED_MOST: usize = 16;
/// The same within [`MIXED_FOR`] of a hold's end: of events of which one in ten is good, one is among so many.
const REFUSED_MOST_MIXED: usize = 32;
/// How long what waits counts as good and bad, after what was held for all was taken in part.
const MIXED_FOR: Duration = Duration::from_secs(60);
/// Events of a probe of a destination that refuses everything.
const REFUSED_PROBE: usize = TRIED_ALONE as usize;

/// What a lane may send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Calls,
    /// A few events, while no other probe is under way.
    Probe,
    /// The newest event alone: what came since a stranger's bad events were refused may be good.
    Look,
    /// Nothing before then; none where a probe is under way.
    Nothing(Option<Instant>),
}

/// How a Deliver call ended, as far as the gate cares.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    /// It was a probe.
    pub(crate) probe: bool,
    /// Events that were taken.
    pub(crate) taken: usize,
    /// Events that were refused alone.
    pub(crate) refused: usize,
    /// The events of several persons were refused since the destination, in any lane, took one.
    pub(crate) refuses_everything: bool,
    /// What failed may be the reason itself: an event that was tried alone, and not those of several persons.
    pub(crate) is_by_event: bool,
    /// Nothing was sent, or nothing came of it but what is final without the destination.
    pub(crate) says_nothing: bool,
    /// The destination refuses everything.
    pub(crate) hold: Option<Reason>,
    /// Delivery had no room for any of it: this says nothing of the destination.
    pub(crate) overloaded: bool,
    /// Least time to wait.
    pub(crate) least: Duration,
    /// How it ended, for a person.
    pub(crate) reason: Reason,
}

/// A change of the gate that is worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Held(Reason),
    HoldEnded,
    CircuitOpened(Reason),
    CircuitClosed,
}

#[derive(Debug, Clone)]
pub(crate) struct Gate {
    state: GateState,
    /// Successive calls without one event taken.
    failures: u32,
    /// Lone refusals since one was taken.
    refused: usize,
    mixed_until: Option<Instant>,
    probes: u32,
    probe_at: Instant,
    probing: bool,
    /// The probe under way is a look, between the others.
    looking: bool,
    look_at: Instant,
    look_each: Duration,
    /// It is held since it refuses everything.
    refuses_everything: bool,
    clock: Duration,
    /// Since when the clock runs; none while it stands.
    running_since: Option<Instant>,
    circuit_after: u32,
    circuit: Backoff,
    hold: Backoff,
}

impl Gate {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            state: GateState::Open,
            failures: 0,
            refused: 0,
            mixed_until: None,
            probes: 0,
            probe_at: now,
            probing: false,
            looking: false,
            look_at: now,
            look_each: config.hold_probe_first,
            refuses_everything: false,
            clock: Duration::ZERO,
            running_since: Some(now),
            circuit_after: config.circuit_after.max(1),
            circuit: Backoff::new(config.circuit_probe_first, config.circuit_probe_max),
            hold: Backoff::new(config.hold_probe_first, config.hold_probe_max),
        }
    }

    pub(crate) fn state(&self) -> &GateState {
        &self.state
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == GateState::Open
    }

    /// Successive calls that ended without one event taken.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The lane's trying clock: it stands during holds and open circuits.
    pub(crate) fn clock(&self, now: Instant) -> Duration {
        self.clock + self.running_since.map(|since| now.saturating_duration_since(since)).unwrap_or_default()
    }

    /// `is_news` says that an event waits which came last and was not tried.
    pub(crate) fn permit(&self, now: Instant, is_news: bool) -> Permit {
        match self.state {
            GateState::Open => Permit::Calls,
            _ if self.probing => Permit::Nothing(None),
            _ if now >= self.probe_at => Permit::Probe,
            _ if self.refuses_everything && is_news && now >= self.look_at => Permit::Look,
            _ if self.refuses_everything && is_news => Permit::Nothing(Some(self.probe_at.min(self.look_at))),
            _ => Permit::Nothing(Some(self.probe_at)),
        }
    }

    /// It is held since the events of several persons are refused and none is taken.
    pub(crate) fn refuses_everything(&self) -> bool {
        self.refuses_everything
    }

    /// Events of a probe. Where everything is refused they are several: all of one may be bad events of a stranger. They are
    /// as many as delivery tries alone before it gives up.
    pub(crate) fn probe_events(&self) -> usize {
        if self.refuses_everything { REFUSED_PROBE } else { 1 }
    }

    /// A probe begins; `looks` says that it is a look.
    pub(crate) fn probing(&mut self, looks: bool, now: Instant) {
        (self.probing, self.looking) = (true, looks);
        self.look_at = now + self.look_each;
    }

    /// Takes note of how a call ended.
    pub(crate) fn ended(&mut self, call: &Ended, now: Instant, jitter: f64) -> Option<Change> {
        let sets_time = call.probe && !self.looking;
        if call.probe {
            (self.probing, self.looking) = (false, false);
        }
        if let Some(reason) = &call.hold {
            self.refuses_everything = false;
            return self.held(call, reason, now, jitter);
        }
        if call.taken > 0 {
            (self.failures, self.refused) = (0, 0);
            // while held only a probe is proof: a call that began before the hold says nothing of now
            return match self.state {
                GateState::CircuitOpen { .. } => Some(self.open(now, Change::CircuitClosed)),
                GateState::Held { .. } if call.probe => Some(self.open(now, Change::HoldEnded)),
                _ => None,
            };
        }
        let refuses_everything = call.refused > 0 && call.refuses_everything;
        let judges = match self.state {
            GateState::Open => false,
            GateState::Held { .. } => !self.refuses_everything && (call.refused > 0 || call.is_by_event),
            GateState::CircuitOpen { .. } => call.refused > 0 && !refuses_everything,
        };
        if call.probe && judges {
            // it judges events again: what it said of itself, or did not say, is over
            let was_held = matches!(self.state, GateState::Held { .. });
            return Some(self.open(now, if was_held { Change::HoldEnded } else { Change::CircuitClosed }));
        }
        if sets_time {
            self.probe_later(call.least, now, jitter);
        }
        if refuses_everything && matches!(self.state, GateState::CircuitOpen { .. }) {
            return self.held_for_all(call, now, jitter);
        }
        if let GateState::CircuitOpen { reason } = &mut self.state
            && !call.overloaded
            && !call.says_nothing
        {
            // what it fails by now; a call of which nothing was tried does not know
            if call.reason != Reason::default() {
                reason.clone_from(&call.reason);
            }
            self.run_clock(call.is_by_event, now);
        }
        self.refused += call.refused;
        // of a few persons' refused events nobody can tell whose fault it is
        let is_undecided = call.refused > 0 && !call.refuses_everything;
        if call.overloaded || call.says_nothing || is_undecided || !self.is_open() {
            return None;
        }
        if refuses_everything {
            let is_mixed = self.mixed_until.is_some_and(|until| now < until);
            let most = if is_mixed { REFUSED_MOST_MIXED } else { REFUSED_MOST };
            return if self.refused < most { None } else { self.held_for_all(call, now, jitter) };
        }
        self.failures += 1;
        if self.failures < self.circuit_after {
            return None;
        }
        self.state = GateState::CircuitOpen { reason: call.reason.clone() };
        self.run_clock(call.is_by_event, now);
        self.probes = 0;
        self.probe_later(call.least, now, jitter);
        Some(Change::CircuitOpened(call.reason.clone()))
    }

    /// The destination refuses everything.
    fn held_for_all(&mut self, call: &Ended, now: Instant, jitter: f64) -> Option<Change> {
        self.refuses_everything = true;
        let message = format!(
            "the events of different persons are refused and none is taken, so the fault is not theirs; the last answer was {}",
            call.reason
        );
        let reason = Reason::new(Blame::Destination, "refuses_everything", message)
            .remedied("look at PostHog and at what stands before it (proxy, firewall)");
        self.held(call, &reason, now, jitter)
    }

    fn held(&mut self, call: &Ended, reason: &Reason, now: Instant, jitter: f64) -> Option<Change> {
        let news = !matches!(&self.state, GateState::Held { reason: known } if known == reason);
        let began = !matches!(self.state, GateState::Held { .. });
        self.state = GateState::Held { reason: reason.clone() };
        self.run_clock(false, now);
        if began {
            self.probes = 0;
        }
        if began || call.probe {
            self.probe_later(call.least, now, jitter);
        }
        news.then(|| Change::Held(reason.clone()))
    }

    fn open(&mut self, now: Instant, change: Change) -> Change {
        self.mixed_until = self.refuses_everything.then(|| now + MIXED_FOR);
        (self.state, self.refuses_everything) = (GateState::Open, false);
        (self.failures, self.refused) = (0, 0);
        self.running_since.get_or_insert(now);
        change
    }

    fn probe_later(&mut self, least: Duration, now: Instant, jitter: f64) {
        self.probes += 1;
        let backoff = if matches!(self.state, GateState::Held { .. }) { self.hold } else { self.circuit };
        self.probe_at = now + backoff.delay(self.probes, least, jitter);
    }

    fn run_clock(&mut self, runs: bool, now: Instant) {
        self.clock = self.clock(now);
        self.running_since = runs.then_some(now);
    }
}

#[cfg(test)]
mod tests;
