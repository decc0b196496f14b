//! The v1 endpoint: a key in a header, and an answer for each event.
//!
//! Source: PostHog/posthog, rust/capture/src/v1 (context.rs @0deb9c9c, error.rs @5a75b3c0, analytics/process.rs @01cfdef4,
//! analytics/response.rs @0d02edcd, quota_limiter_shim.rs @000798bf; read 2026-12).

mod event;

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    io::Read,
};

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use uuid::Uuid;

use self::event::Item;
use super::{Case, Verdict, fate, sight};
use crate::posthog::{Store, answer::Answer, refusal::Refusal, state::State};

/// Where it is.
pub(crate) const ROUTE: &str = "/i/v1/analytics/events";
/// Largest body on the wire, and once decompressed.
const MAX_BODY_BYTES: usize = 10 << 20;
const MAX_DECODED_BYTES: usize = 50 << 20;
/// `Retry-After`, in seconds, where an event or the request is to be sent again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const REQUEST_ID: HeaderName = HeaderName::from_static("posthog-request-id");
const REQUIRED: [&str; 6] = [
    "content-type",
    "user-agent",
    "posthog-sdk-info",
    "posthog-attempt",
    "posthog-request-id",
    "posthog-request-timestamp",
];

/// What the answer says of one event.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) uuid: Uuid,
    /// `ok`, `warning`, `drop`, `retry`, or what a rule says.
    pub(super) result: String,
    pub(super) details: Option<String>,
}

impl Entry {
    fn is_taken(&self) -> bool {
        matches!(self.result.as_str(), "ok" | "warning")
    }
}

/// What the headers say.
struct Context {
    key: String,
    /// How far the sender's clock is ahead.
    skew: jiff::SignedDuration,
    now: Timestamp,
    /// `$lib` and `$lib_version`, which win over those of the events.
    library: Option<(String, String)>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    created_at: String,
    #[serde(default)]
    historical_migration: bool,
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
}

pub(super) fn judge(
    state: &State,
    head: &request::Parts,
    wire: &Bytes,
    peer: &str,
    case: &mut Case,
) -> Result<Verdict, Refusal> {
    let context = Context::of(&head.headers)?;
    case.key = Some(context.key.clone());
    let body = decode(wire, &head.headers)?;
    case.body = body.clone();
    let text = std::str::from_utf8(&body).map_err(|error| Refusal::Parse(error.to_string()))?;
    let parse = |error: serde_json::Error| Refusal::Parse(error.to_string());
    let batch: Batch<'_> = serde_json::from_str(text).map_err(parse)?;
    let items: Vec<Item<'_>> =
        batch.batch.iter().map(|raw| serde_json::from_str(raw.get())).collect::<Result<_, _>>().map_err(parse)?;
    case.events = items.len();
    if items.is_empty() {
        return Err(refuse(400, "empty_batch", "request batch is empty"));
    }
    if !event::is_rfc3339(&batch.created_at) {
        let message = format!("invalid batch: created_at is not valid RFC 3339: {}", batch.created_at);
        return Err(refuse(400, "invalid_batch", message));
    }
    let uuids = uuids(&items)?;
    let drops: Vec<Option<&'static str>> = items.iter().map(Item::drop_reason).collect();
    let mut verdict = Verdict { key: context.key.as_str().into(), ..Verdict::default() };
    let mut entries = Vec::with_capacity(items.len());
    if drops.iter().any(Option::is_none) {
        match fate(state, &context.key)? {
            Some("quota_limited") => return Err(refuse(402, "billing_limit_exceeded", "Billing quota exceeded.")),
            dropped => verdict.dropped = dropped,
        }
    }
    for ((item, uuid), drop) in items.iter().zip(uuids).zip(drops) {
        let stored = match drop {
            Some(reason) => Err(reason),
            None => item.stored(&context, uuid, (state, case.number), (batch.historical_migration, peer)),
        };
        let (result, details) = match stored {
            Ok(event) => {
                verdict.events.push(event);
                ("ok", event::is_illegal(item).then_some("person_processing_disabled"))
            }
            Err(reason) => {
                *verdict.refused.entry(reason).or_default() += 1;
                ("drop", Some(reason))
            }
        };
        entries.push(Entry { uuid, result: result.to_string(), details: details.map(str::to_string) });
    }
    if state.faults.need_events() {
        let sights: Vec<_> = verdict.events.iter().map(|(event, _)| sight(event)).collect();
        state.faults.at_events(ROUTE, &verdict.key, &sights, &mut case.plan);
    }
    verdict.results = Some(entries);
    if state.config.store == Store::Counts {
        let events = std::mem::take(&mut verdict.events);
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let counted = events.into_iter().map(|(event, _)| (event.event.clone(), hasher.hash_one(event.dedup_key())));
        verdict.counted = counted.collect();
    }
    Ok(verdict)
}

