use serde_json::{Value, json};

use super::*;

const UUID: &str = "0191f1f0-0000-7000-8000-000000000001";

fn convert(event: &str) -> Option<Value> {
    let uuid = Uuid::try_parse(UUID).unwrap();
    let now = "2026-12-01T02:00:00Z".parse().unwrap();
    let converted = convert_one(uuid.as_bytes(), event.as_bytes(), now)?;
    assert_eq!(
        convert_one(uuid.as_bytes(), event.as_bytes(), now),
        Some(converted.clone()),
        "the same bytes each time"
    );
    Some(serde_json::from_slice(&converted).unwrap())
}

/// An event with these members in place of the usual ones; null takes one away.
fn event(changes: Value) -> String {
    let mut event = json!({
        "uuid": UUID, "event": "bought", "distinct_id": "ann", "timestamp": "2026-11-30T10:00:00.5Z",
        "properties": {"n": 1, "$lib": "moehog", "$lib_version": LIBRARY.1},
    });
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    let event: serde_json::Map<_, _> =
        event.as_object().unwrap().clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
    Value::Object(event).to_string()
}

fn with(properties: Value) -> String {
    event(json!({ "properties": properties }))
}

#[test]
fn an_event_keeps_what_it_is() {
    let converted = convert(&event(json!({}))).unwrap();
    let expected = json!({
        "uuid": UUID, "event": "bought", "distinct_id": "ann", "timestamp": "2026-11-30T10:00:00.5Z",
        "options": {"disable_skew_correction": true},
        "properties": {"n": 1, "$lib": "moehog", "$lib_version": LIBRARY.1},
    });
    assert_eq!(converted, expected);
    let big = r#"{"uuid":"0191f1f0-0000-7000-8000-000000000001","event":"\u0061","distinct_id":"é","timestamp":"2026-01-01T00:00:00Z","properties":{"b":18446744073709551615,"a":1.0,"\u00e9":"\ud83d\ude00"}}"#;
    let uuid = Uuid::try_parse(UUID).unwrap();
    let bytes = convert_one(uuid.as_bytes(), big.as_bytes(), Timestamp::now()).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.contains(r#""properties":{"b":18446744073709551615,"a":1.0,"\u00e9":"\ud83d\ude00"}"#), "{text}");
}

#[test]
fn what_v1_has_in_another_place_goes_there_and_the_rest_stays_as_written() {
    let properties = r#"{"$session_id":"s","a":1.0,"$process_person_profile":false,"$window_id":"w","$cookieless_mode":true,"b":[1,{"c":null}],"$product_tour_id":"t","$ignore_sent_at":true}"#;
    let text = event(json!({"properties": {}})).replace("\"properties\":{}", &format!("\"properties\":{properties}"));
    let converted = convert(&text).unwrap();
    assert_eq!(
        converted["options"],
        json!({
            "disable_skew_correction": true, "process_person_profile": false, "cookieless_mode": true,
            "product_tour_id": "t",
        })
    );
    assert_eq!((converted["session_id"].as_str(), converted["window_id"].as_str()), (Some("s"), Some("w")));
    assert_eq!(converted["properties"], json!({"a": 1.0, "b": [1, {"c": null}]}));
    assert_eq!(convert(&with(json!({"$session_id": "s"}))).unwrap()["properties"], json!({}));
}

#[test]
fn times_are_the_same_instant_in_utc() {
    for (text, utc) in [
        ("2025-01-02T08:34:05+05:30", "2025-01-02T03:04:05Z"),
        ("2025-01-02T03:04:05.123456Z", "2025-01-02T03:04:05.123456Z"),
        ("1999-12-31T23:59:59-01:00", "2000-01-01T00:59:59Z"),
    ] {
        assert_eq!(convert(&event(json!({"timestamp": text}))).unwrap()["timestamp"], utc);
    }
}

#[test]
fn what_v1_would_drop_or_read_otherwise_stays_with_classic() {
    for changes in [
        json!({"uuid": "0191f1f0-0000-7000-8000-000000000002"}),
        json!({"uuid": "none"}),
        json!({"uuid": null}),
        json!({"event": ""}),
        json!({"event": "é".repeat(101)}),
        json!({"event": " padded"}),
        json!({"event": 7}),
        json!({"distinct_id": "  u9  "}),
        json!({"distinct_id": 42}),
        json!({"distinct_id": "u\0"}),
        json!({"distinct_id": "é".repeat(101)}),
        json!({"timestamp": null}),
        json!({"timestamp": "2026-01-02"}),
        json!({"timestamp": "2026-01-02 03:04:05"}),
        json!({"timestamp": "yesterday"}),
        json!({"timestamp": "2099-01-01T00:00:00Z"}),
        json!({"properties": null}),
        json!({"properties": []}),
        json!({"$set": {"a": 1}}),
        json!({"properties": {"$lib": "posthog-python", "$lib_version": "7.91.1"}}),
        json!({"properties": {"$process_person_profile": "false"}}),
        json!({"properties": {"$cookieless_mode": 1}}),
        json!({"properties": {"$session_id": 7}}),
        json!({"properties": {"$ignore_sent_at": false}}),
    ] {
        assert_eq!(convert(&event(changes.clone())), None, "{changes}");
    }
    let twice = with(json!({"a": 1})).replace("\"a\":1", "\"$session_id\":\"a\",\"$session_id\":\"b\"");
    assert_eq!(convert(&twice), None);
    for text in ["", "{}", "[]", &event(json!({})).replace("}", "")] {
        assert_eq!(convert(text), None, "{text}");
    }
}
