//! How what the journal holds is shown.

use std::io::Read;

use base64::{Engine, engine::general_purpose::STANDARD};
use moehog_coding::Decoder;
use moehog_journal::{DeadLetter, Entry, Journal};
use moehog_proto::{
    Destination, Reason,
    event::Header,
    journal::{self, EntryHeader, EventPlace},
    limits::MAX_BODY_BYTES,
    transformer::{MappedEvent, TransformedWebhook, mapped_event::Outcome, transformed_webhook},
};
use moehog_relay::{Wait, WaitsFor};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::words::{meaning, state};

/// Most bytes of a text that are shown.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// A dead letter in a list.
#[derive(Debug, Serialize)]
pub(super) struct DeadLetterView {
    receipt: String,
    source: String,
    destination: String,
    received_at: Option<String>,
    #[serde(flatten)]
    event: EventView,
    answer: Option<AttemptView>,
}

impl DeadLetterView {
    pub(super) fn new(letter: &DeadLetter) -> Self {
        Self {
            receipt: letter.receipt.to_string(),
            source: letter.header.source.clone(),
            destination: Destination::of(&letter.header.destination).redacted(),
            received_at: time(letter.header.received_at_ms),
            event: EventView::new(&letter.event),
            answer: letter.answer.as_ref().map(AttemptView::new),
        }
    }
}

/// What became of an event.
#[derive(Debug, Serialize)]
struct EventView {
    position: u32,
    ordinal: u32,
    uuid: Option<Uuid>,
    state: &'static str,
    /// Code of why it is so.
    reason: String,
    /// Message and remedy as one sentence.
    detail: String,
    /// The member of the body, or the key of the configuration, that it is about.
    field: String,
    message: String,
    remedy: String,
    /// Where the remedy lies: `body`, `mapping`, `destination` or `moehog`; none where nothing is wrong.
    blame: Option<&'static str>,
    tried_at: Option<String>,
    attempts: u32,
    /// Receipt of the entry that has it for the destination that its rule names.
    routed_to: Option<String>,
    /// Index of the last request that held it in the entry's `attempts`.
    attempt: Option<u32>,
}

impl EventView {
    fn new(event: &journal::EventOutcome) -> Self {
        let why = event.why();
        Self {
            position: event.position,
            ordinal: event.ordinal,
            uuid: Uuid::from_slice(&event.uuid).ok(),
            state: state(event.state()),
            detail: why.sentence(),
            blame: why.blame_name(),
            reason: why.code,
            field: why.field,
            message: why.message,
            remedy: why.remedy,
            tried_at: time(event.tried_at_ms),
            attempts: event.attempts,
            routed_to: Some(event.routed_to.clone()).filter(|receipt| !receipt.is_empty()),
            attempt: event.attempt.checked_sub(1),
        }
    }
}

/// What a webhook, or an event of it, waits for.
#[derive(Debug, Serialize)]
pub(super) struct WaitView {
    /// Of the event; none where the webhook is not mapped.
    position: Option<u32>,
    ordinal: Option<u32>,
    /// `room`, `transformer`, `mapping`, `person`, `evidence`, `retry`, `destination`, `delivery`, `routing` or `journal`.
    waits_for: &'static str,
    /// In words.
    meaning: &'static str,
    /// Receipt of the webhook whose event goes first, where it waits for its person.
    behind: Option<String>,
    next_try_at: Option<String>,
}

impl WaitView {
    pub(super) fn new(wait: &Wait, journal: &dyn Journal) -> Self {
        let behind = match wait.waits_for {
            WaitsFor::Person(sequence) => Some(journal.receipt_of(sequence).to_string()),
            _ => None,
        };
        Self {
            position: wait.event.map(|(position, _)| position),
            ordinal: wait.event.map(|(_, ordinal)| ordinal),
            waits_for: wait.waits_for.word(),
            meaning: meaning(wait.waits_for),
            behind,
            next_try_at: wait.next_try_ms.and_then(time),
        }
    }
}

