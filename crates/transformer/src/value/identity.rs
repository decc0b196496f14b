//! Who an event is about, and which texts must never become a person.

use std::{borrow::Cow, ops::Range};

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

/// Refused whatever their case, in quotes or not. Sources: PostHog, "Identifying users", blocked distinct ids, and its person-utils
/// (read 2026-11); PostHog, rust/capture/src/v1/analytics/constants.rs (02291397); MoEngage, "What Unique ID Values Does the System
/// Accept?" (read 2026-08). Those that follow `userid` are what programs print for a value that they do not have.
const FORBIDDEN: [&str; 47] = [
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
    "[object object]",
    "nan",
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
    "user_attribute_unique_id",
    "dummy_seller_code",
    "user_id",
    "customer_id",
    "uid",
    "userid",
    "nil",
    "-",
    "--",
    "[]",
    "{}",
    "()",
    "<null>",
    "<nil>",
    "<no value>",
    "(null)",
    "(none)",
    "#n/a",
    "#ref!",
    "#value!",
];

/// How ids of a body are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Blanks around an id are cut.
    pub(crate) trims: bool,
    /// `1000001350.0` is `1000001350`.
    pub(crate) wholes: bool,
    /// The body held quotes that nobody had escaped.
    pub(crate) mended_quotes: bool,
}

/// Digits that the whole part of a text must have to be a number: of fewer it may be a version.
const WHOLE_DIGITS: usize = 7;

/// The person that a value names; none for `null` and blank.
pub(crate) fn distinct_id<'a>(
    raw: &'a str,
    field: &'static str,
    reading: Reading,
    notes: &mut Notes,
) -> Result<Option<Cow<'a, str>>, Fault> {
    let is_number = json::is_number(raw);
    let text = match raw.as_bytes().first() {
        Some(b'"') => json::string(raw).ok_or(Fault::InvalidDistinctId)?,
        Some(b'{' | b'[') => return Err(Fault::InvalidDistinctId),
        _ if json::is_null(raw) => return Ok(None),
        _ if is_number && (is_whole_number(raw) || (reading.wholes && whole(raw, true).is_some())) => {
            Cow::Borrowed(raw)
        }
        // a double holds no more digits: two ids would be one
        _ if is_number && digits(raw) > json::MAX_DIGITS => return Err(Fault::DamagedId),
        _ if is_number => number(raw),
        _ => Cow::Borrowed(raw), // true or false
    };
    let blanks = bare_range(&text);
    let bare = &text[blanks.clone()];
    if bare.is_empty() {
        return Ok(None);
    }
    if placeholder::is_unresolved(&text) || placeholder::is_in_braces(bare) {
        return Err(Fault::unresolved(field, &text));
    }
    let mut end = blanks.end;
    if let Some(digits) = whole(bare, is_number).filter(|_| reading.wholes) {
        end = blanks.start + digits;
    }
    // `0.0` and `00` are `0`
    let is_zero = bare.bytes().all(|byte| b"0.-".contains(&byte));
    if is_zero || is_forbidden(bare) || is_forbidden(&text[blanks.start..end]) {
        return Err(Fault::ForbiddenId);
    }
    // two people may have become one by it
    let may_be_damaged = memchr::memchr2(0xef, 0, text.as_bytes()).is_some();
    if (may_be_damaged && text.contains(['\u{fffd}', '\0'])) || (reading.mended_quotes && text.contains('"')) {
        return Err(Fault::DamagedId);
    }
    let is_blank = bare.len() < text.len();
    if is_blank && reading.trims {
        notes.say(Note::TrimmedId, field, raw);
    }
    // with its blanks it is no number
    let is_whole = end < blanks.end && (reading.trims || !is_blank);
    if is_whole {
        notes.say(Note::WholeNumberId, field, raw);
    }
    let range = match (reading.trims, is_whole) {
        (_, true) => blanks.start..end,
        (true, false) => blanks,
        (false, false) => 0..text.len(),
    };
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(text) if range.len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text[range].to_string()),
    };
    Ok(Some(kept(text, field, notes)))
}

/// A text without blanks of any kind around it.
fn bare(text: &str) -> &str {
    &text[bare_range(text)]
}

fn bare_range(text: &str) -> Range<usize> {
    let is_blank = |c: char| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    let end = text.trim_end_matches(is_blank).len();
    let begin = end - text[..end].trim_start_matches(is_blank).len();
    begin..end
}

/// How many digits an id has before `.0`; none where it is no such number.
fn whole(text: &str, is_number: bool) -> Option<usize> {
    let (whole, zeros) = text.split_once('.')?;
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_whole = !zeros.is_empty()
        && zeros.bytes().all(|byte| byte == b'0')
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_whole && (is_number || digits.len() >= WHOLE_DIGITS)).then_some(whole.len())
}

/// Whether a text is digits, with a sign or without.
fn is_whole_number(raw: &str) -> bool {
    raw.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
}

/// The digits that a number needs: those before its exponent, or as many as that makes.
fn digits(raw: &str) -> usize {
    let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
    let written = mantissa.bytes().filter(u8::is_ascii_digit).count();
    written.max(exponent.trim_start_matches('+').parse().unwrap_or(0))
}

/// Joins two persons whoever they are. No SDK makes it by itself.
pub(crate) const MERGES_ANYBODY: &str = "$merge_dangerously";

/// Whether PostHog routes, bills or drops events of this name apart. Sources: PostHog, rust/capture/src/v1/analytics/constants.rs
/// (02291397) and rust/capture/src/events/analytics.rs (006ae06e), read 2026-08.
fn is_special(name: &str) -> bool {
    ["$exception", "$performance_event", MERGES_ANYBODY].contains(&name)
        || ["$$", "$ai_", "$snapshot", "survey "].iter().any(|begin| name.starts_with(begin))
}

