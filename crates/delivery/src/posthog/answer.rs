//! What PostHog's answers mean.
//!
//! Source of the status table: PostHog/posthog, `rust/capture/src/api.rs` and its triage guide for ingestion warnings, and
//! the 2024 capture server probed on loopback (read and measured 2026-08-22).

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use moehog_proto::{Blame, Reason};

use super::results::Results;
/// A body this large that is cut off while it is written counts as too large: a capture server over its cap resets the
/// connection instead of saying 413. The smallest known cap is nginx's 1 MiB.
pub(crate) const LARGE_BODY_BYTES: usize = 512 * 1024;
/// Longest `Retry-After` that is passed on: a maintenance page may say a day, and PostHog be well a second later.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);
/// How much of an answer's body is kept.
const MAX_ANSWER_BYTES: usize = 200;

/// An answer, reduced to what matters.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Start of the body, without the project key.
    pub(crate) body: String,
    /// The body is a page for a browser, which no capture server sends.
    html: bool,
    /// All of the body; nothing where it was cut or is not wanted.
    pub(crate) whole: Option<Bytes>,
    retry_after: Option<Duration>,
    /// Host that a redirect points to.
    location: Option<String>,
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: nothing was sent.
    Connect(String),
    /// The answer did not come in time.
    Timeout,
    /// The connection broke.
    Broken {
        /// What went wrong.
        why: String,
        /// Size of the request on the wire.
        bytes: usize,
    },
}

impl Failure {
    /// One word for it, for spans.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Timeout => "timeout",
            Self::Broken { .. } => "broken",
        }
    }
}

/// What came of a request, for the events in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All were taken.
    Taken,
    /// Each was answered for.
    Judged(Results),
    /// One of them at least will never be taken; those before it may have been.
    Refused { why: Reason },
    /// Too large, or probably so.
    TooLarge { why: Reason },
    /// Not now. `sent`: PostHog may have taken some. `others`: worth trying other events at once. `in_doubt`: it may be one event's doing.
    Retry { after_ms: u64, why: Reason, sent: bool, others: bool, in_doubt: bool },
    /// Not before a person acts. Nothing was taken.
    Hold { why: Reason },
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(formatter, "no connection: {why}"),
            Self::Timeout => formatter.write_str("no answer in time"),
            Self::Broken { why, bytes } => write!(formatter, "connection broke, request of {bytes} bytes: {why}"),
        }
    }
}

impl Failure {
    pub(super) fn why(&self) -> Reason {
        let (code, message) = match self {
            Self::Connect(why) => ("no_connection", why.clone()),
            Self::Timeout => ("no_answer", "none came in time".to_string()),
            Self::Broken { why, bytes } => ("connection_broke", format!("request of {bytes} bytes: {why}")),
        };
        Reason::new(Blame::Destination, code, message)
    }
}

impl Outcome {
    /// Whether PostHog may have taken some of the events, so that a resend must be byte-identical.
    pub(crate) fn may_have_been_read(&self) -> bool {
        match self {
            Self::Taken | Self::Judged(_) | Self::Refused { .. } | Self::TooLarge { .. } => true,
            Self::Retry { sent, .. } => *sent,
            Self::Hold { .. } => false,
        }
    }
}

