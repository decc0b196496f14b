//! The body of a `/batch/` request.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// A body larger than this is compressed on a thread of its own, so that it holds up no other call.
const INLINE_BYTES: usize = 64 * 1024;

/// A gzipped body.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) body: Bytes,
    /// Size before gzip.
    pub(crate) json_bytes: usize,
}

/// Makes `{"api_key":…,"batch":[…]}` of finished events, gzipped. The same events give the same bytes.
///
/// No `sent_at`: with one PostHog shifts each timestamp by the clock difference of that attempt, and a resend near midnight
/// is no longer the same event. Source: PostHog/posthog, `rust/common/types/src/timestamp.rs` (read 2026-08-22).
///
/// # Errors
///
/// The compressing thread died.
pub(crate) async fn encode(key: &str, events: Vec<Bytes>) -> io::Result<Encoded> {
    let key = serde_json::to_string(key)?;
    let json_bytes = key.len() + events.iter().map(|event| event.len() + 1).sum::<usize>() + 22;
    let write = move || write(&key, &events, json_bytes);
    let body = match json_bytes {
        ..=INLINE_BYTES => write()?,
        _ => tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??,
    };
    Ok(Encoded { body, json_bytes })
}

fn write(key: &str, events: &[Bytes], json_bytes: usize) -> io::Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(json_bytes / 3 + 64), Compression::new(1));
    write!(gzip, "{{\"api_key\":{key},\"batch\":[")?;
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            gzip.write_all(b",")?;
        }
        gzip.write_all(event)?;
    }
    gzip.write_all(b"]}")?;
    Ok(gzip.finish()?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[tokio::test]
    async fn a_body_is_the_key_and_the_events_as_they_are() {
        let events = vec![Bytes::from_static(br#"{"event":"a","n":1.0}"#), Bytes::from_static(br#"{"event":"b"}"#)];
        let encoded = encode("phc_\"odd", events.clone()).await.unwrap();
        let mut json = String::new();
        GzDecoder::new(&encoded.body[..]).read_to_string(&mut json).unwrap();
        assert_eq!(json, r#"{"api_key":"phc_\"odd","batch":[{"event":"a","n":1.0},{"event":"b"}]}"#);
        assert_eq!(encoded.json_bytes, json.len());
        assert_eq!(encode("phc_\"odd", events).await.unwrap().body, encoded.body);
    }

    #[tokio::test]
    async fn a_large_body_is_whole() {
        let event = Bytes::from(format!("{{\"event\":\"{}\"}}", "x".repeat(1000)));
        let encoded = encode("k", vec![event; 500]).await.unwrap();
        let mut json = Vec::new();
        GzDecoder::new(&encoded.body[..]).read_to_end(&mut json).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["batch"].as_array().unwrap().len(), 500);
        assert!(encoded.body.len() < json.len() / 10);
    }
}
