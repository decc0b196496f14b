//! Who an event is about, and which texts must never become a person.

use std::{borrow::Cow, collections::BTreeSet};

use super::placeholder;
use crate::{
    fault::Fault,
    json,
    notes::{Note, Notes},
};

/// Most characters of an event's name and of a `distinct_id`: PostHog keeps the first 200.
///
/// Source: PostHog, rust/common/types/src/event.rs (024dbbe0), and its ingestion's event names (read 2026-08).
const MAX_CHARS: usize = 200;

/// Refused whatever their case. Source: PostHog, "Identifying users", blocked distinct ids (read 2026-08).
const FORBIDDEN_ANY_CASE: [&str; 10] = [
    "anonymous",
    "guest",
    "distinctid",
    "distinct_id",
    "id",
    "not_authenticated",
    "email",
    "undefined",
    "true",
    "false",
];

/// Refused as written. Sources: the same page; PostHog, rust/capture/src/v1/analytics/constants.rs (02291397); MoEngage,
/// "What Unique ID Values Does the System Accept?" (all read 2026-08).
const FORBIDDEN: [&str; 25] = [
    "[object Object]",
    "NaN",
    "None",
    "none",
    "null",
    "0",
    "00000000-0000-0000-0000-000000000000",
    "anonymous-user",
    "backend",
    "system",
    "user",
    "unknown",
    "1",
    "2",
    "-1",
    "-2",
    "na",
    "n/a",
    "\"\"",
    "user_attribute_unique_id",
    "dummy_seller_code",
    "user_id",
    "customer_id",
    "uid",
    "userid",
];

/// The person that a value names; none for `null` and blank.
pub(crate) fn distinct_id<'a>(
    raw: &'a str,
    field: &'static str,
    notes: &mut Notes,
) -> Result<Option<Cow<'a, str>>, Fault> {
    let text = match raw.as_bytes().first() {
        Some(b'"') => json::string(raw).ok_or(Fault::InvalidDistinctId)?,
        Some(b'{' | b'[') => return Err(Fault::InvalidDistinctId),
        _ if json::is_null(raw) => return Ok(None),
        _ if json::is_number(raw) => number(raw),
        _ => Cow::Borrowed(raw), // true or false
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    if placeholder::is_unresolved(&text) {
        return Err(Fault::UnresolvedPlaceholder { field });
    }
    if is_forbidden(text.trim()) {
        return Err(Fault::ForbiddenId);
    }
    Ok(Some(kept(text, field, notes)))
}

/// Whether PostHog routes, bills or drops events of this name apart. Sources: PostHog, rust/capture/src/v1/analytics/constants.rs
/// (02291397) and rust/capture/src/events/analytics.rs (006ae06e), read 2026-08.
fn is_special(name: &str) -> bool {
    ["$exception", "$performance_event", "$merge_dangerously"].contains(&name)
        || ["$$", "$ai_", "$snapshot", "survey "].iter().any(|begin| name.starts_with(begin))
}

/// An event's name; none for anything but a text that is not blank. Names that are special to PostHog must be allowed.
pub(crate) fn event_name<'a>(
    raw: &'a str,
    field: &'static str,
    allow: &BTreeSet<String>,
    notes: &mut Notes,
) -> Result<Option<Cow<'a, str>>, Fault> {
    let Some(text) = json::string(raw).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if placeholder::is_unresolved(&text) {
        return Err(Fault::UnresolvedPlaceholder { field });
    }
    if is_special(&text) && !allow.contains(&*text) {
        return Err(Fault::ForbiddenEvent);
    }
    Ok(Some(kept(text, field, notes)))
}

/// A usable id of an event; none for what cannot tell two events apart.
pub(crate) fn event_id(raw: &str) -> Option<Cow<'_, str>> {
    let text = match json::string(raw) {
        Some(text) => text,
        None if json::is_number(raw) => Cow::Borrowed(raw),
        None => return None,
    };
    // the words that are nobody are no id either; a number is
    let is_word = !text.trim().bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    let is_none = text.trim().is_empty() || (is_word && is_forbidden(text.trim()));
    (!placeholder::is_unresolved(&text) && !is_none).then_some(text)
}

/// What PostHog keeps of a name or id: no NUL, 200 characters. Done here, so that its key is the one we compare by.
fn kept<'a>(text: Cow<'a, str>, field: &str, notes: &mut Notes) -> Cow<'a, str> {
    let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text };
    if text.len() <= MAX_CHARS {
        return text;
    }
    match text.char_indices().nth(MAX_CHARS) {
        None => text,
        Some((end, _)) => {
            notes.say(Note::Cut, field, "");
            match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                Cow::Owned(mut text) => {
                    text.truncate(end);
                    Cow::Owned(text)
                }
            }
        }
    }
}

fn is_forbidden(text: &str) -> bool {
    FORBIDDEN.contains(&text) || FORBIDDEN_ANY_CASE.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// A number as PostHog makes text of it, except that an integer keeps all its digits.
fn number(raw: &str) -> Cow<'_, str> {
    if raw.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return Cow::Borrowed(raw);
    }
    serde_json::from_str::<serde_json::Number>(raw).map_or(Cow::Borrowed(raw), |number| Cow::Owned(number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: &str) -> Result<Option<String>, Fault> {
        distinct_id(raw, "distinct_id", &mut Notes::default()).map(|id| id.map(Cow::into_owned))
    }

    #[test]
    fn ids_are_texts_as_posthog_makes_them() {
        for (raw, expected) in [
            (r#""u1""#, "u1"),
            ("42", "42"),
            ("1.50", "1.5"),
            ("12345678901234567890123", "12345678901234567890123"),
            (r#"" u1 ""#, " u1 "),
            (r#""caf\u00e9""#, "café"),
            (r#""a\u0000b""#, "a\u{fffd}b"),
            (r#""ID""#, ""),
            ("null", ""),
            (r#"" ""#, ""),
        ] {
            let expected = match expected {
                "" if raw == r#""ID""# => Err(Fault::ForbiddenId),
                "" => Ok(None),
                text => Ok(Some(text.to_string())),
            };
            assert_eq!(id(raw), expected, "{raw}");
        }
        assert_eq!(id(r#"{"a":1}"#), Err(Fault::InvalidDistinctId));
        assert_eq!(id("[]"), Err(Fault::InvalidDistinctId));
    }

    #[test]
    fn what_both_vendors_refuse_is_no_person() {
        for word in FORBIDDEN.iter().chain(&FORBIDDEN_ANY_CASE).chain(&["Guest", "TRUE", "Email"]) {
            let raw = serde_json::to_string(word).unwrap();
            assert!(matches!(id(&raw), Err(Fault::ForbiddenId | Fault::UnresolvedPlaceholder { .. })), "{word}");
        }
        for raw in ["0", "1", "-1", "true", "false"] {
            assert_eq!(id(raw), Err(Fault::ForbiddenId), "{raw}");
        }
        for fine in ["NULL", "guest2", "10", "Unknown"] {
            assert!(id(&format!("\"{fine}\"")).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_long_id_is_cut_where_posthog_cuts_it() {
        let mut notes = Notes::default();
        let raw = format!("\"{}\"", "é".repeat(201));
        let cut = distinct_id(&raw, "uid", &mut notes).unwrap().unwrap();
        assert_eq!((cut.chars().count(), notes.get(Note::Cut)), (200, 1));
        assert_eq!(id(&format!("\"{}\"", "é".repeat(200))).unwrap().unwrap().chars().count(), 200);
    }
}
