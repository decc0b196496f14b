//! Where the events of a webhook go, as messages and the journal name it.

use std::fmt;

/// Where the events of a webhook go. Its text, which [`Destination::of`] reads and `Display` writes, stands in messages and in the
/// journal; it may hold a project key, so that logs, metrics and answers have [`Destination::redacted`] in its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination<'a> {
    /// A configured destination, by its name: `shop_eu`.
    Named(&'a str),
    /// The project of a key that came with the webhook, where none is configured: `key:phc_…`.
    Keyed(&'a str),
    /// Where the webhook's mapping rules say: `rule:shop_eu,shop_us`.
    ByRule(Names<'a>),
}

/// Names of configured destinations that rules may choose from, as text: comma-separated. The first is for events whose rules choose
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Names<'a>(&'a str);

const KEYED: &str = "key:";
const BY_RULE: &str = "rule:";
/// Characters of a key that are hidden at least; where as many are, the last ones are shown.
const HIDDEN: usize = 8;
const SHOWN: usize = 4;

impl<'a> Destination<'a> {
    /// Reads its text. Any text is one; what begins with no prefix is a name.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        if let Some(key) = text.strip_prefix(KEYED) {
            Self::Keyed(key)
        } else if let Some(names) = text.strip_prefix(BY_RULE) {
            Self::ByRule(Names(names))
        } else {
            Self::Named(text)
        }
    }

    /// The text of a destination that rules choose from these names.
    #[must_use]
    pub fn by_rule(names: &[&str]) -> String {
        format!("{BY_RULE}{}", names.join(","))
    }

    /// The key, where it is one.
    #[must_use]
    pub fn key(self) -> Option<&'a str> {
        match self {
            Self::Keyed(key) => Some(key),
            Self::Named(_) | Self::ByRule(_) => None,
        }
    }

    /// Its text for people: of a key no more than the last characters, and these only of one that is long enough.
    #[must_use]
    pub fn redacted(self) -> String {
        let Self::Keyed(key) = self else { return self.to_string() };
        let from = key.len().checked_sub(SHOWN).filter(|hidden| *hidden >= HIDDEN);
        format!("{KEYED}…{}", from.and_then(|from| key.get(from..)).unwrap_or_default())
    }

    /// Its text for metrics: all that are keys are one.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Keyed(_) => format!("{KEYED}***"),
            Self::Named(_) | Self::ByRule(_) => self.to_string(),
        }
    }
}

impl<'a> Names<'a> {
    /// Each of them, the default first.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.0.split(',')
    }
}

impl fmt::Display for Destination<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => formatter.write_str(name),
            Self::Keyed(key) => write!(formatter, "{KEYED}{key}"),
            Self::ByRule(Names(names)) => write!(formatter, "{BY_RULE}{names}"),
        }
    }
}

/// Without the key.
impl fmt::Debug for Destination<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Destination({:?})", self.redacted())
    }
}

/// Why a text is no project key: a sentence that goes on from one, such as "is empty".
///
/// PostHog takes 1 to 64 ASCII characters and no personal key; none that it gives holds a space or a control character. Source:
/// PostHog/posthog @a0f7f827, `rust/capture/src/api.rs`, token checks.
#[must_use]
pub fn project_key_fault(key: &str) -> Option<&'static str> {
    match key {
        "" => Some("is empty"),
        _ if key.len() > 64 => Some("is longer than 64 characters"),
        _ if !key.bytes().all(|byte| byte.is_ascii_graphic()) => Some("holds characters that no key has"),
        _ if key.starts_with("phx_") => Some("is a personal one (phx_…), which cannot send events"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_read_as_it_was_written() {
        for (text, destination) in [
            ("", Destination::Named("")),
            ("shop_eu", Destination::Named("shop_eu")),
            ("key:", Destination::Keyed("")),
            ("key:phc_a:b", Destination::Keyed("phc_a:b")),
            ("rule:a,b", Destination::ByRule(Names("a,b"))),
        ] {
            assert_eq!((Destination::of(text), destination.to_string().as_str()), (destination, text));
        }
        let text = Destination::by_rule(&["eu", "us"]);
        let Destination::ByRule(names) = Destination::of(&text) else { panic!("{text}") };
        assert_eq!(names.iter().collect::<Vec<_>>(), ["eu", "us"]);
    }

    #[test]
    fn a_key_is_not_shown() {
        let redacted = |text| Destination::of(text).redacted();
        assert_eq!(redacted("key:phc_0123456789abcd"), "key:…abcd");
        assert_eq!(redacted("key:phc_short"), "key:…");
        assert_eq!(redacted("key:phc_öööö0123"), "key:…0123");
        assert_eq!(redacted("eu"), "eu");
        let key = Destination::of("key:phc_0123456789abcd");
        assert_eq!((key.label().as_str(), format!("{key:?}").as_str()), ("key:***", "Destination(\"key:…abcd\")"));
    }

    #[test]
    fn a_project_key_has_the_shape_of_one() {
        for right in ["phc_a", "<ph_project_api_key>", &"a".repeat(64)] {
            assert_eq!(project_key_fault(right), None, "{right}");
        }
        for wrong in ["", "phx_personal", "phc a", "phc_\u{0}", "phc_ä", &"a".repeat(65)] {
            assert!(project_key_fault(wrong).is_some(), "{wrong}");
        }
    }
}
