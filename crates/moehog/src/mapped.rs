//! What a transformer makes of one body, event by event: what `preview` shows and `test` compares.

use std::collections::BTreeMap;

use moehog_proto::{
    Reason,
    event::Header,
    transformer::{Rejection, Webhook, mapped_event::Outcome, transformed_webhook},
};
use moehog_transformer::{Notes, Transformer, unpacked};
use serde_json::{Value, json, value::RawValue};

/// A body, and how it would come.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) body: &'a [u8],
    /// As in /v1/in/NAME; `capture` for the capture paths.
    pub(crate) source: &'a str,
    pub(crate) content_type: &'a str,
    /// Milliseconds since the epoch.
    pub(crate) received_at_ms: i64,
    /// What stands behind `?` in the address; with an empty body it is a GET's.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a [(String, String)],
}

impl<'a> Sent<'a> {
    /// A body of which nothing more is said.
    pub(crate) fn of(body: &'a [u8], received_at_ms: i64) -> Self {
        Self { body, source: "default", content_type: "", received_at_ms, query: "", headers: &[] }
    }
}

/// What becomes of one event.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// The event as it stands in the body; empty where the body was mended or its events stand in no list.
    pub(crate) raw: String,
    /// The destination that its rule names.
    pub(crate) destination: Option<String>,
    /// The event as PostHog gets it, as JSON, or why it does not.
    pub(crate) outcome: Result<String, Unsent>,
}

/// Why PostHog does not get an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsent {
    /// `filtered`, `duplicate`, or the code of a dead letter's reason.
    pub(crate) code: String,
    /// What a dead letter's reason is about; empty where that is no field.
    pub(crate) field: String,
    pub(crate) sentence: String,
}

impl Mapped {
    /// Whether it would be a dead letter: what a rule leaves out and what stands there twice is none.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(&self.outcome, Err(unsent) if !["filtered", "duplicate"].contains(&unsent.code.as_str()))
    }

    /// As `preview --json` prints it.
    pub(crate) fn json(&self) -> Value {
        let parsed = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        match &self.outcome {
            Ok(event) => json!({"raw": parsed(&self.raw), "event": parsed(event), "destination": self.destination}),
            Err(Unsent { code, sentence, .. }) => {
                json!({"raw": parsed(&self.raw), "reason": code, "detail": sentence})
            }
        }
    }
}

/// Maps a body; what was noted beyond what the events say of themselves is in the notes.
pub(crate) fn map(transformer: &Transformer, sent: &Sent<'_>) -> (Vec<Mapped>, Notes) {
    let (transformed, notes) = transformer.transform_counted(&webhook(sent));
    let body = unpacked(sent.body);
    let text = match String::from_utf8_lossy(&body) {
        text if text.is_empty() => sent.query.into(),
        text => text,
    };
    let mapped = match transformed.result {
        Some(transformed_webhook::Result::Mapped(mapped)) => {
            let raw = events(&text);
            let outcomes =
                mapped.events.into_iter().filter_map(|event| Some((event.position as usize, event.outcome?)));
            outcomes.map(|(at, outcome)| one(raw.get(at).copied().unwrap_or_default(), outcome)).collect()
        }
        Some(transformed_webhook::Result::Rejection(why)) => {
            vec![Mapped { raw: text.into_owned(), destination: None, outcome: Err(dead(why)) }]
        }
        None => Vec::new(),
    };
    (mapped, notes)
}

fn webhook(sent: &Sent<'_>) -> Webhook {
    let is_capture = sent.source == "capture";
    let key = is_capture.then(|| serde_json::from_slice::<Value>(sent.body).ok()).flatten();
    let key = key.and_then(|body| Some(body.get("api_key").or(body.get("token"))?.as_str()?.to_string()));
    Webhook {
        receipt: "preview".to_string(),
        received_at_ms: sent.received_at_ms,
        source: sent.source.to_string(),
        route: if is_capture { "capture" } else { "in" }.to_string(),
        content_type: sent.content_type.to_string(),
        api_key: key.unwrap_or_default(),
        method: if sent.body.is_empty() && !sent.query.is_empty() { "GET".to_string() } else { String::new() },
        query: sent.query.to_string(),
        headers: sent.headers.iter().map(|(name, value)| Header { name: name.clone(), value: value.clone() }).collect(),
        body: sent.body.to_vec().into(),
        ..Webhook::default()
    }
}

fn one(raw: &str, outcome: Outcome) -> Mapped {
    let destination = match &outcome {
        Outcome::Event(event) => Some(event.destination.clone()).filter(|name| !name.is_empty()),
        _ => None,
    };
    let unsent = |code: &str, sentence: String| Err(Unsent { code: code.to_string(), field: String::new(), sentence });
    let outcome = match outcome {
        Outcome::Event(event) => Ok(String::from_utf8_lossy(&event.json).into_owned()),
        Outcome::Dead(why) => Err(dead(why)),
        Outcome::Filtered(by) => unsent("filtered", format!("left out by {by}")),
        Outcome::Duplicate(_) => {
            unsent("duplicate", "an earlier event of this body is the same to PostHog".to_string())
        }
    };
    Mapped { raw: raw.to_string(), destination, outcome }
}

fn dead(rejection: Rejection) -> Unsent {
    let why = Reason::from(rejection);
    Unsent { code: why.code.clone(), sentence: why.sentence(), field: why.field }
}

/// The elements of a list.
fn list(raw: &RawValue) -> Option<Vec<&str>> {
    let events = serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok()?;
    Some(events.into_iter().map(RawValue::get).collect())
}

/// The events of a body as they stand in it, by their position.
fn events(text: &str) -> Vec<&str> {
    if let Ok(whole) = serde_json::from_str::<&RawValue>(text) {
        if let Some(events) = list(whole) {
            return events;
        }
        let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(text).unwrap_or_default();
        let events = ["events", "batch"].iter().find_map(|name| list(members.get(*name).copied()?));
        return events.unwrap_or_else(|| vec![text]);
    }
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() > 1 && lines.iter().any(|line| serde_json::from_str::<&RawValue>(line).is_ok()) {
        return lines;
    }
    vec![text]
}
