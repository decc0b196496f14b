//! JSON that a template broke, mended where it is certain what was meant.
//!
//! A template engine prints lists, flags and nothing the way Python does, and escapes no quote and no line break in a value. What is not
//! certain is not touched: the body is rejected with the place.

use serde::de::IgnoredAny;

use crate::notes::Repair;

/// Deepest nesting that is mended.
const MAX_DEPTH: usize = 64;
/// Largest body that is mended, in bytes: what a marketer wrote is small.
const MAX_BYTES: usize = 1024 * 1024;

/// The body as it was meant, and what was mended; none where that is not certain.
pub(crate) fn repair(text: &str) -> Option<(String, Vec<Repair>)> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let mut mender =
        Mender { text: text.as_bytes(), at: 0, out: Vec::with_capacity(text.len() + 64), repairs: Vec::new() };
    mender.value(Place::Top, 0)?;
    mender.blanks();
    if mender.at < mender.text.len() || mender.repairs.is_empty() {
        return None;
    }
    let mended = String::from_utf8(mender.out).ok()?;
    serde_json::from_str::<IgnoredAny>(&mended).ok()?;
    Some((mended, mender.repairs))
}

/// Where a value stands, which tells what may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Key,
    Member,
    Element,
}

struct Mender<'t> {
    text: &'t [u8],
    at: usize,
    out: Vec<u8>,
    repairs: Vec<Repair>,
}

impl Mender<'_> {
    fn mended(&mut self, repair: Repair) {
        if !self.repairs.contains(&repair) {
            self.repairs.push(repair);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Copies blanks.
    fn blanks(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.out.push(byte);
            self.at += 1;
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
                if let Some(comma) = comma {
                    self.out.remove(comma);
                    self.mended(Repair::TrailingComma);
                }
                self.copy();
                return Some(());
            }
            if close == b'}' {
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
                self.value(Place::Member, depth + 1)?;
            } else {
                self.value(Place::Element, depth + 1)?;
            }
            self.blanks();
            comma = match self.peek()? {
                b',' => {
                    self.copy();
                    Some(self.out.len() - 1)
                }
                byte if byte == close => None,
                _ => return None,
            };
        }
    }

    /// `true`, a number, or what Python calls them.
    fn word(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| b",}] \t\r\n".contains(byte)).unwrap_or(rest.len());
        let word = &rest[..length];
        let meant: &[u8] = match word {
            b"True" => b"true",
            b"False" => b"false",
            b"None" => b"null",
            word if serde_json::from_slice::<IgnoredAny>(word).is_ok() => word,
            _ => return None,
        };
        if meant != word {
            self.mended(Repair::PythonValue);
        }
        self.out.extend_from_slice(meant);
        self.at += length;
        Some(())
    }

    /// A text in quotes, which may hold quotes and line breaks that nobody escaped.
    fn string(&mut self, place: Place) -> Option<()> {
        self.copy();
        loop {
            match self.peek()? {
                b'"' if self.closes(place) => {
                    self.copy();
                    return Some(());
                }
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

    /// Whether the quote here ends its text: what follows is what may follow one.
    fn closes(&self, place: Place) -> bool {
        let (next, after) = next(self.text, self.at + 1);
        match (place, next) {
            (Place::Top, None) => true,
            (Place::Key, Some(b':')) => true,
            (Place::Member, Some(b'}')) | (Place::Element, Some(b']')) => {
                matches!(self::next(self.text, after).0, None | Some(b',' | b'}' | b']'))
            }
            (Place::Member, Some(b',')) => is_key(self.text, after),
            (Place::Element, Some(b',')) => {
                matches!(self::next(self.text, after).0, Some(b'"' | b'\'' | b'{' | b'[' | b']' | b'-' | b'0'..=b'9'))
            }
            _ => false,
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

/// The next byte that is no blank, and where what follows it begins.
fn next(text: &[u8], from: usize) -> (Option<u8>, usize) {
    let blanks = text[from.min(text.len())..].iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    (text.get(from + blanks).copied(), from + blanks + 1)
}

/// Whether a key with its colon stands here, or the end of an object.
fn is_key(text: &[u8], from: usize) -> bool {
    let (quote, inside) = next(text, from);
    match quote {
        Some(b'}') => true,
        Some(quote @ (b'"' | b'\'')) => {
            let Some(length) = text[inside..].iter().position(|byte| *byte == quote) else { return false };
            next(text, inside + length + 1).0 == Some(b':')
        }
        _ => false,
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_meant_is_certain() {
        use Repair::{ControlCharacter, EmptyValue, PythonValue, TrailingComma, UnescapedQuote};
        for (broken, mended, repairs) in [
            (r#"{"a": True, "b": None, "c": False}"#, r#"{"a": true, "b": null, "c": false}"#, vec![PythonValue]),
            (r#"{"a": ['x', "it's", 1.5]}"#, r#"{"a": ["x", "it's", 1.5]}"#, vec![PythonValue]),
            (r#"{"a": {'k': 'it\'s "so"'}}"#, r#"{"a": {"k": "it's \"so\""}}"#, vec![PythonValue]),
            (r#"{"a": [1, 2, ], "b": 1,}"#, r#"{"a": [1, 2 ], "b": 1}"#, vec![TrailingComma]),
            (r#"{"a": "5" pipe", "b": 1}"#, r#"{"a": "5\" pipe", "b": 1}"#, vec![UnescapedQuote]),
            (r#"{"a": "so "called", x", "b": "y"}"#, r#"{"a": "so \"called\", x", "b": "y"}"#, vec![UnescapedQuote]),
            (r#"{"a": ""all""}"#, r#"{"a": "\"all\""}"#, vec![UnescapedQuote]),
            ("{\"a\": \"x\r\ny\"}", r#"{"a": "x\r\ny"}"#, vec![ControlCharacter]),
            (r#"{"a": , "b": }"#, r#"{"a": null, "b": null}"#, vec![EmptyValue]),
        ] {
            assert_eq!(repair(broken), Some((mended.to_string(), repairs)), "{broken}");
        }
    }

    #[test]
    fn what_is_not_certain_is_left() {
        for broken in [
            r#"{"a": Anna, "b": 1}"#,
            r#"{"a": "x" "b": 1}"#,
            r#"{"a": "C:\new"}"#.replace("\\n", "\\q").as_str(),
            r#"{"a": "x"#,
            r#"{"a": [1,,2]}"#,
            r#"{a: 1}"#,
            r#"{"a": 1} {"b": 2}"#,
            r#"{"a": NaN}"#,
            r#"{"a": 1}"#,
            "",
        ] {
            assert_eq!(repair(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_text_in_one_value_comes_out_as_it_was(text in "[a-z \"'\n\t{}:]{0,12}") {
            // as a template fills it in, unless it poses as the end of its value
            let broken = format!(r#"{{"a": "{text}", "b": 1}}"#);
            if serde_json::from_str::<IgnoredAny>(&broken).is_err()
                && let Some((mended, _)) = repair(&broken)
            {
                let read: serde_json::Value = serde_json::from_str(&mended).unwrap();
                prop_assert_eq!(read["a"].as_str(), Some(text.as_str()), "{}", mended);
                prop_assert_eq!(&read["b"], 1);
            }
        }

        #[test]
        fn nothing_panics(text in "[\\[\\]{},:\"'\\\\nTFx0-9 \n]{0,40}") {
            if let Some((mended, _)) = repair(&text) {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&mended).is_ok());
            }
        }
    }
}
