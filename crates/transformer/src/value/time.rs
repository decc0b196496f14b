//! When an event happened: as the body says it, in RFC 3339, else when its webhook was received.

use std::borrow::Cow;

use jiff::{
    Timestamp, civil,
    fmt::{rfc2822, temporal::DateTimePrinter},
    tz::TimeZone,
};

use crate::json;

const MILLIS_A_DAY: i64 = 86_400_000;
/// Years that PostHog's store can hold; also tells seconds from milliseconds.
const MIN_MS: i64 = 1;
const MAX_MS: i64 = 10_413_792_000_000; // 2300-01-01

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
static RFC_2822: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();

/// A point in time, and the text it came as where that is RFC 3339 already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment<'a> {
    ms: i64,
    verbatim: Option<Cow<'a, str>>,
}

impl<'a> Moment<'a> {
    /// A point in time by its milliseconds since the epoch.
    pub(crate) fn from_ms(ms: i64) -> Self {
        Self { ms, verbatim: None }
    }

    /// The point `ms` before the epoch's `at`; none where that is out of reach.
    pub(crate) fn before(at: i64, ms: i64) -> Option<Self> {
        in_reach(at.checked_sub(ms)?).map(Self::from_ms)
    }

    /// Reads a point in time from a JSON value: RFC 3339 and its relatives, RFC 2822, or seconds or milliseconds since
    /// the epoch, as number or text. None where it is none of these.
    pub(crate) fn read(raw: &'a str) -> Option<Self> {
        if json::is_number(raw) {
            return epoch(raw).map(Self::from_ms);
        }
        let text = json::string(raw)?;
        if is_rfc3339(&text) {
            let at: Timestamp = text.parse().ok()?;
            return Some(Self { ms: in_reach(at.as_millisecond())?, verbatim: Some(text) });
        }
        relative(text.trim()).and_then(in_reach).map(Self::from_ms)
    }

    /// Milliseconds since the epoch.
    pub(crate) fn ms(&self) -> i64 {
        self.ms
    }

    /// The same, kept beyond its body.
    pub(crate) fn into_owned(self) -> Moment<'static> {
        Moment { ms: self.ms, verbatim: self.verbatim.map(|text| Cow::Owned(text.into_owned())) }
    }

    /// Whether the text of the body is kept.
    pub(crate) fn is_verbatim(&self) -> bool {
        self.verbatim.is_some()
    }

    /// The day in UTC, by which PostHog collapses duplicates.
    pub(crate) fn day(&self) -> i64 {
        self.ms.div_euclid(MILLIS_A_DAY)
    }

    /// Appends the text in RFC 3339, without quotes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(text) = &self.verbatim {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        let at = Timestamp::from_millisecond(self.ms).unwrap_or(Timestamp::UNIX_EPOCH);
        // a vector takes all that is written to it
        if PRINTER.print_timestamp(&at, &mut *out).is_err() {
            out.extend_from_slice(b"1970-01-01T00:00:00.000Z");
        }
    }
}

fn in_reach(ms: i64) -> Option<i64> {
    (MIN_MS..MAX_MS).contains(&ms).then_some(ms)
}

/// Seconds or milliseconds since the epoch: what is not before 1973 as milliseconds, is milliseconds.
fn epoch(text: &str) -> Option<i64> {
    const FIRST_MS: i64 = 100_000_000_000;
    let scaled = |whole: i64| if whole < FIRST_MS { whole.checked_mul(1000) } else { Some(whole) };
    if let Ok(whole) = text.parse::<i64>() {
        return scaled(whole).and_then(in_reach);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b".+-eE".contains(&byte)) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    let ms = if number < FIRST_MS as f64 { number * 1000.0 } else { number };
    (ms >= MIN_MS as f64 && ms < MAX_MS as f64).then_some(ms.round() as i64).and_then(in_reach)
}

/// Exactly `2026-08-20T10:11:12[.fraction](Z|±hh:mm)`, which every reader takes.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((date, rest)) = bytes.split_at_checked(19) else { return false };
    let shape = date.iter().zip(b"dddd-dd-ddTdd:dd:dd").all(|(byte, shape)| match shape {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return false;
            }
            &rest[digits..]
        }
    };
    shape
        && match rest {
            [b'Z'] => true,
            [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()),
            _ => false,
        }
}

