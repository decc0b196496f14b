//! Small tools over JSON text that is already known to be valid: a value or a key is the slice as it stands in the body.

use std::borrow::Cow;

/// The text of a JSON string, unescaped; none for any other value.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

/// Whether a value is the literal `null`.
pub(crate) fn is_null(raw: &str) -> bool {
    raw == "null"
}

/// Whether a value is an object.
pub(crate) fn is_object(raw: &str) -> bool {
    raw.starts_with('{')
}

/// Whether a value is a number.
pub(crate) fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// Appends `text` as a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "a vector takes all");
}

/// What PostHog makes of the numbers that a value is or holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Numbers {
    /// They stay.
    Kept,
    /// A whole number has more digits than a double: others stand in their place.
    Rounded,
    /// No double can be it, and PostHog refuses the batch that holds it.
    Endless,
}

/// What becomes of a value's numbers.
///
/// Source: PostHog's capture reads with serde_json (probed 2026-08), and what is behind it with JavaScript's `JSON.parse` (read 2026-11).
pub(crate) fn numbers(raw: &str) -> Numbers {
    if is_number(raw) {
        return number(raw);
    }
    let mut found = Numbers::Kept;
    if !raw.starts_with(['{', '[']) {
        return found;
    }
    let (mut rest, mut in_string) = (raw, false);
    // a quote that ends a text stands behind an even number of backslashes
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || (!in_string && (c == '-' || c.is_ascii_digit())))
    {
        let behind = &rest[at..];
        let length = match behind.as_bytes()[0] {
            b'"' => {
                in_string = !in_string;
                1
            }
            b'\\' => 1 + behind[1..].chars().next().map_or(0, char::len_utf8),
            _ => {
                let end = behind.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(behind.len());
                found = found.max(number(&behind[..end]));
                if found == Numbers::Endless {
                    return found;
                }
                end
            }
        };
        rest = &behind[length..];
    }
    found
}

/// Digits that every double keeps.
pub(crate) const MAX_DIGITS: usize = 15;

fn number(raw: &str) -> Numbers {
    if raw.len() <= MAX_DIGITS && !raw.contains(['e', 'E']) {
        return Numbers::Kept;
    }
    let whole = raw.split(['.', 'e', 'E']).next().unwrap_or(raw);
    match raw.parse::<f64>() {
        Ok(double) if double.is_infinite() => Numbers::Endless,
        Ok(_) if whole.len() <= MAX_DIGITS || raw.contains(['e', 'E']) => Numbers::Kept,
        // what is written with a fraction as well: its whole part counts
        Ok(double) => match whole.parse::<i128>() {
            #[allow(clippy::cast_possible_truncation)]
            Ok(exact) if double.trunc() as i128 == exact => Numbers::Kept,
            _ => Numbers::Rounded,
        },
        Err(_) => Numbers::Kept,
    }
}

/// Whether a value nests deeper than `limit`.
pub(crate) fn nests_deeper(raw: &str, limit: usize) -> bool {
    if !raw.starts_with(['{', '[']) {
        return false;
    }
    // no more opening brackets than the limit: it cannot be deeper, and nothing else need be looked at
    if memchr::memchr2_iter(b'{', b'[', raw.as_bytes()).nth(limit).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in raw.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_double_cannot_be_is_found_wherever_it_stands() {
        let digits = "9".repeat(400);
        for raw in ["1e999", "-1E+999", r#"{"a":["x\"1",[1e400]]}"#, r#"["\\",1e309]"#, &digits, &format!("[{digits}]")]
        {
            assert_eq!(numbers(raw), Numbers::Endless, "{raw}");
        }
        for raw in [
            "1e308",
            "0e999",
            r#""1e999""#,
            r#"{"1e999":"\"1e999","b":[1e-999, 9007199254740992, 1000000000000000000000]}"#,
            "0.1234567890123456789",
            r#"{"a":"9007199254740993"}"#,
            "true",
            "null",
        ] {
            assert_eq!(numbers(raw), Numbers::Kept, "{raw}");
        }
        for raw in
            ["9007199254740993", "-9007199254740993", "12345678901234567.5", r#"{"a":[1,{"b":12345678901234567890}]}"#]
        {
            assert_eq!(numbers(raw), Numbers::Rounded, "{raw}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        assert!(!nests_deeper(r#""[[[[""#, 1));
        assert!(!nests_deeper(r#"["[[[[\"[[", {}]"#, 2));
        assert!(nests_deeper(r#"["[[[[\"[[", {}]"#, 1));
        assert!(nests_deeper(&"[".repeat(101), 100));
        assert!(!nests_deeper(&format!("{}{}", "[".repeat(100), "]".repeat(100)), 100));
        assert!(!nests_deeper(&format!("[{}[]]", "[],".repeat(500)), 2));
    }

    proptest! {
        #[test]
        fn a_written_string_reads_as_it_was(text in ".*") {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.as_str());
            let written = String::from_utf8(out).unwrap();
            let read = string(&written).unwrap();
            prop_assert_eq!(&*read, text.as_str());
        }
    }
}
