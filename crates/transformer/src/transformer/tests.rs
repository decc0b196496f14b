use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use moehog_proto::{
    Reason,
    event::Event,
    transformer::{MappedEvent, mapped_event::Outcome},
};

use super::*;
use crate::Note;

mod properties;

const SAMPLES: [&str; 6] = [
    include_str!("../../testdata/streams-01-api-request-push-android.json"),
    include_str!("../../testdata/streams-05-mixed.json"),
    include_str!("../../testdata/streams-04-flat-single-event-adobe.json"),
    include_str!("../../testdata/export-03-s3-campaign-email-sent.json"),
    include_str!("../../testdata/capture-01-batch.json"),
    include_str!("../../testdata/connector-08-tutorial-identify-filled.json"),
];

fn transformer() -> Transformer {
    Transformer::new(&Mapping::default(), Rules::default())
}

fn webhook(body: impl Into<Bytes>) -> Webhook {
    Webhook {
        receipt: "3f9a1c2b-12f-a07c".to_string(),
        received_at_ms: 1_787_220_672_345,
        source: "shop".to_string(),
        body: body.into(),
        ..Webhook::default()
    }
}

fn outcomes(webhook: &Webhook) -> Result<Vec<MappedEvent>, String> {
    match transformer().transform(webhook).result.unwrap() {
        transformed_webhook::Result::Mapped(mapped) => Ok(mapped.events),
        transformed_webhook::Result::Rejection(rejection) => Err(rejection.reason),
    }
}

/// One word an event: its reason, or `event`.
fn words(body: impl Into<Bytes>) -> Result<Vec<String>, String> {
    let word = |event: MappedEvent| match event.outcome.unwrap() {
        Outcome::Event(_) => "event".to_string(),
        Outcome::Dead(rejection) => rejection.reason,
        Outcome::Duplicate(_) => "duplicate".to_string(),
        Outcome::Filtered(why) => why,
    };
    outcomes(&webhook(body)).map(|events| events.into_iter().map(word).collect())
}

fn events(webhook: &Webhook) -> Vec<Event> {
    let event = |event: MappedEvent| match event.outcome.unwrap() {
        Outcome::Event(event) => Some(event),
        _ => None,
    };
    outcomes(webhook).unwrap_or_default().into_iter().filter_map(event).collect()
}

fn one(body: impl Into<Bytes>) -> String {
    let events = events(&webhook(body));
    assert_eq!(events.len(), 1);
    String::from_utf8(events[0].json.to_vec()).unwrap()
}

