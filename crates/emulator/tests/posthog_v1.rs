//! The rules of PostHog's v1 endpoint.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod client;

use std::io::Write;

use client::{Answer, call, gzip, start};
use http::Method;
use moehog_emulator::posthog::{Config, Running, Store};
use serde_json::{Value, json};

const PATH: &str = "/i/v1/analytics/events";
const UUID: &str = "0191f1f0-0000-7000-8000-000000000001";
const OTHER: &str = "0191f1f0-0000-7000-8000-000000000002";
const HEADERS: [(&str, &str); 7] = [
    ("authorization", "Bearer phc_a"),
    ("content-type", "application/json"),
    ("user-agent", "test/1"),
    ("posthog-sdk-info", "test/1.0"),
    ("posthog-attempt", "1"),
    ("posthog-request-id", "0191f1f0-0000-7000-8000-0000000000ff"),
    ("posthog-request-timestamp", "2026-03-01T10:00:00Z"),
];

/// An event that is taken, with these members replaced or added; null takes one out.
fn event(changes: Value) -> Value {
    let mut event = json!({
        "event": "a", "uuid": UUID, "distinct_id": "u", "timestamp": "2026-03-01T10:00:00Z",
        "options": {"disable_skew_correction": true}, "properties": {"n": 1},
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(event.as_object_mut().unwrap().remove(name)),
            value => event[name] = value.clone(),
        }
    }
    event
}

fn batch(events: &[Value]) -> String {
    json!({"created_at": "2026-03-01T10:00:00Z", "batch": events}).to_string()
}

/// Posts with these headers in place of the usual ones; an empty one is left out.
async fn post(posthog: &Running, changes: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Answer {
    let mut call = call(posthog, Method::POST, PATH).body(body);
    let changed = |name: &str| changes.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    for (name, value) in HEADERS {
        match changed(name) {
            Some("") => {}
            other => call = call.header(name, other.unwrap_or(value)),
        }
    }
    for (name, value) in changes.iter().filter(|(name, _)| !HEADERS.iter().any(|(own, _)| own == name)) {
        call = call.header(name, value);
    }
    call.send().await.unwrap()
}

async fn result(posthog: &Running, changes: Value) -> Value {
    let answer = post(posthog, &[], batch(&[event(changes)])).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"][UUID].clone()
}

#[tokio::test]
async fn an_event_is_stored_as_today_s_server_writes_it_on() {
    let posthog = start(Config::default());
    let options = json!({"process_person_profile": "false", "product_tour_id": 7, "cookieless_mode": 1});
    let sent = event(json!({
        "session_id": "s", "window_id": "w", "options": options, "distinct_id": "  u9 ",
        "properties": {"n": 1, "$lib": "other", "$set": {"a": 1}}, "$set": {"ignored": true},
    }));
    let answer = post(&posthog, &[], batch(&[sent])).await;
    assert_eq!(answer.json(), json!({"results": {UUID: {"result": "ok"}}}));
    assert_eq!((answer.content_type.as_str(), answer.retry_after), ("application/json", None));
    let [stored] = &posthog.books().arrivals()[..] else { panic!("one") };
    assert_eq!((stored.distinct_id.as_str(), stored.uuid.to_string().as_str()), ("u9", UUID));
    let mut properties = stored.properties();
    properties.remove("$ip");
    assert_eq!(
        Value::from(properties),
        json!({
            "n": 1, "$lib": "test", "$lib_version": "1.0", "$set": {"a": 1}, "$session_id": "s", "$window_id": "w",
            "$process_person_profile": false, "$product_tour_id": "7", "$cookieless_mode": true,
        })
    );
}

#[tokio::test]
async fn each_bad_event_is_dropped_alone_and_says_why() {
    let long = "é".repeat(101);
    for (changes, details) in [
        (json!({"event": ""}), "missing_event_name"),
        (json!({"event": long}), "event_name_too_long"),
        (json!({"event": "$performance_event"}), "dropped_performance_event"),
        (json!({"distinct_id": "  "}), "missing_distinct_id"),
        (json!({"distinct_id": long}), "distinct_id_too_large"),
        (json!({"timestamp": "2026-03-01"}), "invalid_event_timestamp"),
        (json!({"timestamp": "2026-03-01T10:00:00"}), "invalid_event_timestamp"),
        (json!({"timestamp": "1772359200"}), "invalid_event_timestamp"),
        (json!({"properties": []}), "malformed_event_properties"),
        (json!({"options": {"cookieless_mode": "maybe"}}), "invalid_options"),
        (json!({"properties": {"big": "x".repeat(1_000_000)}}), "event_too_big"),
    ] {
        let posthog = start(Config::default());
        let answer = post(&posthog, &[], batch(&[event(changes.clone()), event(json!({"uuid": OTHER}))])).await;
        let expected = json!({"results": {UUID: {"result": "drop", "details": details}, OTHER: {"result": "ok"}}});
        assert_eq!(answer.json(), expected, "{details}");
        let counts = posthog.books().counts();
        assert_eq!((counts.arrivals, counts.dropped.get(details).copied()), (1, Some(1)));
    }
    let posthog = start(Config::default());
    let nobody = json!({"result": "ok", "details": "person_processing_disabled"});
    assert_eq!(result(&posthog, json!({"distinct_id": "NULL"})).await, nobody);
    assert_eq!(result(&posthog, json!({"timestamp": "2026-03-01T10:00:00+05:30"})).await["result"], "ok");
}

#[tokio::test]
async fn what_refuses_the_whole_batch_stores_nothing() {
    let posthog = start(Config::default());
    let one = batch(&[event(json!({}))]);
    for (headers, body, status, tag) in [
        (&[("authorization", "")][..], one.clone(), 401, "missing_authorization"),
        (&[("authorization", "Basic x")], one.clone(), 400, "invalid_header_value"),
        (&[("authorization", "Bearer phx_a")], one.clone(), 401, "invalid_api_token"),
        (&[("posthog-sdk-info", "")], one.clone(), 400, "missing_required_headers"),
        (&[("posthog-attempt", "0")], one.clone(), 400, "invalid_header_value"),
        (&[("posthog-request-id", "7")], one.clone(), 400, "invalid_header_value"),
        (&[("posthog-request-timestamp", "now")], one.clone(), 400, "invalid_header_value"),
        (&[("content-type", "text/plain")], one.clone(), 415, "unsupported_content_type"),
        (&[("content-encoding", "lz4")], one.clone(), 415, "unsupported_encoding"),
        (&[("content-encoding", "gzip")], one.clone(), 400, "request_decoding_error"),
        (&[], String::new(), 400, "empty_body"),
        (&[], "{".to_string(), 400, "request_parsing_error"),
        (&[], batch(&[]), 400, "empty_batch"),
        (&[], one.replace("\"created_at\":\"2026-03-01T10:00:00Z\"", "\"created_at\":\"x\""), 400, "invalid_batch"),
        (&[], batch(&[event(json!({"uuid": ""}))]), 400, "missing_event_uuid"),
        (&[], batch(&[event(json!({"uuid": "x"}))]), 400, "invalid_event_uuid"),
        (&[], batch(&[event(json!({})), event(json!({}))]), 400, "duplicate_event_uuid"),
        (&[], batch(&[event(json!({"timestamp": null}))]), 400, "request_parsing_error"),
        (&[], batch(&[event(json!({"distinct_id": 7}))]), 400, "request_parsing_error"),
        (&[], "x".repeat((10 << 20) + 1), 413, "payload_too_large"),
    ] {
        let answer = post(&posthog, headers, body).await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(tag)), "{tag}: {}", answer.body);
        assert!(answer.json()["error_description"].is_string() && answer.retry_after.is_none());
    }
    assert_eq!(posthog.books().counts().arrivals, 0);
}

