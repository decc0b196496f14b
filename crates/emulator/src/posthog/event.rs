//! One event, as PostHog reads and keeps it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    posthog::{Release, refusal::Refusal},
    terminal::shown,
};

/// The fields that capture reads; every other one is discarded without a word.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct RawEvent {
    #[serde(alias = "$token", alias = "api_key", skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    #[serde(alias = "$distinct_id", skip_serializing_if = "Option::is_none")]
    pub(crate) distinct_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uuid: Option<String>,
    pub(crate) event: Option<String>,
    #[serde(default)]
    pub(crate) properties: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<i64>,
    #[serde(rename = "$set", skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<Map<String, Value>>,
    #[serde(rename = "$set_once", skip_serializing_if = "Option::is_none")]
    pub(crate) set_once: Option<Map<String, Value>>,
}

impl RawEvent {
    /// The project key that the event itself carries.
    pub(crate) fn key(&self) -> Option<&str> {
        self.token.as_deref().or_else(|| self.properties.get("token").and_then(Value::as_str))
    }

    /// Whom the event is about, made text and cut as PostHog does.
    pub(crate) fn distinct_id(&self) -> Result<String, Refusal> {
        let said = match (&self.distinct_id, self.properties.get("distinct_id")) {
            (Some(Value::Null) | None, other) => other.unwrap_or(&Value::Null),
            (Some(own), _) => own,
        };
        let text = match said {
            Value::Null => return Err(Refusal::NoDistinctId),
            Value::String(text) => text.replace('\0', "\u{fffd}"),
            other => other.to_string(),
        };
        if text.trim().is_empty() {
            return Err(Refusal::NoDistinctId);
        }
        Ok(match text.char_indices().nth(200) {
            Some((end, _)) => text[..end].to_owned(),
            None => text,
        })
    }

    /// Bytes of the record it becomes: its JSON, written once more as a JSON string in an envelope. Today's envelope
    /// and the headers beside it repeat the event's name.
    pub(crate) fn record_bytes(&self, release: Release) -> usize {
        const ENVELOPE: usize = 400;
        let json = serde_json::to_vec(self).unwrap_or_default();
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| escaped_bytes(*byte)).sum::<usize>();
        let name = self.event.as_deref().unwrap_or_default().as_bytes();
        let repeated = if release == Release::Current { escaped(name) + name.len() } else { 0 };
        ENVELOPE + escaped(&json) + repeated
    }
}

fn escaped_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// An event that PostHog took and stored.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The number of the request it came with; see [`Exchange::number`](crate::posthog::Exchange::number).
    pub request: u64,
    /// When it arrived.
    pub arrived_at: Timestamp,
    /// The project key.
    pub key: Arc<str>,
    /// The event's name.
    pub event: String,
    /// Whom it is about: made text, cut to 200 characters.
    pub distinct_id: String,
    /// Its UUID; PostHog made one where the sender gave none.
    pub uuid: Uuid,
    /// Whether the sender gave the UUID. Without it a second try is a second event.
    pub has_own_uuid: bool,
    /// When it happened, as stored: after skew correction, clamp and fall-backs.
    pub timestamp: Timestamp,
    /// Whether its batch said `historical_migration`.
    pub historical: bool,
    /// Whether one with its key was stored before: a query shows one of them.
    pub is_copy: bool,
    /// The sender's address, which PostHog puts into `$ip` unless the event has one.
    pub sender_ip: String,
    /// The event's bytes exactly as they stood in the (decompressed) body.
    pub raw: Bytes,
}

/// By what PostHog de-duplicates: project, UTC day, event, distinct_id, uuid.
///
/// Source: PostHog, posthog/models/event/sql.py @055f2c3c (read 2026-08).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey {
    /// The project key.
    pub key: Arc<str>,
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// The event's name.
    pub event: String,
    /// Whom it is about.
    pub distinct_id: String,
    /// Its UUID.
    pub uuid: Uuid,
}

impl StoredEvent {
    /// By what PostHog de-duplicates it.
    #[must_use]
    pub fn dedup_key(&self) -> EventKey {
        EventKey {
            key: self.key.clone(),
            day: self.timestamp.as_second().div_euclid(86_400),
            event: self.event.clone(),
            distinct_id: self.distinct_id.clone(),
            uuid: self.uuid,
        }
    }

    /// The event as it came. Large numbers are read as PostHog reads them; use `raw` to compare bytes.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap_or(Value::Null)
    }

    /// Its properties as stored: `$set` and `$set_once` moved in from the top level, `$ip` filled in.
    #[must_use]
    pub fn properties(&self) -> Map<String, Value> {
        let mut properties = match serde_json::from_slice::<RawEvent>(&self.raw) {
            Ok(raw) => normalise(raw),
            Err(_) => Map::new(),
        };
        if !properties.contains_key("$ip") {
            properties.insert("$ip".into(), self.sender_ip.clone().into());
        }
        properties
    }

    /// One property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Value> {
        self.properties().remove(name)
    }
}

/// Properties with `$set` and `$set_once` of the top level merged in; the top level wins.
pub(crate) fn normalise(raw: RawEvent) -> Map<String, Value> {
    let mut properties = raw.properties;
    for (name, top) in [("$set", raw.set), ("$set_once", raw.set_once)] {
        let Some(top) = top else { continue };
        match properties.get_mut(name) {
            Some(Value::Object(inner)) => inner.extend(top),
            _ => {
                properties.insert(name.into(), Value::Object(top));
            }
        }
    }
    properties
}

/// One readable line: `posthog stored purchase_completed  user_42  {amount: "49.9", currency: "INR"}`, with `history`
/// at its end where its batch said so, and `(stored again, collapsed)` where one with its key was there. Whatever the sender wrote, it is one line and moves no terminal.
impl fmt::Display for StoredEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 120;
        write!(f, "posthog stored {}  {}  {{", shown(&self.event), shown(&self.distinct_id))?;
        let properties = self.properties();
        let own = properties.iter().filter(|(name, _)| !name.starts_with('$') && *name != "moehog");
        let person = properties.iter().filter(|(name, _)| matches!(name.as_str(), "$set" | "$set_once" | "$unset"));
        let mut written = 0;
        for (name, value) in own.chain(person) {
            let (name, value) = (shown(name), shown(&value.to_string()));
            if written > 0 {
                f.write_str(", ")?;
            }
            if written + name.len() + value.len() > SHOWN {
                f.write_str("…")?;
                break;
            }
            write!(f, "{name}: {value}")?;
            written += name.len() + value.len() + 4;
        }
        let lane = if self.historical { "  history" } else { "" };
        let copy = if self.is_copy { "  (stored again, collapsed)" } else { "" };
        write!(f, "}}  {}{lane}{copy}", self.timestamp.to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}