fn rejected(reason: &str) -> Result<Vec<String>, String> {
    Err(reason.to_string())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_body_is_recognised_by_its_shape() {
    let event = r#"{"event":"a","distinct_id":"u1"}"#;
    let streams = r#"{"event_name":"a","uid":"u1"}"#;
    for body in [
        event.to_string(),
        format!("[{event}]"),
        format!(r#"{{"api_key":"k","batch":[{event}]}}"#),
        format!(r#"{{"batch":[{event}],"token":"k"}}"#),
        format!(r#"{{"events":[{streams}],"source":"MOENGAGE"}}"#),
        format!(r#"{{"export_day":"1","event":{streams}}}"#),
        streams.to_string(),
        format!("[{streams}]"),
        format!("\u{feff} {event}\n"),
        format!(r#"{{"\u0065vents":[{streams}]}}"#),
    ] {
        assert_eq!(words(body.clone()), Ok(vec!["event".to_string()]), "{body}");
    }
    for (body, reason) in [
        ("", "empty_body"),
        (" \n", "empty_body"),
        ("{", "unreadable_json"),
        (r#"{"event":"a" b}"#, "unreadable_json"),
        (r#"{"event":"a","distinct_id":"u1"} {"#, "unreadable_json"),
        ("event a, distinct_id=u1", "unreadable_json"),
        ("{event:'a'}", "unreadable_json"),
        ("{\"event\":\"a\",\"distinct_id\":\"u1\",\n{\"a\":1}\nb}", "unreadable_json"),
        ("{}", "unknown_shape"),
        ("null", "unknown_shape"),
        ("17", "unknown_shape"),
        (r#""text""#, "unknown_shape"),
        (r#"{"alert_id":1}"#, "unknown_shape"),
        (r#"{"events":{"event_name":"a"}}"#, "unknown_shape"),
        (r#"{"events":[{}],"batch":[{}]}"#, "unknown_shape"),
        (r#"{"events":[]}"#, "no_events"),
        ("[]", "no_events"),
        ("\x1f\u{fffd}", "unreadable_json"),
    ] {
        assert_eq!(words(body), rejected(reason), "{body}");
    }
    assert_eq!(words(&b"\x1f\x8bnot gzip"[..]), rejected("unreadable_gzip"));
    assert_eq!(words(gzip(event.as_bytes())), Ok(vec!["event".to_string()]));
}

#[test]
fn a_rejection_says_where_and_what_to_do_and_quotes_nothing() {
    let detail = |body: &'static str| match transformer().transform(&webhook(body)).result.unwrap() {
        transformed_webhook::Result::Rejection(rejection) => Reason::from(rejection).sentence(),
        transformed_webhook::Result::Mapped(_) => panic!("mapped"),
    };
    let broken = detail("{\"event\":\"a\",\n\"distinct_id\":\"Ada \\q \"secret\" L\"}");
    assert!(broken.contains("line 2 column 21") && broken.contains("does not escape"), "{broken}");
    assert!(!broken.contains("secret"));
    assert!(detail("{\"event\":\"a\",\"n\": secret}").contains("without quotes"));
    assert!(detail("{\"event\":\"a\",\"n\": {{n}}}").contains("was not filled"));
    assert!(detail("{\"event\":\"a\"").contains("ends too early"));
    assert!(detail("{\"event\":\"a\"} 5").contains("follows the first"));
    assert!(detail("{\"event\":\"a\"\n\"n\" 5}").contains("a comma is missing"));
    assert!(detail("{\"event\":\"a\",\n\"n\": \"b, \"m\": \"c\"}").contains("a quote is missing"));
    assert!(detail("{\"event\":\"a\",\"n\":[1}}").contains("a bracket is missing"));
    assert!(detail("{“event”:“a”}").contains("curly"));
    assert!(detail("{\"event\" \"a\",\"distinct_id\":\"b\"}").contains("a colon is missing"));
    assert!(detail("{\"event\":\"a\", // why\n\"distinct_id\":\"b\"}").contains("no comments"));
    assert!(detail("{\"event\":\"a\",\n# why\n\"distinct_id\":\"b\"}").contains("no comments"));
    assert!(detail("{'event':'it's','distinct_id':'b'}").contains("double quotes"));
    assert!(detail("{&quot;event&quot;:&quot;a&quot;}").contains("web page"));
    assert!(detail("<event>a</event>").contains("XML"));
}

#[test]
fn one_bad_byte_costs_itself() {
    let json = one(&b"{\"event\":\"caf\xe9\",\"distinct_id\":\"u1\",\"properties\":{\"a\":\"\\ud800\",\"b\":1.0}}"[..]);
    assert!(json.contains("\"event\":\"caf\u{fffd}\""));
    assert!(json.contains(r#""a":"\ufffd","b":1.0"#));
    let body = SAMPLES[0].as_bytes();
    // but for the word by which the shape is recognised
    let shape = SAMPLES[0].find("events").unwrap()..SAMPLES[0].find("events").unwrap() + "events".len();
    for at in (0..body.len()).filter(|at| !b"{}[]\",:0123456789 \n".contains(&body[*at]) && !shape.contains(at)) {
        let mut body = body.to_vec();
        body[at] = 0xff;
        assert!(outcomes(&webhook(body)).is_ok(), "byte {at}");
    }
}

#[test]
fn nesting_and_numbers_cost_only_themselves() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let capture = |value: &str| format!(r#"{{"event":"a","distinct_id":"u1","properties":{{"a":{value}}}}}"#);
    assert_eq!(words(capture(&deep(100))), Ok(vec!["event".to_string()]));
    assert_eq!(words(capture(&deep(101))), Ok(vec!["nested_too_deep".to_string()]));
    assert_eq!(words(deep(100_000)), Ok(vec!["not_an_object".to_string()]));
    assert_eq!(words("[".repeat(100_000)), rejected("unreadable_json"));
    assert_eq!(words("{\"a\":".repeat(100_000)), rejected("unreadable_json"));
    let mixed = format!(
        r#"{{"events":[{{"event_name":"a","uid":"u","event_attributes":{{"x":{}}}}},{},{{"event_name":"b","uid":"u"}}]}}"#,
        deep(100_000),
        deep(100_000)
    );
    let expected = ["nested_too_deep", "not_an_object", "event"].map(String::from).to_vec();
    assert_eq!(words(mixed), Ok(expected));
}

#[test]
fn a_list_without_end_is_left_at_its_limit() {
    for (item, body_bytes) in [("{},", 32 * 1024 * 1024), ("0,", 32 * 1024 * 1024)] {
        let mut body = "[".to_string() + &item.repeat((body_bytes - 2) / item.len());
        body.pop();
        body.push(']');
        assert_eq!(words(body), rejected("too_many_events"));
    }
    let full = format!("[{}{{}}]", "{},".repeat(9_999));
    assert_eq!(words(full).map(|words| words.len()), Ok(10_000));
    assert_eq!(words(gzip(&vec![b' '; moehog_proto::limits::MAX_BODY_BYTES + 1])), rejected("too_large"));
    let wide = format!("{{\"event\":\"a\",\"properties\":{{{}\"b\":1}}}}", "\"a\":1,".repeat(1_000_000));
    assert_eq!(words(wide), Ok(vec!["too_many_properties".to_string()]));
    let names: String = (0..19_000).map(|n| format!("\"a{n}\":1,")).collect();
    let many = format!(
        "{{\"event\":\"a\",\"distinct_id\":\"u\",\"properties\":{{{names}\"b\":1}},\"$set\":{{{names}\"b\":1}}}}"
    );
    assert_eq!(words(many), Ok(vec!["event".to_string()]));
    let sets: String = (0..19_000).map(|n| format!("\"$set\":{{\"a{n}\":1}},")).collect();
    let json = one(format!("{{\"event\":\"a\",{sets}\"distinct_id\":\"u\"}}"));
    assert!(json.contains("\"$set\":{\"a18999\":1},\"$lib\""));
}

#[test]
fn a_key_of_another_project_never_passes() {
    let with_key = |body: &str| {
        let webhook = Webhook { api_key: "phc_a".to_string(), ..webhook(body.to_string()) };
        outcomes(&webhook)
            .unwrap()
            .into_iter()
            .map(|event| matches!(event.outcome, Some(Outcome::Event(_))))
            .collect::<Vec<_>>()
    };
    let event = |extra: &str| format!(r#"{{"event":"a","distinct_id":"u1"{extra}}}"#);
    for extra in ["", r#","api_key":"phc_a""#, r#","token":"phc_a","api_key":"""#, r#","properties":{"token":"reset"}"#]
    {
        assert_eq!(with_key(&event(extra)), [true], "{extra}");
    }
    for extra in [
        r#","api_key":"phc_b""#,
        r#","token":"phc_b""#,
        r#","$token":"phc_b""#,
        r#","api_key":"phc_a","token":"phc_b""#,
        r#","properties":{"token":"phc_b"}"#,
        r#","\u0061pi_key":"phc_b""#,
    ] {
        assert_eq!(with_key(&event(extra)), [false], "{extra}");
    }
    let batch =
        |key: &str| format!(r#"{{"batch":[{},{}],"api_key":"{key}"}}"#, event(""), event(r#","token":"phc_b""#));
    assert_eq!(with_key(&batch("phc_a")), [true, false]);
    assert_eq!(with_key(&batch("phc_b")), [false, false]);
    for body in [
        r#"{"event_name":"a","uid":"u1","api_key":"phc_b"}"#,
        r#"[{"event_name":"a","uid":"u1","token":"phc_b"}]"#,
        r#"{"event":{"event_name":"a","uid":"u1"},"api_key":"phc_b"}"#,
        r#"{"events":[{"event_name":"a","uid":"u1"}],"api_key":"phc_b"}"#,
    ] {
        assert_eq!(with_key(body), [false], "{body}");
    }
    // without a key of the request the source says where events go
    assert_eq!(words(event(r#","api_key":"phc_b""#)), Ok(vec!["event".to_string()]));
}

#[test]
fn what_a_sender_says_of_place_and_library_wins() {
    let properties = |inner: &str| one(format!(r#"{{"event":"a","distinct_id":"u1","properties":{{{inner}}}}}"#));
    assert!(properties("").contains(r#""$geoip_disable":true"#));
    assert!(!properties(r#""$ip":"1.2.3.4""#).contains("$geoip_disable"));
    assert!(properties(r#""$geoip_disable":false"#).contains(r#"{"$geoip_disable":false,"$lib":"moehog""#));
    assert!(properties(r#""$lib":"web""#).contains(r#"{"$lib":"web","$geoip_disable":true,"moehog":{"#));
    let ours = properties(r#""moehog":{"receipt":"forged"}"#);
    assert!(!ours.contains("forged") && ours.contains(r#""receipt":"3f9a1c2b-12f-a07c""#));
}

#[test]
fn an_event_without_an_id_is_itself_by_its_place_in_the_first_webhook() {
    let body =
        r#"[{"event":"a","distinct_id":"u1"},{"event":"a","distinct_id":"u1"},{"event":"a","distinct_id":"u1"}]"#;
    let uuids = |webhook: &Webhook| events(webhook).into_iter().map(|event| event.uuid).collect::<Vec<_>>();
    let first = uuids(&webhook(body));
    assert_eq!(first.len(), 3);
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
    let replay =
        Webhook { receipt: "new".to_string(), origin_receipt: "3f9a1c2b-12f-a07c".to_string(), ..webhook(body) };
    assert_eq!(uuids(&replay), first);
    let resend = Webhook { receipt: "new".to_string(), ..webhook(body) };
    assert!(uuids(&resend).iter().all(|uuid| !first.contains(uuid)));
}

#[test]
fn an_event_is_itself_by_the_address_and_shows_the_receipt() {
    let body = r#"{"event":"a","distinct_id":"u1"}"#;
    let entry = |receipt: &str, address: &str, shown: &str| {
        let webhook = Webhook {
            receipt: receipt.to_string(),
            origin_receipt: address.to_string(),
            origin_shown: shown.to_string(),
            ..webhook(body)
        };
        let event = events(&webhook).remove(0);
        let json: serde_json::Value = serde_json::from_slice(&event.json).unwrap();
        let shown = json["properties"]["moehog"]["receipt"].as_str().unwrap().to_string();
        (uuid::Uuid::from_slice(&event.uuid).unwrap().to_string(), event.receipt, shown)
    };
    let of_0_1 = ("6ed28b1b-ec31-5b5b-a9e2-a1471758130b", "3f9a1c2b-12f-a07c");
    let new = ("31635af6-5212-5c97-8de8-725dc5aaafef", "3f9a1c2b-e217697277a3b278a25daec74e8c5c58-1d6d");
    // by a relay of 0.1, and by this one
    for address in ["", of_0_1.1] {
        let expected = (of_0_1.0.to_string(), of_0_1.1.to_string(), of_0_1.1.to_string());
        assert_eq!(entry(of_0_1.1, address, ""), expected, "{address}");
    }
    // taken, and routed on or replayed
    for receipt in [new.1, "another"] {
        let expected = (new.0.to_string(), receipt.to_string(), new.1.to_string());
        assert_eq!(entry(receipt, "0123456789abcdef-12f", new.1), expected);
    }
}

#[test]
fn an_id_of_the_body_is_used_unless_it_says_nothing() {
    let uuid = |fields: &str, receipt: &str| {
        let body = format!(r#"{{"event":"a","distinct_id":"u1",{fields}}}"#);
        let webhook = Webhook { receipt: receipt.to_string(), ..webhook(body) };
        events(&webhook)[0].uuid.clone()
    };
    for id in [
        r#""uuid":"order-77""#,
        r#""uuid":"67e55044-10b1-426f-9247-bb680e5fe0c8""#,
        r#""messageId":"m""#,
        r#""event_uuid":"m""#,
        r#""uuid":17"#,
        r#""properties":{"$insert_id":"m"}"#,
    ] {
        assert_eq!(uuid(id, "a"), uuid(id, "b"), "{id}");
    }
    for nothing in [
        r#""uuid":"""#,
        r#""uuid":null"#,
        r#""uuid":"{{order}}""#,
        r#""uuid":"None""#,
        r#""uuid":"null""#,
        r#""id":"1""#,
        r#""uuid":{}"#,
    ] {
        assert_ne!(uuid(nothing, "a"), uuid(nothing, "b"), "{nothing}");
    }
}

#[test]
fn only_what_posthog_would_collapse_is_a_duplicate() {
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let event = |event: &str, person: &str, time: &str| {
        format!(r#"{{"uuid":"{uuid}","event":"{event}","distinct_id":"{person}","timestamp":"{time}"}}"#)
    };
    let list = [
        event("a", "u1", "2026-08-20T10:00:00Z"),
        event("b", "u1", "2026-08-20T10:00:00Z"),
        event("a", "u2", "2026-08-20T10:00:00Z"),
        event("a", "u1", "2026-08-21T10:00:00Z"),
        event("a", "u1", "2026-08-20T23:00:00Z"),
        event("b", "u1", "2026-08-20T23:00:00Z"),
        event("a", "u2", "2026-08-21T01:00:00+02:00"),
        event("a", "u1", "2026-08-21T10:00:01Z"),
    ];
    let words = words(format!("[{}]", list.join(","))).unwrap();
    assert_eq!(words, ["event", "event", "event", "event", "duplicate", "duplicate", "duplicate", "duplicate"]);
}

#[test]
fn push_tokens_are_kept_only_when_asked_for() {
    let body = r#"{"events":[{"event_name":"a","uid":"u","push_id":"secret","event_attributes":{"Push ID":"secret"},
        "user_attributes":{"push_id":"secret"},"device_attributes":{"push_id":"secret"}}]}"#;
    assert!(!one(body).contains("secret"));
    let kept = Transformer::new(&Mapping { keep_push_tokens: true, ..Mapping::default() }, Rules::default())
        .transform(&webhook(body));
    let Some(transformed_webhook::Result::Mapped(mapped)) = kept.result else { panic!("rejected") };
    let Some(Outcome::Event(event)) = &mapped.events[0].outcome else { panic!("no event") };
    assert!(std::str::from_utf8(&event.json).unwrap().contains(r#""moe_push_id":"secret""#));
}

#[test]
fn attributes_never_change_a_person() {
    let json = one(r#"{"events":[{"event_name":"a","uid":"u","event_attributes":{"$set":{"a":1},"\u0024unset":["b"]},
        "$set_once":{"c":1},"device_attributes":{"$groups":{"d":1}},"user_attributes":{"$set":{"e":1}}}]}"#);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for name in ["$set", "$set_once", "$unset", "$groups"] {
        assert!(json["properties"].get(name).is_none(), "{name}");
    }
    assert_eq!(json["properties"]["moe_$set"]["a"], 1);
    assert_eq!(json["properties"]["user_$set"]["e"], 1);
}

#[test]
fn a_placeholder_costs_its_property_only() {
    let webhook = webhook(
        r#"{"event":"a","distinct_id":"u1","properties":{"a":"{{x}}","b":"","c":"None","d":null,"e":{"f":"{{x}}"},"g":1},
        "$set":{"h":"{{x}} {{y}}","i":" ","j":"k"},"$set_once":{"l":""}}"#,
    );
    let json = events(&webhook)[0].json.clone();
    let json = std::str::from_utf8(&json).unwrap();
    assert!(json.contains(r#""properties":{"d":null,"e":{"f":"{{x}}"},"g":1,"$set":{"j":"k"},"$lib""#), "{json}");
    assert_eq!(transformer().transform_counted(&webhook).1.get(Note::DroppedPlaceholder), 6);
}
