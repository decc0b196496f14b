//! An event in the form of PostHog's v1.
//!
//! Source: PostHog/posthog, `rust/capture/src/v1/analytics/types.rs` @e6dd6e99 and process.rs @01cfdef4 (read 2026-12-01).

use std::{borrow::Cow, fmt, io};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use moehog_proto::event::Event;
use moehog_runtime::Cores;
use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use uuid::Uuid;

/// More than this is converted on a thread of its own, so that it holds up no other call.
const INLINE_BYTES: usize = 64 * 1024;
/// Longest name and distinct_id that v1 takes, in bytes; classic takes more, and cuts at characters.
const MAX_NAME_BYTES: usize = 200;
/// Later than this from now classic takes an event for one of now, and v1, asked for no correction, does not.
const FUTURE: SignedDuration = SignedDuration::from_hours(23);

/// What `PostHog-Sdk-Info` says; PostHog puts it over `$lib` and `$lib_version` of each event.
pub(crate) const LIBRARY: (&str, &str) = ("moehog", env!("CARGO_PKG_VERSION"));

/// The finished event as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Classic<'a> {
    #[serde(borrow)]
    uuid: &'a RawValue,
    event: &'a RawValue,
    distinct_id: &'a RawValue,
    timestamp: &'a RawValue,
    properties: &'a RawValue,
}

/// A property, its value as written.
type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// Of each event what v1 is sent; nothing for one that v1 would read otherwise than classic does, or drop. The same event gives the
/// same bytes.
///
/// # Errors
///
/// The converting thread died.
pub(crate) async fn convert(cores: &Cores, events: &[Event]) -> io::Result<Vec<Option<Bytes>>> {
    let now = Timestamp::now();
    let sources: Vec<(Bytes, Bytes)> = events.iter().map(|event| (event.uuid.clone(), event.json.clone())).collect();
    let all = move || sources.iter().map(|(uuid, json)| convert_one(uuid, json, now)).collect();
    if events.iter().map(|event| event.json.len()).sum::<usize>() <= INLINE_BYTES {
        return Ok(all());
    }
    cores.run(all).await.map_err(io::Error::other)
}

fn convert_one(uuid: &[u8], json: &[u8], now: Timestamp) -> Option<Bytes> {
    let classic: Classic<'_> = serde_json::from_slice(json).ok()?;
    // by it the answer is read
    let own = Uuid::try_parse(&text(classic.uuid)?).ok()?;
    if own.as_bytes() != uuid || !is_plain(&text(classic.event)?) || !is_plain(&text(classic.distinct_id)?) {
        return None;
    }
    let timestamp = utc(&text(classic.timestamp)?, now)?;
    let Members(members) = serde_json::from_str(classic.properties.get()).ok()?;
    if !is_our_library(&members) {
        return None;
    }
    let mut out = Vec::with_capacity(json.len() + 64);
    for (name, value) in [("{\"event\":", classic.event), (",\"uuid\":", classic.uuid)] {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value.get().as_bytes());
    }
    out.extend_from_slice(b",\"distinct_id\":");
    out.extend_from_slice(classic.distinct_id.get().as_bytes());
    out.extend_from_slice(format!(",\"timestamp\":\"{timestamp}\"").as_bytes());
    let lifted = lift(&members)?;
    for (name, value) in lifted.of(Place::Root) {
        out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
    // PostHog would shift the time by the difference of the clocks at that attempt: a resend near midnight is another event
    out.extend_from_slice(b",\"options\":{\"disable_skew_correction\":true");
    for (name, value) in lifted.of(Place::Options) {
        out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
    out.extend_from_slice(b"},\"properties\":");
    if lifted.0.is_empty() {
        out.extend_from_slice(classic.properties.get().as_bytes());
    } else {
        write_rest(&mut out, &members, &lifted)?;
    }
    out.push(b'}');
    Some(out.into())
}

/// Where v1 has what is a property for classic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Options,
    /// It is said of every event.
    Nowhere,
}

/// Properties that v1 has in another place: the index among the members, the place, its name there, its value.
struct Lifted<'a>(Vec<(usize, Place, &'static str, &'a str)>);

impl<'a> Lifted<'a> {
    fn of(&self, place: Place) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.0.iter().filter(move |(_, own, ..)| *own == place).map(|(_, _, name, value)| (*name, *value))
    }
}

/// Finds what v1 has in another place. Nothing where it stands there twice or is of a type that v1 reads otherwise.
fn lift<'a>(members: &[Member<'a>]) -> Option<Lifted<'a>> {
    let mut lifted = Vec::new();
    for (index, (name, value)) in members.iter().enumerate() {
        let value = value.get();
        let (place, name, fits) = match &**name {
            "$session_id" => (Place::Root, "session_id", value.starts_with('"')),
            "$window_id" => (Place::Root, "window_id", value.starts_with('"')),
            "$cookieless_mode" => (Place::Options, "cookieless_mode", is_boolean(value)),
            "$process_person_profile" => (Place::Options, "process_person_profile", is_boolean(value)),
            "$product_tour_id" => (Place::Options, "product_tour_id", value.starts_with('"')),
            "$ignore_sent_at" => (Place::Nowhere, "disable_skew_correction", value == "true"),
            _ => continue,
        };
        if !fits || lifted.iter().any(|(_, _, other, _)| *other == name) {
            return None;
        }
        lifted.push((index, place, name, value));
    }
    Some(Lifted(lifted))
}

fn write_rest(out: &mut Vec<u8>, members: &[Member<'_>], lifted: &Lifted<'_>) -> Option<()> {
    let mut separator = b'{';
    for (index, (name, value)) in members.iter().enumerate() {
        if lifted.0.iter().any(|(own, ..)| *own == index) {
            continue;
        }
        out.push(separator);
        serde_json::to_writer(&mut *out, name).ok()?;
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
        separator = b',';
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    Some(())
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// Whether v1 keeps a name or an id as classic does: nothing to trim, to cut or to replace.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.trim() == text && !text.contains('\0')
}

fn is_boolean(value: &str) -> bool {
    matches!(value, "true" | "false")
}

/// Whether an event names no library or the one that the header names. PostHog would put the latter over any other.
fn is_our_library(members: &[Member<'_>]) -> bool {
    let (library, version) = LIBRARY;
    members.iter().all(|(name, value)| match &**name {
        "$lib" => text(value).is_some_and(|own| own == library),
        "$lib_version" => text(value).is_some_and(|own| own == version),
        _ => true,
    })
}

/// The same instant in UTC, as v1's contract has it; nothing for a time that classic would replace by that of arrival, or whose form v1
/// does not read.
fn utc(text: &str, now: Timestamp) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let has = |at: usize, want: u8| bytes.get(at) == Some(&want);
    if !(has(4, b'-') && has(7, b'-') && has(10, b'T') && has(13, b':') && has(16, b':')) {
        return None;
    }
    let at: Timestamp = text.parse().ok()?;
    let is_of_four_digits = at.to_string().as_bytes().first().is_some_and(u8::is_ascii_digit);
    (is_of_four_digits && at.duration_since(now) <= FUTURE).then_some(at)
}

/// The members of an object in their order, a name that comes again too.
struct Members<'a>(Vec<Member<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<Member<'de>>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value::<&'de RawValue>()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

#[cfg(test)]
mod tests;
