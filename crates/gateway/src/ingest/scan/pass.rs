//! One pass over a body's strings and object depth.

use memchr::memchr2;

/// Longest text kept of a string: a key of 64 characters, each written as `\u0000`.
pub(super) const MAX_TEXT_BYTES: usize = 64 * 6;

/// The names a key goes by, the one that is believed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    ApiKey,
    Token,
    DollarToken,
}

impl Name {
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        match text {
            b"api_key" => Some(Self::ApiKey),
            b"token" => Some(Self::Token),
            b"$token" => Some(Self::DollarToken),
            _ => None,
        }
    }
}

/// One pass over strings and object depth.
#[derive(Debug)]
pub(super) struct KeyScan {
    state: State,
    expected: Expected,
    /// Objects open around the next byte; arrays do not count.
    depth: u32,
    /// The string being read, up to [`MAX_TEXT_BYTES`], still escaped.
    text: Vec<u8>,
    escaped: bool,
    cut: bool,
    best: Option<Found>,
}

#[derive(Debug)]
struct Found {
    depth: u32,
    name: Name,
    key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Outside a string.
    Between,
    /// Outside, behind a backslash: broken JSON, or a string seen from the wrong side.
    BetweenEscape,
    String,
    StringEscape,
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    Nothing,
    /// A string that is a key's name has ended: a colon makes it one.
    Colon(Name),
    Value(Name),
}

impl KeyScan {
    pub(super) fn new(state: State) -> Self {
        let text = Vec::with_capacity(MAX_TEXT_BYTES / 4);
        Self { state, expected: Expected::Nothing, depth: 0, text, escaped: false, cut: false, best: None }
    }

    /// The best key so far.
    pub(super) fn key(&self) -> Option<&str> {
        self.best.as_ref().map(|found| found.key.as_str())
    }

    pub(super) fn into_key(self) -> Option<String> {
        self.best.map(|found| found.key)
    }

    /// A key under the first name in an outermost object: none found later is better.
    pub(super) fn certain(&self) -> bool {
        matches!(self.best, Some(Found { depth: ..=1, name: Name::ApiKey, .. }))
    }

    pub(super) fn feed(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() && !self.certain() {
            chunk = match self.state {
                State::Between => self.between(chunk),
                State::BetweenEscape => {
                    self.state = State::Between;
                    &chunk[1..]
                }
                State::String => self.string(chunk),
                State::StringEscape => {
                    self.keep(&chunk[..1]);
                    self.state = State::String;
                    &chunk[1..]
                }
            };
        }
    }

    fn between<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        for (at, byte) in chunk.iter().enumerate() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'"' => {
                    self.text.clear();
                    (self.escaped, self.cut) = (false, false);
                    self.state = State::String;
                    return &chunk[at + 1..];
                }
                b'\\' => {
                    self.state = State::BetweenEscape;
                    return &chunk[at + 1..];
                }
                b':' => {
                    self.expected = match self.expected {
                        Expected::Colon(name) => Expected::Value(name),
                        _ => Expected::Nothing,
                    };
                    continue;
                }
                b'{' => self.depth = self.depth.saturating_add(1),
                b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.expected = Expected::Nothing;
        }
        &[]
    }

    fn string<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let Some(at) = memchr2(b'"', b'\\', chunk) else {
            self.keep(chunk);
            return &[];
        };
        if chunk[at] == b'\\' {
            self.keep(&chunk[..=at]);
            self.escaped = true;
            self.state = State::StringEscape;
        } else {
            self.keep(&chunk[..at]);
            self.end_string();
            self.state = State::Between;
        }
        &chunk[at + 1..]
    }

    fn keep(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(MAX_TEXT_BYTES - self.text.len());
        self.text.extend_from_slice(&bytes[..kept]);
        self.cut |= kept < bytes.len();
    }

    fn end_string(&mut self) {
        self.expected = match self.expected {
            Expected::Value(name) => {
                self.found(name);
                Expected::Nothing
            }
            _ if self.cut => Expected::Nothing,
            _ if self.escaped => Name::of(self.unescaped().as_bytes()).map_or(Expected::Nothing, Expected::Colon),
            _ => Name::of(&self.text).map_or(Expected::Nothing, Expected::Colon),
        };
    }

    fn found(&mut self, name: Name) {
        let better = self.best.as_ref().is_none_or(|best| (self.depth, name) < (best.depth, best.name));
        if better {
            // what is kept of a longer one stays as it is written: read, it might have the length of a key
            let reads = self.escaped && !self.cut;
            let key = if reads { self.unescaped() } else { String::from_utf8_lossy(&self.text).into_owned() };
            self.best = Some(Found { depth: self.depth, name, key });
        }
    }

    fn unescaped(&self) -> String {
        let mut quoted = Vec::with_capacity(self.text.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(&self.text);
        quoted.push(b'"');
        serde_json::from_slice(&quoted).unwrap_or_else(|_| String::from_utf8_lossy(&self.text).into_owned())
    }
}