/// The events' UUIDs. One that is none, or that stands there twice, refuses all of them.
fn uuids(items: &[Item<'_>]) -> Result<Vec<Uuid>, Refusal> {
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(items.len());
    for text in items.iter().map(|item| item.uuid.trim()) {
        if text.is_empty() {
            return Err(refuse(400, "missing_event_uuid", "event submitted without a uuid"));
        }
        let invalid = |_| refuse(400, "invalid_event_uuid", format!("invalid event uuid: {text}"));
        let uuid = Uuid::parse_str(text).map_err(invalid)?;
        if !seen.insert(uuid) {
            return Err(refuse(400, "duplicate_event_uuid", format!("duplicate event uuid: {text}")));
        }
        all.push(uuid);
    }
    Ok(all)
}

impl Context {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let invalid = |message: &str| refuse(400, "invalid_header_value", format!("invalid header value: {message}"));
        if !headers.contains_key(header::AUTHORIZATION) {
            return Err(refuse(401, "missing_authorization", "Authorization header is missing"));
        }
        let missing: Vec<_> = REQUIRED.iter().filter(|name| !headers.contains_key(**name)).collect();
        if !missing.is_empty() {
            let message = format!("request is missing required headers: {missing:?}");
            return Err(refuse(400, "missing_required_headers", message));
        }
        let (scheme, key) = text("authorization").split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(invalid("Authorization must use Bearer scheme"));
        }
        crate::posthog::request::check_key(key.trim())?;
        let media = text("content-type").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media != "application/json" {
            return Err(refuse(415, "unsupported_content_type", format!("unsupported content type: {media}")));
        }
        Uuid::parse_str(text("posthog-request-id")).map_err(|_| invalid("posthog-request-id is not a valid UUID"))?;
        if !text("posthog-attempt").parse::<u32>().is_ok_and(|attempt| attempt > 0) {
            return Err(invalid("posthog-attempt must be a positive integer"));
        }
        let sent_at = text("posthog-request-timestamp");
        let sent_at: Timestamp = sent_at.parse().map_err(|_| invalid("posthog-request-timestamp is not RFC 3339"))?;
        let now = Timestamp::now();
        let library = text("posthog-sdk-info").rsplit_once('/').map(|(name, version)| (name.trim(), version.trim()));
        let library = library.filter(|(name, version)| !name.is_empty() && !version.is_empty());
        let library = library.map(|(name, version)| (name.to_string(), version.to_string()));
        Ok(Self { key: key.trim().to_string(), skew: sent_at.duration_since(now), now, library })
    }
}

