use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use super::*;
use crate::posthog::results::Said;

fn answered(status: u16, headers: &[(&'static str, &str)], body: &str, is_whole: bool) -> Result<Answer, Failure> {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let now = "2026-12-01T02:00:00Z".parse().unwrap();
    let mut answer = Answer::new(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), "phc_key", now);
    answer.whole = is_whole.then(|| Bytes::copy_from_slice(body.as_bytes()));
    Ok(answer)
}

fn of(result: &str) -> Said {
    let uuid = Uuid::from_bytes([7; 16]);
    let body = format!(r#"{{"results":{{"{uuid}":{result}}}}}"#);
    let Outcome::Judged(results) = judge_v1(&answered(200, &[], &body, true)) else { panic!("{body}") };
    results.of(uuid.as_bytes())
}

fn code(said: &Said) -> String {
    match said {
        Said::Taken => String::new(),
        Said::Reserved(why) | Said::Dropped(why) | Said::Held(why) | Said::Again { why, .. } => why.code.clone(),
    }
}

#[test]
fn each_word_of_v1_means_what_posthog_means_by_it() {
    for (result, name, reason) in [
        (r#"{"result":"ok"}"#, "ok", ""),
        (r#"{"result":"ok","details":"person_processing_disabled"}"#, "warning", "person_processing_disabled"),
        (r#"{"result":"warning","details":"person_processing_disabled"}"#, "warning", "person_processing_disabled"),
        (r#"{"result":"warning","details":"new"}"#, "warning", "posthog_warning"),
        (r#"{"result":"drop","details":"billing_limit_exceeded"}"#, "quota", "quota"),
        (r#"{"result":"drop","details":"survey_responses_over_quota"}"#, "quota", "quota"),
        (r#"{"result":"limited","details":"exceptions_over_quota"}"#, "quota", "quota"),
        (r#"{"result":"drop","details":"event_name_too_long"}"#, "drop", "event_name_too_long"),
        (r#"{"result":"drop","details":"event_restriction_drop"}"#, "drop", "event_restriction_drop"),
        (r#"{"result":"drop","details":"event_too_big"}"#, "drop", "too_large"),
        (r#"{"result":"drop","details":"of tomorrow"}"#, "drop", "dropped"),
        (r#"{"result":"drop"}"#, "drop", "dropped"),
        (r#"{"result":"drop","details":"non_historical_import_drop"}"#, "quota", "wrong_host"),
        (r#"{"result":"drop","details":"ai_byte_rate_limited"}"#, "retry", "busy"),
        (r#"{"result":"retry","details":"not_persisted"}"#, "retry", "not_persisted"),
        (r#"{"result":"of tomorrow"}"#, "retry", "unclear_answer"),
        (r#"{"result":"OK"}"#, "retry", "unclear_answer"),
    ] {
        let said = of(result);
        assert_eq!((said.name(), code(&said).as_str()), (name, reason), "{result}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_takes_nothing() {
    let uuid = Uuid::from_bytes([7; 16]);
    let cut = format!(r#"{{"results":{{"{uuid}":{{"result":"ok"}}}}}}"#);
    for (body, is_whole) in [
        ("", true),
        ("1", true),
        (r#"{"status":"Ok"}"#, true),
        (r#"{"results":[]}"#, true),
        (r#"{"results":{"x":"ok"}}"#, true),
        (&cut[..cut.len() - 1], true),
        (&cut, false),
    ] {
        let outcome = judge_v1(&answered(200, &[("retry-after", "3")], body, is_whole));
        let Outcome::Retry { after_ms: 3000, why, sent: true, .. } = outcome else { panic!("{body}: {outcome:?}") };
        assert_eq!(why.code, "unclear_answer", "{body}");
    }
    let Outcome::Judged(results) = judge_v1(&answered(204, &[], &cut, true)) else { panic!("whole") };
    assert_eq!(results.of(uuid.as_bytes()), Said::Taken);
    for other in [&[8_u8; 16][..], &[]] {
        assert_eq!(code(&results.of(other)), "unclear_answer", "it is not named");
    }
}

#[test]
fn there_is_no_v1_where_something_else_answers() {
    let is_missing = |status, headers: &[(&'static str, &str)], body: &str, is_known| {
        has_no_v1(&answered(status, headers, body, true), is_known)
    };
    let page = [("content-type", "text/html")];
    for is_known in [false, true] {
        assert!(is_missing(404, &[], "", is_known) && is_missing(405, &[], "", is_known));
        assert!(is_missing(200, &page, "<html>", is_known));
        for status in [400, 401, 402, 413, 429, 500, 503] {
            assert!(!is_missing(status, &[], "{}", is_known), "{status}");
        }
        assert!(!is_missing(200, &[], r#"{"results":{}}"#, is_known));
    }
    assert!(is_missing(200, &[], r#"{"status":"Ok"}"#, false));
    assert!(!is_missing(200, &[], r#"{"status":"Ok"}"#, true), "one that answered before may be cut off");
    assert!(!has_no_v1(&answered(200, &[], "{\"resu", false), false));
    assert!(!has_no_v1(&Err(Failure::Timeout), false));
}

#[test]
fn words_of_the_answer_that_are_shown_are_short_and_plain() {
    let Said::Dropped(why) = of(r#"{"result":"drop","details":"<b>\u001b[31m"}"#) else { panic!("dropped") };
    assert_eq!(why.message, "PostHog dropped the event when it came (?b??[31m)".replace("[31m", "?31m"));
    let long = format!(r#"{{"result":"drop","details":"{}"}}"#, "x".repeat(10_000));
    let Said::Dropped(why) = of(&long) else { panic!("dropped") };
    assert!(why.message.len() < 200);
}
