//! Whether a lane may send: open, held by its destination, or with an open circuit.
//!
//! A hold (wrong key, quota) and a circuit (successive calls without one event taken) let single events through, slowly,
//! to see whether the destination works. Both stop the lane's trying clock, which the horizon is measured by; a circuit only where
//! it is the destination that fails, and not an event or two.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Config, backoff::Backoff};

/// What a lane's calls find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    /// Events flow.
    Open,
    /// The destination refuses everything until a person acts; single events probe it.
    Held {
        /// What delivery says is wrong, and the remedy.
        reason: String,
    },
    /// Successive calls ended without one event taken; single events probe the destination.
    CircuitOpen {
        /// How the last call ended.
        reason: String,
    },
}

/// Events of a probe of a destination that refuses everything, and the lone refusals of a call that count as three.
const REFUSED_PROBE: usize = 8;

/// What a lane may send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Calls,
    /// One event alone, while no other probe is under way.
    Probe,
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
    pub(crate) hold: Option<String>,
    /// Delivery had no room for any of it: this says nothing of the destination.
    pub(crate) overloaded: bool,
    /// Least time to wait.
    pub(crate) least: Duration,
    /// How it ended, for a person.
    pub(crate) reason: String,
}

/// A change of the gate that is worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Held(String),
    HoldEnded,
    CircuitOpened(String),
    CircuitClosed,
}

#[derive(Debug)]
pub(crate) struct Gate {
    state: GateState,
    /// Successive calls without one event taken.
    failures: u32,
    probes: u32,
    probe_at: Instant,
    probing: bool,
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
            probes: 0,
            probe_at: now,
            probing: false,
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

    pub(crate) fn permit(&self, now: Instant) -> Permit {
        match self.state {
            GateState::Open => Permit::Calls,
            _ if self.probing => Permit::Nothing(None),
            _ if now >= self.probe_at => Permit::Probe,
            _ => Permit::Nothing(Some(self.probe_at)),
        }
    }

    /// Events of a probe. Where everything is refused they are several: all of one may be bad events of a stranger. They are
    /// as many as delivery tries alone before it gives up.
    pub(crate) fn probe_events(&self) -> usize {
        if self.refuses_everything { REFUSED_PROBE } else { 1 }
    }

    /// A probe begins.
    pub(crate) fn probing(&mut self) {
        self.probing = true;
    }