/// A request to PostHog and its answer.
#[derive(Debug, Serialize)]
struct AttemptView {
    started_at: Option<String>,
    duration_ms: u64,
    /// HTTP status; none where no answer came.
    status: Option<u32>,
    answer: String,
}

impl AttemptView {
    fn new(attempt: &journal::Attempt) -> Self {
        Self {
            started_at: time(attempt.started_at_ms),
            duration_ms: attempt.duration_ms,
            status: (attempt.status != 0).then_some(attempt.status),
            answer: attempt.answer.clone(),
        }
    }
}

/// A webhook, whole: what came, what is known beside it, what became of its events.
#[derive(Debug, Serialize)]
pub(super) struct EntryView {
    receipt: String,
    origin: String,
    settled: bool,
    header: HeaderView,
    body: BodyView,
    /// The body without its compression.
    decompressed: Option<TextView>,
    events: Vec<EventView>,
    /// What it waits for, or each of its events that is not final.
    waits: Vec<WaitView>,
    /// The finished events, as the mapping makes them now; none where the transformer does not answer, or died of it.
    mapped: Option<Vec<MappedView>>,
    attempts: Vec<AttemptView>,
    mapping_revision: Option<String>,
    /// The mapping that events of it may have been sent by before, where the transformer could not map by it again.
    former_revision: Option<String>,
    transform_deaths: u32,
    /// How often dead events of it were tried again because somebody asked for that.
    retries: u32,
}

#[derive(Debug, Serialize)]
struct HeaderView {
    kind: String,
    source: String,
    destination: String,
    route: String,
    content_type: String,
    content_encoding: String,
    received_at: Option<String>,
    idempotency_key: String,
    /// UUIDs of events without an id of their own are made from it.
    is_keyed: bool,
    method: String,
    /// As it came, without secrets.
    query: String,
    /// Those that the source keeps.
    headers: Vec<KeptHeader>,
    trace_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct KeptHeader {
    name: String,
    value: String,
}

impl KeptHeader {
    fn new(header: &Header) -> Self {
        Self { name: header.name.clone(), value: header.value.clone() }
    }
}

impl HeaderView {
    fn new(header: &EntryHeader) -> Self {
        Self {
            kind: header.kind().as_str_name().trim_start_matches("KIND_").to_ascii_lowercase(),
            source: header.source.clone(),
            destination: Destination::of(&header.destination).redacted(),
            route: header.route.clone(),
            content_type: header.content_type.clone(),
            content_encoding: header.content_encoding.clone(),
            received_at: time(header.received_at_ms),
            idempotency_key: header.idempotency_key.clone(),
            is_keyed: header.keyed && !header.idempotency_key.is_empty(),
            method: if header.method.is_empty() { "POST".to_string() } else { header.method.clone() },
            query: header.query.clone(),
            headers: header.headers.iter().map(KeptHeader::new).collect(),
            trace_id: header.trace.as_ref().map(moehog_proto::event::TraceContext::trace_id_text),
        }
    }
}

/// Bytes as they came.
#[derive(Debug, Serialize)]
struct BodyView {
    bytes: usize,
    base64: String,
    #[serde(flatten)]
    text: Option<TextView>,
}

/// Bytes as text, where they are text.
#[derive(Debug, Serialize)]
struct TextView {
    text: Option<String>,
    /// There is more than is shown.
    cut: bool,
}

impl TextView {
    fn new(bytes: &[u8]) -> Self {
        let cut = bytes.len() > MAX_TEXT_BYTES;
        let shown = &bytes[..bytes.len().min(MAX_TEXT_BYTES)];
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // the cut may fall into a character
            Err(error) if cut && error.error_len().is_none() => std::str::from_utf8(&shown[..error.valid_up_to()]).ok(),
            Err(_) => None,
        };
        Self { text: text.map(ToString::to_string), cut }
    }
}

