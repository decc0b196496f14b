//! A valid document, damaged once in a way that is known, is mended into itself, or not at all.
//!
//! `MOEHOG_DAMAGES_FIRST` and `MOEHOG_DAMAGES` say which seeds run; `cargo xtask soak damages` runs a million.

mod document;

use std::env;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use strum::VariantArray;

use self::document::{Document, Kind};
use super::{Mended, repair};

/// What a template, a program or a hand does to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
enum Damage {
    MissingComma,
    DoubledComma,
    MissingColon,
    MissingBracket,
    DoubledBracket,
    MissingQuote,
    DoubledQuote,
    /// A quote inside of a text is gone, or stands there twice.
    InnerQuote,
    /// Objects of a list with blanks or nothing between them.
    InARow,
    /// The same, without the list's brackets.
    BareRow,
    /// A line break or a tab inside of a text.
    LineBreak,
    /// Quotes inside of a text that nobody escaped.
    RawQuotes,
    PythonWord,
    PythonList,
    NotANumber,
    Truncated,
    /// A placeholder without quotes that was not filled, or filled with nothing, or with a word.
    Leftover,
    OddBlank,
    TrailingComma,
}

impl Damage {
    /// Whether most of it has one reading.
    fn is_mended(self) -> bool {
        !matches!(
            self,
            Self::MissingColon
                | Self::MissingBracket
                | Self::DoubledBracket
                | Self::MissingQuote
                | Self::DoubledQuote
                | Self::InnerQuote
                | Self::Truncated
        )
    }

    /// The damaged document, and the values it may be mended into; none where it has nothing to be damaged in this way.
    fn inflict(self, document: &Document, chance: &mut StdRng) -> Option<(String, Vec<Value>)> {
        let text = &document.text;
        let one = |kinds: &[Kind], chance: &mut StdRng| {
            let tokens: Vec<_> = document.tokens.iter().filter(|token| kinds.contains(&token.kind)).collect();
            tokens.choose(chance).map(|token| (*token).clone())
        };
        let whole = || vec![document.value.clone()];
        let replaced = |at: std::ops::Range<usize>, by: &str| [&text[..at.start], by, &text[at.end..]].concat();
        Some(match self {
            Self::MissingComma => (replaced(one(&[Kind::Comma], chance)?.at, ""), whole()),
            Self::DoubledComma => (replaced(one(&[Kind::Comma], chance)?.at, ",,"), whole()),
            Self::MissingColon => (replaced(one(&[Kind::Colon], chance)?.at, ""), whole()),
            Self::MissingBracket => (replaced(one(&[Kind::Open, Kind::Close], chance)?.at, ""), whole()),
            Self::DoubledBracket => {
                let at = one(&[Kind::Open, Kind::Close], chance)?.at;
                (replaced(at.clone(), &text[at].repeat(2)), whole())
            }
            Self::MissingQuote | Self::DoubledQuote => {
                let token = one(&[Kind::Key, Kind::Text], chance)?;
                let quote = if chance.random() { token.at.start } else { token.at.end - 1 };
                (replaced(quote..quote + 1, if self == Self::MissingQuote { "" } else { "\"\"" }), whole())
            }
            Self::InnerQuote => {
                let token = one(&[Kind::Key, Kind::Text], chance)?;
                let inside = &text[token.at.start + 1..token.at.end - 1];
                let quotes: Vec<_> = inside.match_indices("\\\"").collect();
                let quote = token.at.start + 2 + quotes.choose(chance)?.0;
                (replaced(quote..quote + 1, if chance.random() { "" } else { "\"\"" }), whole())
            }
            Self::InARow => {
                let list = document.lists.choose(chance)?;
                let separator = ["", " ", "\t", "\r", "\n", "\r\n", "\n  "].choose(chance)?;
                (replaced(list.at.clone(), &format!("[{}]", list.elements.join(separator))), whole())
            }
            Self::BareRow => {
                let list = document.lists.first().filter(|list| list.at == (0..text.len()))?;
                let separator = ["", " ", "\t", "\r", "\n", "\r\n", "\n\n"].choose(chance)?;
                (list.elements.join(separator), whole())
            }
            Self::LineBreak => {
                let token = one(&[Kind::Key, Kind::Text], chance)?;
                let inside = token.at.start + 1..token.at.end - 1;
                let escapes = [("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r")];
                let (escape, raw) = escapes.choose(chance)?;
                (replaced(inside.clone(), &document::unescaped(&text[inside], escape, raw)?), whole())
            }
            Self::RawQuotes => {
                let token = one(&[Kind::Text], chance)?;
                let inside = token.at.start + 1..token.at.end - 1;
                let raw = document::unescaped(&text[inside.clone()], "\\\"", "\"")?;
                (replaced(inside, &raw), if document::poses(&raw) { return None } else { whole() })
            }
            Self::PythonWord => {
                let token = one(&[Kind::Word], chance)?;
                let word = match &text[token.at.clone()] {
                    "true" => "True",
                    "false" => "False",
                    _ => "None",
                };
                (replaced(token.at, word), whole())
            }
            Self::PythonList => {
                let list = document.python.choose(chance)?;
                (replaced(list.at.clone(), &format!("[{}]", list.elements.join(", "))), whole())
            }
            Self::NotANumber => {
                let token = one(&[Kind::Number], chance)?;
                let word = ["NaN", "Infinity", "-Infinity"].choose(chance)?;
                (replaced(token.at.clone(), word), vec![serde_json::from_str(&replaced(token.at, "null")).ok()?])
            }
            Self::Truncated => {
                let mut end = chance.random_range(1..text.len());
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                (text[..end].to_string(), whole())
            }
            Self::Leftover => {
                let token = one(&[Kind::Text, Kind::Number, Kind::Word], chance)?;
                let word =
                    ["{{user_id}}", "{% if x %}", "", " ", "Anna", "12 EUR", "[[id]]", "<no value>", "undefined"];
                let filled = replaced(token.at.clone(), word.choose(chance)?);
                // an element of nothing is a comma too many
                let comma = text[..token.at.start].trim_end().strip_suffix(',').map(str::len);
                let without = comma.and_then(|comma| serde_json::from_str(&replaced(comma..token.at.end, "")).ok());
                let null = serde_json::from_str(&replaced(token.at, "null")).ok();
                (filled, null.into_iter().chain(without).collect())
            }
            Self::OddBlank => {
                let token = document.tokens.choose(chance)?;
                let blank = ["\u{a0}", "\u{2002}", "\u{200b}", "\u{3000}", "\u{feff}", "\u{b}"].choose(chance)?;
                (replaced(token.at.start..token.at.start, blank), whole())
            }
            Self::TrailingComma => {
                let token = one(&[Kind::Close], chance)?;
                (replaced(token.at.start..token.at.start, ","), whole())
            }
        })
    }
}

