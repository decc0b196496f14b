//! Documents of any shape, and where in them what stands.

use std::ops::Range;

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;

/// What a part of a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Comma,
    Colon,
    Open,
    Close,
    Key,
    Text,
    Number,
    Word,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Range<usize>,
}

/// A list, and its elements as they are printed.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) at: Range<usize>,
    pub(super) elements: Vec<String>,
}

/// A valid document.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) text: String,
    pub(super) value: Value,
    pub(super) tokens: Vec<Token>,
    /// Those of two objects and more.
    pub(super) lists: Vec<List>,
    /// Those of texts, with the elements as Python prints them.
    pub(super) python: Vec<List>,
    gap: &'static str,
}

impl Document {
    /// An event, a list of some, or one around such a list.
    pub(super) fn any(chance: &mut StdRng) -> Self {
        let mut document = Self { gap: ["", " ", "\n ", "\r\n"].choose(chance).unwrap(), ..Self::default() };
        match chance.random_range(0..4) {
            0 => document.list(true, 0, chance),
            1 => {
                document.token(Kind::Open, "{");
                document.member("app_name", "\"A\"");
                document.token(Kind::Comma, ",");
                document.token(Kind::Key, ["\"events\"", "\"batch\""].choose(chance).unwrap());
                document.token(Kind::Colon, ":");
                document.list(true, 1, chance);
                document.token(Kind::Close, "}");
            }
            _ => document.object(0, chance),
        }
        document.value = serde_json::from_str(&document.text).unwrap();
        document
    }

    fn token(&mut self, kind: Kind, text: &str) {
        let begin = self.text.len();
        self.text.push_str(text);
        self.tokens.push(Token { kind, at: begin..self.text.len() });
        if !matches!(kind, Kind::Key) {
            self.text.push_str(self.gap);
        }
    }

    fn member(&mut self, key: &str, value: &str) {
        self.token(Kind::Key, &serde_json::to_string(key).unwrap());
        self.token(Kind::Colon, ":");
        self.token(Kind::Text, value);
    }

    fn object(&mut self, depth: u32, chance: &mut StdRng) {
        self.token(Kind::Open, "{");
        let members = chance.random_range(if depth == 0 { 1..6 } else { 0..4 });
        for member in 0..members {
            if member > 0 {
                self.token(Kind::Comma, ",");
            }
            // each name once, since of two the last counts
            let key = format!("{}{member}", text(chance));
            self.token(Kind::Key, &serde_json::to_string(&key).unwrap());
            self.token(Kind::Colon, ":");
            self.any_value(depth + 1, chance);
        }
        self.token(Kind::Close, "}");
    }

    fn any_value(&mut self, depth: u32, chance: &mut StdRng) {
        match chance.random_range(0..if depth > 3 { 7 } else { 10 }) {
            0..4 => self.token(Kind::Text, &serde_json::to_string(&text(chance)).unwrap()),
            4 => self.token(Kind::Number, ["0", "12", "-1.5", "1e3", "49.90", "0.5"].choose(chance).unwrap()),
            5 => self.token(Kind::Word, ["true", "false", "null"].choose(chance).unwrap()),
            6 => self.texts(chance),
            7 => self.object(depth, chance),
            _ => {
                let are_objects = chance.random();
                self.list(are_objects, depth, chance);
            }
        }
    }

    fn list(&mut self, are_objects: bool, depth: u32, chance: &mut StdRng) {
        let list = self.elements(chance, |document, chance| {
            let begin = document.text.len();
            match are_objects {
                true => document.object(depth + 1, chance),
                false => document.any_value(depth + 1, chance),
            }
            document.text[begin..].trim().to_string()
        });
        if are_objects && list.elements.len() > 1 {
            self.lists.insert(0, list);
        }
    }

    fn texts(&mut self, chance: &mut StdRng) {
        let list = self.elements(chance, |document, chance| {
            let text = text(chance);
            document.token(Kind::Text, &serde_json::to_string(&text).unwrap());
            python(&text)
        });
        self.python.push(list);
    }

    /// Prints a list; `one` prints an element and gives it as it shall stand there.
    fn elements(&mut self, chance: &mut StdRng, one: impl Fn(&mut Self, &mut StdRng) -> String) -> List {
        let begin = self.text.len();
        self.token(Kind::Open, "[");
        let mut elements = Vec::new();
        for element in 0..chance.random_range(1..4) {
            if element > 0 {
                self.token(Kind::Comma, ",");
            }
            elements.push(one(self, chance));
        }
        self.token(Kind::Close, "]");
        List { at: begin..begin + self.text[begin..].trim_end().len(), elements }
    }
}

/// A text that may look like anything.
fn text(chance: &mut StdRng) -> String {
    const PARTS: [&str; 34] = [
        "a",
        "Anna",
        "5",
        " ",
        ", ",
        "\"",
        "\"",
        "\": \"",
        "\", \"",
        "\",\"k\":\"",
        "}",
        "{",
        "]",
        "[",
        "},{",
        ":",
        ",",
        "'",
        "\\",
        "\n",
        "\t",
        "é",
        "😀",
        "\u{a0}",
        "true",
        "NaN",
        "{{x}}",
        "it's",
        "say \"hi\"",
        "5\" pipe",
        "\"all\"",
        "\r",
        "/",
        "\"}",
    ];
    let parts = [0, 1, 1, 1, 2, 2, 3, 5].choose(chance).copied().unwrap();
    (0..parts).map(|_| *PARTS.choose(chance).unwrap()).collect()
}

/// A text as Python prints it inside of a list.
fn python(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut printed = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => printed.push_str("\\\\"),
            '\n' => printed.push_str("\\n"),
            '\r' => printed.push_str("\\r"),
            '\t' => printed.push_str("\\t"),
            '\u{a0}' => printed.push_str("\\xa0"),
            c if c == quote => printed.extend(['\\', c]),
            c => printed.push(c),
        }
    }
    printed.push(quote);
    printed
}

/// The inside of a text with one escape everywhere as it stands without; none where it has none.
pub(super) fn unescaped(inside: &str, escape: &str, raw: &str) -> Option<String> {
    let (mut out, mut rest, mut found) = (String::new(), inside, false);
    while let Some(at) = rest.find('\\') {
        let end = at + 1 + rest[at + 1..].chars().next()?.len_utf8();
        out.push_str(&rest[..at]);
        let is_it = &rest[at..end] == escape;
        out.push_str(if is_it { raw } else { &rest[at..end] });
        found |= is_it;
        rest = &rest[end..];
    }
    found.then(|| out + rest)
}

/// Whether a text with raw quotes reads as if it ended inside: what follows a quote of its own may follow a value.
pub(super) fn poses(raw: &str) -> bool {
    raw.match_indices('"').any(|(at, _)| {
        !raw[..at].ends_with('\\') && raw[at + 1..].trim_start().starts_with([',', ':', '}', ']', '{', '[', '"'])
    })
}