impl Answer {
    /// Reduces an answer. `key` is cut out of the body.
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8], key: &str, now: Timestamp) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut body = String::from_utf8_lossy(body).into_owned();
        if !key.is_empty() {
            body = body.replace(key, "***");
        }
        body.truncate(body.floor_char_boundary(MAX_ANSWER_BYTES));
        Self {
            status,
            body,
            html: text(header::CONTENT_TYPE).trim_start().to_ascii_lowercase().starts_with("text/html"),
            retry_after: retry_after(text(header::RETRY_AFTER), now),
            whole: None,
            location: reqwest::Url::parse(text(header::LOCATION)).ok().map(|url| url.origin().ascii_serialization()),
        }
    }

    /// What `Retry-After` says, in milliseconds; 0 where there is none.
    pub(super) fn after_ms(&self) -> u64 {
        self.retry_after.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
    }

    /// What v1 says of each event, where that is what it is.
    pub(super) fn results(&self) -> Option<Results> {
        Results::read(self.whole.as_ref()?, self.after_ms())
    }

    /// It is a page for a browser.
    pub(super) fn is_page(&self) -> bool {
        self.html
    }

    pub(super) fn outcome(&self) -> Outcome {
        let status = self.status.as_u16();
        let after_ms = self.after_ms();
        let said = if self.body.is_empty() { String::new() } else { format!(" `{}`", self.body.trim()) };
        let why = |code: &str, message: String| Reason::new(Blame::Destination, code, message);
        let hold = |code, message, remedy: String| Outcome::Hold { why: why(code, message).remedied(remedy) };
        match status {
            // a sign-in page, or a proxy that was spoken to wrongly; its 413 is as good as PostHog's
            200..=299 | 400 if self.html => hold(
                "wrong_host",
                format!("answered {status} with a page for browsers, so it is not PostHog's capture API"),
                "check the host".to_string(),
            ),
            200..=299 => Outcome::Taken,
            300..=399 => {
                let place = self.location.as_deref().unwrap_or("another place");
                let remedy = "set that as host if it is the PostHog that is meant".to_string();
                hold("wrong_host", format!("redirects ({status}) to {place}"), remedy)
            }
            // of a PostHog that takes no more than 1,000,000 bytes a request
            400 if self.body.contains("maximum event size exceeded") => {
                let remedy = "lower relay.deliver_max_bytes if it comes often: requests are divided for it";
                Outcome::TooLarge { why: why("too_large_for_proxy", format!("status 400{said}")).remedied(remedy) }
            }
            400 => Outcome::Refused { why: why("refused", format!("PostHog said{said}")) },
            // an event that carries another project's key: its own fault, not the destination's
            401 if self.body.contains("inconsistent api_key") => {
                Outcome::Refused { why: why("refused", format!("PostHog said{said}")) }
            }
            401 => hold(
                "wrong_key",
                format!("PostHog refused the api key (401){said}"),
                "set the project's api key".to_string(),
            ),
            402 => hold(
                "quota",
                format!("PostHog's billing limit is reached (402){said}"),
                "raise it or wait for the next period".to_string(),
            ),
            403 => hold(
                "forbidden",
                format!("PostHog or something before it refused (403){said}"),
                "check the key, the host and its firewall".to_string(),
            ),
            404 | 405 => hold(
                "wrong_host",
                format!("no capture API at this host ({status}){said}"),
                "check the host and, behind a proxy, that it passes /batch/ and /flags/ on".to_string(),
            ),
            413 => {
                let message = format!("status 413{said}");
                let remedy = "PostHog takes an event of this size, so something before it does not";
                Outcome::TooLarge { why: why("too_large_for_proxy", message).remedied(remedy) }
            }
            408 | 425 | 429 | 499 => {
                let why = why("busy", format!("status {status}{said}"));
                Outcome::Retry { after_ms, why, sent: true, others: false, in_doubt: false }
            }
            // a 500 can be one event's doing, and so can what a proxy says of a server that died of it or is silent; all other failures
            // are the server's
            500.. => {
                let (others, in_doubt) =
                    (status == 500 && after_ms == 0, matches!(status, 500 | 502 | 504) && after_ms == 0);
                let why = why("server_error", format!("status {status}{said}"));
                Outcome::Retry { after_ms, why, sent: true, others, in_doubt }
            }
            _ => hold("unexpected_answer", format!("status {status}{said}"), "check the host".to_string()),
        }
    }
}

/// Reads `Retry-After`: seconds, with decimals or without, or a date in any of HTTP's three forms (RFC 9110, 5.6.7).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 => Duration::try_from_secs_f64(seconds).unwrap_or(MAX_RETRY_AFTER),
        Ok(_) => return None,
        Err(_) => {
            let at = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
            Duration::try_from(at.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
