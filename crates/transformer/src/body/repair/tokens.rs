//! What JSON is made of, read strictly, from any place on and with any state before it.

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expects {
    Value,
    /// A value, or the end of the array that has just begun.
    FirstElement,
    /// A key, or the end of the object that has just begun.
    FirstKey,
    Key,
    Colon,
    /// A comma, or what closes the innermost list; the end where there is none.
    Next,
}

/// How far reading has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The lists that are open: what closes each.
    pub(super) open: Vec<u8>,
    pub(super) expects: Expects,
}

impl State {
    pub(super) fn new() -> Self {
        Self { open: Vec::new(), expects: Expects::Value }
    }

    /// Whether a whole value was read.
    pub(super) fn is_end(&self) -> bool {
        self.open.is_empty() && self.expects == Expects::Next
    }

    /// Whether a text may begin.
    pub(super) fn takes_text(&self) -> bool {
        !matches!(self.expects, Expects::Colon | Expects::Next)
    }

    /// Takes a text.
    pub(super) fn text(&mut self) -> Option<()> {
        self.expects = match self.expects {
            Expects::Value | Expects::FirstElement => Expects::Next,
            Expects::Key | Expects::FirstKey => Expects::Colon,
            Expects::Colon | Expects::Next => return None,
        };
        Some(())
    }

    /// Takes a comma.
    pub(super) fn comma(&mut self) -> Option<()> {
        if self.expects != Expects::Next {
            return None;
        }
        self.expects = if *self.open.last()? == b'}' { Expects::Key } else { Expects::Value };
        Some(())
    }

    /// Takes the token at `at`, where no blank is, and gives its end.
    pub(super) fn token(&mut self, text: &[u8], at: usize) -> Option<usize> {
        let is_value = matches!(self.expects, Expects::Value | Expects::FirstElement);
        match text.get(at)? {
            b'"' => {
                self.text()?;
                return text_end(text, at + 1);
            }
            b',' => self.comma()?,
            b':' if self.expects == Expects::Colon => self.expects = Expects::Value,
            b'{' if is_value => {
                self.open.push(b'}');
                self.expects = Expects::FirstKey;
            }
            b'[' if is_value => {
                self.open.push(b']');
                self.expects = Expects::FirstElement;
            }
            close @ (b'}' | b']') => {
                let is_first = matches!(self.expects, Expects::FirstKey | Expects::FirstElement);
                if !(is_first || self.expects == Expects::Next) || self.open.pop()? != *close {
                    return None;
                }
                self.expects = Expects::Next;
            }
            _ if is_value => {
                self.expects = Expects::Next;
                return word_end(text, at);
            }
            _ => return None,
        }
        Some(at + 1)
    }
}

/// Where the next byte stands that is no blank.
pub(super) fn skip_blanks(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !b" \t\r\n".contains(byte)).unwrap_or(rest.len())
}

/// The end of a text whose inside begins at `from`; none where it is not strict.
pub(super) fn text_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match text.get(at + 1)? {
                b'u' => {
                    let is_hex = text.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit);
                    at += if is_hex { 6 } else { return None };
                }
                byte if b"\"\\/bfnrt".contains(byte) => at += 2,
                _ => return None,
            },
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// The end of a number, `true`, `false` or `null`.
fn word_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    if let Some(word) = [&b"true"[..], b"false", b"null"].into_iter().find(|word| rest.starts_with(word)) {
        return Some(at + word.len());
    }
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = usize::from(rest.first() == Some(&b'-'));
    end += match rest.get(end)? {
        b'0' => 1,
        b'1'..=b'9' => digits(end),
        _ => return None,
    };
    if rest.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        end += if fraction > 0 { 1 + fraction } else { return None };
    }
    if let Some(b'e' | b'E') = rest.get(end) {
        let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        end += if exponent > 0 { 1 + sign + exponent } else { return None };
    }
    Some(at + end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn is_json(text: &str) -> bool {
        let (text, mut state, mut at) = (text.as_bytes(), State::new(), 0);
        loop {
            at = skip_blanks(text, at);
            if at == text.len() {
                return state.is_end();
            }
            match state.token(text, at) {
                Some(end) => at = end,
                None => return false,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn it_takes_what_serde_json_takes(
            text in r#"[\[\]{},:"0-2.eE+\- tu\\n]{0,8}|(\[|\]|\{|\}|,|:|"a"|1|-0\.5e1|true|null| ){0,12}"#,
        ) {
            prop_assert_eq!(is_json(&text), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }
}
