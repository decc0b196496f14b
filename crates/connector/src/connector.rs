//! What a Connector shall send, and the body that makes MoEngage send it.

use std::str::FromStr;

use serde_json::Value;

use crate::{
    attribute::{Attribute, AttributeError},
    jinja::{self, Kind},
    literal::literal,
};

/// What a Connector shall send: one event in PostHog's form, filled from MoEngage's attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct Connector {
    /// The event's name at PostHog.
    pub event: String,
    /// Project API key, where the address takes one in the body.
    pub api_key: Option<String>,
    /// Who the event is about; nothing is sent for a user without it.
    pub id: Attribute,
    /// What tells this event from another, so that a rerun counts once.
    pub key: Option<Attribute>,
    /// Whether an event without such a key gets one made of who and when, where `time` is known.
    pub compose_key: bool,
    /// When it happened.
    pub time: Option<Attribute>,
    /// The event's properties.
    pub properties: Vec<Property>,
    /// Properties of the person, for `$set`.
    pub person: Vec<Property>,
}

/// One property of an event or a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name at PostHog.
    pub name: String,
    /// Where its value is from.
    pub value: Source,
}

/// Where a value is from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The same for every event.
    Constant(Value),
    /// An attribute; without it, or where it is blank, the property is left out.
    Attribute(Attribute, Kind),
}

impl Connector {
    /// An event of the user whom MoEngage's `ID` names, with `source: moengage`.
    #[must_use]
    pub fn new(event: &str) -> Self {
        let source = Property { name: "source".to_string(), value: Source::Constant("moengage".into()) };
        Self {
            event: event.to_string(),
            api_key: None,
            id: Attribute::user("ID"),
            key: None,
            compose_key: true,
            time: None,
            properties: vec![source],
            person: Vec::new(),
        }
    }

    /// The raw body to paste: a template that prints valid JSON whatever the attributes hold, or sends nothing.
    #[must_use]
    pub fn body(&self) -> String {
        let kinds: Vec<_> = self.properties.iter().chain(&self.person).filter_map(Property::kind).collect();
        let used = |kind| kinds.contains(&kind);
        let mut body = jinja::macros(!kinds.is_empty(), used(Kind::Number), used(Kind::Boolean));
        for (variable, attribute) in [("id", Some(&self.id)), ("key", self.key.as_ref()), ("time", self.time.as_ref())]
        {
            if let Some(attribute) = attribute {
                body += &format!("{{%- set {variable} = {attribute}|default('') -%}}\n");
            }
        }
        body += &format!("{{%- if not usable(id) -%}}\n{}\n{{%- else -%}}\n{{\n", jinja::not_send(&self.id));
        if let Some(key) = &self.api_key {
            body += &format!("  \"api_key\": {},\n", text(key));
        }
        body += &format!("  \"event\": {},\n  \"distinct_id\": {{{{ text(id) }}}}", text(&self.event));
        body += &self.uuid();
        if self.time.is_some() {
            body += "\n  {%- if usable(time) %},\n  \"timestamp\": {{ text(time) }}\n  {%- endif %}";
        }
        body += &format!(",\n  \"properties\": {{\n{}\n  }}\n}}\n{{%- endif -%}}\n", self.members());
        body
    }

    /// The event's key, else one composed of who and when; moehog makes a UUID of any text.
    fn uuid(&self) -> String {
        let event = text(&self.event);
        let event = &event[1..event.len() - 1]; // without its quotes
        let composed = format!("\"uuid\": \"{{{{ inner(id) }}}} {event} {{{{ inner(time) }}}}\"");
        match (&self.key, self.time.as_ref().filter(|_| self.compose_key)) {
            (None, None) => String::new(),
            (Some(_), None) => "\n  {%- if usable(key) %},\n  \"uuid\": {{ text(key) }}\n  {%- endif %}".to_string(),
            (None, Some(_)) => format!("\n  {{%- if usable(time) %}},\n  {composed}\n  {{%- endif %}}"),
            (Some(_), Some(_)) => format!(
                "\n  {{%- if usable(key) %}},\n  \"uuid\": {{{{ text(key) }}}}\n  {{%- elif usable(time) %}},\n  {composed}\n  \
                 {{%- endif %}}"
            ),
        }
    }

    /// The members of `properties`: first one that is always there, since each other brings its comma.
    fn members(&self) -> String {
        let (constants, filled) = split(&self.properties);
        let mut lines: Vec<String> = Vec::new();
        let mut filled = filled.into_iter();
        match (constants.is_empty(), self.properties.iter().any(|property| property.name == "source")) {
            (false, _) => lines.push(constants.join(",\n    ")),
            (true, false) => lines.push("\"source\": \"moengage\"".to_string()),
            // null where it is missing: an object cannot begin with what may not be there
            (true, true) => {
                let first = self.properties.iter().find(|property| property.kind().is_some());
                filled.next();
                lines.extend(first.map(Property::always));
            }
        }
        lines.extend(filled.map(|call| format!("{{{{- {call} }}}}")));
        let person = self.set();
        format!("    {}{person}", lines.join("\n    "))
    }

