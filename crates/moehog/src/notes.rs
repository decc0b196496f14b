//! What an event says of itself that is not as its sender meant it.

use serde_json::Value;

/// A line each of the notes of an event as PostHog is sent it.
pub(crate) fn of(event: &Value) -> Vec<String> {
    let said = |name: &str| event.pointer("/properties/moehog").and_then(|origin| origin.get(name));
    let list = |name: &str| said(name).and_then(Value::as_array).into_iter().flatten();
    let texts = |name: &str| list(name).filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    for (begin, texts) in [("its body was repaired", texts("repaired")), ("line and column", texts("repaired_at"))] {
        if !texts.is_empty() {
            lines.push(format!("{begin}: {texts}"));
        }
    }
    for note in list("notes") {
        let text = |name: &str| note.get(name).and_then(Value::as_str);
        let was = text("original").map(|original| format!(", was `{original}`")).unwrap_or_default();
        lines.push(format!("{}: {}{was}", text("code").unwrap_or_default(), text("property").unwrap_or_default()));
    }
    if said("time").and_then(Value::as_str) == Some("received") {
        lines.push("its time is that of arrival".to_string());
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_note_is_a_line() {
        let event = json!({"properties": {"moehog": {
            "repaired": ["blank"], "repaired_at": ["1:27 blank"], "time": "received",
            "notes": [{"code": "ambiguous_date", "property": "timestamp", "original": "1/2/2026"}, {"code": "cut", "property": "event"}],
        }}});
        assert_eq!(
            of(&event),
            [
                "its body was repaired: blank",
                "line and column: 1:27 blank",
                "ambiguous_date: timestamp, was `1/2/2026`",
                "cut: event",
                "its time is that of arrival"
            ]
        );
        assert!(of(&json!({"properties": {}})).is_empty());
    }
}
