//! The mapping without rules: from an event as it was sent to a draft of it.

pub(crate) mod capture;
mod flat;
pub(crate) mod rudder;
pub(crate) mod segment;
pub(crate) mod streams;

use std::borrow::Cow;

use moehog_proto::transformer::Webhook;
use uuid::Uuid;

use crate::{
    fault::Fault,
    json,
    moengage::EventCodes,
    notes::{Note, Notes},
    rules::Rules,
    value::{
        identity::{self, Reading},
        ids,
        placeholder::Policy,
        time::{Arrival, Moment},
    },
    webhook,
};

/// An event as the built-in mapping has it, before rules; its properties stand beside it.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) name: Result<Cow<'a, str>, Fault>,
    pub(crate) person: Result<Person<'a>, Fault>,
    /// MoEngage's own id of the person, as it stands in the body.
    pub(crate) anonymous: Option<&'a str>,
    pub(crate) id: Id<'a>,
    pub(crate) when: When<'a>,
    /// It says of itself that it is history.
    pub(crate) is_historical: bool,
}

/// What made an event, by which its values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    /// A marketer's template, in which every value is a text: numbers are healed, and what an engine prints for nothing is nothing.
    Template,
    /// MoEngage, or another program: values have their types.
    Program,
    /// One of PostHog's SDKs, which means what it writes.
    Sdk,
}

/// When an event happened.
#[derive(Debug)]
pub(crate) enum When<'a> {
    Known(Moment<'a>),
    /// As a member says; it is read where no rule says it.
    Said {
        field: &'static str,
        raw: Option<&'a str>,
        /// By how much the clock was ahead that said it.
        ahead_ms: i64,
    },
}

/// Who an event is about.
#[derive(Debug)]
pub(crate) struct Person<'a> {
    pub(crate) id: Cow<'a, str>,
    /// Whether PostHog shall have a profile of it.
    pub(crate) is_known: bool,
}

impl<'a> Person<'a> {
    pub(crate) fn known(id: Cow<'a, str>) -> Self {
        Self { id, is_known: true }
    }

    pub(crate) fn unknown(id: Cow<'a, str>) -> Self {
        Self { id, is_known: false }
    }
}

/// By what an event is the same when it is received again.
#[derive(Debug)]
pub(crate) enum Id<'a> {
    /// The UUID that its sender gave it.
    Given(Uuid),
    /// Its own id.
    Own(Cow<'a, str>),
    /// Nothing but its place in the webhook.
    None,
}

/// What the mapping of an event may use beside the event.
#[derive(Debug)]
pub(crate) struct Context<'w> {
    pub(crate) webhook: &'w Webhook,
    pub(crate) codes: &'w EventCodes,
    pub(crate) rules: &'w Rules,
    /// The body holds something like a placeholder.
    pub(crate) markers: bool,
    /// The body held quotes that nobody had escaped.
    pub(crate) mended_quotes: bool,
    /// What made the event under way.
    pub(crate) maker: Maker,
    /// By how many milliseconds the clock was ahead that sent the events.
    pub(crate) ahead_ms: i64,
    pub(crate) notes: Notes,
}

/// A member, and its name as faults and notes say it.
pub(crate) type Named<'a> = (&'static str, Option<&'a str>);

impl Context<'_> {
    /// The id that the sender gave an event; none where it gave none, or one that cannot tell two events apart.
    pub(crate) fn own_id<'a>(&mut self, (field, raw): Named<'a>) -> Id<'a> {
        let Some(raw) = raw.filter(|raw| !json::is_null(raw)) else { return Id::None };
        let id = identity::event_id(raw);
        if id.is_none() {
            self.notes.say(Note::UnusableId, field, raw);
        }
        id.map_or(Id::None, Id::Own)
    }

    /// The person that is known; without it the anonymous one, and no person profile: PostHog knows the person by another id, if at all.
    pub(crate) fn person<'a>(&mut self, (field, raw): Named<'a>, anonymous: Named<'a>) -> Result<Person<'a>, Fault> {
        let reading = self.reading();
        if let Some(raw) = raw
            && let Some(id) = identity::distinct_id(raw, field, reading, &mut self.notes)?
        {
            return Ok(Person::known(id));
        }
        let raw = anonymous.1.ok_or(Fault::MissingDistinctId)?;
        let id = identity::distinct_id(raw, anonymous.0, reading, &mut self.notes)?;
        Ok(Person::unknown(id.ok_or(Fault::MissingDistinctId)?))
    }

    pub(crate) fn uuid(&self, id: &Id<'_>, position: u32) -> Uuid {
        match id {
            Id::Given(uuid) => *uuid,
            Id::Own(id) => ids::of_id(&self.webhook.source, id),
            Id::None if !self.webhook.idempotency_key.is_empty() => {
                ids::of_key(&self.webhook.source, &self.webhook.idempotency_key, position)
            }
            Id::None => ids::of_place(&self.webhook.source, webhook::origin_address(self.webhook), position),
        }
    }

    /// How ids are read: as their sender's kind writes them.
    pub(crate) fn reading(&self) -> Reading {
        let identity = &self.rules.identity;
        Reading {
            trims: !identity.keeps_blanks,
            // an SDK means what it writes
            wholes: !identity.keeps_fractions && self.webhook.route != "capture",
            mended_quotes: self.mended_quotes,
        }
    }

    pub(crate) fn event_name<'a>(&mut self, raw: &'a str, field: &'static str) -> Result<Option<Cow<'a, str>>, Fault> {
        // an SDK means what it sends, and PostHog takes it so
        let is_sdks = |name: &str| self.maker == Maker::Sdk && name != identity::MERGES_ANYBODY;
        let is_allowed = |name: &str| is_sdks(name) || self.rules.allow.contains(name);
        identity::event_name(raw, field, is_allowed, &mut self.notes)
    }

    /// When it happened as it says, else when the webhook was received.
    pub(crate) fn moment<'a>(&mut self, when: When<'a>) -> Moment<'a> {
        let (field, raw, ahead_ms) = match when {
            When::Known(moment) => return moment,
            When::Said { field, raw, ahead_ms } => (field, raw, ahead_ms),
        };
        let Some(raw) = raw.filter(|raw| !json::is_null(raw)) else { return self.received() };
        let arrival = Arrival { at_ms: self.webhook.received_at_ms, ahead_ms };
        let Some(moment) = self.notes.moment(raw, field, self.rules.clock(&self.webhook.source), arrival) else {
            return Moment::in_place(arrival.at_ms);
        };
        if moment.shifted_ms() != 0 {
            self.notes.say(Note::CorrectedClock, field, raw);
        } else if !moment.is_verbatim() && !json::is_number(raw) {
            self.notes.count(Note::RewrittenTime);
        }
        moment
    }

    pub(crate) fn received(&self) -> Moment<'static> {
        Moment::from_ms(self.webhook.received_at_ms)
    }

    /// Which values are taken for unfilled.
    pub(crate) fn policy(&self) -> Policy {
        Policy { markers: self.markers && self.maker != Maker::Sdk, nothings: self.maker == Maker::Template }
    }
}
