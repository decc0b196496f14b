//! From the bytes on the wire to the JSON they carry.

use std::{borrow::Cow, io::Read};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::posthog::{Config, Release, query::Query, refusal::Refusal};

/// What came of reading a body.
pub(crate) enum ReadOutcome {
    Whole(Bytes),
    TooLarge {
        drained: bool,
    },
    Stalled,
    /// The sender is gone.
    Broken,
}

/// Reads a body up to the cap. What is larger is drained up to twice the cap, so that the sender sees the 413; an older
/// server hangs up at once.
pub(crate) async fn read(mut body: Incoming, config: &Config) -> ReadOutcome {
    let cap = config.max_body_bytes;
    let drain = if config.release == Release::Current { cap.saturating_mul(2) } else { cap };
    let mut seen = 0_usize;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(config.stall, body.frame()).await {
            Err(_) => return ReadOutcome::Stalled,
            Ok(None) => break,
            Ok(Some(Err(_))) => return ReadOutcome::Broken,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen > drain {
            return ReadOutcome::TooLarge { drained: false };
        }
        if seen > cap {
            rest = BytesMut::new();
            continue;
        }
        match &first {
            None => first = Some(data),
            Some(head) => {
                if rest.is_empty() {
                    rest.reserve((body.size_hint().lower() as usize).min(cap) + head.len() + data.len());
                    rest.extend_from_slice(head);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    if seen > cap {
        return ReadOutcome::TooLarge { drained: true };
    }
    ReadOutcome::Whole(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
}

/// Reads about half of a body and no more.
pub(crate) async fn read_half(mut body: Incoming) {
    let half = body.size_hint().lower() / 2;
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, |data| data.len() as u64);
        if seen >= half {
            return;
        }
    }
}

/// The JSON that a request carries: out of a form or the query, base64 and gzip taken off.
pub(crate) fn decode(
    wire: Bytes,
    is_get: bool,
    headers: &HeaderMap,
    query: &Query<'_>,
    config: &Config,
) -> Result<Bytes, Refusal> {
    let current = config.release == Release::Current;
    if let Some(unknown) = query.get("compression").filter(|c| !matches!(&**c, "" | "gzip" | "gzip-js")) {
        return Err(Refusal::Decode(format!("unsupported compression {unknown}")));
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = text(header::CONTENT_TYPE).starts_with("application/x-www-form-urlencoded");
    let body = if is_get && wire.is_empty() {
        unbase64(&query.get("data").ok_or(Refusal::NoPayload)?)?
    } else if is_form {
        let form = std::str::from_utf8(&wire).map_err(|error| Refusal::Decode(error.to_string()))?;
        unbase64(&Query::parse(form).get("data").ok_or(Refusal::NoPayload)?)?
    } else if current && looks_like_base64(&wire) {
        unbase64(&String::from_utf8_lossy(&wire))?
    } else {
        wire
    };
    let hinted = text(header::CONTENT_ENCODING).eq_ignore_ascii_case("gzip") || query.get("compression").is_some();
    if body.starts_with(&[0x1f, 0x8b]) || (current && hinted) {
        return gunzip(&body, config.max_decoded_bytes);
    }
    if body.len() > config.max_decoded_bytes { Err(Refusal::BodyTooLarge) } else { Ok(body) }
}

fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, Refusal> {
    // the trailer says how long it is, modulo 4 GiB; a lie costs a reallocation
    let told = body.last_chunk::<4>().map_or(0, |tail| u32::from_le_bytes(*tail) as usize);
    let mut json = Vec::with_capacity(told.min(body.len().saturating_mul(40)).min(limit));
    // of several members PostHog reads the first, and of what stands behind one nothing
    GzDecoder::new(body)
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut json)
        .map_err(|error| Refusal::Decode(format!("invalid gzip data: {error}")))?;
    if json.len() > limit { Err(Refusal::BodyTooLarge) } else { Ok(json.into()) }
}

fn looks_like_base64(body: &[u8]) -> bool {
    let head = body.trim_ascii_start();
    !head.is_empty()
        && head.iter().take(256).all(|byte| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte))
        && STANDARD.decode(head.trim_ascii_end()).is_ok_and(|plain| !plain.is_empty() && plain[0] != head[0])
        && !head[0].is_ascii_digit()
        && !matches!(head.trim_ascii_end(), b"null" | b"true" | b"false")
}

fn unbase64(text: &str) -> Result<Bytes, Refusal> {
    let text = text.trim();
    if text.starts_with(['{', '[']) {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    // a plus that was not escaped arrives as a space
    let text: Cow<'_, str> = if text.contains(' ') { text.replace(' ', "+").into() } else { text.into() };
    STANDARD
        .decode(text.as_bytes())
        .map(Bytes::from)
        .map_err(|error| Refusal::Decode(format!("invalid base64: {error}")))
}
