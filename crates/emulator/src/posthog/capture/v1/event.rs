//! One event of a v1 batch, as PostHog reads and keeps it.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

use super::Context;
use crate::posthog::{
    StoredEvent,
    event::{RawEvent, normalise},
    state::State,
};

/// Longest event name and distinct_id, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// Later than this from now is taken as a wrong clock, unless the event asks for no correction.
const FUTURE: SignedDuration = SignedDuration::from_hours(23);
/// Nobody's name: such an event is taken and makes no person.
const ILLEGAL: [&str; 20] = [
    "0",
    "00000000-0000-0000-0000-000000000000",
    "[object object]",
    "anonymous",
    "anonymous-user",
    "backend",
    "distinct_id",
    "distinctid",
    "email",
    "false",
    "guest",
    "id",
    "nan",
    "none",
    "not_authenticated",
    "null",
    "system",
    "true",
    "undefined",
    "user",
];

/// The fields that are read; every other one is discarded, `$set` and `$set_once` among them. A wrong type of one refuses
/// the whole batch.
#[derive(Debug, Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    pub(super) uuid: Cow<'a, str>,
    distinct_id: Cow<'a, str>,
    timestamp: Cow<'a, str>,
    session_id: Option<String>,
    window_id: Option<String>,
    #[serde(default)]
    options: Map<String, Value>,
    properties: Option<&'a RawValue>,
}

/// Options that were understood, by the property that each becomes.
struct Options(Vec<(&'static str, Value)>);

impl Item<'_> {
    fn distinct_id(&self) -> &str {
        self.distinct_id.trim()
    }

    fn properties(&self) -> &str {
        self.properties.map_or("{}", RawValue::get)
    }

    /// Why it is dropped, and only it.
    pub(super) fn drop_reason(&self) -> Option<&'static str> {
        let reason = match (self.event.as_ref(), self.distinct_id()) {
            ("$performance_event", _) => "dropped_performance_event",
            ("", _) => "missing_event_name",
            (name, _) if name.len() > MAX_NAME_BYTES => "event_name_too_long",
            (_, "") => "missing_distinct_id",
            (_, id) if id.len() > MAX_NAME_BYTES => "distinct_id_too_large",
            _ if !is_rfc3339(&self.timestamp) => "invalid_event_timestamp",
            _ if !self.properties().starts_with('{') => "malformed_event_properties",
            _ if self.options().is_none() => "invalid_options",
            _ => return None,
        };
        Some(reason)
    }

    /// Nothing where one has a value that cannot be read.
    fn options(&self) -> Option<Options> {
        let mut read = Vec::new();
        for (name, property) in [
            ("cookieless_mode", "$cookieless_mode"),
            ("disable_skew_correction", "$ignore_sent_at"),
            ("product_tour_id", "$product_tour_id"),
            ("process_person_profile", "$process_person_profile"),
        ] {
            let value = match self.options.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) if name == "product_tour_id" => text.clone().into(),
                Some(Value::Number(number)) if name == "product_tour_id" => number.to_string().into(),
                Some(value) => as_bool(value)?.into(),
            };
            read.push((property, value));
        }
        Some(Options(read))
    }

    /// What is stored of it. The error says why the sink does not take it.
    pub(super) fn stored(
        &self,
        context: &Context,
        uuid: Uuid,
        (state, request): (&State, u64),
        (historical, peer): (bool, &str),
    ) -> Result<(StoredEvent, Map<String, Value>), &'static str> {
        let Some(Options(options)) = self.options() else { return Err("invalid_options") };
        let own: Timestamp = self.timestamp.parse().map_err(|_| "invalid_event_timestamp")?;
        let is_uncorrected = options.contains(&("$ignore_sent_at", Value::Bool(true)));
        let corrected = own.checked_sub(context.skew).unwrap_or(own);
        let timestamp = match corrected.duration_since(context.now) {
            _ if is_uncorrected => own,
            ahead if ahead > FUTURE => context.now,
            _ => corrected,
        };
        let mut properties: Map<String, Value> =
            serde_json::from_str(self.properties()).map_err(|_| "serialization_failed")?;
        let session = [("$session_id", &self.session_id), ("$window_id", &self.window_id)];
        let session = session.into_iter().filter_map(|(name, id)| Some((name, Value::from(id.clone()?))));
        let library = context.library.iter().flat_map(|(name, version)| {
            [("$lib", Value::from(name.as_str())), ("$lib_version", Value::from(version.as_str()))]
        });
        properties.extend(session.chain(options).chain(library).map(|(name, value)| (name.to_string(), value)));
        let raw = RawEvent {
            token: None,
            distinct_id: Some(self.distinct_id().into()),
            uuid: Some(uuid.to_string()),
            event: Some(self.event.to_string()),
            properties,
            timestamp: Some(self.timestamp.to_string()),
            offset: None,
            set: None,
            set_once: None,
        };
        if raw.record_bytes(state.config.release) > state.config.max_event_bytes {
            return Err("event_too_big");
        }
        let event = StoredEvent {
            request,
            arrived_at: context.now,
            key: context.key.as_str().into(),
            event: self.event.to_string(),
            distinct_id: self.distinct_id().to_string(),
            uuid,
            has_own_uuid: true,
            timestamp,
            historical,
            is_copy: false,
            sender_ip: peer.to_string(),
            raw: serde_json::to_vec(&raw).unwrap_or_default().into(),
        };
        Ok((event, normalise(raw)))
    }
}

/// Whether an event is taken and makes no person.
pub(super) fn is_illegal(item: &Item<'_>) -> bool {
    ILLEGAL.iter().any(|id| item.distinct_id().eq_ignore_ascii_case(id))
}

/// A date, a time and an offset, and nothing looser.
pub(super) fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let has = |at: usize, want: &[u8]| bytes.get(at).is_some_and(|byte| want.contains(byte));
    let shaped = has(4, b"-") && has(7, b"-") && has(10, b"Tt ") && has(13, b":") && has(16, b":");
    let zoned =
        text.ends_with(['Z', 'z']) || bytes.len() > 24 && has(bytes.len() - 6, b"+-") && has(bytes.len() - 3, b":");
    shaped && zoned && text.parse::<Timestamp>().is_ok()
}

fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => Some(number.as_f64()? != 0.0),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
