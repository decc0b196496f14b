//! Events that stepped aside: they are in the journal alone, and those of their persons that came later wait for them.

use std::collections::HashMap;

use moehog_proto::Sequence;

use super::{Barrier, NONE, Persons, State, Waiting};
use crate::{evidence::Refusal, slab::Key};

/// Most events of which is kept when they were refused.
const MOST_REFUSALS: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aside {
    persons: Persons,
    /// What stepped aside came before.
    end: Sequence,
    /// Those of them of whom some came back and stepped aside again: what comes back behind that waits for the next round.
    again: Persons,
    /// All of whom something stepped aside since the round began: of others nothing waits once it is over.
    since: Persons,
    /// When events of it were refused.
    refusals: HashMap<(Sequence, u32), Refusal>,
}

impl Aside {
    /// Whether the event waits for one that stepped aside. Where very many did, it may be taken for one of theirs.
    pub(super) fn blocks(&self, waiting: &Waiting) -> bool {
        let persons = if waiting.sequence < self.end { &self.again } else { &self.persons };
        persons.may_hold(waiting.person)
    }

    /// When the event that comes back was refused, as far as it is known.
    pub(super) fn refusal_of(&mut self, sequence: Sequence, index: u32) -> Option<Refusal> {
        self.refusals.remove(&(sequence, index))
    }

    /// All came back, or stepped aside again: it comes back from the first on.
    fn begin_round(&mut self) {
        self.persons = std::mem::take(&mut self.since);
        self.again.clear();
    }
}

impl Barrier {
    /// All events step aside: they are forgotten, and what comes of their persons from `end` on waits. `begins` says that
    /// what stepped aside before comes back from the first on.
    pub(crate) fn step_aside(&mut self, end: Sequence, begins: bool) {
        let mut aside = self.aside.take().unwrap_or_default();
        if begins {
            aside.begin_round();
        } else {
            aside.since.extend(self.lines.keys().copied());
            let is_back = |waiting: &Waiting| waiting.sequence < aside.end;
            let back = self.events.iter().filter(|(_, waiting)| is_back(waiting)).map(|(_, waiting)| waiting.person);
            aside.again.extend(back);
        }
        aside.end = end;
        aside.persons.extend(self.lines.keys().copied());
        let refused = self.events.iter().filter_map(|(_, waiting)| Some((waiting.place(), waiting.refusal()?)));
        aside.refusals.extend(refused.take(MOST_REFUSALS.saturating_sub(aside.refusals.len())));
        let hasher = self.hasher.clone();
        *self = Self { hasher, aside: Some(aside), ..Self::new() };
    }

    /// What stepped aside comes back from the first on: nothing of it is here.
    pub(crate) fn begin_round(&mut self) {
        if let Some(aside) = &mut self.aside {
            aside.begin_round();
        }
        self.unblock();
    }

    /// All that stepped aside is back: nobody waits for it any more.
    pub(crate) fn all_are_back(&mut self) {
        self.aside = None;
        self.unblock();
    }

    fn unblock(&mut self) {
        let blocked = self.lines.iter().filter(|(_, line)| line.state == State::Blocked);
        for person in blocked.map(|(person, _)| *person).collect::<Vec<_>>() {
            self.make_ready(person);
        }
    }

    /// Puts an event into the line of its person: behind all, but before those that wait for it where it stepped aside.
    /// Says whether there is one.
    pub(super) fn join_line(&mut self, person: u64, key: Key) -> bool {
        let Some(place) = self.events.get(key).map(Waiting::place) else { return false };
        let Some(line) = self.lines.get_mut(&person) else { return false };
        let is_before = |at: Key| self.events.get(at).is_some_and(|waiting| waiting.place() < place);
        let mut before = Some(line.last).filter(|last| line.first != NONE && is_before(*last));
        if before.is_none() {
            let mut at = line.first;
            while is_before(at) {
                before = Some(at);
                at = self.events.get(at).map_or(NONE, |waiting| waiting.next);
            }
        }
        let next = match before.and_then(|before| self.events.get_mut(before)) {
            Some(before) => std::mem::replace(&mut before.next, key),
            None => std::mem::replace(&mut line.first, key),
        };
        if next == NONE {
            line.last = key;
        } else if let Some(waiting) = self.events.get_mut(key) {
            waiting.next = next;
        }
        line.length += 1;
        match line.state {
            State::Ready => self.ready_events += 1,
            State::Blocked if line.first == key => self.make_ready(person),
            _ => {}
        }
        true
    }
}
