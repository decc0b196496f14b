//! What people and their editors put into JSON that is none: quotes of a document, apostrophes and words of Python, comments, blanks
//! that are no blanks.

use super::Patch;

/// Curly quotes, and those of other languages.
const CURLY: [char; 5] = ['“', '”', '„', '«', '»'];
const APOSTROPHES: [char; 3] = ['\'', '‘', '’'];
/// Blanks that documents hold and JSON does not: no-break, narrow, thin, of no width, a mark of byte order.
const BLANKS: [char; 5] = ['\u{a0}', '\u{202f}', '\u{2009}', '\u{200b}', '\u{feff}'];
/// Words of Python and JavaScript, and what JSON has for them.
const WORDS: [(&str, &str); 6] = [
    ("True", "true"),
    ("False", "false"),
    ("None", "null"),
    ("NaN", "null"),
    ("undefined", "null"),
    ("Infinity", "null"),
];

/// The slip at the place where a text is no JSON, what it is, and what mends it and those behind it; none where it is another mistake.
pub(super) fn slip(text: &str, at: usize) -> Option<(usize, &'static str, Vec<Patch>)> {
    // readers name the character, or the one behind it, or where a word begins or ends
    let line = text[..at].rfind('\n').map_or(0, |line| line + 1);
    let word = text[line..at].rfind(|character: char| !character.is_alphabetic()).map_or(line, |end| line + end + 1);
    let begins = [at, previous(text, at), word];
    let (at, what, _) = begins.into_iter().filter(|at| text.is_char_boundary(*at)).find_map(|at| {
        let (what, patch) = one(text, at)?;
        Some((at, what, patch))
    })?;
    let (mut patches, mut next) = (Vec::new(), at);
    while let Some(first) = text[next..].chars().next() {
        if first == '"' {
            next = behind_text(text, next + 1);
        } else if let Some((_, patch)) = one(text, next) {
            next = patch.range.end.max(next + 1);
            patches.push(patch);
        } else {
            next += first.len_utf8();
        }
    }
    Some((at, what, patches))
}

/// What stands at a place, if it is a slip.
fn one(text: &str, at: usize) -> Option<(&'static str, Patch)> {
    let rest = &text[at..];
    let first = rest.chars().next()?;
    let inner = at + first.len_utf8();
    let quoted = |closing: usize, what| {
        let close = text[closing..].chars().next().map_or(0, char::len_utf8);
        let patch = Patch { range: at..closing + close, before: "\"", kept: inner..closing, behind: "\"" };
        (!text[inner..closing].contains('"')).then_some((what, patch))
    };
    if CURLY.contains(&first) {
        let closing = text[inner..].find(|character| CURLY.contains(&character) || character == '"')?;
        return quoted(inner + closing, "curly quotes, as documents have them, where JSON wants straight ones");
    }
    if APOSTROPHES.contains(&first) {
        let mut closing = text[inner..].char_indices().filter(|(_, character)| APOSTROPHES.contains(character));
        let (closing, _) = closing.find(|(at, close)| ends_value(&text[inner + at + close.len_utf8()..]))?;
        return quoted(inner + closing, "apostrophes, as Python writes texts, where JSON wants quotes");
    }
    if BLANKS.contains(&first) {
        return Some(("a blank pasted from a document, which JSON does not know", Patch::put(at..inner, " ")));
    }
    let comment = "a comment, which JSON does not know";
    if rest.starts_with("//") || first == '#' {
        return Some((comment, Patch::put(at..rest.find('\n').map_or(text.len(), |line| at + line), "")));
    }
    if rest.starts_with("/*") {
        return Some((comment, Patch::put(at..at + rest.find("*/")? + 2, "")));
    }
    let is_inside = text[..at].ends_with(|before: char| before.is_alphanumeric());
    let (word, instead) = WORDS.iter().find(|(word, _)| !is_inside && rest.starts_with(word))?;
    let what = "a word of Python or JavaScript, where JSON writes true, false or null";
    Some((what, Patch::put(at..at + word.len(), instead)))
}

/// Where a JSON text ends that has begun before `from`.
fn behind_text(text: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a text may have ended in front of this.
fn ends_value(rest: &str) -> bool {
    rest.trim_start().chars().next().is_none_or(|next| [',', ':', '}', ']'].contains(&next))
}

fn previous(text: &str, at: usize) -> usize {
    text[..at].char_indices().next_back().map_or(0, |(at, _)| at)
}
