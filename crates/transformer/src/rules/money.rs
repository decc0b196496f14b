//! The filter `money`: an amount as people write it, `€ 1.299,00` or `Rs. 1,29,900`, as a number.
//!
//! Which sign divides and which groups nobody can tell from `1.299`: the language it is written in must be said. Sources: Unicode CLDR 46,
//! number symbols of these languages (read 2026-11).

use minijinja::{Error, ErrorKind, State, Value, machinery::ast::CallArg};

use super::charged;
use crate::value::types::Type;

/// How numbers are written: languages, the sign before the fraction, those between groups of digits.
const WAYS: [(&[&str], char, &[char]); 4] = [
    (&["en", "hi", "ja", "ko", "th", "zh", "he", "ar"], '.', &[',']),
    (&["de", "es", "it", "nl", "pt", "id", "tr", "da", "el", "ro", "vi"], ',', &['.']),
    (&["fr", "ru", "pl", "cs", "sv", "nb", "fi", "hu", "uk", "bg", "sk"], ',', &[' ']),
    (&["de-ch"], '.', &['\'', '\u{2019}']),
];

/// A way of writing numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    fraction: char,
    groups: &'static [char],
    /// Groups before the last have two digits, as lakh and crore have.
    may_have_pairs: bool,
}

impl Way {
    fn named(language: &str) -> Result<Self, String> {
        let language = language.to_ascii_lowercase().replace('_', "-");
        let known = |name: &str| WAYS.iter().find(|(names, _, _)| names.contains(&name));
        let way = known(&language).or_else(|| known(language.split('-').next().unwrap_or_default()));
        let (_, fraction, groups) = way.ok_or_else(|| {
            let known: Vec<_> = WAYS.iter().flat_map(|(names, _, _)| names.iter().copied()).collect();
            format!("`money` does not know how numbers are written in `{language}`: it knows {}", known.join(", "))
        })?;
        Ok(Self { fraction: *fraction, groups, may_have_pairs: ["hi", "en-in"].contains(&language.as_str()) })
    }

    /// An amount as JSON writes a number; none where it is not certainly one.
    fn read(self, text: &str) -> Option<String> {
        // blanks that do not break stand between groups and before currencies
        let text = text.replace(['\u{a0}', '\u{202f}', '\u{2009}'], " ");
        let is_of_number = |c: char| c.is_ascii_digit() || c == '-' || c == '\u{2212}';
        let begin = text.find(is_of_number)?;
        let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
        let (before, after) = (text.get(..begin)?, text.get(end..)?);
        let number = text.get(begin..end)?;
        let unsigned = number.strip_prefix(['-', '\u{2212}']);
        let negative = unsigned.is_some();
        let number = unsigned.unwrap_or(number);
        // a currency may stand behind the sign: `-€5`
        let (between, number) = number.split_at(number.find(|c: char| c.is_ascii_digit())?);
        if ![before, between, after].iter().all(|around| is_currency(around)) {
            return None;
        }
        let (whole, fraction) = match number.split_once(self.fraction) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        let digits = self.ungrouped(whole)?;
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if fraction.is_some_and(|fraction| !is_digits(fraction)) {
            return None;
        }
        let bare = digits.trim_start_matches('0');
        let whole = if bare.is_empty() { "0" } else { bare };
        let sign = if negative { "-" } else { "" };
        Some(fraction.map_or_else(|| format!("{sign}{whole}"), |fraction| format!("{sign}{whole}.{fraction}")))
    }

    /// The digits of a whole number without what stands between its groups; none where these are no groups.
    fn ungrouped(self, whole: &str) -> Option<String> {
        let groups: Vec<_> = whole.split(self.groups).collect();
        let is_digits = groups.iter().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
        let [first, rest @ ..] = &groups[..] else { return None };
        let is_grouped = match rest {
            [] => true,
            [between @ .., last] => {
                let triples = between.iter().all(|group| group.len() == 3) && first.len() <= 3;
                let pairs = self.may_have_pairs && between.iter().all(|group| group.len() == 2) && first.len() <= 2;
                last.len() == 3 && (triples || pairs)
            }
        };
        (is_digits && is_grouped).then(|| groups.concat())
    }
}

/// Whether what stands before or behind a number is at most one currency: `€`, `Rs.`, `US$`, `EUR`.
fn is_currency(text: &str) -> bool {
    let text = text.trim();
    // a point belongs to letters, as in `Rs.`
    text.chars().count() <= 4
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_alphabetic() || c == '.' || is_sign(c))
        && text.chars().filter(|c| is_sign(*c)).count() <= 1
}

fn is_sign(c: char) -> bool {
    matches!(c, '$' | '\u{a2}'..='\u{a5}' | '\u{58f}' | '\u{e3f}' | '\u{20a0}'..='\u{20cf}')
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// The filter: `{{ properties.amount | money('de') }}`.
pub(super) fn money(state: &State<'_, '_>, value: Value, language: String) -> Result<Value, Error> {
    let way = Way::named(&language).map_err(invalid)?;
    if value.is_number() {
        return Ok(value);
    }
    let text = charged::text(state, &value)?;
    let amount = way.read(&text).ok_or_else(|| invalid(format!("this is no amount as `{language}` writes one")))?;
    let raw = Type::Number.cast(&["\"", &amount, "\""].concat()).map(std::borrow::Cow::into_owned);
    raw.map(|raw| super::names::value(&raw)).ok_or_else(|| invalid("this amount has too many digits"))
}

/// What is wrong with the filter's argument, as far as that is known before an event.
pub(super) fn check(arguments: &[CallArg<'_>]) -> Option<String> {
    let language = match arguments {
        [CallArg::Pos(language)] => language.as_const()?,
        _ => return Some("`money` needs the language that amounts are written in: money('de'), money('en-IN')".into()),
    };
    match language.as_str() {
        Some(language) => Way::named(language).err(),
        None => Some("`money` needs the language as a text: money('de')".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_their_language_writes_them_and_nothing_else_is() {
        for (language, text, amount) in [
            ("en", "$1,299.00", Some("1299.00")),
            ("en", "1299", Some("1299")),
            ("en-US", "-$5.50", Some("-5.50")),
            ("en-US", "$-5.50", Some("-5.50")),
            ("en-IN", "Rs. 1,29,900", Some("129900")),
            ("en_IN", "₹ 1,29,900.50", Some("129900.50")),
            ("en", "1,29,900", None),
            ("en", "1,299,00", None),
            ("en", "12,50", None),
            ("en", "1.299,00", None),
            ("de", "1.299,00 €", Some("1299.00")),
            ("de", "EUR 0,99", Some("0.99")),
            ("de", "1,299.00", None),
            ("de-AT", "€ 12", Some("12")),
            ("de-CH", "CHF 1’299.50", Some("1299.50")),
            ("fr-FR", "1\u{202f}299,00\u{a0}€", Some("1299.00")),
            ("fr", "1 299,00 €", Some("1299.00")),
            ("pl", "1 299 zł", Some("1299")),
            ("en", "12 of 13", None),
            ("en", "12 months", None),
            ("en", "$€12", None),
            ("en", "", None),
            ("en", "€", None),
            ("en", "--5", None),
            ("en", "1.2.3", None),
            ("en", "007", Some("7")),
            ("en", "0.50", Some("0.50")),
            ("en", ".50", None),
            ("en", "5.", None),
        ] {
            assert_eq!(Way::named(language).unwrap().read(text).as_deref(), amount, "{text} in {language}");
        }
        assert!(Way::named("tlh").unwrap_err().contains("it knows en,"));
    }
}
