//! From an event as it was sent to a plan of the event as PostHog is told it.
//!
//! A plan holds slices of the body: values that no rule touches are copied as they stand, and only what a rule computes is
//! made anew. Writing a plan down is `Output`'s.

mod polish;

use std::borrow::Cow;

use uuid::Uuid;

use crate::{
    builtin::{
        Context, Draft, Id, Maker, Person, capture, rudder,
        segment::{Change, Segment},
        streams,
    },
    fault::Fault,
    item::{Item, Kind},
    json,
    notes::Note,
    rules::{Applied, Budget, Heal, Otherwise, Scope},
    value::{Properties, identity, time::Moment},
};

/// How PostHog counts somebody without cookies. Source: PostHog, rust/common/types/src/event.rs (024dbbe0, read 2026-11).
const COOKIELESS: &str = "$cookieless_mode";

/// What one event becomes, beside its properties.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) uuid: Uuid,
    pub(crate) name: Cow<'a, str>,
    pub(crate) distinct_id: Cow<'a, str>,
    pub(crate) moment: Moment<'a>,
    /// PostHog shall make no person profile of it.
    pub(crate) personless: bool,
    /// Name of the destination that a rule chose; empty: the webhook's.
    pub(crate) destination: &'a str,
    /// PostHog shall take it as history.
    pub(crate) historical: bool,
}

/// What becomes of an event.
#[derive(Debug)]
pub(crate) enum Planned<'a> {
    /// It is sent.
    Event(Plan<'a>),
    /// A rule leaves it out.
    Filtered(&'a str),
}

/// Maps one event of a body by what it looks like; `list` is the list it stands in.
pub(crate) fn map<'a>(
    item: &Item<'a>,
    position: u32,
    list: List,
    context: &mut Context<'a>,
    properties: &mut Properties<'a>,
) -> Result<Planned<'a>, Fault> {
    begin(item, properties)?;
    if list == List::Batch && is_of_another_project(item, &context.webhook.api_key) {
        return Err(Fault::KeyMismatch);
    }
    if let Some(name) = item.twice {
        context.notes.say(Note::DuplicateKey, name, "");
    }
    let is_streams = list == List::Events || streams::is_flat(item);
    let is_rudder = !is_streams && rudder::is_one(item);
    context.maker = match list {
        List::Batch if is_streams && !streams::is_typed(item) => Maker::Template,
        _ if is_streams || is_rudder => Maker::Program,
        _ if capture::is_of_sdk(item) => Maker::Sdk,
        _ => Maker::Template,
    };
    let draft = if is_streams {
        streams::draft(item, context, properties)?
    } else if is_rudder {
        rudder::draft(item, context, properties)?
    } else {
        let is_free = context.webhook.api_key.is_empty() && item.properties.kind == Kind::Absent;
        capture::draft(item, is_free, context, properties)?
    };
    finish(item, draft, position, context, properties)
}

/// Maps one user of a segment that MoEngage sends.
pub(crate) fn map_user<'a>(
    user: &Item<'a>,
    segment: &Segment<'a>,
    change: Change,
    position: u32,
    context: &mut Context<'a>,
    properties: &mut Properties<'a>,
) -> Result<Planned<'a>, Fault> {
    begin(user, properties)?;
    context.maker = Maker::Program;
    let draft = segment.draft(user, change, context, properties)?;
    finish(user, draft, position, context, properties)
}

fn begin(item: &Item<'_>, properties: &mut Properties<'_>) -> Result<(), Fault> {
    properties.clear();
    if item.kind != Kind::Object {
        return Err(Fault::NotAnObject);
    }
    if item.overflows() { Err(Fault::TooManyProperties) } else { Ok(()) }
}

/// Applies the rules to a draft, and what holds for every event.
fn finish<'a>(
    item: &Item<'a>,
    draft: Draft<'a>,
    position: u32,
    context: &mut Context<'a>,
    properties: &mut Properties<'a>,
) -> Result<Planned<'a>, Fault> {
    let rules = context.rules;
    let Draft { name, person, anonymous, id, when, is_historical } = draft;
    let (budget, reading) = (Budget::default(), context.reading());
    let order = rules.clock(&context.webhook.source).order;
    let scope = Scope { item, name: name.as_deref().ok(), webhook: context.webhook, reading, order, budget: &budget };
    let found = rules.find(&scope, &mut context.notes);
    if let Some(rule) = found.iter().find(|rule| rule.filter) {
        return Ok(Planned::Filtered(&rule.place));
    }
    // before what a rule may spend on properties
    let identified = match found.iter().any(|rule| rule.says_who()) {
        true => None,
        false => rules.person(&scope, &mut context.notes),
    };
    if found.iter().any(|rule| !rule.keep) {
        properties.keep_only(|name| name.starts_with('$'));
    }
    let mut applied = Applied::default();
    for rule in found {
        applied.add(rule.apply(&scope, rules, properties, &mut context.notes)?);
    }
    let chosen = applied.person.or(identified);
    let person = chosen.map_or(person, |chosen| chosen.map(Person::known));
    let name = match applied.name {
        Some(name) => name,
        None => name?,
    };
    let uuid = context.uuid(&applied.id.map_or(id, Id::Own), position);
    let person = match person {
        Ok(person) => person,
        Err(fault) => match rules.identity.otherwise(&fault) {
            None | Some(Otherwise::Dead) => return Err(fault),
            Some(Otherwise::Drop) => return Ok(Planned::Filtered("identity")),
            Some(Otherwise::Personless) => {
                let own = anonymous.and_then(|raw| {
                    identity::distinct_id(raw, "moengage_user_id", reading, &mut context.notes).ok().flatten()
                });
                Person::unknown(own.unwrap_or_else(|| Cow::Owned(uuid.hyphenated().to_string())))
            }
        },
    };
    if !person.is_known {
        context.notes.count(Note::Personless);
    }
    let heals = match rules.heal {
        Heal::Connectors => context.maker == Maker::Template,
        Heal::All => true,
        Heal::None => false,
    };
    let moment = applied.moment.unwrap_or_else(|| context.moment(when));
    // PostHog refuses the whole request for one that is no boolean
    if let Some(raw) = properties.get(COOKIELESS).filter(|raw| !["true", "false"].contains(raw)) {
        context.notes.say(Note::WrongKind, COOKIELESS, raw);
        properties.leave_out(COOKIELESS);
    }
    polish::polish(properties, heals, rules, &mut context.notes);
    context.notes.add(Note::LongName, properties.long_names());
    let (personless, destination) = (!person.is_known, applied.destination);
    let historical = is_historical || rules.is_historical(&context.webhook.source);
    Ok(Planned::Event(Plan { uuid, name, distinct_id: person.id, moment, personless, destination, historical }))
}

/// The list of a body that an event stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// `events` of a Streams batch.
    Events,
    /// `batch` of a PostHog request, a bare array, or no list at all.
    Batch,
}

/// Whether the event names a project other than `key`. Without a key of the request every event goes where its source says.
pub(crate) fn is_of_another_project(item: &Item<'_>, key: &str) -> bool {
    let differs = |raw: &str| json::string(raw).is_some_and(|own| !own.is_empty() && own != key);
    if key.is_empty() {
        return false;
    }
    let mut own = ["api_key", "token", "$token"].iter().filter_map(|name| item.field(name)).peekable();
    if own.peek().is_some() {
        return own.any(differs);
    }
    // a property named `token` may be anything; only what looks like a project key is one
    let token = item.properties.pairs.iter().rev().find(|pair| pair.name == "token");
    token.is_some_and(|pair| pair.value.starts_with("\"phc_") && differs(pair.value))
}
