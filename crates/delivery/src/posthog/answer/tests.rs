use super::*;
use crate::{
    concurrency::Ended,
    posthog::judgement::{judge, judge_load},
};

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
        Outcome::Judged(_) => "judged",
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
        assert!(matches!(outcome, Outcome::Retry { after_ms, .. } if after_ms == expected), "{header}: {outcome:?}");
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
