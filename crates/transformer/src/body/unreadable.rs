//! Why a body is no JSON, and where: what is likely wrong there.

use serde::de::IgnoredAny;

use super::repair::{Broken, Mended, Shape};
use crate::fault::{Fault, Unreadable};

/// What is wrong with a body that is no JSON.
pub(crate) fn unreadable(error: &serde_json::Error, text: &str) -> Fault {
    let (line, column, cause) = place(error, text);
    Fault::UnreadableJson { line, column, cause }
}

/// What is wrong with an event of a body whose other events can be read.
pub(crate) fn unreadable_event(text: &str, mended: &Mended, broken: &Broken) -> Fault {
    let event = text.get(broken.at.clone()).unwrap_or_default();
    let Err(error) = serde_json::from_str::<IgnoredAny>(event) else { return Fault::UnreadableLine };
    if mended.are_lines {
        return Fault::UnreadableLine;
    }
    let (line, column, cause) = place(&error, event);
    // the event begins within a line of the body
    let before = text.get(..broken.at.start).unwrap_or_default();
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    let column = if line == 1 { column + (before.len() - begin) } else { column };
    Fault::UnreadableEvent { line: line + before.matches('\n').count(), column, cause }
}

fn place(error: &serde_json::Error, text: &str) -> (usize, usize, Unreadable) {
    let begin = text.trim_ascii_start();
    let cause = match begin.as_bytes().first() {
        Some(b'{' | b'[') if begin.contains("&quot;") && !begin.contains('"') => Unreadable::Escaped,
        Some(b'{' | b'[') if error.is_eof() => Unreadable::Truncated,
        Some(b'{' | b'[') if is_whole(begin) => Unreadable::Trailing,
        Some(b'{' | b'[') => likely(text, error),
        Some(b'<') => Unreadable::Markup,
        _ => Unreadable::Syntax,
    };
    (error.line(), error.column(), cause)
}

/// What is likely wrong at a place.
fn likely(text: &str, error: &serde_json::Error) -> Unreadable {
    let (line, column) = (error.line(), error.column());
    let begin = match line.checked_sub(2) {
        None => 0,
        Some(further) => text.match_indices('\n').nth(further).map_or(text.len(), |(end, _)| end + 1),
    };
    let at = (begin + column.saturating_sub(1)).min(text.len());
    let before = text.as_bytes()[..at].trim_ascii_end();
    match text.as_bytes().get(at..) {
        Some([b'/', b'/' | b'*', ..] | [b'#', ..]) => Unreadable::Comment,
        Some([b'\'', ..]) => Unreadable::SingleQuote,
        Some([b'{', ..]) if before.ends_with(b"{") => Unreadable::Placeholder,
        Some(rest) if rest.starts_with("“".as_bytes()) || rest.starts_with("”".as_bytes()) => {
            Unreadable::CurlyQuote
        }
        Some([byte, ..]) if before.ends_with(b":") && !b"\"'{[".contains(byte) => Unreadable::Unquoted,
        rest => {
            let shape = Shape::of(text);
            match rest {
                _ if shape.is_odd => Unreadable::Quote,
                _ if !shape.is_whole() => Unreadable::Bracket,
                // serde_json tells what it wanted in words alone
                Some([byte, ..]) if !b",}]".contains(byte) && error.to_string().starts_with("expected `:`") => {
                    Unreadable::Colon
                }
                Some([b',' | b'{' | b'[', ..]) => Unreadable::Comma,
                Some([b'"', ..]) if ends_a_value(before) => Unreadable::Comma,
                _ => Unreadable::Syntax,
            }
        }
    }
}

/// Whether what stands before a place ends like a value.
fn ends_a_value(before: &[u8]) -> bool {
    before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"\"}]".contains(byte))
}

/// Whether a valid value stands at the beginning.
fn is_whole(text: &str) -> bool {
    serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>().next().is_some_and(|value| value.is_ok())
}
