//! What an expression of a mapping file can name: an event as it was sent, and the webhook that it came in.

use std::{borrow::Cow, collections::BTreeSet};

use moehog_proto::transformer::Webhook;
use serde_json::value::RawValue;

use super::{budget::Budget, unusable::Unusable};
use crate::{
    item::{Item, Kind, Object},
    json,
    value::{
        identity::Reading,
        time::{Moment, Order},
    },
    webhook::receipt_shown,
};

/// The event that expressions are asked of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'s, 'a> {
    pub(crate) item: &'s Item<'a>,
    /// Its name by the built-in mapping, if it has one.
    pub(crate) name: Option<&'s str>,
    pub(crate) webhook: &'s Webhook,
    /// How ids of it are read.
    pub(crate) reading: Reading,
    /// The order of day and month that is configured.
    pub(crate) order: Option<Order>,
    /// What its mapping may still cost.
    pub(crate) budget: &'s Budget,
}

/// The first word of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// `event`: the event's name by the built-in mapping.
    Name,
    /// `EventAttribute`, and `event_attributes`.
    Event,
    /// `UserAttribute`, and `user_attributes`.
    User,
    /// `DeviceAttribute`, and `device_attributes`.
    Device,
    /// `properties`, as PostHog's form has them.
    Properties,
    /// `webhook`: what it is called, and what is kept of its request.
    Webhook,
    /// Any other member of the event.
    Field(String),
}

impl<'s, 'a> Scope<'s, 'a> {
    /// The object whose members a root's attributes are; none for roots that are values themselves. In PostHog's form the event's and
    /// the user's attributes are properties.
    pub(crate) fn object(&self, root: &Root) -> Option<&'s Object<'a>> {
        let item = self.item;
        let own = match root {
            Root::Event => &item.event_attributes,
            Root::User => &item.user_attributes,
            Root::Device => &item.device_attributes,
            Root::Properties => &item.properties,
            Root::Name | Root::Webhook | Root::Field(_) => return None,
        };
        let is_elsewhere = own.kind == Kind::Absent && matches!(root, Root::Event | Root::User);
        Some(if is_elsewhere { &item.properties } else { own })
    }
}

impl Root {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "event" => Self::Name,
            "EventAttribute" | "event_attributes" => Self::Event,
            "UserAttribute" | "user_attributes" => Self::User,
            "DeviceAttribute" | "device_attributes" => Self::Device,
            "properties" => Self::Properties,
            "webhook" => Self::Webhook,
            field => Self::Field(field.to_string()),
        }
    }
}

/// A place in an event: a root and the names below it, as in `UserAttribute['First Name']`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) root: Root,
    pub(crate) keys: Vec<String>,
}

/// JSON that a path leads into, and the names that are left of it.
type Begun<'k, 'a> = (Cow<'a, str>, &'k [String]);

impl Path {
    /// Whether it names one value of an event: a root that is a list of attributes is none.
    pub(crate) fn is_of_one_value(&self) -> bool {
        !self.keys.is_empty() || matches!(self.root, Root::Name | Root::Field(_))
    }

    /// The attribute that it names, with the names below it, and the object that it is of.
    pub(crate) fn attribute_named(&self) -> Option<(&Root, &[String])> {
        (!self.keys.is_empty()).then_some((&self.root, &self.keys[..]))
    }

    /// The JSON at this place, a slice of the body where it can be one.
    ///
    /// # Errors
    ///
    /// Nothing is there, or the budget does not bear to look.
    pub(crate) fn find<'a>(&self, scope: &Scope<'_, 'a>) -> Result<Cow<'a, str>, Unusable> {
        let (found, below) = self.begin(scope)?.ok_or(Unusable::Missing)?;
        below.iter().try_fold(found, |found, key| {
            scope.budget.read(found.len())?;
            let below = match found {
                Cow::Borrowed(raw) => member(raw, key).map(Cow::Borrowed),
                Cow::Owned(raw) => member(&raw, key).map(|raw| Cow::Owned(raw.to_string())),
            };
            below.ok_or(Unusable::Missing)
        })
    }