impl EntryView {
    pub(super) fn new(entry: &Entry, mapped: Option<TransformedWebhook>, waits: Vec<WaitView>) -> Self {
        let (progress, origin) = (entry.progress.clone().unwrap_or_default(), entry.origin());
        Self {
            receipt: entry.receipt.to_string(),
            origin: if origin.shown.is_empty() { origin.receipt } else { origin.shown },
            settled: entry.settled,
            header: HeaderView::new(&entry.header),
            body: BodyView {
                bytes: entry.body.len(),
                base64: STANDARD.encode(&entry.body),
                text: Some(TextView::new(&entry.body)),
            },
            decompressed: decompressed(&entry.header.content_encoding, &entry.body),
            events: progress.events.iter().map(EventView::new).collect(),
            waits,
            mapped: mapped.map(|webhook| {
                let routed = &entry.header.routed;
                let mut mapped = MappedView::all(webhook);
                mapped.retain(|event| routed.is_empty() || routed.iter().any(|place| event.is_at(*place)));
                mapped
            }),
            attempts: progress.attempts.iter().map(AttemptView::new).collect(),
            mapping_revision: Some(progress.mapping_revision).filter(|revision| !revision.is_empty()),
            former_revision: Some(progress.former_revision).filter(|revision| !revision.is_empty()),
            transform_deaths: progress.transform_deaths,
            retries: progress.retries,
        }
    }
}

/// One event as the mapping makes it.
#[derive(Debug, Serialize)]
struct MappedView {
    position: u32,
    ordinal: u32,
    /// What PostHog is sent.
    event: Option<Box<RawValue>>,
    /// The destination that its rule names.
    destination: Option<String>,
    /// Why there is none.
    reason: Option<String>,
}

impl MappedView {
    fn all(webhook: TransformedWebhook) -> Vec<Self> {
        match webhook.result {
            Some(transformed_webhook::Result::Mapped(mapped)) => mapped.events.into_iter().map(Self::new).collect(),
            Some(transformed_webhook::Result::Rejection(rejection)) => {
                vec![Self {
                    position: 0,
                    ordinal: 0,
                    event: None,
                    destination: None,
                    reason: Some(Reason::from(rejection).to_string()),
                }]
            }
            None => Vec::new(),
        }
    }

    fn is_at(&self, place: EventPlace) -> bool {
        (self.position, self.ordinal) == (place.position, place.ordinal)
    }

    fn new(mapped: MappedEvent) -> Self {
        let mut destination = None;
        let (event, reason) = match mapped.outcome {
            Some(Outcome::Event(event)) => {
                destination = Some(event.destination).filter(|name| !name.is_empty());
                (serde_json::from_slice(&event.json).ok(), None)
            }
            Some(Outcome::Filtered(why)) => (None, Some(format!("filtered: {why}"))),
            Some(Outcome::Duplicate(_)) => (None, Some("duplicate: same PostHog key earlier in this webhook".into())),
            Some(Outcome::Dead(rejection)) => (None, Some(Reason::from(rejection).to_string())),
            None => (None, None),
        };
        Self { position: mapped.position, ordinal: mapped.ordinal, event, destination, reason }
    }
}

/// The beginning of a compressed body's content; what can be read of a damaged one.
fn decompressed(content_encoding: &str, body: &[u8]) -> Option<TextView> {
    let mut output = Vec::new();
    let decoder = Decoder::new(content_encoding, body, MAX_BODY_BYTES);
    let is_plain = decoder.codings().is_empty();
    if !is_plain {
        // an error is the end of what can be read
        let _whole = decoder.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut output);
    }
    (!is_plain && !output.is_empty()).then(|| TextView::new(&output))
}

/// RFC 3339; none for zero.
pub(super) fn time(ms: i64) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(ms).ok()?;
    (ms != 0).then(|| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let text = format!("a{}", "é".repeat(MAX_TEXT_BYTES));
        let view = TextView::new(text.as_bytes());
        assert!(
            view.cut && view.text.is_some_and(|shown| text.starts_with(&shown) && shown.len() == MAX_TEXT_BYTES - 1)
        );
        assert_eq!(TextView::new(b"\xff").text, None);
    }

    #[test]
    fn times_are_shown_to_the_millisecond() {
        assert_eq!(time(1_700_000_000_000).as_deref(), Some("2023-11-14T22:13:20.000Z"));
        assert_eq!(time(0), None);
    }
}
