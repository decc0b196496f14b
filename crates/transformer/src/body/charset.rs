//! The charset of a body: by the mark at its beginning, or as its `Content-Type` declares it, or, since people write it there, its
//! `Content-Encoding`; else UTF-8.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::notes::{Note, Notes};

/// Bytes as text. What is no character of the charset becomes U+FFFD, and is counted.
pub(super) fn decoded<'a>(
    bytes: &'a [u8],
    (content_type, content_encoding): (&str, &str),
    notes: &mut Notes,
) -> Cow<'a, str> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return within(&bytes[mark..], encoding, notes);
    }
    let declared = declared(content_type).or_else(|| Encoding::for_label(content_encoding.as_bytes()));
    let declared = declared.filter(|encoding| *encoding != UTF_8);
    match declared.or_else(|| unmarked(bytes)) {
        // many frameworks declare ISO-8859-1 of what they write as UTF-8, and nobody writes the former so that it is the latter
        Some(encoding) if encoding.is_single_byte() && std::str::from_utf8(bytes).is_ok() => {
            within(bytes, UTF_8, notes)
        }
        Some(encoding) => within(bytes, encoding, notes),
        None => within(bytes, UTF_8, notes),
    }
}

fn within<'a>(bytes: &'a [u8], encoding: &'static Encoding, notes: &mut Notes) -> Cow<'a, str> {
    if encoding == UTF_8 {
        return match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                let damaged = bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count();
                notes.add(Note::RepairedUtf8, damaged as u64);
                String::from_utf8_lossy(bytes)
            }
        };
    }
    notes.count(Note::Decoded);
    let (text, had_errors) = encoding.decode_without_bom_handling(bytes);
    if had_errors {
        let damaged = text.matches(char::REPLACEMENT_CHARACTER).count();
        notes.add(Note::RepairedUtf8, damaged as u64);
    }
    text
}

/// The charset of a content type; none where it declares none, or one that nobody knows.
fn declared(content_type: &str) -> Option<&'static Encoding> {
    let mut parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, label) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Encoding::for_label(label.trim().trim_matches('"').as_bytes())
}

/// UTF-16 without a mark: JSON begins with two characters of ASCII.
fn unmarked(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes {
        [0, 1..=0x7f, 0, 1..=0x7f, ..] => Some(UTF_16BE),
        [1..=0x7f, 0, 1..=0x7f, 0, ..] => Some(UTF_16LE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_in_the_charset_that_it_declares() {
        let text = r#"{"id":"josé"}"#;
        let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
        let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let (big, little) = (wide(u16::to_be_bytes), wide(u16::to_le_bytes));
        for (bytes, content_type) in [
            (text.as_bytes().to_vec(), "application/json"),
            (text.as_bytes().to_vec(), "application/json; charset=utf-8"),
            (text.as_bytes().to_vec(), "application/json; charset=ISO-8859-1"),
            ([b"\xef\xbb\xbf", text.as_bytes()].concat(), "application/json; charset=iso-8859-1"),
            (latin.clone(), "application/json; charset=iso-8859-1"),
            (latin.clone(), "application/json;CHARSET=\"windows-1252\""),
            (big.clone(), ""),
            (little.clone(), "application/json"),
            (big.clone(), "application/json; charset=utf-16be"),
            ([b"\xfe\xff".to_vec(), big].concat(), "application/json; charset=utf-16"),
            ([b"\xff\xfe".to_vec(), little].concat(), ""),
        ] {
            let mut notes = Notes::default();
            assert_eq!(decoded(&bytes, (content_type, ""), &mut notes), text, "{content_type} {bytes:?}");
            assert_eq!(notes.get(Note::RepairedUtf8), 0);
        }
        assert_eq!(decoded(&latin, ("application/json", "ISO-8859-1"), &mut Notes::default()), text);
        let mut notes = Notes::default();
        assert_eq!(
            decoded(&latin, ("application/json; charset=klingon", "gzip"), &mut notes),
            "{\"id\":\"jos\u{fffd}\"}"
        );
        assert_eq!(notes.get(Note::RepairedUtf8), 1);
    }
}
