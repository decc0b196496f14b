use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use flate2::{Compression, write::GzEncoder};
use moehog_proto::project_key_fault;
use proptest::prelude::*;

use super::*;

/// Scans a body cut into pieces of `size`.
fn scan(body: &[u8], size: usize) -> Option<String> {
    let mut finder = Finder::new();
    for chunk in body.chunks(size.max(1)) {
        finder.feed(chunk);
    }
    finder.key()
}

fn key(body: impl AsRef<[u8]>) -> Option<String> {
    let body = body.as_ref();
    let whole = scan(body, usize::MAX);
    for size in [1, 2, 7] {
        assert_eq!(scan(body, size), whole, "in pieces of {size}");
    }
    whole
}

fn found(key: &str) -> Option<String> {
    Some(key.to_string())
}

#[test]
fn the_outermost_key_wins_wherever_it_stands() {
    assert_eq!(key(r#"{"api_key":"phc_a","event":"e"}"#), found("phc_a"));
    assert_eq!(key(r#"{"properties":{"token":"push"},"api_key" : "phc_a"}"#), found("phc_a"));
    assert_eq!(key(r#"{"properties":{"api_key":"other","token":"push"},"token":"phc_a"}"#), found("phc_a"));
    assert_eq!(key(r#"{"token":"push","api_key":"phc_a"}"#), found("phc_a"));
    assert_eq!(key(r#"[{"event":"e","$token":"phc_a"},{"$token":"phc_b"}]"#), found("phc_a"));
    assert_eq!(key(r#"{"batch":[{"event":"e","properties":{"token":"phc_a"}}]}"#), found("phc_a"));
    assert_eq!(key(r#"{"batch":[{"properties":{"token":"x"},"api_key":"phc_a"}]}"#), found("phc_a"));
    assert_eq!(key(r#"{"api_key":null,"properties":{"token":"phc_a"}}"#), found("phc_a"));
    assert_eq!(key(r#"{"api_key":""}"#), found(""));
}

#[test]
fn text_that_only_looks_like_a_key_is_none() {
    assert_eq!(key(r#"{"comment":"\"api_key\":\"phc_no\"","event":"api_key"}"#), None);
    assert_eq!(key(r#"{"api_key":5,"token":{"a":"b"},"$token":["phc_no"]}"#), None);
    assert_eq!(key(r#"["api_key","phc_no"]"#), None);
    assert_eq!(key(r#"{"xapi_key":"phc_no"}"#), None);
    assert_eq!(key("{}"), None);
    assert_eq!(key(""), None);
}

#[test]
fn escapes_are_read_as_json_reads_them() {
    assert_eq!(key(r#"{"api\u005fkey":"phc_\u0061"}"#), found("phc_a"));
    assert_eq!(key(r#"{"a\\":"x\\","api_key":"phc_a"}"#), found("phc_a"));
    assert_eq!(key(r#"{"a":"x\"","api_key":"phc_a"}"#), found("phc_a"));
}

#[test]
fn a_broken_body_gives_its_key_all_the_same() {
    let odd = br#"{"name": "5" screen", "event": "e", "api_key": "phc_a"}"#;
    assert_eq!(key(odd), found("phc_a"));
    assert_eq!(key(br#"{"name": "Joe "the king" X", "api_key": "phc_a"}"#), found("phc_a"));
    assert_eq!(key(b"{\"name\": \"a\nb \xff\xfe\", \"api_key\": \"phc_a\""), found("phc_a"));
    assert_eq!(key(b"\xef\xbb\xbf{\"api_key\":\"phc_a\"}"), found("phc_a"));
    assert_eq!(key(br#"{"a": "x\", "b": "y", "api_key": "phc_a"}"#), found("phc_a"));
    assert_eq!(key(br#"{"api_key": "phc_a", "name": "5" screen"}"#), found("phc_a"));
}

#[test]
fn a_form_gives_its_key() {
    assert_eq!(key("api_key=phc_a&event=e"), found("phc_a"));
    assert_eq!(key("event=e&token=phc_b&api_key=phc_a\r\n"), found("phc_a"));
    assert_eq!(key("event=api_key"), None);
}

/// As PostHog's SDKs for browsers sent it: percent-encoded, as it is, in base64, compressed in base64.
fn forms_of(json: &str) -> Vec<String> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(json.as_bytes()).unwrap();
    let packed = STANDARD.encode(gzip.finish().unwrap());
    let encoded = |value: &str| form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
    vec![
        format!("data={}", encoded(json)),
        format!("data={}", encoded(&STANDARD.encode(json))),
        format!("ver=1.2&data={}&compression=base64", STANDARD.encode(json)),
        format!("data={}&compression=gzip-js\r\n", encoded(&packed)),
        format!("data={packed}&compression=gzip-js"),
    ]
}

#[test]
fn a_form_with_a_whole_body_in_it_gives_the_key_of_that() {
    let large = format!(r#"[{{"event":"{}?>","properties":{{"token":"phc_a"}}}}]"#, "é~ÿ".repeat(3_000));
    for json in
        [r#"{"api_key":"phc_a","event":"e + f","distinct_id":"u"}"#, r#" [{"event":"e","$token":"phc_a"}]"#, &large]
    {
        for form in forms_of(json) {
            assert_eq!(key(&form), found("phc_a"), "{form}");
        }
    }
    for form in forms_of(r#"{"api_key":"phc_b"}"#) {
        assert_eq!(key(format!("{form}&api_key=phc_a")), found("phc_a"), "one of its own is believed first");
    }
    assert_eq!(key("data=aGVsbG8=&event=e"), None);
    assert_eq!(key("data=%7B%22api_key%22%3A%22phc_a%2&x=%"), None);
    let bomb = forms_of(&format!(r#"{{"a":"{}","api_key":"phc_a"}}"#, "x".repeat(1 << 20)));
    assert_eq!((key(&bomb[1]), key(&bomb[4])), (found("phc_a"), None), "what is unpacked has an end");
}

#[test]
fn a_key_of_any_length_is_not_kept_whole() {
    let long = "x".repeat(10_000);
    assert_eq!(key(format!(r#"{{"api_key":"{long}"}}"#)).map(|key| key.len()), Some(MAX_TEXT_BYTES));
    let escaped = "\\u0061".repeat(65);
    assert!(
        key(format!(r#"{{"api_key":"{escaped}"}}"#)).is_none_or(|key| project_key_fault(&key).is_some()),
        "65 characters"
    );
    assert_eq!(key(format!(r#"{{"{long}":"a","token":"phc_a"}}"#)), found("phc_a"));
}

/// JSON with its members in order.
#[derive(Debug, Clone)]
enum Json {
    Scalar(serde_json::Value),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn write(&self, space: &str, into: &mut String) {
        match self {
            Self::Scalar(value) => into.push_str(&value.to_string()),
            Self::Array(items) => {
                into.push('[');
                for (index, item) in items.iter().enumerate() {
                    into.push_str(if index > 0 { "," } else { "" });
                    item.write(space, into);
                }
                into.push(']');
            }
            Self::Object(members) => {
                into.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    into.push_str(if index > 0 { "," } else { "" });
                    into.push_str(&serde_json::to_string(name).unwrap());
                    into.push_str(&format!("{space}:{space}"));
                    value.write(space, into);
                }
                into.push('}');
            }
        }
    }

    /// Every text member under a key's name, with its depth and rank, in document order.
    fn candidates(&self, depth: u32, into: &mut Vec<(u32, Name, String)>) {
        match self {
            Self::Scalar(_) => {}
            Self::Array(items) => items.iter().for_each(|item| item.candidates(depth, into)),
            Self::Object(members) => {
                for (name, value) in members {
                    match (Name::of(name.as_bytes()), value) {
                        (Some(name), Self::Scalar(serde_json::Value::String(text))) => {
                            into.push((depth + 1, name, text.clone()));
                        }
                        _ => value.candidates(depth + 1, into),
                    }
                }
            }
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("api_key".to_string()),
        Just("token".to_string()),
        Just("$token".to_string()),
        Just("\"api_key\":\"x\"".to_string()),
        Just("\\".to_string()),
        "phc_[a-z]{3}",
        any::<String>().prop_map(|text| text.chars().take(40).collect()),
    ]
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        text().prop_map(|text| Json::Scalar(text.into())),
        any::<i64>().prop_map(|number| Json::Scalar(number.into())),
        Just(Json::Scalar(serde_json::Value::Null)),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            prop::collection::vec((text(), inner), 0..6).prop_map(Json::Object),
        ]
    })
}

proptest! {
    #[test]
    fn on_valid_json_the_scan_finds_what_a_parser_finds(
        tree in json(),
        space in prop_oneof![Just(""), Just(" "), Just("\r\n\t")],
        size in 1_usize..40,
    ) {
        let mut body = String::new();
        tree.write(space, &mut body);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        let mut candidates = Vec::new();
        tree.candidates(0, &mut candidates);
        // the first of the lowest rank
        let expected = candidates.iter().min_by_key(|(depth, name, _)| (*depth, *name)).map(|(_, _, key)| key.clone());
        if expected.is_some() {
            prop_assert_eq!(scan(body.as_bytes(), size), expected);
        } else {
            // no key in it: the scan may only see one from inside a string's text
            let mut outside = KeyScan::new(State::Between);
            outside.feed(body.as_bytes());
            prop_assert!(outside.key().is_none());
        }
    }

    #[test]
    fn any_bytes_are_scanned_alike_whole_and_in_pieces(body in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..20) {
        prop_assert_eq!(scan(&body, size), scan(&body, usize::MAX));
    }

    #[test]
    fn any_text_around_a_key_leaves_it_findable_unless_it_holds_quotes(before in "[^\"\\\\{}&=]{0,40}") {
        let body = format!("{{ {before} \"api_key\":\"phc_a\"");
        prop_assert_eq!(scan(body.as_bytes(), usize::MAX), Some("phc_a".to_string()));
    }
}
