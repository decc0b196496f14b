//! One object of a body, taken apart into members that still stand in the body.
//!
//! Nothing is copied and nothing below the second level is looked into, so that a body costs one pass, and nesting costs
//! no stack.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{fault::Fault, json};

/// Most members of one event, all its objects together.
const MAX_MEMBERS: usize = 20_000;

/// Room made for an object's first member.
const MOST_HAVE: usize = 16;

/// One member of an object.
#[derive(Debug, Clone)]
pub(crate) struct Pair<'a> {
    /// The name, unescaped.
    pub(crate) name: Cow<'a, str>,
    /// The name as it stands in the body, with its quotes.
    pub(crate) key: &'a str,
    /// The value as it stands in the body.
    pub(crate) value: &'a str,
}

/// What stood where an object was expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `null`.
    #[default]
    Absent,
    /// An object.
    Object,
    /// A value of another kind.
    Other,
}

/// An object's members in body order.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    pub(crate) kind: Kind,
    pub(crate) pairs: Vec<Pair<'a>>,
    overflow: bool,
}

impl<'a> Object<'a> {
    /// Takes an object apart; of another value only the kind is kept.
    pub(crate) fn read(raw: &'a str) -> Self {
        let mut object = Self::default();
        let read = Walk(&mut object).deserialize(&mut serde_json::Deserializer::from_str(raw));
        if read.is_err() {
            object.kind = Kind::Other;
        }
        object
    }

    fn clear(&mut self) {
        self.kind = Kind::Absent;
        self.pairs.clear();
        self.overflow = false;
    }
}

/// An event of a body: its own members, and those of the objects that events keep their properties in.
#[derive(Debug, Default)]
pub(crate) struct Item<'a> {
    pub(crate) kind: Kind,
    /// Members beside the objects below.
    pub(crate) fields: Vec<Pair<'a>>,
    pub(crate) event_attributes: Object<'a>,
    pub(crate) user_attributes: Object<'a>,
    pub(crate) device_attributes: Object<'a>,
    pub(crate) properties: Object<'a>,
    /// One of these objects that stood twice: the last counts.
    pub(crate) twice: Option<&'static str>,
    overflow: bool,
}

impl<'a> Item<'a> {
    /// Takes an event apart.
    pub(crate) fn read(&mut self, raw: &'a str) {
        self.clear();
        if Walk(&mut *self).deserialize(&mut serde_json::Deserializer::from_str(raw)).is_err() {
            self.kind = Kind::Other;
        }
    }

    /// Makes room for the next event.
    pub(crate) fn clear(&mut self) {
        self.kind = Kind::Absent;
        self.fields.clear();
        self.twice = None;
        self.overflow = false;
        for object in
            [&mut self.event_attributes, &mut self.user_attributes, &mut self.device_attributes, &mut self.properties]
        {
            object.clear();
        }
    }

    /// The last member of this name, as it stands in the body.
    pub(crate) fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().rev().find(|pair| pair.name == name).map(|pair| pair.value)
    }

    /// The member of this name, as it stands in the body. Of two with different values nobody can tell which is meant.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&'a str>, Fault> {
        let mut found = None;
        for pair in self.fields.iter().filter(|pair| pair.name == name) {
            only(&mut found, pair.value, name)?;
        }
        Ok(found)
    }

    /// Whether there were more members than an event may have.
    pub(crate) fn overflows(&self) -> bool {
        let objects = [&self.event_attributes, &self.user_attributes, &self.device_attributes, &self.properties];
        self.overflow || objects.iter().any(|object| object.overflow)
    }
}

/// Takes a value of what an event has once.
pub(crate) fn only<'a>(found: &mut Option<&'a str>, raw: &'a str, field: &'static str) -> Result<(), Fault> {
    if found.is_some_and(|found| found != raw) {
        return Err(Fault::TwoValues { field });
    }
    *found = Some(raw);
    Ok(())
}

/// Something that is filled by the members of an object.
pub(crate) trait Members<'a> {
    /// Told first what kind of value it is.
    fn kind(&mut self, kind: Kind);

    /// Takes the next member; `key` is the name as it stands in the body.
    fn member<A: MapAccess<'a>>(&mut self, key: &'a str, members: &mut A) -> Result<(), A::Error>;

    /// Takes the elements of an array, where one is expected.
    fn elements<A: SeqAccess<'a>>(&mut self, elements: &mut A) -> Result<(), A::Error> {
        self.kind(Kind::Other);
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

impl<'a> Members<'a> for Object<'a> {
    fn kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    fn member<A: MapAccess<'a>>(&mut self, key: &'a str, members: &mut A) -> Result<(), A::Error> {
        self.overflow |= !push(&mut self.pairs, name(key), key, members)?;
        Ok(())
    }
}

