//! What is told of events while somebody watches: those that became final, and those that wait from now on.

use moehog_proto::{
    Reason, Sequence,
    event::Event,
    journal::{EventOutcome, EventState, Progress},
};
use uuid::Uuid;

use super::Lane;
use crate::{gate::GateState, progress::is_final};

/// Most characters of a name and of an id that are told.
const MAX_CHARACTERS: usize = 200;

/// An event that became final, or waits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Passing {
    pub(crate) sequence: Sequence,
    /// Position and ordinal.
    pub(crate) place: (u32, u32),
    pub(crate) uuid: Option<Uuid>,
    pub(crate) event: String,
    pub(crate) person: String,
    pub(crate) state: EventState,
    pub(crate) reason: Reason,
}

impl Passing {
    pub(super) fn of(sequence: Sequence, event: &Event, state: EventState, reason: Reason) -> Self {
        Self {
            sequence,
            place: (event.position, event.ordinal),
            uuid: Uuid::from_slice(&event.uuid).ok(),
            event: event.name.chars().take(MAX_CHARACTERS).collect(),
            person: event.distinct_id.chars().take(MAX_CHARACTERS).collect(),
            state,
            reason,
        }
    }

    fn of_outcome(sequence: Sequence, outcome: &EventOutcome) -> Self {
        Self {
            sequence,
            place: (outcome.position, outcome.ordinal),
            uuid: Uuid::from_slice(&outcome.uuid).ok(),
            event: String::new(),
            person: String::new(),
            state: outcome.state(),
            reason: outcome.why(),
        }
    }
}

/// See the module. None while nobody watches.
#[derive(Debug, Default)]
pub(super) struct Passings(Option<Vec<Passing>>);

impl Passings {
    /// Whether what passes is to be told.
    pub(super) fn are_watched(&self) -> bool {
        self.0.is_some()
    }

    /// Tells what `make` makes, where somebody watches.
    pub(super) fn tell(&mut self, make: impl FnOnce() -> Passing) {
        if let Some(passings) = &mut self.0 {
            passings.push(make());
        }
    }

    /// The places of events that are final already, where somebody watches.
    pub(super) fn known(&self, progress: &Progress) -> Vec<(u32, u32)> {
        if !self.are_watched() {
            return Vec::new();
        }
        let known = progress.events.iter().filter(|event| is_final(event));
        known.map(|event| (event.position, event.ordinal)).collect()
    }

    /// Tells which events of an entry are final now and were not, as `known` says in their order.
    pub(super) fn tell_final(&mut self, sequence: Sequence, progress: &Progress, known: &[(u32, u32)]) {
        let Some(passings) = &mut self.0 else { return };
        let is_new =
            |event: &&EventOutcome| is_final(event) && known.binary_search(&(event.position, event.ordinal)).is_err();
        passings.extend(progress.events.iter().filter(is_new).map(|event| Passing::of_outcome(sequence, event)));
    }
}

impl Lane {
    /// Somebody watches from now on, or nobody.
    pub(crate) fn set_watched(&mut self, is_watched: bool) {
        if is_watched != self.passings.are_watched() {
            self.passings = Passings(is_watched.then(Vec::new));
        }
    }

    /// What passed since the last call, while somebody watches.
    pub(crate) fn take_passed(&mut self) -> Vec<Passing> {
        self.passings.0.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Tells that an event which enters now waits, where its destination is held or takes nothing.
    pub(super) fn tell_wait(&mut self, sequence: Sequence, event: &Event) {
        let (GateState::Held { reason } | GateState::CircuitOpen { reason }) = self.gate.state() else { return };
        self.passings.tell(|| Passing::of(sequence, event, EventState::Pending, reason.clone()));
    }
}
