//! From the bytes of a body to JSON text: unpacked, valid UTF-8, no lone surrogates.
//!
//! What is damaged in one place is repaired there and counted, so that one bad byte costs itself and not its batch.

mod charset;
mod columns;
pub(crate) mod form;
mod repair;
mod unreadable;

use std::{
    borrow::Cow,
    io::{self, Read},
};

use moehog_coding::{Coding, Decoder, outermost};
use moehog_proto::limits::MAX_BODY_BYTES;

use crate::notes::{Note, Notes};

pub(crate) use self::{
    columns::unfolded,
    repair::{Located, repair},
    unreadable::{unreadable, unreadable_event},
};

/// U+FFFD as a JSON escape: as long as the surrogate it replaces.
const REPLACEMENT_ESCAPE: &[u8; 6] = b"\\ufffd";

/// Why the bytes of a body are not text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("body is not readable {}", .0.name())]
    Coding(Coding, #[source] io::Error),
    #[error("body is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
}

/// Takes the codings off a body, which may have [`MAX_BODY_BYTES`] with each of them and without.
pub(crate) fn unpack<'a>(content_encoding: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
    let Some(coding) = outermost(content_encoding, body) else {
        return if body.len() > MAX_BODY_BYTES { Err(DecodeError::TooLarge) } else { Ok(Cow::Borrowed(body)) };
    };
    let mut unpacked = Vec::new();
    match Decoder::new(content_encoding, body, MAX_BODY_BYTES).read_to_end(&mut unpacked) {
        Ok(_) => Ok(Cow::Owned(unpacked)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(DecodeError::TooLarge),
        Err(error) => Err(DecodeError::Coding(coding, error)),
    }
}

/// A body without its codings, as far as its bytes show them; as it is where it has none, or none that can be read.
#[must_use]
pub fn unpacked(body: &[u8]) -> Cow<'_, [u8]> {
    unpack("", body).unwrap_or(Cow::Borrowed(body))
}

/// Makes text of bytes in the charset that is `said` by `Content-Type` and `Content-Encoding`: skips a byte order mark, replaces what the charset does not have by
/// U+FFFD and a lone surrogate escape by `\ufffd`. PostHog refuses the whole batch for either.
pub(crate) fn text<'a>(bytes: &'a [u8], said: (&str, &str), notes: &mut Notes) -> Cow<'a, str> {
    let text = charset::decoded(bytes, said, notes);
    let lone = lone_surrogates(text.as_bytes());
    if lone.is_empty() {
        return text;
    }
    notes.add(Note::RepairedSurrogate, lone.len() as u64);
    let mut bytes = text.into_owned().into_bytes();
    for at in lone {
        bytes[at..at + REPLACEMENT_ESCAPE.len()].copy_from_slice(REPLACEMENT_ESCAPE);
    }
    // ASCII was replaced by ASCII: it is still UTF-8, and were it not, the lossy reading would be right
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The document that a body holds as a text, as programs send it that encode twice; none of any other body.
pub(crate) fn unquoted(text: &str) -> Option<String> {
    let text = text.trim_ascii();
    let inner = Some(text).filter(|text| text.starts_with('"')).and_then(crate::json::string)?;
    inner.trim_ascii_start().starts_with(['{', '[']).then(|| inner.into_owned())
}

/// Offsets of the `\uD800` to `\uDFFF` escapes that are not half of a pair.
fn lone_surrogates(json: &[u8]) -> Vec<usize> {
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &json[at..]) {
        let escape = at + found;
        match unit(json, escape) {
            Some(0xd800..=0xdbff) if matches!(unit(json, escape + 6), Some(0xdc00..=0xdfff)) => at = escape + 12,
            Some(0xd800..=0xdfff) => {
                lone.push(escape);
                at = escape + 6;
            }
            _ => at = escape + 2, // also past an escaped backslash, so that `\\ud800` is text
        }
        if at >= json.len() {
            break;
        }
    }
    lone
}

/// The UTF-16 unit that a `\uXXXX` escape at `at` stands for.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use moehog_coding::made::coded;

    use super::*;

    #[test]
    fn only_lone_surrogates_are_replaced() {
        for (json, repaired, count) in [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#, 0),
            (r#""\ud83d""#, r#""\ufffd""#, 1),
            (r#""\uDE00\uD83D""#, r#""\ufffd\ufffd""#, 2),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#, 1),
            (r#""\\ud83d""#, r#""\\ud83d""#, 0),
            (r#""\\\ud83d""#, r#""\\\ufffd""#, 1),
            (r#""\ud8"#, r#""\ud8"#, 0),
            ("\"\\", "\"\\", 0),
        ] {
            let mut notes = Notes::default();
            assert_eq!(text(json.as_bytes(), ("", ""), &mut notes), repaired);
            assert_eq!(notes.get(Note::RepairedSurrogate), count, "{json}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_where_they_stand_and_a_mark_is_skipped() {
        let mut notes = Notes::default();
        assert_eq!(
            text(b"\xef\xbb\xbf{\"a\":\"caf\xe9 \xff\"}", ("", ""), &mut notes),
            "{\"a\":\"caf\u{fffd} \u{fffd}\"}"
        );
        assert_eq!(notes.get(Note::RepairedUtf8), 2);
    }

    #[test]
    fn a_bomb_of_each_coding_stops_at_the_limit_that_a_plain_body_has() {
        let (fits, over) = (vec![b' '; MAX_BODY_BYTES], vec![b' '; MAX_BODY_BYTES + 1]);
        for coding in Coding::ALL {
            let unpack = |plain: &[u8]| unpack(coding.name(), &coded(coding, plain)).map(|plain| plain.len());
            assert!(matches!(unpack(&over), Err(DecodeError::TooLarge)), "{coding:?}");
            assert!(matches!(unpack(&fits), Ok(MAX_BODY_BYTES)), "{coding:?}");
        }
        assert_eq!(*unpack("gzip", b"{}").unwrap(), *b"{}");
        assert!(matches!(unpack("", &over), Err(DecodeError::TooLarge)));
        assert!(unpack("", &fits).is_ok());
    }

    #[test]
    fn what_cannot_be_unpacked_says_which_coding_it_has() {
        for coding in Coding::ALL {
            let body = coded(coding, &br#"{"event":"a"}"#.repeat(9));
            let read = unpack(coding.name(), &body[..body.len() - 1]);
            assert!(matches!(read, Err(DecodeError::Coding(found, _)) if found == coding), "{coding:?}: {read:?}");
        }
    }
}
