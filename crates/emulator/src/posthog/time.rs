//! When an event is said to have happened, as PostHog reads it.

use jiff::{SignedDuration, Timestamp, civil, fmt::rfc2822, tz::TimeZone};

/// Later than this from now is taken as a wrong clock: the event gets the server's time.
const FUTURE: SignedDuration = SignedDuration::from_hours(23);

/// What a request says about the time of one event.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) timestamp: Option<&'a str>,
    /// Milliseconds before now; wins over the timestamp.
    pub(crate) offset: Option<i64>,
    /// When the sender's clock says that the request left; shifts the timestamp by the clock's error.
    pub(crate) sent_at: Option<Timestamp>,
}

/// The time stored for an event.
pub(crate) fn stored(said: &Said<'_>, now: Timestamp) -> Timestamp {
    if let Some(offset) = said.offset {
        return now.checked_sub(SignedDuration::from_millis(offset)).unwrap_or(now);
    }
    let Some(timestamp) = said.timestamp.and_then(parse) else { return now };
    let corrected = match said.sent_at {
        Some(sent_at) => timestamp.checked_sub(sent_at.duration_since(now)).unwrap_or(timestamp),
        None => timestamp,
    };
    if corrected.duration_since(now) > FUTURE { now } else { corrected }
}

/// RFC 3339, dates, dates with slashes, RFC 2822 and unix time as text; anything else is no time.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| civil_utc(text))
        .or_else(|| civil_utc(&slashes(text)?))
        .or_else(|| rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()))
        .or_else(|| unix(text))
}

fn civil_utc(text: &str) -> Option<Timestamp> {
    let at: civil::DateTime = text
        .parse()
        .ok()
        .or_else(|| text.parse::<civil::Date>().ok().map(|date| date.to_datetime(civil::Time::midnight())))?;
    at.to_zoned_datetime(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// `2024/01/31 …` and `01/31/2024 …` with dashes, year first.
fn slashes(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(10)?;
    let parts: Vec<_> = date.split('/').collect();
    match parts[..] {
        [year, month, day] if year.len() == 4 => Some(format!("{year}-{month}-{day}{rest}")),
        [month, day, year] if year.len() == 4 => Some(format!("{year}-{month}-{day}{rest}")),
        _ => None,
    }
}

/// Seconds, or milliseconds where seconds would lie beyond the year 5000.
fn unix(text: &str) -> Option<Timestamp> {
    let number: f64 = text.parse().ok()?;
    let millis = if number.abs() > 1e11 { number } else { number * 1000.0 };
    if millis.is_finite() { Timestamp::from_millisecond(millis as i64).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn every_documented_form_is_read() {
        for (text, want) in [
            ("2026-03-01T10:00:00.123Z", "2026-03-01T10:00:00.123Z"),
            ("2026-03-01T10:00:00+05:30", "2026-03-01T04:30:00Z"),
            ("2026-03-01 10:00:00", "2026-03-01T10:00:00Z"),
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("2026/03/01 10:00:00", "2026-03-01T10:00:00Z"),
            ("03/01/2026", "2026-03-01T00:00:00Z"),
            ("Sun, 01 Mar 2026 10:00:00 +0000", "2026-03-01T10:00:00Z"),
            ("1772359200", "2026-03-01T10:00:00Z"),
            ("1772359200123", "2026-03-01T10:00:00.123Z"),
        ] {
            assert_eq!(parse(text), Some(at(want)), "{text}");
        }
        for text in ["yesterday", "", "{{event_time}}", "NaN", "inf"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_corrected_by_when_the_request_was_sent() {
        let now = at("2026-03-02T00:00:05Z");
        let said = Said {
            timestamp: Some("2026-03-01T22:00:00Z"),
            sent_at: Some(at("2026-03-01T22:00:01Z")),
            ..Said::default()
        };
        assert_eq!(stored(&said, now), at("2026-03-02T00:00:04Z"));
    }

    #[test]
    fn more_than_23_hours_ahead_is_now() {
        let now = at("2026-03-01T00:00:00Z");
        let said = |timestamp| Said { timestamp: Some(timestamp), ..Said::default() };
        assert_eq!(stored(&said("2026-03-01T23:00:00Z"), now), at("2026-03-01T23:00:00Z"));
        assert_eq!(stored(&said("2026-03-01T23:00:01Z"), now), now);
        assert_eq!(stored(&said("2099-01-01T00:00:00Z"), now), now);
        assert_eq!(stored(&said("yesterday"), now), now);
    }

    #[test]
    fn an_offset_wins_over_the_timestamp() {
        let now = at("2026-03-01T00:00:10Z");
        let said = Said { timestamp: Some("2020-01-01T00:00:00Z"), offset: Some(3_000), ..Said::default() };
        assert_eq!(stored(&said, now), at("2026-03-01T00:00:07Z"));
    }
}
