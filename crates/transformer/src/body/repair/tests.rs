//! What is mended and what is not, by example.

use proptest::prelude::*;

use super::*;

/// What comes of a body of one value.
fn mended(text: &str) -> Option<(String, Vec<Repair>)> {
    repair(text).map(|mended| (mended.text, mended.repairs.kinds()))
}

#[test]
fn what_was_meant_is_certain() {
    use Repair::{
        Blank, ControlCharacter, DoubledComma, EmptyValue, MissingComma, NotANumber, PythonValue, TrailingComma,
        UnescapedQuote,
    };
    for (broken, mended, repairs) in [
        (r#"{"a": True, "b": None, "c": False}"#, r#"{"a": true, "b": null, "c": false}"#, vec![PythonValue]),
        (r#"{"a": ['x', "it's", 1.5]}"#, r#"{"a": ["x", "it's", 1.5]}"#, vec![PythonValue]),
        (r#"{"a": {'k': 'it\'s "so"'}}"#, r#"{"a": {"k": "it's \"so\""}}"#, vec![PythonValue]),
        (r#"{"a": [1, 2, ], "b": 1,}"#, r#"{"a": [1, 2 ], "b": 1}"#, vec![TrailingComma]),
        (r#"{"a": "5" pipe", "b": 1}"#, r#"{"a": "5\" pipe", "b": 1}"#, vec![UnescapedQuote]),
        (r#"{"a": "so "called", x", "b": "y"}"#, r#"{"a": "so \"called\", x", "b": "y"}"#, vec![UnescapedQuote]),
        (r#"{"a": ""all""}"#, r#"{"a": "\"all\""}"#, vec![UnescapedQuote]),
        ("{\"a\": \"x\r\ny\"}", r#"{"a": "x\r\ny"}"#, vec![ControlCharacter]),
        (r#"{"a": , "b": }"#, r#"{"a": null, "b": null}"#, vec![EmptyValue]),
        (r#"{"a": [{"b": 1}{"b": 2} {"b": 3}]}"#, r#"{"a": [{"b": 1},{"b": 2} ,{"b": 3}]}"#, vec![MissingComma]),
        ("{\"a\": 1\n \"b\": [2] \"c\": 3}", "{\"a\": 1\n ,\"b\": [2] ,\"c\": 3}", vec![MissingComma]),
        (r#"{"a": 1,, "b": 2}"#, r#"{"a": 1, "b": 2}"#, vec![DoubledComma]),
        (r#"{"a": NaN, "b": [-Infinity]}"#, r#"{"a": null, "b": [null]}"#, vec![NotANumber]),
        ("{\u{a0}\"a\":\u{2002}\"x\"}", "{ \"a\": \"x\"}", vec![Blank]),
        ("[\"x\", true, \"y\", ]", "[\"x\", true, \"y\" ]", vec![TrailingComma]),
        (r#"{"a": 1} {"b": 2}"#, r#"[{"a": 1},{"b": 2}]"#, vec![MissingComma]),
        ("{\"a\": 1}\n{\"a\": True}", r#"[{"a": 1},{"a": true}]"#, vec![PythonValue]),
    ] {
        assert_eq!(self::mended(broken), Some((mended.to_string(), repairs)), "{broken}");
    }
}

#[test]
fn what_is_not_certain_is_left() {
    for broken in [
        r#"{"a": Anna, "b": 1}"#,
        r#"{"a": "x" "b": 1}"#,
        r#"{"a": "C:\new"}"#.replace("\\n", "\\q").as_str(),
        r#"{"a": "x"#,
        r#"{"a": [1,,2]}"#,
        r#"{a: 1}"#,
        // half an event is none
        r#"[{"event": "a", "distinct_id": "u"}{"properties": {"x": 1}}]"#,
        r#"{"event": "a", "distinct_id": "u"}{"properties": {"x": 1}}"#,
        // a colon explains them as well
        r#"{"a": {"x"1,"s":"it's"}}"#,
        r#"{"a": {"x"true,"y":2}}"#,
        r#"{"a": ["a"b,"c"]}"#,
        r#"{"a": ["red" blue,"green"]}"#,
        // a quote more or less explains them as well
        r#"{"a": "x, "b": "y"}"#,
        r#"{"a": "x"", "b": 1}"#,
        r#"{"a": ""x", "b": 1}"#,
        r#"{"a":"x", b":"y"}"#,
        r#"["a" "b"]"#,
        r#"["a" 1, "b"]"#,
        r#"["x", Anna, "y"]"#,
        r#"{"a": "x", Anna: "y"}"#,
        r#"{"a": {"b": 1, "c": True}"#,
        r#"{"a": 1}"#,
        "",
    ] {
        assert_eq!(mended(broken), None, "{broken}");
    }
}

proptest! {
    #[test]
    fn any_text_in_one_value_comes_out_as_it_was(text in "[a-z \"'\n\t{}:]{0,12}") {
        // as a template fills it in, unless it poses as the end of its value
        let broken = format!(r#"{{"a": "{text}", "b": 1}}"#);
        if serde_json::from_str::<IgnoredAny>(&broken).is_err()
            && let Some((mended, _)) = value(&broken)
        {
            let read: serde_json::Value = serde_json::from_str(&mended).unwrap();
            prop_assert_eq!(read["a"].as_str(), Some(text.as_str()), "{}", mended);
            prop_assert_eq!(&read["b"], 1);
        }
    }

    #[test]
    fn nothing_panics(text in "[\\[\\]{},:\"'\\\\nTFx0-9 \n]{0,40}") {
        if let Some((mended, _)) = mended(&text) {
            prop_assert!(serde_json::from_str::<IgnoredAny>(&mended).is_ok());
        }
    }
}

#[test]
fn an_event_that_cannot_be_read_costs_itself() {
    for (broken, mended, positions) in [
        (r#"[{"a": Anna}, {"a": 1}]"#, r#"[null,{"a": 1}]"#, vec![0]),
        (
            r#"{"events": [{"a": 1}, {"a": x}, {"a": True}], "b": "c"}"#,
            r#"{"events": [{"a": 1},null,{"a": true}], "b": "c"}"#,
            vec![1],
        ),
        ("{\"a\": 1}\n{\"a\": \n{\"a\": 2}", r#"[{"a": 1},null,{"a": 2}]"#, vec![1]),
    ] {
        let found = repair(broken).unwrap();
        assert_eq!(found.text, mended, "{broken}");
        assert_eq!(found.broken.iter().map(|broken| broken.position).collect::<Vec<_>>(), positions);
    }
    for whole in
        [r#"[{"a": Anna}]"#, r#"{"events": [{"a": x}], "batch": [{"a": 1}]}"#, r#"{"list": [{"a": x}, {"a": 1}]}"#]
    {
        assert_eq!(repair(whole), None, "{whole}");
    }
}

#[test]
fn of_a_body_with_too_many_events_no_more_is_kept_than_shows_that() {
    for body in ["{}\n".to_string() + &"{x}\n".repeat(200_000), "{}".repeat(200_000)] {
        let found = repair(&body).unwrap();
        assert!(found.broken.len() <= MAX_EVENTS + 1 && found.text.len() < 8 * MAX_EVENTS, "{}", found.broken.len());
        let events: Vec<Option<serde_json::Map<String, serde_json::Value>>> =
            serde_json::from_str(&found.text).unwrap();
        assert_eq!(events.len(), MAX_EVENTS + 1);
    }
}