impl<'a> Members<'a> for Item<'a> {
    fn kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    fn member<A: MapAccess<'a>>(&mut self, key: &'a str, members: &mut A) -> Result<(), A::Error> {
        // columns in capitals are few, and looked at by themselves
        let is_capital = key.as_bytes().get(1).is_some_and(u8::is_ascii_uppercase);
        let (name, key) = if is_capital { column(name(key), key) } else { (name(key), key) };
        let (object, name) = match &*name {
            "event_attributes" => (&mut self.event_attributes, "event_attributes"),
            "user_attributes" => (&mut self.user_attributes, "user_attributes"),
            "device_attributes" => (&mut self.device_attributes, "device_attributes"),
            "properties" => (&mut self.properties, "properties"),
            _ => {
                self.overflow |= !push(&mut self.fields, name, key, members)?;
                return Ok(());
            }
        };
        if object.kind != Kind::Absent {
            self.twice = Some(name);
        }
        object.clear(); // of two objects of one name the last counts, as for every other member
        members.next_value_seed(Walk(object))
    }
}

/// Columns of a warehouse's export that writes names in capitals: name, and name as JSON.
const COLUMNS: [(&str, &str); 13] = [
    ("event_name", "\"event_name\""),
    ("event_code", "\"event_code\""),
    ("event_uuid", "\"event_uuid\""),
    ("event_time", "\"event_time\""),
    ("event_type", "\"event_type\""),
    ("event_source", "\"event_source\""),
    ("uid", "\"uid\""),
    ("push_id", "\"push_id\""),
    ("email_id", "\"email_id\""),
    ("mobile_number", "\"mobile_number\""),
    ("event_attributes", "\"event_attributes\""),
    ("user_attributes", "\"user_attributes\""),
    ("device_attributes", "\"device_attributes\""),
];

/// The name of a member of an event, in small letters where it is such a column.
fn column<'a>(name: Cow<'a, str>, key: &'a str) -> (Cow<'a, str>, &'a str) {
    match COLUMNS.iter().find(|(column, _)| column.to_ascii_uppercase() == name) {
        Some((column, key)) => (Cow::Borrowed(column), key),
        None => (name, key),
    }
}

/// The unescaped name of a key.
pub(crate) fn name(key: &str) -> Cow<'_, str> {
    json::string(key).unwrap_or(Cow::Borrowed(key))
}

fn push<'a, A: MapAccess<'a>>(
    pairs: &mut Vec<Pair<'a>>,
    name: Cow<'a, str>,
    key: &'a str,
    members: &mut A,
) -> Result<bool, A::Error> {
    if pairs.len() >= MAX_MEMBERS {
        members.next_value::<IgnoredAny>()?;
        return Ok(false);
    }
    if pairs.capacity() == 0 {
        pairs.reserve(MOST_HAVE);
    }
    let value: &RawValue = members.next_value()?;
    pairs.push(Pair { name, key, value: value.get() });
    Ok(true)
}

/// Hands a value's members to `M`, whatever the value is.
pub(crate) struct Walk<'m, M>(pub(crate) &'m mut M);

impl<'a, M: Members<'a>> DeserializeSeed<'a> for Walk<'_, M> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a, M: Members<'a>> Visitor<'a> for Walk<'_, M> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.kind(Kind::Object);
        while let Some(key) = members.next_key::<&'a RawValue>()? {
            self.0.member(key.get(), &mut members)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        self.0.elements(&mut elements)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.kind(Kind::Absent);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.other()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.other()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.other()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.other()
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.other()
    }
}

impl<'a, M: Members<'a>> Walk<'_, M> {
    fn other<E>(self) -> Result<(), E> {
        self.0.kind(Kind::Other);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(raw: &str) -> Item<'_> {
        let mut item = Item::default();
        item.read(raw);
        item
    }

    #[test]
    fn members_stand_as_they_came_and_of_two_the_last_counts() {
        let item =
            item(r#"{"a": 1.0, "\u0061" : [ 1 ],"properties":{"x":1},"properties":{"y" : 18446744073709551615}}"#);
        assert_eq!(item.field("a"), Some("[ 1 ]"));
        assert_eq!(item.fields[1].key, r#""\u0061""#);
        assert_eq!(item.properties.pairs.len(), 1);
        assert_eq!(item.properties.pairs[0].value, "18446744073709551615");
    }

    #[test]
    fn a_value_of_another_kind_is_told_apart_from_none() {
        fn kind(raw: &str) -> Kind {
            item(raw).properties.kind
        }
        assert_eq!(kind(r#"{"properties":null}"#), Kind::Absent);
        assert_eq!(kind(r#"{}"#), Kind::Absent);
        for other in ["1", "-1.5", "true", r#""x""#, "[[[]]]"] {
            assert_eq!(kind(&format!(r#"{{"properties":{other}}}"#)), Kind::Other, "{other}");
        }
        assert_eq!(kind(r#"{"properties":{}}"#), Kind::Object);
    }

    #[test]
    fn nesting_costs_no_stack_and_members_are_bounded() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(item(&deep).fields.len(), 1);
        let wide = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(MAX_MEMBERS));
        assert!(item(&wide).overflows());
        assert_eq!(item(&wide).fields.len(), MAX_MEMBERS);
    }
}
