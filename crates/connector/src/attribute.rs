//! A value that MoEngage fills in, named as its editor names it.

use std::{fmt, str::FromStr};

use crate::literal::literal;

/// The objects that MoEngage documents for a Connector's body.
///
/// Source: MoEngage, "Jinja Templating Language" and "Personalization in Flows" (read 2026-08).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// `UserAttribute`: the user that the request is about.
    User,
    /// `EventAttribute`: the event that triggered it.
    Event,
    /// `CampaignAttribute`: only in a Flow's Connector stage.
    Campaign,
}

impl Object {
    pub(crate) const ALL: [Self; 3] = [Self::User, Self::Event, Self::Campaign];

    /// Its name in a template.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "UserAttribute",
            Self::Event => "EventAttribute",
            Self::Campaign => "CampaignAttribute",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|object| object.name() == name)
    }
}

/// One attribute, such as `UserAttribute['Email (Standard)']`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attribute {
    /// Where it is looked up.
    pub object: Object,
    /// Its display name in MoEngage.
    pub name: String,
}

impl Attribute {
    /// An attribute of the user.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self { object: Object::User, name: name.to_string() }
    }

    /// An attribute of the event.
    #[must_use]
    pub fn event(name: &str) -> Self {
        Self { object: Object::Event, name: name.to_string() }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}[{}]", self.object.name(), literal(&self.name))
    }
}

/// Why a text names no attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no attribute: write UserAttribute['Name'] or EventAttribute['Name'], the name as MoEngage shows it")]
pub struct AttributeError(String);

impl FromStr for Attribute {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AttributeError(text.to_string());
        let inner = text.trim().trim_start_matches("{{").trim_end_matches("}}").trim();
        let (object, rest) = inner.split_once('[').ok_or_else(error)?;
        let object = Object::named(object.trim()).ok_or_else(error)?;
        let quoted = rest.strip_suffix(']').ok_or_else(error)?.trim();
        let quote = quoted.chars().next().filter(|quote| matches!(quote, '\'' | '"')).ok_or_else(error)?;
        let name = quoted.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).ok_or_else(error)?;
        if name.trim().is_empty() || name.contains(['\'', '"', '\\']) || name.chars().any(char::is_control) {
            return Err(error());
        }
        Ok(Self { object, name: name.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_written_as_it_is_read() {
        for text in ["UserAttribute['Email (Standard)']", "EventAttribute['MOE_TRIGGER_EVENT.Add to Cart. Product Id']"]
        {
            assert_eq!(text.parse::<Attribute>().unwrap().to_string(), text);
        }
        for text in ["{{UserAttribute['ID']}}", "{{ UserAttribute[\"ID\"] }}", " UserAttribute[ 'ID' ] "] {
            assert_eq!(text.parse(), Ok(Attribute::user("ID")), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_form_to_write() {
        for text in ["ID", "user_id", "UserAttribute.ID", "UserAttribute['ID", "UserAttribute['']", "Other['ID']", ""] {
            let error = text.parse::<Attribute>().unwrap_err().to_string();
            assert!(error.contains("UserAttribute['Name']"), "{text}: {error}");
        }
        assert!("UserAttribute['a'] + UserAttribute['b']".parse::<Attribute>().is_err());
    }
}