/// Whether what came out is `value`, but for events that cannot be read.
fn is(mended: &Mended, value: &Value) -> bool {
    let read: Value = serde_json::from_str(&mended.text).unwrap();
    if mended.broken.is_empty() {
        return read == *value;
    }
    let list = |value: &Value| match value {
        Value::Object(object) => object.get("events").or(object.get("batch")).cloned(),
        list => Some(list.clone()),
    };
    let (Some(Value::Array(read)), Some(Value::Array(meant))) = (list(&read), list(value)) else { return false };
    let is_broken = |at: usize| mended.broken.iter().any(|broken| broken.position as usize == at);
    let mut events = read.iter().zip(&meant).enumerate();
    // what follows the last readable line is gone
    let same_length = read.len() == meant.len() || (mended.are_lines && is_broken(read.len() - 1));
    same_length && events.all(|(at, (read, meant))| is_broken(at) || read == meant)
}

#[test]
fn a_damaged_document_is_mended_into_itself_or_not_at_all() {
    let variable = |name: &str, default: u64| env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let (first, damages) = (variable("MOEHOG_DAMAGES_FIRST", 1), variable("MOEHOG_DAMAGES", 30_000));
    let mut counts = [[0_u64; 2]; Damage::VARIANTS.len()];
    for seed in first..first + damages {
        let mut chance = StdRng::seed_from_u64(seed);
        let document = Document::any(&mut chance);
        let kind = chance.random_range(0..Damage::VARIANTS.len());
        let Some((damaged, meant)) = Damage::VARIANTS[kind].inflict(&document, &mut chance) else { continue };
        if serde_json::from_str::<Value>(&damaged).is_ok() {
            continue;
        }
        match repair(&damaged) {
            None => counts[kind][0] += 1,
            Some(mended) => {
                let is_meant = meant.iter().any(|value| is(&mended, value));
                assert!(
                    is_meant,
                    "seed {seed}, {:?}: of\n{}\ndamaged\n{damaged}\ncame\n{mended:?}",
                    Damage::VARIANTS[kind],
                    document.text
                );
                counts[kind][1] += 1;
            }
        }
    }
    // a run that mends nothing shows nothing
    for (damage, [refused, mended]) in Damage::VARIANTS.iter().zip(counts) {
        println!("{damage:?}: {mended} mended, {refused} refused");
        assert!(!damage.is_mended() || mended * 10 > refused, "{damage:?}: {mended} mended, {refused} refused");
    }
}
