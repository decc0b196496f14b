//! Where the events of a lane go: to its destination, or each to the lane of the one that its mapping rule names.

use std::{collections::VecDeque, time::Duration};

use moehog_proto::{
    Blame, Reason, Sequence,
    event::Event,
    journal::{EventPlace, EventState},
};
use tokio::time::Instant;

use super::{Lane, Now, Step, fate::GIVEN_BACK, passing::Passing};
use crate::{
    backoff::{Backoff, Retry},
    barrier::Tried,
    mappings::{Decision, decide},
    progress::{Carried, event_cost},
    route::{self, Handed, Parcel},
    slab::Key,
};

/// Most parcels that are handed on at once.
const MAX_PARCELS: usize = 256;

/// Code of an event that was refused alone.
const REFUSED: &str = "refused";

/// See the module.
#[derive(Debug)]
pub(super) struct Outlet {
    destination: String,
    /// Where its events may go, the default first; none where they all go to the destination.
    names: Option<Vec<String>>,
    waiting: VecDeque<Waiting>,
    under_way: bool,
    retry: Retry,
}

/// A parcel, the entry it is of, and what its events cost in memory.
#[derive(Debug)]
pub(crate) struct Waiting {
    entry: Key,
    sequence: Sequence,
    destination: String,
    /// Index and place of each event.
    events: Vec<(u32, EventPlace)>,
    bytes: usize,
}

/// Parcels under way.
#[derive(Debug)]
pub(crate) struct RouteCall {
    parcels: Vec<Waiting>,
    /// What the journal is to know before.
    pub(crate) decisions: Vec<Decision>,
}

/// What becomes of an event that is mapped.
enum Way {
    Deliver,
    HandOn(String),
    /// Its rule names a destination that its webhook cannot go to.
    Nowhere(Reason),
}

impl Outlet {
    pub(super) fn new(destination: &str, backoff: Backoff) -> Self {
        Self {
            destination: destination.to_string(),
            names: route::names(destination),
            waiting: VecDeque::new(),
            under_way: false,
            retry: Retry::new(backoff),
        }
    }

    pub(super) fn destination(&self) -> &str {
        &self.destination
    }

    /// Nothing waits to be handed on or is.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.under_way
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.retry.at().filter(|_| !self.under_way && !self.waiting.is_empty())
    }

    /// Places in the entry of its events that are to be handed on.
    pub(super) fn of_entry(&self, entry: Key) -> impl Iterator<Item = u32> {
        let of_entry = self.waiting.iter().filter(move |waiting| waiting.entry == entry);
        of_entry.flat_map(|waiting| waiting.events.iter().map(|(index, _)| *index))
    }

    /// Entries with events that are to be handed on.
    pub(super) fn entries(&self) -> impl Iterator<Item = Key> {
        self.waiting.iter().map(|waiting| waiting.entry)
    }

    fn way(&self, entry: &Carried, event: &Event) -> Way {
        let named = event.destination.as_str();
        let allowed = match &self.names {
            None if named.is_empty() || named == self.destination || entry.routed => return Way::Deliver,
            None => None,
            Some(names) => names.iter().find(|name| named.is_empty() || *name == named),
        };
        match allowed {
            Some(name) => Way::HandOn(name.clone()),
            None => {
                let message = format!("a rule sends it to `{named}`, which is not in `routes` of its source");
                let why = Reason::new(Blame::Mapping, "rule_destination", message).about("destination").remedied(
                    "add it to sources.NAME.routes, or post to /v1/in/NAME if this came by a capture path, where the body's key \
                     picks the project",
                );
                Way::Nowhere(why)
            }
        }
    }

    fn push(
        &mut self,
        (entry, sequence): (Key, Sequence),
        destination: String,
        event: (u32, EventPlace),
        bytes: usize,
    ) {
        let mut of_entry = self.waiting.iter_mut().rev().take_while(|waiting| waiting.entry == entry);
        match of_entry.find(|waiting| waiting.destination == destination) {
            Some(waiting) => {
                waiting.events.push(event);
                waiting.bytes += bytes;
            }
            None => self.waiting.push_back(Waiting { entry, sequence, destination, events: vec![event], bytes }),
        }
    }
}

