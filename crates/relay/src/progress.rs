//! What an entry still lacks.
//!
//! An entry's first record lists all its events, and an event once final stays so. A later mapping is matched to what
//! is known by (position, ordinal): final events are skipped, new ones join, vanished ones become `filtered(remapped)`.
//! An event that may have been in a PostHog request and is not final keeps its mapped bytes and is resent as they are.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use moehog_journal::Entry;
use moehog_proto::{
    Blame, Reason, Receipt, Sequence,
    delivery::Answer,
    event::{Event, TraceContext},
    journal::{Attempt, Book, EventOutcome, EventPlace, EventState, Mapping, Progress},
    transformer::{MappedEvent, TransformedWebhook, Webhook, mapped_event, transformed_webhook},
};

use moehog_telemetry::trace::Leaf;

use self::usable::check;
use crate::{
    Config,
    spans::Traced,
    trial::Trial,
    webhook::{request_bytes, webhook_of},
};

mod deaths;
mod decided;
mod usable;

/// Requests to PostHog that an entry keeps.
const MAX_ATTEMPTS_KEPT: usize = 20;
/// What an event costs in memory beside its JSON.
const EVENT_OVERHEAD_BYTES: usize = 256;
/// What an entry costs in memory beside its body.
const ENTRY_OVERHEAD_BYTES: usize = 512;

/// An entry that the relay carries.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) sequence: Sequence,
    /// When this journal received it, milliseconds since the epoch.
    pub(crate) received_at_ms: i64,
    /// Kept until the webhook is mapped.
    pub(crate) webhook: Option<Webhook>,
    /// All that is known of its events.
    pub(crate) progress: Arc<Progress>,
    /// How its Transform calls went.
    pub(crate) trial: Trial,
    /// The mapping that made its events, or must.
    pub(crate) mapping: Option<Arc<Mapping>>,
    /// The journal knows of that: events of it may have been sent.
    pub(crate) decided: bool,
    /// Something is known that is not recorded, or not yet asked to be.
    pub(crate) dirty: bool,
    /// The next record will hold it.
    pub(crate) listed: bool,
    /// Events that wait for their mapping's turn to enter the barrier.
    pub(crate) events: Vec<(u32, Event)>,
    /// Somebody waits until it is settled.
    pub(crate) awaited: bool,
    /// It is for some events of its webhook, which were routed here by what an earlier mapping said.
    pub(crate) routed: bool,
    /// What the spans of a sampled webhook continue.
    pub(crate) traced: Option<Box<Traced>>,
    /// The span of the record that settles it.
    pub(crate) settling: Leaf,
    /// The lane's trying clock when an event of this entry was first sent in this process.
    pub(crate) trying_since: Option<Duration>,
    /// Time of trying in former processes.
    tried_before: Duration,
    pending: usize,
    /// What is told of its dead events.
    told: deaths::Told,
    /// What its events came to when it was settled before, of one that was reopened.
    pub(crate) counted: Option<Box<Book>>,
}

/// What an event costs while it is carried, in bytes.
pub(crate) fn event_cost(event: &Event) -> usize {
    event.json.len() + EVENT_OVERHEAD_BYTES
}

impl Carried {
    /// Takes up an entry as the journal gave it, with the progress stored so far. One whose open events all keep their
    /// mapped bytes needs no mapping.
    pub(crate) fn new(mut entry: Entry, trace: Option<TraceContext>) -> Self {
        let (sequence, received_at_ms) = (entry.sequence(), entry.header.received_at_ms);
        let routed = !entry.header.routed.is_empty();
        let mut progress = entry.progress.take().unwrap_or_else(|| routed_here(&entry.header.routed));
        let crashed = entry.crashed;
        let traced = Traced::of(&entry, trace.as_ref());
        let mapping = entry.decided.take().map(Arc::new);
        let webhook = webhook_of(entry, trace);
        let open = |event: &&EventOutcome| !is_final(event);
        let pending = progress.events.iter().filter(open).count();
        let trial = Trial::new(crashed, &progress);
        let to_watch = trial.to_watch(&progress);
        if let Some((watched, void)) = to_watch {
            (progress.crashes_watched, progress.crashes_void) = (watched, void);
        }
        let maps_anew = pending == 0 || progress.events.iter().filter(open).any(|event| event.mapped.is_none());
        let mut carried = Self {
            sequence,
            received_at_ms,
            webhook: Some(webhook),
            trial,
            decided: mapping.is_some(),
            mapping,
            tried_before: Duration::from_millis(progress.trying_ms),
            told: deaths::told(&progress),
            counted: (progress.retries > 0).then(|| Box::new(moehog_journal::count(&progress).0)),
            progress: progress.into(),
            dirty: to_watch.is_some(),
            listed: false,
            events: Vec::new(),
            awaited: false,
            routed,
            traced,
            settling: Leaf::default(),
            trying_since: None,
            pending,
        };
        if !maps_anew {
            carried.webhook = None;
            carried.events = carried.kept_events();
        }
        carried
    }