/// An event's name; none for anything but a text that is not blank. Names that are special to PostHog must be allowed.
pub(crate) fn event_name<'a>(
    raw: &'a str,
    field: &'static str,
    is_allowed: impl Fn(&str) -> bool,
    notes: &mut Notes,
) -> Result<Option<Cow<'a, str>>, Fault> {
    let Some(text) = json::string(raw).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if placeholder::is_unresolved(&text) {
        return Err(Fault::unresolved(field, &text));
    }
    if is_special(&text) && !is_allowed(&text) {
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
    let is_none = text.trim().is_empty() || (!is_whole_number(text.trim()) && is_forbidden(text.trim()));
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
    let mut text = text;
    // PostHog looks into quotes, which a template may have put there
    while let Some(inside) =
        ['"', '\'', '`'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote).map(bare))
    {
        text = inside;
    }
    text.is_empty() || FORBIDDEN.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// A number that is not whole, as PostHog makes text of it.
fn number(raw: &str) -> Cow<'_, str> {
    serde_json::from_str::<serde_json::Number>(raw).map_or(Cow::Borrowed(raw), |number| Cow::Owned(number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: Reading = Reading { trims: true, wholes: true, mended_quotes: false };

    fn read(raw: &str, reading: Reading) -> (Result<Option<String>, Fault>, Notes) {
        let mut notes = Notes::default();
        (distinct_id(raw, "distinct_id", reading, &mut notes).map(|id| id.map(Cow::into_owned)), notes)
    }

    fn id(raw: &str) -> Result<Option<String>, Fault> {
        read(raw, READING).0
    }

    #[test]
    fn ids_are_texts_as_posthog_makes_them() {
        for (raw, expected) in [
            (r#""u1""#, "u1"),
            ("42", "42"),
            ("1.50", "1.5"),
            ("12345678901234567890123", "12345678901234567890123"),
            (r#"" u1 ""#, "u1"),
            (r#""u1\n""#, "u1"),
            ("\"\u{a0}u1\u{200b}\"", "u1"),
            (r#""caf\u00e9""#, "café"),
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
        let others = [
            "Guest",
            "TRUE",
            "Email",
            "NULL",
            "Unknown",
            "[object Object]",
            "NaN",
            "'null'",
            "\"None\"",
            "' guest '",
            "\"'0'\"",
            "\"\"",
            "{user_id}",
            "[[user_id]]",
            "${id}",
            "%uid%",
            "<user_id>",
            "[uid]",
            "*|UID|*",
            "<%= id %>",
            " null\t",
        ];
        for word in FORBIDDEN.iter().chain(&others) {
            let raw = serde_json::to_string(word).unwrap();
            assert!(matches!(id(&raw), Err(Fault::ForbiddenId | Fault::UnresolvedPlaceholder { .. })), "{word}");
        }
        for raw in ["0", "1", "-1", "true", "false", "0.0", "-0", "-1.0", "1.0", "\"00\"", "\"0.0\""] {
            assert_eq!(id(raw), Err(Fault::ForbiddenId), "{raw}");
        }
        for fine in ["guest2", "10", "{a", "o'neil", "'", "<ann@example.com>", "[1]", "100%", "%", "<>", "[a.b]c"] {
            assert!(id(&format!("\"{fine}\"")).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_long_id_is_cut_where_posthog_cuts_it() {
        let mut notes = Notes::default();
        let raw = format!("\"{}\"", "é".repeat(201));
        let cut = distinct_id(&raw, "uid", READING, &mut notes).unwrap().unwrap();
        assert_eq!((cut.chars().count(), notes.get(Note::Cut)), (200, 1));
        assert_eq!(id(&format!("\"{}\"", "é".repeat(200))).unwrap().unwrap().chars().count(), 200);
    }

    #[test]
    fn an_id_that_was_damaged_is_no_person() {
        for raw in
            ["1e16", "12345678901234567.5", "1.2345678901234567", r#""jos\ufffd""#, "\"jos\u{fffd}\"", r#""a\u0000b""#]
        {
            assert_eq!(id(raw), Err(Fault::DamagedId), "{raw}");
        }
        let mended = Reading { mended_quotes: true, ..READING };
        assert_eq!(read(r#""u\"1""#, mended).0, Err(Fault::DamagedId));
        assert_eq!(id(r#""u\"1""#), Ok(Some("u\"1".into())));
    }

    #[test]
    fn blanks_and_a_zero_fraction_are_cut_and_said_where_that_is_not_switched_off() {
        let as_they_are = Reading { trims: false, wholes: false, mended_quotes: false };
        for (raw, cut, note) in [
            (r#"" u1 ""#, "u1", Note::TrimmedId),
            ("1000001350.0", "1000001350", Note::WholeNumberId),
            ("42.00", "42", Note::WholeNumberId),
            ("9007199254740993.0", "9007199254740993", Note::WholeNumberId),
            ("10000000000000001.0", "10000000000000001", Note::WholeNumberId),
            (r#""1000001350.0""#, "1000001350", Note::WholeNumberId),
        ] {
            let (found, notes) = read(raw, READING);
            assert_eq!((found, notes.get(note)), (Ok(Some(cut.to_string())), 1), "{raw}");
            let (found, notes) = read(raw, as_they_are);
            assert_eq!(notes, Notes::default(), "{raw}");
            assert_ne!(found, Ok(Some(cut.to_string())), "{raw}");
        }
        for raw in [r#""42.0""#, r#""1.5""#, r#""1000001350.5""#] {
            assert_eq!(id(raw), Ok(Some(raw.trim_matches('"').to_string())));
        }
    }
}
