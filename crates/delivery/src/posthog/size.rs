//! How large PostHog finds an event.

/// Largest event that is sent, in bytes as [`encoded_bytes`] counts. PostHog's own limit is 1,000,000 for the record it
/// writes; the rest is room for the person properties it adds.
///
/// Source: PostHog/posthog, `rust/capture` and its triage guide for ingestion warnings (read 2026-08-22); measured on the
/// 2024 server, where 850 kB with many short keys were refused and 990 kB of plain letters taken.
pub(crate) const MAX_EVENT_BYTES: usize = 900_000;

/// What PostHog wraps around an event: ids, address, times, key.
const ENVELOPE_BYTES: usize = 400;

/// Whether an event is too large for PostHog; its size then. Cheap for all but large ones.
pub(crate) fn too_large(json: &[u8]) -> Option<usize> {
    // no byte becomes more than two, but those of a number such as 1e15, which has nineteen with its comma
    if json.len() * 4 + ENVELOPE_BYTES <= MAX_EVENT_BYTES {
        return None;
    }
    Some(encoded_bytes(json)).filter(|bytes| *bytes > MAX_EVENT_BYTES)
}

/// Bytes of the record that PostHog makes of an event: the JSON written anew as UTF-8, that text as a JSON string, and the
/// envelope around it.
pub(crate) fn encoded_bytes(json: &[u8]) -> usize {
    let mut bytes = ENVELOPE_BYTES;
    let mut in_string = false;
    let mut rest = json;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes += match first {
            b'"' => {
                in_string = !in_string;
                2
            }
            b'\\' => {
                let (taken, cost) = escape(after);
                rest = &after[taken..];
                cost
            }
            b' ' | b'\n' | b'\r' | b'\t' if !in_string => 0,
            b'-' | b'0'..=b'9' if !in_string => {
                let length = 1 + after.iter().take_while(|byte| is_of_a_number(**byte)).count();
                let number = &json[json.len() - after.len() - 1..][..length];
                rest = &after[length - 1..];
                number_bytes(number)
            }
            _ => 1,
        };
    }
    bytes
}

fn is_of_a_number(byte: u8) -> bool {
    byte.is_ascii_digit() || b"+-.eE".contains(&byte)
}

/// A whole number stays as it is, any other is written anew.
fn number_bytes(number: &[u8]) -> usize {
    /// Digits that every whole number of 64 bits may have.
    const WHOLE_DIGITS: usize = 18;
    let is_whole = number.len() <= WHOLE_DIGITS && number.iter().all(u8::is_ascii_digit);
    let again = if is_whole { None } else { serde_json::from_slice::<serde_json::Number>(number).ok() };
    again.map_or(number.len(), |again| again.to_string().len())
}

/// What follows a backslash: how many bytes it takes, and what it costs once encoded twice.
fn escape(after: &[u8]) -> (usize, usize) {
    match after.first() {
        // `\"` is `\\\"`, and `\\` is `\\\\`
        Some(b'"' | b'\\') => (1, 4),
        Some(b'/') => (1, 1),
        Some(b'u') => {
            let Some(unit) = unit(&after[1..]) else { return (1, 3) };
            match unit {
                0x22 | 0x5c => (5, 4),
                0x08 | 0x09 | 0x0a | 0x0c | 0x0d => (5, 3),
                0..=0x1f => (5, 7),
                0x20..=0x7f => (5, 1),
                0x80..=0x7ff => (5, 2),
                0xd800..=0xdbff if after.get(5) == Some(&b'\\') && after.get(6) == Some(&b'u') => (11, 4),
                _ => (5, 3),
            }
        }
        Some(_) => (1, 3),
        None => (0, 1),
    }
}

fn unit(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What PostHog does, done for real.
    fn measured(json: &[u8]) -> usize {
        let again = serde_json::from_slice::<Value>(json).unwrap().to_string();
        serde_json::to_string(&again).unwrap().len() + ENVELOPE_BYTES - 2
    }

    #[test]
    fn escapes_and_spaces_are_counted_as_posthog_writes_them() {
        for json in [
            r#"{ "a" : "\u00e9\u0041\u0022\u001f\/\\\"\n\t\ud83d\ude00é😀" }"#,
            r#"{"a":[1e15,-1e15,1E+9,1.50,12345678901234567890123,18446744073709551615,-5,0.1e-7,1e16,1.0]}"#,
            "{\"a\":[1, 2,\t3],\r\n \"b\": {\"c\":\"  two spaces  \"}}",
        ] {
            assert_eq!(encoded_bytes(json.as_bytes()), measured(json.as_bytes()), "{json}");
        }
    }

    #[test]
    fn many_quotes_make_an_event_too_large_and_escaped_letters_do_not() {
        let short_keys = format!("{{\"a\":[{}1]}}", "\"q\",".repeat(160_000));
        assert!(short_keys.len() < MAX_EVENT_BYTES);
        assert!(too_large(short_keys.as_bytes()).is_some());
        let numbers = format!("{{\"a\":[{}1]}}", "1e15,".repeat(120_000));
        assert!(numbers.len() < MAX_EVENT_BYTES && too_large(numbers.as_bytes()).is_some());
        let escaped = format!("{{\"a\":\"{}\"}}", "\\u00e9".repeat(340_000));
        assert!(escaped.len() > 2_000_000);
        assert_eq!(too_large(escaped.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_text_is_counted_as_posthog_writes_it(text in any::<String>(), keys in prop::collection::vec(".{0,8}", 0..5)) {
            let mut object: serde_json::Map<String, Value> =
                keys.into_iter().map(|key| (key, Value::String(text.clone()))).collect();
            object.insert("k".into(), Value::String(text));
            let json = serde_json::to_vec(&object).unwrap();
            prop_assert_eq!(encoded_bytes(&json), measured(&json));
        }

        #[test]
        fn no_bytes_at_all_make_it_panic(bytes in prop::collection::vec(prop::sample::select(b"\\u\"d8{ \n0f".to_vec()), 0..64)) {
            prop_assert!(encoded_bytes(&bytes) <= bytes.len() * 2 + ENVELOPE_BYTES);
        }
    }
}