/// Texts that mean a point in time and are not RFC 3339; without an offset they are UTC.
fn relative(text: &str) -> Option<i64> {
    if let Some(ms) = epoch(text) {
        return Some(ms);
    }
    let utc = |at: civil::DateTime| TimeZone::UTC.to_timestamp(at).ok().map(|at| at.as_millisecond());
    let text = match text.as_bytes() {
        [y1, y2, y3, y4, b'/', ..] if [y1, y2, y3, y4].iter().all(|digit| digit.is_ascii_digit()) => {
            text.replacen('/', "-", 2)
        }
        _ => text.to_string(),
    };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    if let Ok(at) = text.parse::<civil::DateTime>() {
        return utc(at);
    }
    RFC_2822.parse_timestamp(&text).ok().map(|at| at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(raw: &str) -> Option<String> {
        let moment = Moment::read(raw)?;
        let mut out = Vec::new();
        moment.write(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn seconds_milliseconds_and_their_texts_are_one_time() {
        for raw in
            ["1580967474", "1580967474000", "\"1580967474\"", "1580967474.0", "1.580967474e9", "\" 1580967474 \""]
        {
            assert_eq!(written(raw).as_deref(), Some("2020-02-06T05:37:54.000Z"), "{raw}");
        }
        assert_eq!(written("1580967474.123").as_deref(), Some("2020-02-06T05:37:54.123Z"));
        assert_eq!(written("1580967474123").as_deref(), Some("2020-02-06T05:37:54.123Z"));
    }

    #[test]
    fn rfc3339_is_kept_as_text_and_its_relatives_are_rewritten() {
        for kept in ["2026-08-20T10:11:12Z", "2026-08-20T10:11:12.5+05:30", "2026-08-20T10:11:12.123456789-00:00"] {
            let raw = format!("\"{kept}\"");
            assert_eq!(written(&raw).as_deref(), Some(kept));
            assert!(Moment::read(&raw).unwrap().is_verbatim());
        }
        for (raw, expected) in [
            ("2026-08-20", "2026-08-20T00:00:00.000Z"),
            ("2026/08/20", "2026-08-20T00:00:00.000Z"),
            ("2026-08-20 10:11:12", "2026-08-20T10:11:12.000Z"),
            ("2026-08-20T10:11:12", "2026-08-20T10:11:12.000Z"),
            ("2026-08-20 10:11:12+05:30", "2026-08-20T04:41:12.000Z"),
            ("Thu, 20 Aug 2026 10:11:12 +0000", "2026-08-20T10:11:12.000Z"),
        ] {
            assert_eq!(written(&format!("\"{raw}\"")).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for raw in [
            "\"EPOCH_TIMESTAMP_OF_EVENT_TRIGGERED_TIME_IN_UTC\"",
            "\"yesterday\"",
            "\"\"",
            "\"{{time}}\"",
            "0",
            "-5",
            "1e300",
            "99999999999999999999",
            "null",
            "true",
            "{}",
            "\"2026-13-40T10:11:12Z\"",
            "\"9999-01-01T00:00:00Z\"",
        ] {
            assert_eq!(Moment::read(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_day_is_the_day_in_utc() {
        let day = |raw| Moment::read(raw).unwrap().day();
        assert_eq!(day("\"2026-08-20T01:00:00+05:30\""), day("\"2026-08-19T12:00:00Z\""));
        assert_eq!(Moment::from_ms(-1).day(), -1);
    }

    proptest! {
        #[test]
        fn reading_is_total_and_what_is_written_reads_as_the_same_time(text in "[0-9TZ:. /+-]{0,30}", ms in MIN_MS..MAX_MS) {
            let _any_answer = Moment::read(&format!("\"{text}\""));
            let mut out = Vec::new();
            Moment::from_ms(ms).write(&mut out);
            let raw = format!("\"{}\"", String::from_utf8(out).unwrap());
            prop_assert_eq!(Moment::read(&raw).unwrap().ms, ms);
        }
    }
}
