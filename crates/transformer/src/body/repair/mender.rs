//! One value, mended on the way through it.

use serde::de::IgnoredAny;

use super::{places::Places, tokens::skip_blanks};
use crate::notes::Repair;

/// Deepest nesting that is mended.
const MAX_DEPTH: usize = 64;

/// Where a value stands, which tells what may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Key,
    Member,
    Element,
}

/// Reads a value and writes it as it was meant.
pub(super) struct Mender<'t> {
    text: &'t [u8],
    at: usize,
    out: Vec<u8>,
    repairs: Places,
}

impl<'t> Mender<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text: text.as_bytes(), at: 0, out: Vec::with_capacity(text.len() + 64), repairs: Places::default() }
    }

    /// The value, and what was mended of it; none where that is not certain.
    pub(super) fn mend(mut self) -> Option<(String, Places)> {
        self.value(Place::Top, 0)?;
        self.blanks();
        let mended = String::from_utf8(self.out).ok()?;
        (self.at == self.text.len()).then_some((mended, self.repairs))
    }

    fn mended(&mut self, repair: Repair) {
        self.repairs.add(repair, self.at);
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Copies blanks; those that only look like blanks become some.
    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) => {
                    self.out.push(byte);
                    self.at += 1;
                }
                Some(_) => {
                    let Some(length) = odd_blank(&self.text[self.at..]) else { return };
                    self.mended(Repair::Blank);
                    self.out.push(b' ');
                    self.at += length;
                }
                None => return,
            }
        }
    }

    fn copy(&mut self) {
        self.out.extend(self.peek());
        self.at += 1;
    }

    fn value(&mut self, place: Place, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blanks();
        match self.peek()? {
            b'{' => self.list(b'}', depth),
            b'[' => self.list(b']', depth),
            b'"' => self.string(place),
            b'\'' => self.python_string(),
            b',' | b'}' if place == Place::Member => {
                self.mended(Repair::EmptyValue);
                self.out.extend_from_slice(b"null");
                Some(())
            }
            _ => self.word(),
        }
    }

    /// An object or an array, by what closes it.
    fn list(&mut self, close: u8, depth: usize) -> Option<()> {
        self.copy();
        let mut comma = None;
        loop {
            self.blanks();
            if self.peek()? == close {
                if let Some((comma, at)) = comma {
                    self.out.remove(comma);
                    self.repairs.add(Repair::TrailingComma, at);
                }
                self.copy();
                return Some(());
            }
            if close == b'}' {
                self.member(comma.is_some(), depth)?;
            } else {
                self.value(Place::Element, depth + 1)?;
            }
            let last = self.text.get(self.at - 1).copied();
            self.blanks();
            comma = match self.peek()? {
                b',' => {
                    self.copy();
                    Some((self.out.len() - 1, self.at - 1))
                }
                byte if byte == close => None,
                // behind a text the comma may be missing, or the text may hold quotes
                b'"' if close == b'}' && !matches!(last, Some(b'"' | b'\'')) && is_key(self.text, self.at) => {
                    self.missing_comma()
                }
                b'{' | b'[' if close == b']' && matches!(last, Some(b'}' | b']')) => self.missing_comma(),
                _ => return None,
            };
        }
    }

    /// A key and its value. Of two commas before it the second is left out.
    fn member(&mut self, is_further: bool, depth: usize) -> Option<()> {
        if is_further && self.peek()? == b',' && is_key(self.text, skip_blanks(self.text, self.at + 1)) {
            self.mended(Repair::DoubledComma);
            self.at += 1;
            self.blanks();
        }
        match self.peek()? {
            b'"' => self.string(Place::Key)?,
            b'\'' => self.python_string()?,
            _ => return None,
        }
        self.blanks();
        if self.peek()? != b':' {
            return None;
        }
        self.copy();
        self.value(Place::Member, depth + 1)
    }

    fn missing_comma(&mut self) -> Option<(usize, usize)> {
        self.mended(Repair::MissingComma);
        self.out.push(b',');
        Some((self.out.len() - 1, self.at))
    }

    /// `true`, a number, or what Python calls them.
    fn word(&mut self) -> Option<()> {
        let word = word(&self.text[self.at..]);
        let meant: &[u8] = match word {
            b"True" => b"true",
            b"False" => b"false",
            b"None" | b"NaN" | b"Infinity" | b"-Infinity" => b"null",
            word if serde_json::from_slice::<IgnoredAny>(word).is_ok() => word,
            _ => return None,
        };
        if meant != word {
            self.mended(if word.ends_with(b"N") || word.ends_with(b"y") {
                Repair::NotANumber
            } else {
                Repair::PythonValue
            });
        }
        self.out.extend_from_slice(meant);
        self.at += word.len();
        Some(())
    }

    /// A text in quotes, which may hold quotes and line breaks that nobody escaped.
    fn string(&mut self, place: Place) -> Option<()> {
        self.copy();
        loop {
            match self.peek()? {
                b'"' if closes(self.text, self.at, place) => {
                    self.copy();
                    return Some(());
                }
                // a name and an element of a list have none: a colon or a comma may be missing as well
                b'"' if matches!(place, Place::Key | Place::Element) => return None,
                b'"' if may_be_structure(self.text, self.at, place) => return None,
                b'"' => {
                    self.mended(Repair::UnescapedQuote);
                    self.out.push(b'\\');
                    self.copy();
                }
                b'\\' => self.escaped(b"\"\\/bfnrtu")?,
                byte @ 0..0x20 => {
                    self.mended(Repair::ControlCharacter);
                    self.escape(byte);
                    self.at += 1;
                }
                _ => self.copy(),
            }
        }
    }

    /// A character behind a backslash: one of those that JSON reads, or a single quote, which needs none.
    fn escaped(&mut self, known: &[u8]) -> Option<()> {
        match self.text.get(self.at + 1)? {
            b'\'' => self.at += 1,
            byte if known.contains(byte) => self.copy(),
            _ => return None,
        }
        self.copy();
        Some(())
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'\n' => self.out.extend_from_slice(b"\\n"),
            b'\r' => self.out.extend_from_slice(b"\\r"),
            b'\t' => self.out.extend_from_slice(b"\\t"),
            _ => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }

    /// A text as Python prints it inside of a list.
    fn python_string(&mut self) -> Option<()> {
        self.mended(Repair::PythonValue);
        self.at += 1;
        self.out.push(b'"');
        loop {
            match self.peek()? {
                b'\'' => {
                    self.at += 1;
                    self.out.push(b'"');
                    return Some(());
                }
                b'"' => {
                    self.out.push(b'\\');
                    self.copy();
                }
                b'\\' if self.text.get(self.at + 1) == Some(&b'x') => {
                    self.out.extend_from_slice(b"\\u00");
                    self.at += 2;
                }
                b'\\' => self.escaped(b"\\nrtu")?,
                0..0x20 => return None,
                _ => self.copy(),
            }
        }
    }
}

