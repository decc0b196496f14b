//! A Connector proposed from what a trigger's attributes look like.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    attribute::{Attribute, Object},
    connector::{Connector, Property},
    jinja::Kind,
    names,
};

/// Why a text is no sample of a trigger.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// It is not JSON.
    #[error("a sample is JSON")]
    Json(#[from] serde_json::Error),
    /// It has neither object.
    #[error("a sample is an object such as {{\"UserAttribute\": {{…}}, \"EventAttribute\": {{…}}}}")]
    Shape,
}

/// A trigger's attributes, as MoEngage might hold them.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    user: Map<String, Value>,
    event: Map<String, Value>,
}

impl Sample {
    /// Reads `{"UserAttribute": {…}, "EventAttribute": {…}}`.
    ///
    /// # Errors
    ///
    /// It is not JSON, or holds neither object.
    pub fn read(text: &str) -> Result<Self, SampleError> {
        let Value::Object(mut objects) = serde_json::from_str(text)? else { return Err(SampleError::Shape) };
        let mut take = |object: Object| match objects.remove(object.name()) {
            Some(Value::Object(attributes)) => Ok(Some(attributes)),
            None => Ok(None),
            Some(_) => Err(SampleError::Shape),
        };
        match (take(Object::User)?, take(Object::Event)?) {
            (None, None) => Err(SampleError::Shape),
            (user, event) => Ok(Self { user: user.unwrap_or_default(), event: event.unwrap_or_default() }),
        }
    }

    /// Adds what the sample holds and the connector does not say: the event's attributes as properties, the user's as
    /// properties of the person, the attribute that names the event, and the one that says when it happened.
    ///
    /// Gives what was left out and why.
    pub fn propose(&self, connector: &mut Connector) -> Vec<String> {
        let mut notes = Vec::new();
        if connector.key.is_none() {
            let ranked = self.event.keys().filter_map(|name| Some((names::key_rank(name)?, Attribute::event(name))));
            let best = ranked.filter(|(_, attribute)| !names::is_reserved(attribute)).min();
            connector.key = best.map(|(_, attribute)| attribute);
        }
        if connector.time.is_none() {
            let mut times = self.event.iter().filter(|(name, value)| is_time(name, value));
            connector.time = times.next().map(|(name, _)| Attribute::event(name));
        }
        for (name, value) in &self.event {
            add(&mut connector.properties, Attribute::event(name), value, &mut notes);
        }
        for (name, value) in self.user.iter().filter(|(name, _)| **name != connector.id.name) {
            add(&mut connector.person, Attribute::user(name), value, &mut notes);
        }
        notes
    }
}

fn add(properties: &mut Vec<Property>, attribute: Attribute, value: &Value, notes: &mut Vec<String>) {
    if names::is_reserved(&attribute) {
        notes.push(format!("{attribute} is left out: MoEngage keeps this name for itself, and fills in its own value"));
        return;
    }
    let name = names::snake_case(&attribute.name);
    let taken: BTreeSet<_> = properties.iter().map(|property| &*property.name).collect();
    if name.is_empty() || taken.contains(&*name) {
        notes.push(format!("{attribute} is left out: its property would be `{name}`; name it with --property"));
        return;
    }
    let kind = match value {
        Value::Number(_) => Kind::Number,
        Value::Bool(_) => Kind::Boolean,
        Value::String(text) if names::is_quantity(&name) && text.parse::<f64>().is_ok() => Kind::Number,
        _ => Kind::AsIs,
    };
    properties.push(Property::filled(&name, attribute, kind));
}

/// A name that speaks of time, and a value that can be one.
fn is_time(name: &str, value: &Value) -> bool {
    let name = names::snake_case(name);
    let speaks = name.split('_').any(|word| ["at", "time", "timestamp", "date", "on"].contains(&word));
    let can_be = match value {
        Value::String(text) => {
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            digits >= 8 && text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.TZ+/ ".contains(&byte))
        }
        Value::Number(number) => number.as_f64().is_some_and(|number| number >= 1e8),
        _ => false,
    };
    speaks && can_be
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Source;

    #[test]
    fn a_trigger_becomes_a_connector_with_types_an_id_and_a_time() {
        let sample = r#"{
            "UserAttribute": {"ID": "u1", "Email (Standard)": "ada@example.com"},
            "EventAttribute": {"Item Names": "Lamp", "Value": "49.90", "Zip": "01234", "Gift": true, "Count": 2,
                "Order ID": "A-1", "Ordered At": "2026-08-20 10:11:12", "Campaign Name": "mine", "item names": "twice"}}"#;
        let mut connector = Connector::new("Purchase");
        let notes = Sample::read(sample).unwrap().propose(&mut connector);
        let kinds: Vec<_> = connector
            .properties
            .iter()
            .filter_map(|property| match &property.value {
                Source::Attribute(_, kind) => Some((&*property.name, *kind)),
                Source::Constant(_) => None,
            })
            .collect();
        let expected = [
            ("count", Kind::Number),
            ("gift", Kind::Boolean),
            ("item_names", Kind::AsIs),
            ("order_id", Kind::AsIs),
            ("ordered_at", Kind::AsIs),
            ("value", Kind::Number),
            ("zip", Kind::AsIs),
        ];
        let mut sorted = kinds.clone();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        assert_eq!(sorted, expected);
        assert_eq!(connector.key, Some(Attribute::event("Order ID")));
        assert_eq!(connector.time, Some(Attribute::event("Ordered At")));
        let email = Property::filled("email", Attribute::user("Email (Standard)"), Kind::AsIs);
        assert_eq!(connector.person, [email]);
        assert!(notes.iter().any(|note| note.contains("Campaign Name")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("item names")), "{notes:?}");
    }

    #[test]
    fn what_was_said_before_stays() {
        let sample = r#"{"EventAttribute": {"Order ID": "1", "Value": "x", "source": "theirs"}}"#;
        let mut connector = Connector::new("Purchase");
        connector.key = Some(Attribute::event("Receipt"));
        connector.properties.push(Property::filled("value", Attribute::event("Other"), Kind::AsIs));
        let notes = Sample::read(sample).unwrap().propose(&mut connector);
        assert_eq!(connector.key, Some(Attribute::event("Receipt")));
        let names: Vec<_> = connector.properties.iter().map(|property| &*property.name).collect();
        assert_eq!(names, ["source", "value", "order_id"]);
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn a_name_that_moengage_keeps_for_itself_tells_no_event_from_another() {
        let mut connector = Connector::new("Purchase");
        let notes = Sample::read(r#"{"EventAttribute": {"Transaction ID": "1"}}"#).unwrap().propose(&mut connector);
        assert_eq!((connector.key, notes.len()), (None, 1));
    }

    #[test]
    fn a_text_that_is_no_sample_is_refused() {
        for text in ["", "[]", "{}", r#"{"UserAttribute": 1}"#] {
            assert!(Sample::read(text).is_err(), "{text}");
        }
    }
}