/// The JSON of a body. PostHog names what it is compressed with in a header, and takes nothing else.
fn decode(wire: &Bytes, headers: &HeaderMap) -> Result<Bytes, Refusal> {
    if wire.is_empty() {
        return Err(refuse(400, "empty_body", "request body is empty"));
    }
    if wire.len() > MAX_BODY_BYTES {
        return Err(Refusal::BodyTooLarge);
    }
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or_default());
    let mut json = Vec::new();
    let limit = MAX_DECODED_BYTES as u64 + 1;
    let read = match encoding.map(str::to_ascii_lowercase).as_deref() {
        None => return Ok(wire.clone()),
        Some("gzip") => GzDecoder::new(&wire[..]).take(limit).read_to_end(&mut json),
        Some("deflate") => ZlibDecoder::new(&wire[..]).take(limit).read_to_end(&mut json),
        Some("br") => brotli_decompressor::Decompressor::new(&wire[..], 4096).take(limit).read_to_end(&mut json),
        Some("zstd") => match ruzstd::decoding::StreamingDecoder::new(&wire[..]) {
            Ok(decoder) => decoder.take(limit).read_to_end(&mut json),
            Err(error) => return Err(Refusal::Decode(error.to_string())),
        },
        Some(other) => {
            return Err(refuse(415, "unsupported_encoding", format!("unsupported content encoding: {other}")));
        }
    };
    read.map_err(|error| Refusal::Decode(error.to_string()))?;
    if json.len() > MAX_DECODED_BYTES { Err(Refusal::BodyTooLarge) } else { Ok(json.into()) }
}

fn refuse(status: u16, tag: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::V1 { status: StatusCode::from_u16(status).unwrap_or_default(), tag, message: message.into() }
}

/// Says of the events what a rule says, `result` or `result:details`, in their order and from the first again.
pub(super) fn script(verdict: &mut Verdict, said: &[String]) {
    let Some(entries) = &mut verdict.results else { return };
    let mut refused = BTreeMap::new();
    for (entry, said) in entries.iter_mut().zip(said.iter().cycle()) {
        let (result, details) = said.split_once(':').map_or((said.as_str(), None), |(word, why)| (word, Some(why)));
        (entry.result, entry.details) = (result.to_string(), details.map(str::to_string));
        if result == "drop" {
            *refused.entry("scripted").or_default() += 1;
        }
    }
    verdict.refused = refused;
    let taken: HashSet<Uuid> = entries.iter().filter(|entry| entry.is_taken()).map(|entry| entry.uuid).collect();
    verdict.events.retain(|(event, _)| taken.contains(&event.uuid));
}

/// The answer to a batch that was judged.
pub(super) fn results(entries: &[Entry], headers: &HeaderMap) -> Answer {
    let one = |entry: &Entry| match &entry.details {
        Some(details) => json!({"result": entry.result, "details": details}),
        None => json!({"result": entry.result}),
    };
    let results: Map<String, Value> =
        entries.iter().map(|entry| (entry.uuid.hyphenated().to_string(), one(entry))).collect();
    let answer = echo(Answer::json(StatusCode::OK, json!({ "results": results }).to_string()), headers);
    if entries.iter().any(|entry| entry.result == "retry") {
        return answer.with(header::RETRY_AFTER, RETRY_AFTER);
    }
    answer
}

/// The answer to a request that was refused as a whole.
pub(super) fn refused(refusal: &Refusal, headers: &HeaderMap) -> Answer {
    let (tag, message) = match refusal {
        Refusal::V1 { tag, message, .. } => (*tag, message.clone()),
        Refusal::Decode(_) => ("request_decoding_error", "Failed to decode request body.".to_string()),
        Refusal::Parse(_) => ("request_parsing_error", "Failed to parse request body.".to_string()),
        Refusal::Key(_) => ("invalid_api_token", "The provided API token is not valid.".to_string()),
        Refusal::BodyTooLarge => ("payload_too_large", "payload too large".to_string()),
        Refusal::Stalled => ("body_read_timeout", "body read stalled".to_string()),
        other => ("request_parsing_error", other.to_string()),
    };
    let uri = if tag == "billing_limit_exceeded" { "docs/billing/limits" } else { "docs/api" };
    let body = json!({"error": tag, "error_description": message, "error_uri": format!("https://posthog.com/{uri}")});
    let answer = echo(Answer::json(refusal.status(), body.to_string()), headers);
    if matches!(refusal, Refusal::Stalled) { answer.with(header::RETRY_AFTER, RETRY_AFTER) } else { answer }
}

fn echo(answer: Answer, headers: &HeaderMap) -> Answer {
    match headers.get(REQUEST_ID) {
        Some(id) => answer.with(REQUEST_ID, id.clone()),
        None => answer,
    }
}