    /// Takes note of how a call ended.
    pub(crate) fn ended(&mut self, call: &Ended, now: Instant, jitter: f64) -> Option<Change> {
        if call.probe {
            self.probing = false;
        }
        if let Some(reason) = &call.hold {
            self.refuses_everything = false;
            return self.held(call, reason, now, jitter);
        }
        if call.taken > 0 {
            self.failures = 0;
            // while held only a probe is proof: a call that began before the hold says nothing of now
            return match self.state {
                GateState::CircuitOpen { .. } => Some(self.open(now, Change::CircuitClosed)),
                GateState::Held { .. } if call.probe => Some(self.open(now, Change::HoldEnded)),
                _ => None,
            };
        }
        if call.probe {
            self.probe_later(call.least, now, jitter);
        }
        let refuses_everything = call.refused > 0 && call.refuses_everything;
        if refuses_everything && matches!(self.state, GateState::CircuitOpen { .. }) {
            return self.held_for_all(call, now, jitter);
        }
        if matches!(self.state, GateState::CircuitOpen { .. }) && !call.overloaded && !call.says_nothing {
            self.run_clock(call.is_by_event, now);
        }
        // of a few persons' refused events nobody can tell whose fault it is
        let is_undecided = call.refused > 0 && !call.refuses_everything;
        if call.overloaded || call.says_nothing || is_undecided || !self.is_open() {
            return None;
        }
        self.failures += if call.refused >= REFUSED_PROBE { 3 } else { 1 };
        if self.failures < self.circuit_after {
            return None;
        }
        if refuses_everything {
            return self.held_for_all(call, now, jitter);
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
        let reason = format!(
            "refuses_everything: the events of different persons are refused and none is taken, so the fault is not theirs; the \
                 last answer was {}; look at PostHog and at what stands before it (proxy, firewall)",
            call.reason
        );
        self.held(call, &reason, now, jitter)
    }

    fn held(&mut self, call: &Ended, reason: &str, now: Instant, jitter: f64) -> Option<Change> {
        let news = !matches!(&self.state, GateState::Held { reason: known } if known == reason);
        let began = !matches!(self.state, GateState::Held { .. });
        self.state = GateState::Held { reason: reason.to_string() };
        self.run_clock(false, now);
        if began {
            self.probes = 0;
        }
        if began || call.probe {
            self.probe_later(call.least, now, jitter);
        }
        news.then(|| Change::Held(reason.to_string()))
    }

    fn open(&mut self, now: Instant, change: Change) -> Change {
        (self.state, self.refuses_everything) = (GateState::Open, false);
        self.failures = 0;
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failed() -> Ended {
        Ended { reason: "status 503".to_string(), ..Ended::default() }
    }

    fn held(probe: bool) -> Ended {
        Ended { probe, hold: Some("wrong key".to_string()), ..Ended::default() }
    }

    #[test]
    fn the_fifth_successive_call_without_a_final_event_opens_the_circuit() {
        let now = Instant::now();
        let mut gate = Gate::new(&Config::default(), now);
        for _ in 0..4 {
            assert_eq!(gate.ended(&failed(), now, 1.0), None);
        }
        assert_eq!(gate.ended(&Ended { taken: 1, ..failed() }, now, 1.0), None);
        for _ in 0..4 {
            assert_eq!(gate.ended(&failed(), now, 1.0), None);
        }
        assert_eq!(gate.ended(&Ended { overloaded: true, ..failed() }, now, 1.0), None);
        assert_eq!(gate.permit(now), Permit::Calls);
        assert!(matches!(gate.ended(&failed(), now, 1.0), Some(Change::CircuitOpened(_))));
        assert_eq!(gate.permit(now), Permit::Nothing(Some(now + SECOND / 4)));
        assert_eq!(gate.permit(now + SECOND), Permit::Probe);
        gate.probing();
        assert_eq!(gate.permit(now + SECOND), Permit::Nothing(None));
        let proof = Ended { probe: true, taken: 1, ..failed() };
        assert_eq!(gate.ended(&proof, now + SECOND, 1.0), Some(Change::CircuitClosed));
        assert_eq!(gate.permit(now + SECOND), Permit::Calls);
    }

    #[test]
    fn a_hold_is_told_once_and_only_a_probe_ends_it() {
        let now = Instant::now();
        let mut gate = Gate::new(&Config::default(), now);
        assert_eq!(gate.ended(&held(false), now, 1.0), Some(Change::Held("wrong key".to_string())));
        assert_eq!(gate.ended(&held(false), now, 1.0), None);
        assert_eq!(gate.ended(&Ended { taken: 9, ..Ended::default() }, now, 1.0), None);
        assert!(!gate.is_open());
        gate.probing();
        assert_eq!(gate.ended(&held(true), now, 1.0), None);
        assert_eq!(
            gate.permit(now + 3 * SECOND),
            Permit::Nothing(Some(now + 4 * SECOND)),
            "the second probe waits longer"
        );
        gate.probing();
        let proof = Ended { probe: true, taken: 1, ..Ended::default() };
        assert_eq!(gate.ended(&proof, now, 1.0), Some(Change::HoldEnded));
    }

    #[test]
    fn what_refuses_everything_is_held_and_a_few_persons_refused_events_hold_nothing() {
        let now = Instant::now();
        let mut gate = Gate::new(&Config::default(), now);
        let refused = |refused, refuses_everything| Ended { refused, refuses_everything, ..failed() };
        for _ in 0..20 {
            assert_eq!(gate.ended(&refused(2, false), now, 1.0), None);
        }
        assert!(gate.is_open() && gate.probe_events() == 1);
        assert_eq!(gate.ended(&refused(8, true), now, 1.0), None);
        let change = gate.ended(&refused(8, true), now, 1.0);
        assert!(
            matches!(&change, Some(Change::Held(reason)) if reason.starts_with("refuses_everything: ")),
            "{change:?}"
        );
        assert_eq!(gate.permit(now + 2 * SECOND), Permit::Probe);
        assert_eq!(gate.probe_events(), 8);
        gate.probing();
        let proof = Ended { probe: true, taken: 1, refused: 7, ..Ended::default() };
        assert_eq!(gate.ended(&proof, now, 1.0), Some(Change::HoldEnded));
        assert_eq!(gate.probe_events(), 1);
    }

    #[test]
    fn an_open_circuit_becomes_a_hold_where_everything_is_refused() {
        let now = Instant::now();
        let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
        gate.ended(&failed(), now, 1.0);
        gate.probing();
        let refused = Ended { probe: true, refused: 1, refuses_everything: true, ..failed() };
        assert!(matches!(gate.ended(&refused, now, 1.0), Some(Change::Held(_))));
    }

    #[test]
    fn retry_after_is_a_minimum_for_the_next_probe() {
        let now = Instant::now();
        let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
        gate.ended(&Ended { least: 60 * SECOND, ..failed() }, now, 0.0);
        assert_eq!(gate.permit(now + 59 * SECOND), Permit::Nothing(Some(now + 60 * SECOND)));
    }

    #[test]
    fn the_trying_clock_stands_while_held_or_broken() {
        let now = Instant::now();
        let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
        gate.ended(&held(false), now + 5 * SECOND, 1.0);
        assert_eq!(gate.clock(now + 1000 * SECOND), 5 * SECOND);
        gate.ended(&Ended { probe: true, taken: 1, ..Ended::default() }, now + 1000 * SECOND, 1.0);
        gate.ended(&failed(), now + 1002 * SECOND, 1.0);
        assert_eq!(gate.clock(now + 5000 * SECOND), 7 * SECOND);
    }

    #[test]
    fn the_clock_runs_while_a_circuit_is_open_for_what_may_be_an_events_doing() {
        let now = Instant::now();
        let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
        let lone = |probe| Ended { probe, is_by_event: true, ..failed() };
        assert!(matches!(gate.ended(&lone(false), now, 1.0), Some(Change::CircuitOpened(_))));
        assert_eq!(gate.clock(now + 10 * SECOND), 10 * SECOND);
        // then the events of others fail too, and then not
        gate.ended(&Ended { probe: true, ..failed() }, now + 10 * SECOND, 1.0);
        assert_eq!(gate.clock(now + 90 * SECOND), 10 * SECOND);
        gate.ended(&lone(true), now + 90 * SECOND, 1.0);
        assert_eq!(gate.clock(now + 91 * SECOND), 11 * SECOND);
    }

    proptest! {
        #[test]
        fn the_clock_never_runs_backwards_nor_faster_than_time_and_a_probe_always_comes(
            calls in proptest::collection::vec((0..6_u8, 0..4_u64), 1..60),
        ) {
            let config = Config::default();
            let mut now = Instant::now();
            let mut gate = Gate::new(&config, now);
            let mut clock = gate.clock(now);
            for (kind, seconds) in calls {
                let later = now + Duration::from_secs(seconds);
                let next = gate.clock(later);
                prop_assert!(next >= clock && next - clock <= later - now);
                (now, clock) = (later, next);
                let probe = gate.permit(now) == Permit::Probe;
                if probe {
                    gate.probing();
                }
                let call = match kind {
                    0 => Ended { taken: 1, ..Ended::default() },
                    1 => held(false),
                    2 => Ended { overloaded: true, ..failed() },
                    3 => Ended { is_by_event: true, ..failed() },
                    _ => failed(),
                };
                gate.ended(&Ended { probe, ..call }, now, 0.5);
                match gate.permit(now) {
                    Permit::Calls | Permit::Probe => {}
                    Permit::Nothing(at) => {
                        let at = at.expect("nothing is under way, so a probe must have its time");
                        prop_assert!(at <= now + config.hold_probe_max);
                        prop_assert_eq!(gate.permit(at), Permit::Probe);
                    }
                }
            }
        }
    }
}
