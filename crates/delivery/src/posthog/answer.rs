//! What PostHog's answers mean.
//!
//! Source of the status table: PostHog/posthog, `rust/capture/src/api.rs` and its triage guide for ingestion warnings, and
//! the 2024 capture server probed on loopback (read and measured 2026-08-22).

use std::{fmt, time::Duration};

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use moehog_proto::{Blame, Reason};

use crate::concurrency::Ended;

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
    fn why(&self) -> Reason {
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
            Self::Taken | Self::Refused { .. } | Self::TooLarge { .. } => true,
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
            location: reqwest::Url::parse(text(header::LOCATION)).ok().map(|url| url.origin().ascii_serialization()),
        }
    }

    fn outcome(&self) -> Outcome {
        let status = self.status.as_u16();
        let after_ms = self.retry_after.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
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

/// What a request's end means for the events in it.
pub(crate) fn judge(ended: &Result<Answer, Failure>) -> Outcome {
    match ended {
        Ok(answer) => answer.outcome(),
        Err(failure @ Failure::Broken { bytes, .. }) if *bytes >= LARGE_BODY_BYTES => {
            Outcome::TooLarge { why: failure.why() }
        }
        Err(failure) => {
            let sent = !matches!(failure, Failure::Connect(_));
            Outcome::Retry { after_ms: 0, why: failure.why(), sent, others: false, in_doubt: sent }
        }
    }
}

/// What a request's end says of how much PostHog bears. `full_time`: it had as long as `posthog.timeout`.
///
/// Refusals are 429, 503, 529, and no answer in time, be it ours or that of a proxy before PostHog (504): PostHog says 503
/// when its own queue does not take events, after up to 20 s, and is silent when it cannot keep up. A connection that is
/// not made or breaks is a restart or the network, and 500 and 502 are a fault, not a lack of room. Answers about the
/// events, the key or the host come quickly and without the work.
pub(crate) fn judge_load(ended: &Result<Answer, Failure>, full_time: bool) -> Ended {
    match ended {
        Ok(answer) => match answer.status.as_u16() {
            _ if matches!(answer.outcome(), Outcome::Taken) => Ended::Taken,
            429 | 503 | 504 | 529 => Ended::Refused,
            _ => Ended::Other,
        },
        Err(Failure::Timeout) if full_time => Ended::Refused,
        Err(Failure::Timeout | Failure::Connect(_) | Failure::Broken { .. }) => Ended::Other,
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
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Outcome {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let now = "2026-08-22T10:00:00Z".parse().unwrap();
        Answer::new(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), "phc_key", now).outcome()
    }

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Taken => "taken",
            Outcome::Refused { .. } => "refused",
            Outcome::TooLarge { .. } => "too large",
            Outcome::Retry { .. } => "retry",
            Outcome::Hold { .. } => "hold",
        }
    }

    #[test]
    fn every_status_has_its_meaning() {
        for (statuses, meaning) in [
            (&[200, 204][..], "taken"),
            (&[301, 302, 307, 308, 401, 402, 403, 404, 405, 422], "hold"),
            (&[400], "refused"),
            (&[413], "too large"),
            (&[408, 429, 500, 502, 503, 504, 529], "retry"),
        ] {
            for status in statuses {
                assert_eq!(word(&answer(*status, &[], "words")), meaning, "{status}");
            }
        }
    }

    #[test]
    fn a_key_of_an_event_is_the_events_fault_and_a_key_of_the_batch_is_not() {
        assert_eq!(word(&answer(401, &[], "batch submitted with inconsistent api_key values")), "refused");
        assert_eq!(word(&answer(401, &[], "API key is not valid: personal_api_key")), "hold");
    }

    #[test]
    fn a_page_for_browsers_neither_takes_nor_refuses_an_event() {
        let page = |status| answer(status, &[("content-type", "text/html; charset=utf-8")], "<html>Sign in</html>");
        for status in [200, 400] {
            let outcome = page(status);
            assert!(matches!(&outcome, Outcome::Hold { why } if why.code == "wrong_host"), "{outcome:?}");
        }
        assert_eq!(word(&page(413)), "too large", "nginx before PostHog says so");
        let moved = answer(308, &[("location", "https://eu.i.posthog.com/batch/?secret")], "");
        assert!(
            matches!(&moved, Outcome::Hold { why } if why.message.ends_with("to https://eu.i.posthog.com")),
            "{moved:?}"
        );
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_any_date_and_bounded() {
        for (header, expected) in [
            ("7", 7_000),
            (" 0 ", 0),
            ("Sat, 22 Aug 2026 10:00:30 GMT", 30_000),
            ("Sat, 22 Aug 2026 09:00:00 GMT", 0),
            ("Saturday, 22-Aug-26 10:00:30 GMT", 30_000),
            ("Sat Aug 22 10:00:30 2026", 30_000),
            ("0.5", 500),
            ("86400", 300_000),
            ("Sun, 23 Aug 2026 10:00:00 GMT", 300_000),
            ("99999999999999", 300_000),
            ("1e300", 300_000),
            ("inf", 300_000),
            ("NaN", 0),
            ("soon", 0),
            ("-5", 0),
        ] {
            let outcome = answer(503, &[("retry-after", header)], "");
            assert!(
                matches!(outcome, Outcome::Retry { after_ms, .. } if after_ms == expected),
                "{header}: {outcome:?}"
            );
        }
    }

    #[test]
    fn only_a_plain_500_lets_the_others_go_on() {
        let others = |outcome| matches!(outcome, Outcome::Retry { others: true, .. });
        assert!(others(answer(500, &[], "internal server error")));
        assert!(!others(answer(500, &[("retry-after", "1")], "")));
        assert!(!others(answer(503, &[], "transient error, please retry")));
        assert!(!others(answer(429, &[], "rate limited")));
    }

    #[test]
    fn what_says_that_there_is_no_room_puts_no_event_in_doubt() {
        let in_doubt = |outcome| matches!(outcome, Outcome::Retry { in_doubt: true, .. });
        for status in [500, 502, 504] {
            assert!(in_doubt(answer(status, &[], "")), "{status}");
            assert!(!in_doubt(answer(status, &[("retry-after", "1")], "")), "{status}");
        }
        assert!(in_doubt(judge(&Err(Failure::Timeout))));
        for status in [408, 425, 429, 501, 503, 529] {
            assert!(!in_doubt(answer(status, &[], "")), "{status}");
        }
        assert!(!in_doubt(judge(&Err(Failure::Connect("refused".into())))));
    }

    #[test]
    fn a_large_body_cut_off_is_split_and_a_small_one_tried_again() {
        let broken = |bytes| judge(&Err(Failure::Broken { why: "reset".into(), bytes }));
        assert!(matches!(broken(LARGE_BODY_BYTES), Outcome::TooLarge { .. }));
        assert!(matches!(broken(LARGE_BODY_BYTES - 1), Outcome::Retry { sent: true, .. }));
        assert!(matches!(judge(&Err(Failure::Connect("refused".into()))), Outcome::Retry { sent: false, .. }));
        assert!(matches!(judge(&Err(Failure::Timeout)), Outcome::Retry { sent: true, .. }));
    }

    #[test]
    fn only_a_lack_of_room_and_of_time_is_a_refusal() {
        let ended = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            judge_load(&Ok(Answer::new(status, &HeaderMap::new(), b"", "phc_key", Timestamp::UNIX_EPOCH)), true)
        };
        for (statuses, meaning) in [
            (&[200, 204][..], Ended::Taken),
            (&[429, 503, 504, 529], Ended::Refused),
            (&[302, 400, 401, 404, 408, 413, 500, 502], Ended::Other),
        ] {
            for status in statuses {
                assert_eq!(ended(*status), meaning, "{status}");
            }
        }
        let failed = |failure, full_time| judge_load(&Err(failure), full_time);
        assert_eq!(failed(Failure::Timeout, true), Ended::Refused);
        assert_eq!(failed(Failure::Timeout, false), Ended::Other, "the call's time was over, not PostHog's");
        assert_eq!(failed(Failure::Connect("refused".into()), true), Ended::Other);
        assert_eq!(failed(Failure::Broken { why: "reset".into(), bytes: 9 }, true), Ended::Other);
    }

    #[test]
    fn what_is_kept_of_a_body_is_short_whole_characters_and_without_the_key() {
        let now = Timestamp::UNIX_EPOCH;
        let body = format!("phc_key {}", "é".repeat(200));
        let answer = Answer::new(StatusCode::OK, &HeaderMap::new(), body.as_bytes(), "phc_key", now);
        assert!(answer.body.starts_with("*** é") && answer.body.len() <= 200);
    }
}