    /// What it costs until it is mapped, in bytes.
    pub(crate) fn received_cost(&self) -> usize {
        self.webhook.as_ref().map_or(0, |webhook| request_bytes(webhook) + ENTRY_OVERHEAD_BYTES)
    }

    /// What its mapped events cost, in bytes.
    pub(crate) fn mapped_cost(&self) -> usize {
        self.events.iter().map(|(_, event)| event_cost(event)).sum()
    }

    /// Every event is final.
    pub(crate) fn settled(&self) -> bool {
        self.webhook.is_none() && self.pending == 0
    }

    /// Takes the transformer's answer.
    pub(crate) fn map(&mut self, answer: TransformedWebhook, revision: &str, config: &Config) {
        // a bound that was lowered since kills nothing of which events may have been sent
        let bounds = (!self.decided && self.progress.events.is_empty()).then_some(config);
        let why = match answer.result {
            Some(transformed_webhook::Result::Mapped(mapped)) => match check(&mapped, bounds) {
                None => return self.match_events(mapped.events, revision),
                Some(why) => why,
            },
            Some(transformed_webhook::Result::Rejection(rejection)) => rejection.into(),
            None => invalid_mapping("the transformer's answer says nothing of this webhook"),
        };
        revision.clone_into(&mut self.known().mapping_revision);
        self.reject(&why);
    }

    /// Nothing can be made of the webhook: what has no bytes yet is dead, and at least one event says so.
    pub(crate) fn reject(&mut self, why: &Reason) {
        self.webhook = None;
        let dead = |event: &mut EventOutcome| {
            event.set_state(EventState::Dead);
            event.explain(why.clone());
        };
        if self.progress.events.is_empty() {
            self.known().events.push(EventOutcome::default());
            self.pending += 1;
        }
        for event in Arc::make_mut(&mut self.progress)
            .events
            .iter_mut()
            .filter(|event| !is_final(event) && event.mapped.is_none())
        {
            dead(event);
            self.pending -= 1;
        }
        self.dirty = true;
        self.events = self.kept_events();
    }

    fn match_events(&mut self, mapped: Vec<MappedEvent>, revision: &str) {
        self.webhook = None;
        revision.clone_into(&mut self.known().mapping_revision);
        let mut known = std::mem::take(&mut self.known().events).into_iter().peekable();
        let mut outcomes = Vec::with_capacity(mapped.len());
        self.events = Vec::with_capacity(mapped.len());
        for new in mapped {
            let at = (new.position, new.ordinal);
            while let Some(vanished) = known.next_if(|event| (event.position, event.ordinal) < at) {
                self.keep(vanished, None, &mut outcomes);
            }
            match known.next_if(|event| (event.position, event.ordinal) == at) {
                Some(event) => self.keep(event, Some(new), &mut outcomes),
                None if self.routed => {}
                None => self.join(new, EventOutcome::default(), &mut outcomes),
            }
        }
        for vanished in known {
            self.keep(vanished, None, &mut outcomes);
        }
        self.pending = outcomes.iter().filter(|event| !is_final(event)).count();
        self.known().events = outcomes;
        self.dirty = self.pending == 0;
    }

    /// An event known before: final ones and those that may have been sent stay as they are, others follow the mapping.
    fn keep(&mut self, mut event: EventOutcome, new: Option<MappedEvent>, outcomes: &mut Vec<EventOutcome>) {
        if is_final(&event) {
            outcomes.push(event);
        } else if let Some(mapped) = &event.mapped {
            self.events.push((outcomes.len() as u32, mapped.clone()));
            outcomes.push(event);
        } else if let Some(new) = new {
            self.join(new, event, outcomes);
        } else {
            finish(&mut event, EventState::Filtered, Reason::word("remapped"));
            outcomes.push(event);
        }
    }

    /// An event as the mapping now makes it.
    fn join(&mut self, new: MappedEvent, mut outcome: EventOutcome, outcomes: &mut Vec<EventOutcome>) {
        (outcome.position, outcome.ordinal) = (new.position, new.ordinal);
        match new.outcome {
            Some(mapped_event::Outcome::Event(mut event)) => {
                (event.position, event.ordinal) = (new.position, new.ordinal);
                outcome.uuid = event.uuid.clone();
                outcome.set_state(EventState::Pending);
                self.events.push((outcomes.len() as u32, event));
            }
            Some(mapped_event::Outcome::Filtered(why)) => {
                finish(&mut outcome, EventState::Filtered, Reason::word(why));
            }
            Some(mapped_event::Outcome::Duplicate(_)) => {
                let why = Reason::word("same PostHog key earlier in this webhook");
                finish(&mut outcome, EventState::Duplicate, why);
            }
            Some(mapped_event::Outcome::Dead(rejection)) => {
                finish(&mut outcome, EventState::Dead, rejection.into());
            }
            None => {
                let why = invalid_mapping("the transformer's answer says nothing of this event");
                finish(&mut outcome, EventState::Dead, why);
            }
        }
        outcomes.push(outcome);
    }

    fn kept_events(&self) -> Vec<(u32, Event)> {
        let open = self.progress.events.iter().enumerate().filter(|(_, event)| !is_final(event));
        open.filter_map(|(index, event)| Some((index as u32, event.mapped.clone()?))).collect()
    }

