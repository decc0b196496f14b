//! Attributes that a warehouse keeps as JSON in a column of text: `"event_attributes":"{\"a\":1}"`.

use memchr::memmem;
use serde::de::IgnoredAny;

use crate::json;

/// How the names of such columns end; an export of some warehouses has them in capitals.
const ENDS: [&str; 2] = ["_attributes\"", "_ATTRIBUTES\""];
/// Those columns.
const COLUMNS: [&str; 3] = ["event_attributes", "user_attributes", "device_attributes"];

/// The body with such texts as the objects that they hold; none where it has none.
pub(crate) fn unfolded(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    for end in ENDS {
        let finder = memmem::Finder::new(end);
        // of both kinds in one body only the first is looked for: no export has both
        if copied > 0 {
            break;
        }
        let mut at = 0;
        while let Some(found) = finder.find(&text.as_bytes()[at..]) {
            at += found + end.len();
            let Some((value, object)) = folded(text, at) else { continue };
            out.push_str(&text[copied..value.start]);
            out.push_str(&object);
            copied = value.end;
            at = value.end;
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// The text behind a column's name that ends at `at`, where it holds an object, and that.
fn folded(text: &str, at: usize) -> Option<(std::ops::Range<usize>, String)> {
    let name = text[..at - 1].rsplit_once('"')?.1;
    let is_column = COLUMNS.iter().any(|column| column.eq_ignore_ascii_case(name));
    let rest = text[at..].trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
    // most are objects already
    if !is_column || !rest.starts_with("\"") {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let begin = text.len() - rest.len();
    let value = begin..begin + values.byte_offset();
    let inner = json::string(&text[value.clone()])?.trim().to_string();
    let is_object = json::is_object(&inner) && serde_json::from_str::<IgnoredAny>(&inner).is_ok();
    is_object.then_some((value, inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_holds_an_object_becomes_one() {
        for (folded, whole) in [
            (r#"{"event_attributes":"{\"a\":1}","uid":"u"}"#, r#"{"event_attributes":{"a":1},"uid":"u"}"#),
            (r#"{"EVENT_ATTRIBUTES" : " {\"a\":\"x\\\"y\"} "}"#, r#"{"EVENT_ATTRIBUTES" : {"a":"x\"y"}}"#),
            (
                r#"[{"event_attributes":"{}","user_attributes":"{\"b\":2}"},{"device_attributes":"{\"c\":[3]}"}]"#,
                r#"[{"event_attributes":{},"user_attributes":{"b":2}},{"device_attributes":{"c":[3]}}]"#,
            ),
        ] {
            assert_eq!(unfolded(folded).as_deref(), Some(whole));
        }
        for as_it_is in [
            r#"{"event_attributes":{"a":1}}"#,
            r#"{"event_attributes":"none","user_attributes":"{broken"}"#,
            r#"{"my_attributes":"{\"a\":1}"}"#,
            r#"{"a":"event_attributes\":\"{}"}"#,
            r#"{"event_attributes"}"#,
            r#"event_attributes""#,
        ] {
            assert_eq!(unfolded(as_it_is), None, "{as_it_is}");
        }
    }
}
