//! Times as they are written, and what they are read as.

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

/// 2026-12-01T00:00:00Z
const RECEIVED_MS: i64 = 1_796_083_200_000;

fn read<'a>(raw: &'a str, clock: &Clock) -> Result<(Moment<'a>, Option<Doubt>), Unread> {
    Moment::read(raw, clock, Arrival::at(RECEIVED_MS))
}

fn shown(moment: &Moment<'_>) -> String {
    let mut out = Vec::new();
    moment.write(&mut out);
    String::from_utf8(out).unwrap()
}

fn written(raw: &str) -> Option<String> {
    read(raw, &Clock::default()).ok().map(|(moment, _)| shown(&moment))
}

fn in_zone(name: &str) -> Clock {
    Clock { zone: Some(TimeZone::get(name).unwrap()), order: None }
}

#[test]
fn seconds_milliseconds_and_their_texts_are_one_time() {
    for raw in ["1580967474", "1580967474000", "\"1580967474\"", "1580967474.0", "1.580967474e9", "\" 1580967474 \""] {
        assert_eq!(written(raw).as_deref(), Some("2020-02-06T05:37:54.000Z"), "{raw}");
    }
    assert_eq!(written("1580967474.123").as_deref(), Some("2020-02-06T05:37:54.123Z"));
    assert_eq!(written("1580967474123").as_deref(), Some("2020-02-06T05:37:54.123Z"));
}

#[test]
fn rfc3339_is_kept_as_text_and_its_relatives_are_rewritten() {
    for kept in ["2026-08-20T10:11:12Z", "2026-08-20T10:11:12.5Z", "2026-08-20T10:11:12.123456789Z"] {
        let raw = format!("\"{kept}\"");
        assert_eq!(written(&raw).as_deref(), Some(kept));
        assert!(read(&raw, &Clock::default()).unwrap().0.is_verbatim());
    }
    for (raw, expected) in [
        ("2026-08-20T10:11:12.5+05:30", "2026-08-20T04:41:12.500Z"),
        ("2026-08-20T10:11:12.123456789-00:00", "2026-08-20T10:11:12.123456789Z"),
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
        assert!(read(raw, &Clock::default()).is_err(), "{raw}");
    }
}

#[test]
fn a_day_is_the_day_in_utc() {
    let day = |raw| read(raw, &Clock::default()).unwrap().0.day();
    assert_eq!(day("\"2026-08-20T01:00:00+05:30\""), day("\"2026-08-19T12:00:00Z\""));
    assert_eq!(Moment::from_ms(-1).day(), -1);
}

proptest! {
    #[test]
    fn reading_is_total_and_what_is_written_reads_as_the_same_time(text in "[0-9TZ:. /+-]{0,30}", ms in MIN_MS..MAX_MS) {
        let _any_answer = read(&format!("\"{text}\""), &Clock { order: Some(Order::DayFirst), ..Clock::default() });
        let mut out = Vec::new();
        Moment::from_ms(ms).write(&mut out);
        let raw = format!("\"{}\"", String::from_utf8(out).unwrap());
        prop_assert_eq!(read(&raw, &Clock::default()).unwrap().0.ms(), ms);
    }
}