    /// `$set` within `properties`, where both of PostHog's APIs read it; left out where no person property is there.
    fn set(&self) -> String {
        let (constants, filled) = split(&self.person);
        if !constants.is_empty() {
            let filled: String = filled.iter().map(|call| format!("\n      {{{{- {call} }}}}")).collect();
            return format!(",\n    \"$set\": {{\n      {}{filled}\n    }}", constants.join(",\n      "));
        }
        if filled.is_empty() {
            return String::new();
        }
        format!(
            "\n    {{%- set person = {} -%}}\n    {{%- if person %}},\n    \"$set\": {{ {{{{- person[2:]|safe -}}}} }}\n    {{%- endif %}}",
            filled.join("\n      ~ ")
        )
    }
}

/// Why a text describes no property.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// There is no name, or nothing to fill it.
    #[error(
        "`{0}` is no property: write name=EventAttribute['Name'], name=EventAttribute['Name']:number or name=\"text\""
    )]
    Form(String),
    /// What fills it is neither an attribute nor a constant.
    #[error("property `{name}`")]
    Attribute {
        /// The property's name.
        name: String,
        /// What is wrong with it.
        source: AttributeError,
    },
}

impl FromStr for Property {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || PropertyError::Form(text.to_string());
        let (name, value) = text.split_once('=').ok_or_else(form)?;
        let (name, value) = (name.trim().to_string(), value.trim());
        if name.is_empty() || value.is_empty() {
            return Err(form());
        }
        if let Ok(constant @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) = serde_json::from_str(value) {
            return Ok(Self { name, value: Source::Constant(constant) });
        }
        let kinds = [Kind::Number, Kind::Boolean];
        let suffixed =
            kinds.into_iter().find_map(|kind| Some((value.strip_suffix(kind.name())?.strip_suffix(':')?, kind)));
        let (attribute, kind) = suffixed.unwrap_or((value, Kind::AsIs));
        match attribute.parse() {
            Ok(attribute) => Ok(Self::filled(&name, attribute, kind)),
            Err(source) => Err(PropertyError::Attribute { name, source }),
        }
    }
}

impl Property {
    /// A property that an attribute fills.
    #[must_use]
    pub fn filled(name: &str, attribute: Attribute, kind: Kind) -> Self {
        Self { name: name.to_string(), value: Source::Attribute(attribute, kind) }
    }

    fn kind(&self) -> Option<Kind> {
        match &self.value {
            Source::Attribute(_, kind) => Some(*kind),
            Source::Constant(_) => None,
        }
    }

    /// Its member, whatever its value.
    fn always(&self) -> String {
        match &self.value {
            Source::Constant(value) => format!("{}: {}", text(&self.name), jinja::constant(value)),
            Source::Attribute(attribute, kind) => {
                let print = if *kind == Kind::AsIs { "json" } else { kind.name() };
                format!("{}: {{{{ {print}({attribute}|default(none)) }}}}", text(&self.name))
            }
        }
    }
}

/// Members that are always there, and calls that print one with its comma or nothing.
fn split(properties: &[Property]) -> (Vec<String>, Vec<String>) {
    let (mut constants, mut filled) = (Vec::new(), Vec::new());
    for property in properties {
        match &property.value {
            Source::Constant(_) => constants.push(property.always()),
            Source::Attribute(attribute, kind) => {
                let kind = if *kind == Kind::AsIs { String::new() } else { format!(", '{}'", kind.name()) };
                filled.push(format!("field({}, {attribute}|default(''){kind})", literal(&property.name)));
            }
        }
    }
    (constants, filled)
}

fn text(text: &str) -> String {
    jinja::constant(&Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_an_attribute_with_a_kind_or_a_constant() {
        let value = Attribute::event("Value");
        for (text, expected) in [
            ("amount=EventAttribute['Value']:number", Property::filled("amount", value.clone(), Kind::Number)),
            ("gift=EventAttribute['Value']:boolean", Property::filled("gift", value.clone(), Kind::Boolean)),
            (" amount = EventAttribute['Value'] ", Property::filled("amount", value, Kind::AsIs)),
            ("a=EventAttribute['b:number']", Property::filled("a", Attribute::event("b:number"), Kind::AsIs)),
            ("plan=\"pro\"", Property { name: "plan".to_string(), value: Source::Constant("pro".into()) }),
            ("n=1.50", Property { name: "n".to_string(), value: Source::Constant(1.5.into()) }),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in
            ["", "amount", "=EventAttribute['Value']", "a=", "a=Value", "a=EventAttribute['Value']:date", "a=[1]"]
        {
            assert!(text.parse::<Property>().is_err(), "{text}");
        }
    }
}