/// Whether the quote at `at` ends its text: what follows is what may follow one.
fn closes(text: &[u8], at: usize, place: Place) -> bool {
    let next = skip(text, at + 1);
    let after = skip(text, next + 1);
    match (place, text.get(next)) {
        (Place::Top, None) | (Place::Key, Some(b':')) => true,
        (Place::Member, Some(b'}')) | (Place::Element, Some(b']')) => {
            matches!(text.get(after), None | Some(b',' | b'}' | b']' | b'{' | b'[' | b'"'))
        }
        (Place::Member, Some(b',')) => match text.get(after) {
            Some(b'}') => true,
            Some(b',') => is_key(text, skip(text, after + 1)),
            _ => is_key(text, after),
        },
        (Place::Element, Some(b',')) => is_element(text, after),
        _ => false,
    }
}

/// Whether the quote at `at`, which does not end its text, looks as if it ended or began one all the same.
fn may_be_structure(text: &[u8], at: usize, place: Place) -> bool {
    let next = skip(text, at + 1);
    match text.get(next) {
        None | Some(b':' | b'}' | b']' | b'{' | b'[') => true,
        // two in a row, but for the last of a value that is in quotes itself
        Some(b'"') => next > at + 1 || !closes(text, next, place),
        // a key, in quotes or without
        Some(b',') => {
            let after = skip(text, next + 1);
            let name = text[after..].iter().take_while(|byte| is_name(**byte)).count();
            matches!(text.get(after), Some(b'"' | b'\'' | b'{' | b'[' | b','))
                || text.get(skip(text, after + name)) == Some(&b':')
        }
        Some(_) => false,
    }
}

/// The bytes at the beginning up to what may follow a word.
fn word(text: &[u8]) -> &[u8] {
    let length = text.iter().position(|byte| b",:}]{[\"' \t\r\n".contains(byte)).unwrap_or(text.len());
    &text[..length]
}

/// Where the next byte stands that is no blank of any kind.
fn skip(text: &[u8], from: usize) -> usize {
    let mut at = skip_blanks(text, from);
    while let Some(length) = text.get(at..).and_then(odd_blank) {
        at = skip_blanks(text, at + length);
    }
    at
}

/// The length of a blank that JSON does not know, and that a page or an editor puts where a blank was typed.
fn odd_blank(text: &[u8]) -> Option<usize> {
    match text {
        [0x0b | 0x0c, ..] => Some(1),
        [0xc2, 0xa0, ..] => Some(2),
        // U+2000 to U+200B, U+2028, U+2029, U+202F, U+205F, U+3000, U+FEFF
        [0xe2, 0x80, 0x80..=0x8b | 0xa8 | 0xa9 | 0xaf, ..]
        | [0xe2, 0x81, 0x9f, ..]
        | [0xe3, 0x80, 0x80, ..]
        | [0xef, 0xbb, 0xbf, ..] => Some(3),
        _ => None,
    }
}

/// Whether a byte may be of a key that stands without quotes.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_$.-".contains(&byte) || !byte.is_ascii()
}

/// Whether a key with its colon stands at `at`.
fn is_key(text: &[u8], at: usize) -> bool {
    let Some(quote @ (b'"' | b'\'')) = text.get(at) else { return false };
    let mut end = at + 1;
    while let Some(byte) = text.get(end) {
        match byte {
            b'\\' => end += 2,
            byte if byte == quote => return text.get(skip(text, end + 1)) == Some(&b':'),
            _ => end += 1,
        }
    }
    false
}

/// Whether an element stands at `at`, or the end of its array.
fn is_element(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        Some(b'"' | b'\'' | b'{' | b'[' | b']') => true,
        Some(_) => {
            let word = word(&text[at..]);
            let is_known = [&b"True"[..], b"False", b"None", b"NaN", b"Infinity", b"-Infinity"].contains(&word);
            let follows = matches!(text.get(skip(text, at + word.len())), Some(b',' | b']'));
            follows && (is_known || serde_json::from_slice::<IgnoredAny>(word).is_ok())
        }
        None => false,
    }
}