fn unreadable() -> Reason {
    let message = "its bytes in the journal are damaged, so that it cannot be handed on";
    Reason::new(Blame::Moehog, "webhook_unreadable", message)
}

impl Lane {
    /// Lets mapped events of an entry out: into the barrier, or on to other lanes.
    pub(super) fn let_out(&mut self, key: Key, sequence: Sequence, events: Vec<(u32, Event)>) {
        for (index, event) in events {
            let Some(entry) = self.entries.get_mut(key) else { return };
            match self.outlet.way(entry, &event) {
                Way::Deliver => {
                    let awaited = entry.awaited;
                    let known = entry.outcome(index).map(|known| (known, known.why().code));
                    let is_news = known.as_ref().is_none_or(|(_, code)| code.is_empty());
                    let tried = known.map_or_else(Tried::default, |(known, code)| Tried {
                        awaited,
                        attempts: known.attempts,
                        suspect: code == REFUSED,
                        given_back: code == GIVEN_BACK,
                        pause: self.pace.suspects.delay(known.attempts, Duration::ZERO, 1.0),
                    });
                    if is_news && self.passings.are_watched() {
                        self.tell_wait(sequence, &event);
                    }
                    self.barrier.enter(key, index, (sequence, event), tried);
                }
                Way::HandOn(destination) => {
                    let place = entry.place(index);
                    self.outlet.push((key, sequence), destination, (index, place), event_cost(&event));
                }
                Way::Nowhere(why) => {
                    self.passings.tell(|| Passing::of(sequence, &event, EventState::Dead, why.clone()));
                    entry.finish(index, EventState::Dead, why);
                    self.recorder.frees_bytes(event_cost(&event));
                }
            }
        }
        self.note(key);
    }

    pub(super) fn next_route(&mut self, now: Now) -> Option<Step> {
        if self.outlet.waiting.is_empty() || self.outlet.under_way || self.outlet.retry.waits(now.instant) {
            return None;
        }
        self.outlet.under_way = true;
        let many = self.outlet.waiting.len().min(MAX_PARCELS);
        let parcels: Vec<_> = self.outlet.waiting.drain(..many).collect();
        let parcel = |waiting: &Waiting| Parcel {
            sequence: waiting.sequence,
            destination: waiting.destination.clone(),
            events: waiting.events.iter().map(|(_, place)| *place).collect(),
        };
        let wanted = parcels.iter().map(parcel).collect();
        let mut decisions = Vec::new();
        for parcel in &parcels {
            if let Some(entry) = self.entries.get(parcel.entry)
                && let Some(mapping) = entry.undecided()
            {
                decide(&mut decisions, mapping, entry.sequence);
            }
        }
        Some(Step::Route(RouteCall { parcels, decisions }, wanted))
    }

    /// Takes what came of handing on parcels; those it says nothing of were not.
    pub(crate) fn routed(&mut self, call: RouteCall, handed: &[Handed], now: Now) {
        self.outlet.under_way = false;
        match handed.contains(&Handed::Later) || handed.len() < call.parcels.len() {
            true => self.outlet.retry.failed(now.instant, self.chance.draw()),
            false => self.outlet.retry.worked(),
        }
        let handed = handed.iter().copied().chain(std::iter::repeat(Handed::Later));
        let mut again = Vec::new();
        for (parcel, handed) in call.parcels.into_iter().zip(handed) {
            let Some(entry) = self.entries.get_mut(parcel.entry) else { continue };
            for (index, _) in &parcel.events {
                match handed {
                    Handed::As(receipt) => entry.hand_on(*index, receipt),
                    Handed::Gone => {
                        let known = self.passings.known(&entry.progress);
                        entry.finish(*index, EventState::Dead, unreadable());
                        self.passings.tell_final(parcel.sequence, &entry.progress, &known);
                    }
                    Handed::Later => {}
                }
            }
            if handed == Handed::Later {
                again.push(parcel);
                continue;
            }
            self.recorder.frees_bytes(parcel.bytes);
            self.note(parcel.entry);
        }
        for parcel in again.into_iter().rev() {
            self.outlet.waiting.push_front(parcel);
        }
    }
}