    /// What was recorded of one event.
    pub(crate) fn outcome(&self, index: u32) -> Option<&EventOutcome> {
        self.progress.events.get(index as usize)
    }

    /// Makes an event final. Ignored where it is so already.
    pub(crate) fn finish(&mut self, index: u32, state: EventState, why: Reason) {
        self.dirty = true;
        if let Some(event) =
            Arc::make_mut(&mut self.progress).events.get_mut(index as usize).filter(|event| !is_final(event))
        {
            self.pending -= 1;
            finish(event, state, why);
        }
    }

    /// An event was handed to the lane of its destination, where that entry has it.
    pub(crate) fn hand_on(&mut self, index: u32, receipt: Receipt) {
        self.finish(index, EventState::Filtered, Reason::word("routed"));
        if let Some(event) = self.known().events.get_mut(index as usize) {
            event.routed_to = receipt.to_string();
        }
    }

    /// Where an event is in the webhook.
    pub(crate) fn place(&self, index: u32) -> EventPlace {
        let (position, ordinal) = self.outcome(index).map_or((0, 0), |event| (event.position, event.ordinal));
        EventPlace { position, ordinal }
    }

    /// Keeps an event open after a try. `sent` says that PostHog may have read it: its bytes are kept from now on.
    pub(crate) fn keep_open(&mut self, index: u32, why: &Reason, counts: bool, sent: Option<&Event>) {
        self.dirty = true;
        if let Some(event) =
            Arc::make_mut(&mut self.progress).events.get_mut(index as usize).filter(|event| !is_final(event))
        {
            event.attempts += u32::from(counts);
            event.explain(why.clone());
            if let Some(sent) = sent {
                event.mapped.get_or_insert_with(|| sent.clone());
                event.uuid = Bytes::copy_from_slice(&event.uuid);
            }
        }
    }

    /// Notes when an event was tried, and in which of the entry's requests.
    pub(crate) fn tried(&mut self, index: u32, at_ms: i64, attempt: u32) {
        if let Some(event) = Arc::make_mut(&mut self.progress).events.get_mut(index as usize) {
            (event.tried_at_ms, event.attempt) = (at_ms, attempt);
        }
    }

    /// Adds a request that held events of this entry; its number is 1 + index.
    pub(crate) fn add_attempt(&mut self, answer: &Answer) -> u32 {
        let taken = (200..300).contains(&answer.status);
        self.known().attempts.push(Attempt {
            started_at_ms: answer.started_at_ms,
            duration_ms: answer.duration_ms,
            status: answer.status,
            answer: if taken { String::new() } else { answer.body.clone() },
        });
        self.progress.attempts.len() as u32
    }

    /// Leaves out the oldest requests, and what the events say of them.
    pub(crate) fn prune_attempts(&mut self) {
        let surplus = self.progress.attempts.len().saturating_sub(MAX_ATTEMPTS_KEPT);
        if surplus > 0 {
            self.known().attempts.drain(..surplus);
            for event in &mut self.known().events {
                event.attempt = event.attempt.saturating_sub(surplus as u32);
            }
        }
    }

    /// Time spent trying, at `clock` of the lane.
    pub(crate) fn trying(&self, clock: Duration) -> Duration {
        let here = self.trying_since.map(|since| clock.saturating_sub(since)).unwrap_or_default();
        self.tried_before + here
    }

    /// The progress to record.
    pub(crate) fn recorded(&mut self, clock: Duration) -> Arc<Progress> {
        let (trying, deaths) = (self.trying(clock), self.trial.deaths());
        let progress = self.known();
        (progress.trying_ms, progress.transform_deaths) = (trying.as_millis() as u64, deaths);
        self.progress.clone()
    }

    /// What is known, to be added to; what a record under way holds stays as it is.
    fn known(&mut self) -> &mut Progress {
        Arc::make_mut(&mut self.progress)
    }
}

/// What is known at first of an entry that some events were routed to.
fn routed_here(places: &[EventPlace]) -> Progress {
    let event = |place: &EventPlace| EventOutcome {
        position: place.position,
        ordinal: place.ordinal,
        state: EventState::Pending.into(),
        ..EventOutcome::default()
    };
    Progress { events: places.iter().map(event).collect(), ..Progress::default() }
}

/// An event whose bytes are its own, so that one that waits long does not pin the message it came in.
pub(crate) fn owned(event: &Event) -> Event {
    Event { uuid: Bytes::copy_from_slice(&event.uuid), json: Bytes::copy_from_slice(&event.json), ..event.clone() }
}

pub(crate) fn is_final(event: &EventOutcome) -> bool {
    !matches!(event.state(), EventState::Pending | EventState::Unspecified)
}

fn finish(event: &mut EventOutcome, state: EventState, why: Reason) {
    event.set_state(state);
    event.explain(why);
    event.mapped = None;
}

/// The transformer does what it must not.
fn invalid_mapping(message: &str) -> Reason {
    Reason::new(Blame::Moehog, "invalid_mapping", message)
}

#[cfg(test)]
mod tests;