#[tokio::test]
async fn over_quota_is_said_and_a_key_that_nobody_owns_is_not() {
    let posthog = start(Config::with_keys(["phc_a"]));
    posthog.set_over_quota("phc_a", true);
    let answer = post(&posthog, &[], batch(&[event(json!({}))])).await;
    assert_eq!((answer.status, &answer.json()["error"]), (402, &json!("billing_limit_exceeded")));
    posthog.set_over_quota("phc_a", false);
    let answer = post(&posthog, &[("authorization", "Bearer phc_b")], batch(&[event(json!({}))])).await;
    assert_eq!(answer.json()["results"][UUID]["result"], "ok");
    assert_eq!((posthog.books().unique(), posthog.books().counts().dropped["team_not_found"]), (0, 1));
}

#[tokio::test]
async fn every_coding_is_read_and_counts_are_kept_alone() {
    let posthog = start(Config::counts());
    let text = batch(&[event(json!({}))]);
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(text.as_bytes()).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    let mut br = Vec::new();
    brotli::CompressorWriter::new(&mut br, 4096, 5, 22).write_all(text.as_bytes()).unwrap();
    let deflate = deflate.finish().unwrap();
    for (coding, body) in [("gzip", gzip(text.as_bytes())), ("deflate", deflate), ("zstd", zstd), ("br", br)] {
        let answer = post(&posthog, &[("content-encoding", coding)], body).await;
        assert_eq!(answer.json()["results"][UUID]["result"], "ok", "{coding}");
    }
    assert_eq!(Config::counts().store, Store::Counts);
    let counts = posthog.books().counts();
    assert_eq!((counts.arrivals, counts.unique), (4, 1));
}

#[tokio::test]
async fn the_sender_s_clock_shifts_times_unless_asked_not_to() {
    let posthog = start(Config::default());
    let now = jiff::Timestamp::now();
    let ahead = now + jiff::SignedDuration::from_hours(2);
    let headers = [("posthog-request-timestamp", &*ahead.to_string())];
    let options = |options: Value| batch(&[event(json!({"timestamp": ahead.to_string(), "options": options}))]);
    post(&posthog, &headers, options(json!({}))).await;
    post(&posthog, &headers, options(json!({"disable_skew_correction": true}))).await;
    let far = json!({"timestamp": "2099-01-01T00:00:00Z"});
    result(&posthog, far.clone()).await;
    post(&posthog, &[("posthog-request-timestamp", &*now.to_string())], {
        let mut event = event(far);
        event["options"] = json!({});
        batch(&[event])
    })
    .await;
    let stored: Vec<_> = posthog.books().arrivals().iter().map(|event| event.timestamp).collect();
    let is_about_now = |at: jiff::Timestamp| at.duration_since(now).abs() < jiff::SignedDuration::from_hours(1);
    assert!(is_about_now(stored[0]) && stored[1] == ahead && is_about_now(stored[3]), "{stored:?}");
    assert_eq!(stored[2].to_string(), "2099-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_deployment_without_it_answers_404() {
    for config in [Config { v1: false, ..Config::default() }, Config::of_2024()] {
        assert_eq!(post(&start(config), &[], batch(&[event(json!({}))])).await.status, 404);
    }
    let answer = call(&start(Config::default()), Method::GET, PATH).send().await.unwrap();
    assert_eq!(answer.status, 405);
}