    /// [`Self::find`], none where nothing is.
    ///
    /// # Errors
    ///
    /// The budget does not bear to look.
    pub(crate) fn look<'a>(&self, scope: &Scope<'_, 'a>) -> Result<Option<Cow<'a, str>>, Unusable> {
        match self.find(scope) {
            Ok(found) => {
                scope.budget.read(found.len())?;
                Ok(Some(found))
            }
            Err(Unusable::Missing) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// What the body itself has of it, and the names below that.
    fn begin<'k, 'a>(&'k self, scope: &Scope<'_, 'a>) -> Result<Option<Begun<'k, 'a>>, Unusable> {
        let owned = |found: Option<String>| found.map(|found| Cow::Owned(text(&found)));
        let (found, below) = match (&self.root, self.keys.split_first()) {
            (Root::Name, _) => (owned(scope.name.map(str::to_string)), &self.keys[..]),
            (Root::Field(name), _) => (scope.item.field(name).map(Cow::Borrowed), &self.keys[..]),
            (Root::Webhook, Some((key, below))) => match below.split_first() {
                Some((name, below)) if [QUERY, HEADER].contains(&key.as_str()) => {
                    scope.budget.read(request_bytes(scope.webhook))?;
                    (owned(of_request(scope.webhook, key, name)), below)
                }
                _ => (of_webhook(scope.webhook, key).map(Cow::Owned), below),
            },
            (Root::Event | Root::User | Root::Device | Root::Properties, Some((key, below))) => {
                (self.attribute(scope, key)?, below)
            }
            (_, None) => return Ok(None),
        };
        Ok(found.map(|found| (found, below)))
    }

    /// An attribute; in PostHog's form the user's are first those that the event sets.
    fn attribute<'a>(&self, scope: &Scope<'_, 'a>, key: &str) -> Result<Option<Cow<'a, str>>, Unusable> {
        let Some(object) = scope.object(&self.root) else { return Ok(None) };
        scope.budget.step(1 + object.pairs.len() as u64 / PAIRS_A_STEP)?;
        let sets_person = self.root == Root::User && scope.item.user_attributes.kind == Kind::Absent;
        for name in ["$set", "$set_once"].iter().filter(|_| sets_person) {
            let Some(raw) = scope.item.field(name).or_else(|| last(object, name)) else { continue };
            scope.budget.read(raw.len())?;
            if let Some(found) = member(raw, key) {
                return Ok(Some(Cow::Borrowed(found)));
            }
        }
        Ok(last(object, key).map(Cow::Borrowed))
    }
}

/// Names of attributes that are looked at for a step.
const PAIRS_A_STEP: u64 = 32;

fn last<'a>(object: &Object<'a>, key: &str) -> Option<&'a str> {
    object.pairs.iter().rev().find(|pair| pair.name == key).map(|pair| pair.value)
}

/// A member of an object by its name, or of an array by its number.
fn member<'a>(raw: &'a str, key: &str) -> Option<&'a str> {
    if raw.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
        return elements.get(key.parse::<usize>().ok()?).map(|element| element.get());
    }
    last(&Object::read(raw), key)
}

/// What `webhook` has by a name, as JSON.
fn of_webhook(webhook: &Webhook, key: &str) -> Option<String> {
    match key {
        "source" => Some(text(&webhook.source)),
        "receipt" => Some(text(receipt_shown(webhook))),
        "received_at" => {
            let mut written = Vec::new();
            Moment::from_ms(webhook.received_at_ms).write(&mut written);
            String::from_utf8(written).ok().map(|written| text(&written))
        }
        "method" => Some(text(if webhook.method.is_empty() { "POST" } else { &webhook.method })),
        QUERY => {
            Some(object(form_urlencoded::parse(webhook.query.as_bytes()).map(|(name, _)| name.into_owned()), |name| {
                of_request(webhook, QUERY, name)
            }))
        }
        HEADER => Some(object(webhook.headers.iter().map(|header| header.name.clone()), |name| {
            of_request(webhook, HEADER, name)
        })),
        _ => None,
    }
}

/// The last parameter of a name; or the header of a name in any case, whose lines are one list.
fn of_request(webhook: &Webhook, key: &str, name: &str) -> Option<String> {
    if key == QUERY {
        let parameters = form_urlencoded::parse(webhook.query.as_bytes());
        return parameters.filter(|(parameter, _)| parameter == name).last().map(|(_, value)| value.into_owned());
    }
    let lines = webhook.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let lines: Vec<_> = lines.map(|header| header.value.as_str()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// An object of texts, each name once.
fn object(names: impl Iterator<Item = String>, value: impl Fn(&str) -> Option<String>) -> String {
    let names: BTreeSet<String> = names.collect();
    let members = names.iter().filter_map(|name| Some([&*text(name), ":", &text(&value(name)?)].concat()));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// What is looked through for a parameter or a header.
fn request_bytes(webhook: &Webhook) -> usize {
    webhook.query.len() + webhook.headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>()
}

/// What `webhook` has of the request: parameters and headers by their names.
pub(crate) const QUERY: &str = "query";
pub(crate) const HEADER: &str = "header";

/// What `webhook` has.
pub(crate) const OF_WEBHOOK: [&str; 6] = ["source", "receipt", "received_at", "method", QUERY, HEADER];

/// A text as JSON.
pub(crate) fn text(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    json::write_string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests;