#[test]
fn every_form_of_the_table_is_read() {
    for (text, expected) in [
        ("2026-11-28 17:21:00 UTC", "2026-11-28T17:21:00.000Z"),
        ("2026-11-28 17:21:00 +0000", "2026-11-28T17:21:00.000Z"),
        ("2026-11-28 17:21:00 +0530", "2026-11-28T11:51:00.000Z"),
        ("2026-11-28T17:21:00+0530", "2026-11-28T11:51:00.000Z"),
        ("2026-11-28T17:21Z", "2026-11-28T17:21:00.000Z"),
        ("2026-11-28T17:21:00.5Z[UTC]", "2026-11-28T17:21:00.500Z"),
        ("2026-11-28T17:21:00+05:30[Asia/Kolkata]", "2026-11-28T11:51:00.000Z"),
        ("2026-11-28 17:21:00 Asia/Kolkata", "2026-11-28T11:51:00.000Z"),
        ("2026-11-28 17:21:00 EST", "2026-11-28T22:21:00.000Z"),
        ("2026-11-28 05:21:00 PM", "2026-11-28T17:21:00.000Z"),
        ("2026-11-28 05:21 pm", "2026-11-28T17:21:00.000Z"),
        ("2026-11-28 12:21:00 a.m.", "2026-11-28T00:21:00.000Z"),
        ("2026-11-28 17:21:00,123456", "2026-11-28T17:21:00.123456Z"),
        ("2026.11.28 17:21", "2026-11-28T17:21:00.000Z"),
        ("2026-1-2 3:04", "2026-01-02T03:04:00.000Z"),
        ("2026-Nov-28", "2026-11-28T00:00:00.000Z"),
        ("20261128", "2026-11-28T00:00:00.000Z"),
        ("202611281721", "2026-11-28T17:21:00.000Z"),
        ("20261128172100", "2026-11-28T17:21:00.000Z"),
        ("20261128T172100", "2026-11-28T17:21:00.000Z"),
        ("20261128T172100Z", "2026-11-28T17:21:00.000Z"),
        ("20261128T1721+0530", "2026-11-28T11:51:00.000Z"),
        ("28 Nov 2026", "2026-11-28T00:00:00.000Z"),
        ("28 Nov 2026 17:21", "2026-11-28T17:21:00.000Z"),
        ("28-Nov-2026 17:21:00", "2026-11-28T17:21:00.000Z"),
        ("28th November 2026, 05:21 PM", "2026-11-28T17:21:00.000Z"),
        ("Nov 28, 2026", "2026-11-28T00:00:00.000Z"),
        ("Nov 28, 2026 10:00 AM", "2026-11-28T10:00:00.000Z"),
        ("Nov 28, 2026 at 5:21 PM", "2026-11-28T17:21:00.000Z"),
        ("Nov 28, 2026, 5:21:00\u{202f}PM", "2026-11-28T17:21:00.000Z"),
        ("November 28 2026", "2026-11-28T00:00:00.000Z"),
        ("Saturday, November 28, 2026", "2026-11-28T00:00:00.000Z"),
        ("Sat, 28 Nov 2026 17:21:00 GMT", "2026-11-28T17:21:00.000Z"),
        ("Saturday, 28-Nov-2026 17:21:00 EST", "2026-11-28T22:21:00.000Z"),
        ("Sat Nov 28 17:21:00 2026", "2026-11-28T17:21:00.000Z"),
        ("Sat Nov  7 17:21:00 UTC 2026", "2026-11-07T17:21:00.000Z"),
        ("Sat Nov 28 2026 17:21:00 GMT+0530 (India Standard Time)", "2026-11-28T11:51:00.000Z"),
        ("2026-11-28 17:21 GMT+5:30", "2026-11-28T11:51:00.000Z"),
        ("1795886460", "2026-11-28T17:21:00.000Z"),
        ("1795886460123", "2026-11-28T17:21:00.123Z"),
        ("1795886460123456", "2026-11-28T17:21:00.123456Z"),
        ("1795886460123456789", "2026-11-28T17:21:00.123456789Z"),
    ] {
        assert_eq!(written(&format!("\"{text}\"")).as_deref(), Some(expected), "{text}");
    }
    for (raw, expected) in [
        ("20261128", "2026-11-28T00:00:00.000Z"),
        ("1795886460123456", "2026-11-28T17:21:00.123456Z"),
        (r#"{"$date":"2026-11-28T17:21:00Z"}"#, "2026-11-28T17:21:00Z"),
        (r#"{"$date":1795886460123}"#, "2026-11-28T17:21:00.123Z"),
        (r#"{"$date":{"$numberLong":"1795886460123"}}"#, "2026-11-28T17:21:00.123Z"),
    ] {
        assert_eq!(written(raw).as_deref(), Some(expected), "{raw}");
    }
}

#[test]
fn what_is_not_certain_is_no_time() {
    for (text, why) in [
        ("28/11/2026 17:21", Unread::Ambiguous),
        ("11/28/2026", Unread::Ambiguous),
        ("05.11.2026", Unread::Ambiguous),
        ("2026-11-28 17:21:00 IST", Unread::Form),
        ("2026-11-28 17:21:00 CST", Unread::Form),
        ("2026-11-28 17:21:00 PM", Unread::Form),
        ("2026-11-28 00:21:00 AM", Unread::Form),
        ("2026-02-30", Unread::Form),
        ("2026-11/28", Unread::Form),
        ("2026-11-28 25:00", Unread::Form),
        ("2026-11-28 17:21:00 +2500", Unread::Form),
        ("2026-11-28 17:21 today", Unread::Form),
        ("28 Nov", Unread::Form),
        ("28 Nov 17:21", Unread::Form),
        ("17:21:00", Unread::Form),
        ("May 5", Unread::Form),
        ("yesterday", Unread::Form),
        ("28/11/26", Unread::Form),
        ("3600", Unread::FarOff),
        ("2009-12-31 23:59", Unread::FarOff),
        ("2026-12-02 00:01", Unread::FarOff),
        ("1798761600", Unread::FarOff),
        ("20991231", Unread::FarOff),
    ] {
        assert_eq!(
            read(&format!("\"{text}\""), &Clock::default()).map(|(moment, _)| shown(&moment)),
            Err(why),
            "{text}"
        );
    }
}

#[test]
fn the_clock_of_a_source_says_what_a_time_does_not() {
    let at = |text: &str, clock: &Clock| {
        let raw = format!("\"{text}\"");
        read(&raw, clock).map(|(moment, doubt)| (shown(&moment), doubt))
    };
    let (kolkata, paris) = (in_zone("Asia/Kolkata"), in_zone("Europe/Paris"));
    assert_eq!(at("2026-11-28 17:21:00", &kolkata), Ok(("2026-11-28T11:51:00.000Z".into(), None)));
    assert_eq!(at("2026-11-28 05:21:00 PM IST", &kolkata), Ok(("2026-11-28T11:51:00.000Z".into(), None)));
    assert_eq!(at("2026-11-28 17:21:00Z", &kolkata), Ok(("2026-11-28T17:21:00.000Z".into(), None)));
    assert_eq!(at("2026-07-01 12:00", &paris), Ok(("2026-07-01T10:00:00.000Z".into(), None)));
    assert_eq!(at("2026-11-01 12:00 CET", &kolkata), Ok(("2026-11-01T11:00:00.000Z".into(), None)));
    assert_eq!(at("2026-11-28 17:21:00 IST", &paris), Err(Unread::Form));
    assert_eq!(
        at("2026-11-28 17:21", &Clock::default()),
        Ok(("2026-11-28T17:21:00.000Z".into(), Some(Doubt::AssumedUtc)))
    );
    let dmy = Clock { order: Some(Order::DayFirst), ..Clock::default() };
    let mdy = Clock { order: Some(Order::MonthFirst), ..Clock::default() };
    assert_eq!(at("05/11/2026 17:21 UTC", &dmy), Ok(("2026-11-05T17:21:00.000Z".into(), None)));
    assert_eq!(at("05/11/2026 17:21 UTC", &mdy), Ok(("2026-05-11T17:21:00.000Z".into(), None)));
    assert_eq!(at("11/28/2026", &dmy), Err(Unread::Form));
    // a whole time stands, however far off
    assert_eq!(at("1999-01-01T00:00:00Z", &dmy), Ok(("1999-01-01T00:00:00Z".into(), Some(Doubt::FarOff))));
    assert_eq!(at("2031-01-01 00:00 UTC", &dmy), Ok(("2031-01-01T00:00:00.000Z".into(), Some(Doubt::FarOff))));
}

#[test]
fn what_contradicts_itself_is_no_time() {
    for text in [
        "2026-11-28 17:21:00 (PST)",
        "2026-11-28T17:21:00[Asia/Kolkata]",
        "2026-11-28T17:21:00Z+05:30",
        "2026-11-28T17:21:00+24:00",
        "2026-11-28 17:21:00 +15:00",
        "Fri, 28 Nov 2026 17:21:00 GMT",
        "Sunday, November 28, 2026",
        "Fri Nov 28 17:21:00 UTC 2026",
    ] {
        assert_eq!(read(&format!("\"{text}\""), &Clock::default()), Err(Unread::Form), "{text}");
    }
}

#[test]
fn an_hour_that_a_zone_has_twice_or_never_says_so() {
    let berlin = in_zone("Europe/Berlin");
    for (text, instant, doubt) in [
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00.000Z", Some(Doubt::RepeatedHour)),
        ("2026-03-29 02:30:00", "2026-03-29T01:30:00.000Z", Some(Doubt::RepeatedHour)),
        ("2026-10-25 03:30:00", "2026-10-25T02:30:00.000Z", None),
        ("2026-10-25 02:30:00+01:00", "2026-10-25T01:30:00.000Z", None),
    ] {
        let raw = format!("\"{text}\"");
        let (moment, said) = read(&raw, &berlin).unwrap();
        assert_eq!((shown(&moment).as_str(), said), (instant, doubt), "{text}");
        let named = format!("\"{text} Europe/Berlin\"");
        if !text.contains('+') {
            assert_eq!(read(&named, &Clock::default()).unwrap().1, doubt, "{text}");
        }
    }
}
