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

/// Whether a value is or holds a number that no double can be, which PostHog refuses with its whole batch.
///
/// Source: PostHog's capture reads with serde_json (probed 2026-08).
pub(crate) fn holds_endless_number(raw: &str) -> bool {
    if is_number(raw) {
        return is_endless(raw);
    }
    if !raw.starts_with(['{', '[']) {
        return false;
    }
    let (mut rest, mut in_string) = (raw, false);
    // a quote that ends a text stands behind an even number of backslashes
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || (!in_string && (c == '-' || c.is_ascii_digit())))
    {
        let found = &rest[at..];
        let length = match found.as_bytes()[0] {
            b'"' => {
                in_string = !in_string;
                1
            }
            b'\\' => 1 + found[1..].chars().next().map_or(0, char::len_utf8),
            _ => {
                let number = found.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(found.len());
                if is_endless(&found[..number]) {
                    return true;
                }
                number
            }
        };
        rest = &found[length..];
    }
    false
}

fn is_endless(number: &str) -> bool {
    let could_be = number.len() > 300 || number.contains(['e', 'E']);
    could_be && number.parse::<f64>().is_ok_and(f64::is_infinite)
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
    fn a_number_without_end_is_found_wherever_it_stands() {
        let digits = "9".repeat(400);
        for raw in ["1e999", "-1E+999", r#"{"a":["x\"1",[1e400]]}"#, r#"["\\",1e309]"#, &digits, &format!("[{digits}]")]
        {
            assert!(holds_endless_number(raw), "{raw}");
        }
        for raw in [
            "1e308",
            "0e999",
            r#""1e999""#,
            r#"{"1e999":"\"1e999","b":[1e-999, 12345678901234567890123]}"#,
            "true",
            "null",
        ] {
            assert!(!holds_endless_number(raw), "{raw}");
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
