//! Values of a kind: every value that a Connector's template makes is a text, and an analyst needs amounts as numbers.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use crate::json::{self, Numbers};

/// Names of properties that are quantities, one a line.
static QUANTITIES: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("quantities.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// What a property's values shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A number.
    Number,
    /// A boolean.
    Boolean,
    /// A text.
    Text,
}

impl Type {
    pub(crate) const ALL: [Self; 3] = [Self::Number, Self::Boolean, Self::Text];

    /// The word of the mapping file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Text => "string",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The type of a JSON value; none for null, objects and arrays.
    pub(crate) fn of(raw: &str) -> Option<Self> {
        match raw.as_bytes().first()? {
            b'"' => Some(Self::Text),
            b't' | b'f' => Some(Self::Boolean),
            _ if json::is_number(raw) => Some(Self::Number),
            _ => None,
        }
    }

    /// A JSON value as one of this type; none where it is not certainly the same value.
    #[must_use]
    pub fn cast(self, raw: &str) -> Option<Cow<'_, str>> {
        match self {
            _ if Self::of(raw) == Some(self) => Some(Cow::Borrowed(raw)),
            Self::Number => inner(raw).filter(|text| is_number(text)).map(Cow::Borrowed),
            Self::Boolean => match inner(raw).unwrap_or(raw) {
                "1" => Some(Cow::Borrowed("true")),
                "0" => Some(Cow::Borrowed("false")),
                text if text.eq_ignore_ascii_case("true") => Some(Cow::Borrowed("true")),
                text if text.eq_ignore_ascii_case("false") => Some(Cow::Borrowed("false")),
                _ => None,
            },
            Self::Text => Self::of(raw).map(|_| Cow::Owned(["\"", raw, "\""].concat())),
        }
    }
}

/// The text of a string without escapes, blanks around it cut.
fn inner(raw: &str) -> Option<&str> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    memchr::memchr(b'\\', text.as_bytes()).is_none().then(|| text.trim_ascii())
}

/// Whether a text is a number as JSON writes it, and one that PostHog keeps: it reads whole numbers of 64 bits, turns larger ones
/// into others, and makes a double of each before it is stored.
///
/// Source: PostHog's capture, probed 2026-08; what is behind it (`json::numbers`), read 2026-11.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || digits.len() > 64 {
        return false;
    }
    match serde_json::from_str::<serde_json::Number>(text) {
        Ok(number) if text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) => {
            (number.is_i64() || number.is_u64()) && json::numbers(text) == Numbers::Kept
        }
        Ok(number) => number.as_f64().is_some_and(|double| double.is_finite() && keeps_digits(text, double)),
        Err(_) => false,
    }
}

/// Whether a number with a fraction or an exponent has no more digits than a double keeps for certain, and is no zero that it was
/// not.
fn keeps_digits(text: &str, double: f64) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_matches('0');
    digits.len() <= json::MAX_DIGITS && (double != 0.0 || digits.is_empty())
}

/// The types of properties by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Types {
    pinned: BTreeMap<String, Type>,
}

impl Types {
    pub(crate) fn new(pinned: BTreeMap<String, Type>) -> Self {
        Self { pinned }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pinned.is_empty()
    }

    pub(crate) fn pinned(&self, name: &str) -> Option<Type> {
        self.pinned.get(name).copied()
    }

    /// What a property's values shall be; quantities are asked for where `heal` says so.
    pub(crate) fn wanted(&self, name: &str, heal: bool) -> Option<Type> {
        if !self.pinned.is_empty()
            && let Some(pinned) = self.pinned(name)
        {
            return Some(pinned);
        }
        (heal && is_quantity(name)).then_some(Type::Number)
    }
}

/// Currencies that the name of an amount may end with: `price_usd`.
const CURRENCIES: [&str; 14] =
    ["_aed", "_aud", "_brl", "_cad", "_chf", "_eur", "_gbp", "_idr", "_inr", "_jpy", "_mxn", "_myr", "_sgd", "_usd"];

