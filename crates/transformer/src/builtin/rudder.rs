//! An event in RudderStack's dialect, which MoEngage's tile for it writes: `track` and its like, with `userId` and `messageId`.
//!
//! Sources: RudderStack, "HTTP API" and "Standard events" (read 2026-11); PostHog, "Identifying users" and "Group analytics".

use std::borrow::Cow;

use super::{Context, Draft, When, capture};
use crate::{
    fault::Fault,
    item::{Item, Object, Pair},
    json,
    value::{Properties, checked},
};

/// What a call of the dialect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
}

/// Members that say how an event travelled, and those that are read below.
const READ: [&str; 18] = [
    "_metadata",
    "anonymousId",
    "channel",
    "event",
    "groupId",
    "integrations",
    "messageId",
    "originalTimestamp",
    "previousId",
    "receivedAt",
    "rudderId",
    "sentAt",
    "timestamp",
    "traits",
    "type",
    "userId",
    "version",
    "writeKey",
];

/// Whether an event is in this dialect: it has the member `type`, one of its ids, and none of PostHog's.
pub(crate) fn is_one(item: &Item<'_>) -> bool {
    let has = |name: &str| item.field(name).is_some();
    has("type")
        && call(item).is_some()
        && (has("userId") || has("anonymousId"))
        && !(has("distinct_id") || has("$distinct_id"))
}

fn call(item: &Item<'_>) -> Option<Call> {
    Some(match &*json::string(item.field("type")?)? {
        "track" => Call::Track,
        "identify" => Call::Identify,
        "page" => Call::Page,
        "screen" => Call::Screen,
        "group" => Call::Group,
        "alias" => Call::Alias,
        _ => return None,
    })
}

/// Drafts such an event.
pub(crate) fn draft<'a>(
    item: &Item<'a>,
    context: &mut Context<'a>,
    properties: &mut Properties<'a>,
) -> Result<Draft<'a>, Fault> {
    let call = call(item).ok_or(Fault::UnknownShape)?;
    let name = match call {
        Call::Track => {
            let name = item.field("event").map(|raw| context.event_name(raw, "event"));
            name.unwrap_or(Ok(None)).and_then(|name| name.ok_or(Fault::MissingEvent))
        }
        Call::Identify => Ok(Cow::Borrowed("$identify")),
        Call::Page => Ok(Cow::Borrowed("$pageview")),
        Call::Screen => Ok(Cow::Borrowed("$screen")),
        Call::Group => Ok(Cow::Borrowed("$groupidentify")),
        Call::Alias => Ok(Cow::Borrowed("$create_alias")),
    };
    for pair in &item.properties.pairs {
        capture::add(pair, context, properties)?;
    }
    for pair in item.fields.iter().filter(|pair| !READ.contains(&&*pair.name)) {
        capture::add(pair, context, properties)?;
    }
    let mut put = |name: &'static str, key: &'static str, raw: Option<&'a str>| -> Result<(), Fault> {
        if let Some(raw) = raw.filter(|raw| !json::is_null(raw)) {
            properties.put(name, key, Cow::Borrowed(checked(name, raw, &mut context.notes)?));
        }
        Ok(())
    };
    let traits = item.field("traits").or_else(|| of_context(item, "traits")).filter(|raw| json::is_object(raw));
    match call {
        Call::Identify => {
            put("$set", "\"$set\"", traits)?;
            put(
                "$anon_distinct_id",
                "\"$anon_distinct_id\"",
                item.field("anonymousId").filter(|_| item.field("userId").is_some()),
            )?;
        }
        Call::Group => {
            put("$group_type", "\"$group_type\"", Some("\"company\""))?;
            put("$group_key", "\"$group_key\"", item.field("groupId"))?;
            put("$group_set", "\"$group_set\"", traits)?;
        }
        Call::Alias => put("alias", "\"alias\"", item.field("previousId"))?,
        Call::Track | Call::Page | Call::Screen => {}
    }
    let person = context.person(("userId", item.field("userId")), ("anonymousId", item.field("anonymousId")));
    let id = context.own_id(("messageId", item.field("messageId")));
    let (field, raw) = match item.field("originalTimestamp") {
        Some(raw) => ("originalTimestamp", Some(raw)),
        None => ("timestamp", item.field("timestamp")),
    };
    let when = When::Said { field, raw, ahead_ms: 0 };
    Ok(Draft { name, person, anonymous: item.field("anonymousId"), id, when, is_historical: false })
}

/// A member of `context`.
fn of_context<'a>(item: &Item<'a>, name: &str) -> Option<&'a str> {
    let pairs: Vec<Pair<'a>> = Object::read(item.field("context")?).pairs;
    pairs.iter().rev().find(|pair| pair.name == name).map(|pair| pair.value)
}
