//! An event in PostHog's own form, as the tutorial's connector bodies are: kept as it is, its person properties moved to
//! where every PostHog reads them.
//!
//! Source: PostHog, rust/common/types/src/event.rs (024dbbe0) and its ingestion's normalizeEvent, read 2026-08.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use super::{Context, Draft, Id, Person, When, flat};
use crate::{
    fault::Fault,
    item::{Item, Kind, Object, Pair},
    json,
    notes::Note,
    value::{
        Properties, Rank, checked, identity, ids,
        members::{merged, object, replaced},
        time::Moment,
    },
};

/// Members whose objects PostHog merges key by key: name, and name as JSON.
const MERGED: [(&str, &str); 3] = [("$set", "\"$set\""), ("$set_once", "\"$set_once\""), ("$groups", "\"$groups\"")];

/// Members in which senders put an id of the event, the best first.
const ID_FIELDS: [&str; 4] = ["uuid", "event_uuid", "messageId", "message_id"];

/// Members that are read elsewhere, or are not about the event.
const READ: [&str; 14] = [
    "api_key",
    "token",
    "$token",
    "event",
    "distinct_id",
    "$distinct_id",
    "timestamp",
    "offset",
    "uuid",
    "event_uuid",
    "messageId",
    "message_id",
    "sent_at",
    "historical_migration",
];

/// Drafts an event that is in PostHog's form. `is_free`: a marketer made up the names beside `event`, and what is not about the event
/// itself is a property of it.
pub(crate) fn draft<'a>(
    item: &Item<'a>,
    is_free: bool,
    context: &mut Context<'a>,
    properties: &mut Properties<'a>,
) -> Result<Draft<'a>, Fault> {
    let name = item.one("event").and_then(|raw| raw.map_or(Ok(None), |raw| context.event_name(raw, "event")));
    let name = name.and_then(|name| name.ok_or(Fault::MissingEvent));
    if item.properties.kind == Kind::Other {
        return Err(Fault::InvalidProperties);
    }
    for pair in &item.properties.pairs {
        add(pair, context, properties)?;
    }
    for pair in &item.fields {
        // of two of one name the last counts, and the others are not even merged
        let last = if is_merged(&pair.name) || READ.contains(&&*pair.name) { item.field(&pair.name) } else { None };
        match last.filter(|last| !std::ptr::eq(*last, pair.value)) {
            None => beside(pair, is_free, context, properties)?,
            Some(last) if last == pair.value => {}
            Some(_) => context.notes.say(Note::DuplicateKey, &pair.name, pair.value),
        }
    }
    let person = person(item, context);
    let anonymous = flat::anonymous(item).1;
    let (id, when) = (id(item, context), when(item, context));
    Ok(Draft { name, person, anonymous, id, when, is_historical: is_historical(item) })
}

/// Whether an event, or the batch around events, is marked as history. PostHog reads the mark of a batch; of an event
/// that is sent by itself it means the same.
pub(crate) fn is_historical(item: &Item<'_>) -> bool {
    // a text can mean nothing else
    item.field("historical_migration").is_some_and(|raw| raw.trim_matches('"').eq_ignore_ascii_case("true"))
}

/// Whether one of PostHog's SDKs made an event: it says which.
pub(crate) fn is_of_sdk(item: &Item<'_>) -> bool {
    item.properties.pairs.iter().any(|pair| pair.name == "$lib")
}

/// The first of the places where PostHog looks for the person, else one where MoEngage has it.
pub(super) fn person<'a>(item: &Item<'a>, context: &mut Context<'_>) -> Result<Person<'a>, Fault> {
    let inner = item.properties.pairs.iter().rev().find(|pair| pair.name == "distinct_id");
    let places = [item.one("distinct_id")?, item.one("$distinct_id")?, inner.map(|pair| pair.value)];
    for raw in places.into_iter().flatten() {
        if let Some(id) = identity::distinct_id(raw, "distinct_id", context.reading(), &mut context.notes)? {
            return Ok(Person::known(id));
        }
    }
    flat::person(item, context)
}

/// The UUID that the body gives, else its own id.
fn id<'a>(item: &Item<'a>, context: &mut Context<'a>) -> Id<'a> {
    let inner = item.properties.pairs.iter().rev().find(|pair| pair.name == "$insert_id");
    let own = ID_FIELDS.iter().filter_map(|name| item.field(name)).chain(inner.map(|pair| pair.value));
    of_fields(item, own, context)
}

/// Of a flat event, whose properties stand beside its id.
pub(super) fn own_id<'a>(item: &Item<'a>, context: &mut Context<'a>) -> Id<'a> {
    of_fields(item, ID_FIELDS.iter().filter_map(|name| item.field(name)), context)
}

fn of_fields<'a>(item: &Item<'a>, own: impl Iterator<Item = &'a str>, context: &mut Context<'a>) -> Id<'a> {
    for raw in own.filter(|raw| !json::is_null(raw)) {
        let Some(id) = identity::event_id(raw) else {
            context.notes.say(Note::UnusableId, "uuid", raw);
            continue;
        };
        let given = item.field("uuid").filter(|uuid| std::ptr::eq(*uuid, raw)).and_then(|_| ids::given(&id));
        return given.map_or(Id::Own(id), Id::Given);
    }
    Id::None
}

