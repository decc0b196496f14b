//! What a look-up is filled with to see what becomes of it.

use minijinja::Value;

/// A kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// A number, another for each look-up.
    Number,
    /// A word, another for each look-up.
    Word,
    /// A text with a quote, a backslash and line breaks.
    Nasty,
    /// The empty text.
    Blank,
    /// Nothing: the attribute is not there.
    Missing,
}

/// What stands for a value that is not known.
pub(super) const UNKNOWN: usize = 6_999_999;

const FIRST_NUMBER: usize = 7_000_000;

impl Fill {
    /// The value for the look-up at `index`; none where it is missing.
    pub(super) fn value(self, index: usize) -> Option<Value> {
        match self {
            Self::Number => Some(Value::from(FIRST_NUMBER + index)),
            Self::Word => Some(Value::from(word(index))),
            Self::Nasty => Some(Value::from("a\"b\\c\nd\re\tf")),
            Self::Blank => Some(Value::from("")),
            Self::Missing => None,
        }
    }
}

fn word(index: usize) -> String {
    format!("moehogprobe{index}z")
}

/// Whether a text that was printed holds what the look-up at `index` was filled with.
pub(super) fn holds(printed: &str, index: usize) -> bool {
    printed.contains(&(FIRST_NUMBER + index).to_string()) || printed.to_lowercase().contains(&word(index))
}

/// Whether a text that was printed holds what is not known.
pub(super) fn holds_unknown(printed: &str) -> bool {
    printed.contains(&UNKNOWN.to_string())
}
