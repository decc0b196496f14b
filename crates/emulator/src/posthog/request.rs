//! A body's shape: one event, an array of events, or a batch.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::posthog::{Release, event::RawEvent, refusal::Refusal};

/// A request taken apart, before its key and its events are judged.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) key: String,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) historical: bool,
    pub(crate) sent_at: Option<String>,
}

/// One event with its bytes.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) raw: Bytes,
    pub(crate) event: RawEvent,
    pub(crate) uuid: Option<Uuid>,
}

/// A batch has a key of its own: those of its events do not count.
#[derive(Deserialize)]
struct Envelope<'a> {
    // the first that is missed where it is no batch
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
    #[serde(alias = "api_key")]
    token: String,
    historical_migration: Option<bool>,
    sent_at: Option<String>,
}

/// Takes a body apart. One wrong type anywhere refuses all of it.
pub(crate) fn parse(body: &Bytes, is_engage: bool, release: Release) -> Result<Parsed, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::Decode(error.to_string()))?;
    let piece = |raw: &str| -> Result<Piece, String> {
        let mut event: RawEvent = serde_json::from_str(raw).map_err(|error| error.to_string())?;
        if event.event.is_none() && is_engage {
            event.event = Some("$identify".into());
        }
        if event.event.is_none() {
            return Err("missing field `event`".into());
        }
        let uuid = match event.uuid.as_deref() {
            None => None,
            Some("") if release == Release::Current => None,
            Some(text) => Some(Uuid::parse_str(text).map_err(|error| error.to_string())?),
        };
        Ok(Piece { raw: body.slice_ref(raw.as_bytes()), event, uuid })
    };
    // PostHog's words name no field: it tries each shape in turn
    let refused = |cause: String| {
        tracing::debug!(cause, "request refused");
        Refusal::Parse("data did not match any variant of untagged enum RawRequest".into())
    };
    match text.trim_start().as_bytes().first() {
        Some(b'[') => {
            let raws: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
            let pieces: Vec<_> = raws.iter().map(|raw| piece(raw.get())).collect::<Result<_, _>>().map_err(refused)?;
            let key = one_key(&pieces)?;
            Ok(Parsed { key, pieces, historical: false, sent_at: None })
        }
        Some(b'{') => match serde_json::from_str::<Envelope<'_>>(text) {
            Ok(envelope) => {
                let pieces: Vec<_> =
                    envelope.batch.iter().map(|raw| piece(raw.get())).collect::<Result<_, _>>().map_err(refused)?;
                let historical = envelope.historical_migration.unwrap_or_default();
                Ok(Parsed { key: envelope.token, pieces, historical, sent_at: envelope.sent_at })
            }
            Err(not_a_batch) => {
                let own = piece(text.trim()).map_err(|not_an_event| match release {
                    Release::Current if !not_a_batch.to_string().starts_with("missing field `batch`") => {
                        refused(format!("{not_a_batch}; {not_an_event}"))
                    }
                    // whatever is wrong with it: PostHog/posthog#35684
                    Release::Current => Refusal::Parse("non-engage request missing event name attribute".into()),
                    Release::Mid2024 => refused(not_an_event),
                })?;
                let key = own.event.key().ok_or(Refusal::NoKey)?.to_owned();
                Ok(Parsed { key, pieces: vec![own], historical: false, sent_at: None })
            }
        },
        _ => Err(refused("neither an object nor an array".into())),
    }
}

/// The key that all events carry which carry one.
fn one_key(pieces: &[Piece]) -> Result<String, Refusal> {
    let mut keys = pieces.iter().filter_map(|piece| piece.event.key());
    let first = keys.next().ok_or(Refusal::NoKey)?;
    if keys.any(|key| key != first) { Err(Refusal::Keys) } else { Ok(first.to_owned()) }
}

/// Whether a key has the shape of a project key. That it has says nothing about whether anyone owns it.
pub(crate) fn check_key(key: &str) -> Result<(), Refusal> {
    let wrong = if key.is_empty() {
        "empty"
    } else if key.len() > 64 {
        "too_long"
    } else if !key.is_ascii() {
        "not_ascii"
    } else if key.starts_with("phx_") {
        "personal_api_key"
    } else {
        return Ok(());
    };
    Err(Refusal::Key(wrong))
}