/// PostHog takes `offset` (milliseconds before now) over `timestamp`; its now is our time of arrival.
fn when<'a>(item: &Item<'a>, context: &mut Context<'_>) -> When<'a> {
    let offset = item.field("offset").filter(|raw| !json::is_null(raw));
    // PostHog's SDKs mean it so; of others a time that is said stands
    let is_meant = context.webhook.route == "capture" || item.field("timestamp").is_none();
    if let Some(raw) = offset.filter(|_| !is_meant) {
        context.notes.say(Note::IgnoredField, "offset", raw);
    }
    if let Some(raw) = offset.filter(|_| is_meant) {
        let offset = raw.parse::<i64>().ok();
        match offset.and_then(|offset| Moment::before(context.webhook.received_at_ms, offset)) {
            Some(moment) => return When::Known(moment),
            None => context.notes.say(Note::UnreadableTime, "offset", raw),
        }
    }
    let trusts_its_clock =
        || item.properties.pairs.iter().any(|pair| pair.name == "$ignore_sent_at" && pair.value == "true");
    let ahead_ms = if context.ahead_ms != 0 && trusts_its_clock() { 0 } else { context.ahead_ms };
    let said = ["timestamp", "event_time"].into_iter().map(|field| (field, item.field(field)));
    let (field, raw) = said.into_iter().find(|said| said.1.is_some()).unwrap_or(("timestamp", None));
    When::Said { field, raw, ahead_ms }
}

/// A member beside `properties`: PostHog's own go into them, where the newer API reads them too.
fn beside<'a>(
    pair: &Pair<'a>,
    is_free: bool,
    context: &mut Context<'_>,
    properties: &mut Properties<'a>,
) -> Result<(), Fault> {
    let name = &*pair.name;
    if READ.contains(&name) {
        return Ok(());
    }
    if !name.starts_with('$') {
        if is_free {
            return add(pair, context, properties);
        }
        context.notes.say(Note::IgnoredField, name, pair.value);
        return Ok(());
    }
    if json::is_null(pair.value) {
        return Ok(());
    }
    let Some((name, key)) = MERGED.iter().find(|merged| merged.0 == name) else {
        if let Some(kept) = properties.get(name) {
            if kept != pair.value {
                context.notes.say(Note::Clash, name, pair.value);
            }
            return Ok(());
        }
        return add(pair, context, properties);
    };
    let Some(members) = members(name, checked(name, pair.value, &mut context.notes)?, context) else {
        context.notes.say(Note::WrongKind, name, pair.value);
        return Ok(());
    };
    let value = match properties.get(name).filter(|inner| json::is_object(inner)) {
        Some(inner) => {
            for (member, lost) in replaced(inner, &members.pairs) {
                context.notes.say(Note::Clash, &[name, ".", &member].concat(), lost);
            }
            Cow::Owned(object(&merged(inner, members.pairs)))
        }
        None if members.dropped == 0 => Cow::Borrowed(pair.value),
        None if members.pairs.is_empty() => return Ok(()),
        None => Cow::Owned(object(&members.pairs)),
    };
    properties.put(name, key, value);
    Ok(())
}

pub(super) fn add<'a>(
    pair: &Pair<'a>,
    context: &mut Context<'_>,
    properties: &mut Properties<'a>,
) -> Result<(), Fault> {
    if pair.name == "moehog" {
        context.notes.say(Note::Clash, "moehog", "");
        return Ok(());
    }
    if context.policy().drops(pair.value) {
        context.notes.say(Note::DroppedPlaceholder, &pair.name, pair.value);
        return Ok(());
    }
    let mut value = Cow::Borrowed(checked(&pair.name, pair.value, &mut context.notes)?);
    if is_merged(&pair.name)
        && let Some(members) = members(&pair.name, pair.value, context)
        && members.dropped > 0
    {
        if members.pairs.is_empty() {
            return Ok(());
        }
        value = Cow::Owned(object(&members.pairs));
    }
    properties.insert(Rank::Event, "", pair.name.clone(), pair.key, value, &mut context.notes);
    Ok(())
}

fn is_merged(name: &str) -> bool {
    MERGED.iter().any(|merged| merged.0 == name)
}

/// An object's members, each name once, and how many were left out.
struct Filled<'a> {
    pairs: Vec<Pair<'a>>,
    dropped: usize,
}

/// The members of an object without unfilled placeholders; of two of one name the last. None for any other value.
fn members<'a>(name: &str, raw: &'a str, context: &mut Context<'_>) -> Option<Filled<'a>> {
    let object = Object::read(raw);
    if object.kind != Kind::Object {
        return None;
    }
    let policy = context.policy();
    let all = object.pairs.len();
    let mut places = HashMap::new();
    let mut pairs: Vec<Pair<'_>> = Vec::with_capacity(all);
    for pair in object.pairs {
        if policy.drops(pair.value) {
            context.notes.say(Note::DroppedPlaceholder, &[name, ".", &pair.name].concat(), pair.value);
            continue;
        }
        match places.entry(pair.name.clone()) {
            Entry::Occupied(place) => {
                let place: &usize = place.get();
                let lost = pairs[*place].value;
                context.notes.say(Note::DuplicateKey, &[name, ".", &pair.name].concat(), lost);
                pairs[*place].value = pair.value;
            }
            Entry::Vacant(place) => {
                place.insert(pairs.len());
                pairs.push(pair);
            }
        }
    }
    Some(Filled { dropped: all - pairs.len(), pairs })
}