/// Whether a property of this name is a quantity by the list, whatever its case and the way its words are joined: `order_value` is
/// `orderValue`, `Order Value`, `net_order_value`, `order_value_usd` and `$order_value`.
pub(crate) fn is_quantity(name: &str) -> bool {
    let is_known = |name: &str| QUANTITIES.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is_known(name) {
        return true;
    }
    // most names are not worth another look
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    match is_plain {
        true => bare(name).len() < name.len() && is_known(bare(name)),
        false => name.len() <= MAX_QUANTITY_BYTES && is_known(bare(&joined(name))),
    }
}

/// Longest name that may be a quantity's.
const MAX_QUANTITY_BYTES: usize = 40;

/// The words of a name in small letters, joined by `_`.
fn joined(name: &str) -> String {
    let mut joined = String::with_capacity(name.len() + 4);
    let mut before = '_';
    for c in name.trim_start_matches('$').chars() {
        if matches!(c, ' ' | '-' | '_' | '.') {
            if before != '_' {
                joined.push('_');
            }
            before = '_';
            continue;
        }
        if c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
            joined.push('_');
        }
        joined.extend(c.to_lowercase());
        before = c;
    }
    joined
}

/// A name without what says only of which kind the amount is.
fn bare(name: &str) -> &str {
    let name = CURRENCIES.iter().find_map(|currency| name.strip_suffix(currency)).unwrap_or(name);
    ["net_", "gross_"].iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cast_only_where_it_stays_the_same() {
        for (to, raw, cast) in [
            (Type::Number, r#""49.90""#, Some("49.90")),
            (Type::Number, r#"" -3 ""#, Some("-3")),
            (Type::Number, r#""1e3""#, Some("1e3")),
            (Type::Number, "1.0", Some("1.0")),
            (Type::Number, r#""9007199254740992""#, Some("9007199254740992")),
            (Type::Number, r#""18446744073709551615""#, None),
            (Type::Number, r#""0.1234567890123456789""#, None),
            (Type::Number, r#""1e-400""#, None),
            (Type::Number, r#""0.000""#, Some("0.000")),
            (Type::Number, r#""18446744073709551616""#, None),
            (Type::Number, r#""1,299.00""#, None),
            (Type::Number, r#""01""#, None),
            (Type::Number, r#""+1""#, None),
            (Type::Number, r#""1e999""#, None),
            (Type::Number, r#""NaN""#, None),
            (Type::Number, r#""""#, None),
            (Type::Number, "true", None),
            (Type::Number, "null", None),
            (Type::Number, "[1]", None),
            (Type::Boolean, r#""True""#, Some("true")),
            (Type::Boolean, r#""0""#, Some("false")),
            (Type::Boolean, "1", Some("true")),
            (Type::Boolean, "false", Some("false")),
            (Type::Boolean, r#""yes""#, None),
            (Type::Boolean, "2", None),
            (Type::Text, "1.10", Some(r#""1.10""#)),
            (Type::Text, "true", Some(r#""true""#)),
            (Type::Text, r#""a\"b""#, Some(r#""a\"b""#)),
            (Type::Text, "null", None),
            (Type::Text, "{}", None),
        ] {
            assert_eq!(to.cast(raw).as_deref(), cast, "{raw} as {}", to.name());
        }
    }

    #[test]
    fn quantities_are_known_by_their_whole_name() {
        let types = Types::new(BTreeMap::from([("zip".to_string(), Type::Text)]));
        for name in [
            "amount",
            "Revenue",
            "quantity",
            "purchase_amount",
            "orderValue",
            "Order Value",
            "net_amount",
            "price_usd",
            "$revenue",
            "gross-revenue",
            "OrderTotalINR",
            "order_total_INR",
        ] {
            assert_eq!(types.wanted(name, true), Some(Type::Number), "{name}");
            assert_eq!(types.wanted(name, false), None, "{name}");
        }
        for name in [
            "version",
            "coupon",
            "amounts_due",
            "zip_code",
            "",
            "usd",
            "net",
            "_usd",
            "valued",
            "priceless",
            "order value id",
        ] {
            assert_eq!(types.wanted(name, true), None, "{name}");
        }
        assert_eq!(types.wanted("zip", false), Some(Type::Text));
    }
}
