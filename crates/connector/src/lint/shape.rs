//! What a filled body is: JSON, a form, or neither.

use serde_json::{Map, Value};

/// A filled body.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Json(Value),
    /// Pairs of `key=value`, as an object of texts.
    Form(Value),
    Neither,
}

impl Shape {
    pub(super) fn read(filled: &str) -> Self {
        match serde_json::from_str(filled) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Self::Json(value),
            _ => form(filled.trim()).map_or(Self::Neither, |pairs| Self::Form(Value::Object(pairs))),
        }
    }

    /// The event it tells PostHog; the first of several.
    pub(super) fn event(&self) -> Option<&Map<String, Value>> {
        let (Self::Json(value) | Self::Form(value)) = self else { return None };
        let first = |value: &Value| value.as_array().and_then(|list| list.first().cloned());
        match value {
            Value::Array(list) => list.first()?.as_object(),
            Value::Object(object) => match object.get("batch") {
                Some(batch) if first(batch).is_some() => batch.get(0)?.as_object(),
                _ => Some(object),
            },
            _ => None,
        }
    }
}

fn form(text: &str) -> Option<Map<String, Value>> {
    let pair = |pair: &str| {
        let (key, value) = pair.trim().split_once('=')?;
        let plain = !key.is_empty() && key.chars().all(|key| key.is_alphanumeric() || "_$.[]-%".contains(key));
        plain.then(|| (key.to_string(), Value::from(value)))
    };
    text.split(['&', '\n'])
        .filter(|line| !line.trim().is_empty())
        .map(pair)
        .collect::<Option<Map<_, _>>>()
        .filter(|pairs| !pairs.is_empty())
}
