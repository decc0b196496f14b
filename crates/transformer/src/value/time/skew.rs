//! By how much a sender's clock is wrong, as its request says when it was sent.
//!
//! PostHog takes the difference between `sent_at` and its own time off each time of a batch. Done by PostHog it would
//! be another difference on each resend; here it is taken once, with the time of arrival that the webhook keeps.
//!
//! Source: PostHog/posthog, rust/common/types/src/timestamp.rs (1acee2ea) and rust/capture/src/v0_request.rs
//! (0127372d), read 2026-11.

use jiff::Timestamp;

use crate::json;

/// Less than this is the way of the request, or an SDK that sends the same body once more: correcting it would give an
/// event that comes twice two times, and near midnight PostHog would keep both.
const MIN_SKEW_MS: i64 = 60_000;

/// By how many milliseconds the clock was ahead that wrote `sent_at`, where that is a minute or more, behind as a
/// negative number; 0 for less, and for what is no time with a zone.
pub(crate) fn ahead_ms(sent_at: Option<&str>, received_at_ms: i64) -> i64 {
    let sent_at = sent_at.and_then(json::string).and_then(|text| text.parse::<Timestamp>().ok());
    let ahead = sent_at.map_or(0, |sent_at| sent_at.as_millisecond().saturating_sub(received_at_ms));
    if ahead.saturating_abs() < MIN_SKEW_MS { 0 } else { ahead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_or_more_is_a_clock_that_is_wrong() {
        let received = "2026-11-28T12:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        for (sent_at, expected) in [
            (r#""2026-11-28T14:00:00Z""#, 7_200_000),
            (r#""2026-11-28T17:30:00.250+05:30""#, 0),
            (r#""2026-11-28T11:59:00Z""#, -60_000),
            (r#""2026-11-28T11:59:00.001Z""#, 0),
            (r#""2026-11-28T12:00:59.999Z""#, 0),
            (r#""2026-11-28T14:00:00""#, 0),
            (r#""soon""#, 0),
            ("1764331200", 0),
            ("null", 0),
        ] {
            assert_eq!(ahead_ms(Some(sent_at), received), expected, "{sent_at}");
        }
        assert_eq!(ahead_ms(None, received), 0);
        assert_eq!(ahead_ms(Some(r#""2026-11-28T14:00:00Z""#), i64::MIN), i64::MAX);
    }
}
