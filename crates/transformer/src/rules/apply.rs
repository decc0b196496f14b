//! A rule applied to one event.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use moehog_proto::transformer::Webhook;

use super::{
    Rules,
    expression::Node,
    rule::{Rule, Target},
    scope::Scope,
    unusable::Unusable,
};
use crate::{
    fault::Fault,
    item::Pair,
    json,
    notes::{Note, Notes},
    value::{
        MAX_DEPTH, Properties, identity, members, placeholder,
        time::{Arrival, Clock, Moment},
    },
};

/// What a rule says of an event beside its properties; none where it says nothing.
#[derive(Debug, Default)]
pub(crate) struct Applied<'a> {
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) person: Option<Result<Cow<'a, str>, Fault>>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) moment: Option<Moment<'a>>,
    pub(crate) destination: &'a str,
}

impl Applied<'_> {
    /// What a later rule says stands over it.
    pub(crate) fn add(&mut self, later: Self) {
        self.name = later.name.or(self.name.take());
        self.person = later.person.or(self.person.take());
        self.id = later.id.or(self.id.take());
        self.moment = later.moment.or(self.moment.take());
        if !later.destination.is_empty() {
            self.destination = later.destination;
        }
    }
}

impl Rule {
    /// Sets the event's properties, and says who, what and when.
    ///
    /// # Errors
    ///
    /// The event's name could not be made.
    pub(crate) fn apply<'a>(
        &'a self,
        scope: &Scope<'_, 'a>,
        rules: &Rules,
        properties: &mut Properties<'a>,
        notes: &mut Notes,
    ) -> Result<Applied<'a>, Fault> {
        let mut maker = Maker { scope, rules, place: &self.place, notes };
        let name = self.event.as_ref().map(|node| self.event_name(node, &mut maker)).transpose()?;
        let person = self.distinct_id.as_ref().map(|node| self.distinct_id(node, &mut maker));
        let id = self.uuid.as_ref().and_then(|node| {
            let id = maker
                .value(node, "uuid", "")
                .and_then(|raw| text_of(raw, |raw| Ok(identity::event_id(raw))).ok().flatten());
            maker.say_if(id.is_none(), Note::UnusableId, "uuid", "");
            id
        });
        let moment = self.timestamp.as_ref().and_then(|node| {
            let field = maker.named("timestamp", "");
            match maker.value(node, "timestamp", "")? {
                Cow::Borrowed(raw) => maker.moment(raw, &field, node.zone()),
                Cow::Owned(raw) => maker.moment(&raw, &field, node.zone()).map(Moment::into_owned),
            }
        });
        for target in &self.properties {
            if let Some(value) = maker.value(&target.node, "properties", &target.name) {
                properties.put(&target.name, &target.key, value);
            }
        }
        for target in &self.defaults {
            if properties.get(&target.name).is_none_or(json::is_null)
                && let Some(value) = maker.value(&target.node, "defaults", &target.name)
            {
                properties.put(&target.name, &target.key, value);
            }
        }
        for (name, key, targets) in [
            ("$set", "\"$set\"", &self.set),
            ("$set_once", "\"$set_once\"", &self.set_once),
            ("$groups", "\"$groups\"", &self.groups),
        ] {
            maker.merge(name, key, targets, properties);
        }
        if !self.unset.is_empty() {
            properties.put("$unset", "\"$unset\"", Cow::Owned(format!("[{}]", self.unset.join(","))));
        }
        Ok(Applied { name, person, id, moment, destination: self.destination.as_deref().unwrap_or_default() })
    }

    fn event_name<'a>(&self, node: &Node, maker: &mut Maker<'_, '_, 'a>) -> Result<Cow<'a, str>, Fault> {
        let raw =
            node.evaluate(maker.scope, maker.rules.secret.as_ref()).map_err(|error| self.fault(error, "event"))?;
        let is_made = matches!(raw, Cow::Owned(_));
        let name = text_of(raw, |raw| {
            identity::event_name(raw, "event", |name| maker.rules.allow.contains(name), maker.notes)
        });
        let name = name.map_err(|fault| self.own(fault, is_made, "event"))?;
        name.ok_or_else(|| self.fault(Unusable::Missing, "event"))
    }

    fn distinct_id<'a>(&self, node: &Node, maker: &mut Maker<'_, '_, 'a>) -> Result<Cow<'a, str>, Fault> {
        let raw = node.evaluate(maker.scope, maker.rules.secret.as_ref());
        let raw = raw.map_err(|error| self.fault(error, "distinct_id"))?;
        let is_made = matches!(raw, Cow::Owned(_));
        let id = maker.person(raw).map_err(|fault| self.own(fault, is_made, "distinct_id"))?;
        id.ok_or_else(|| self.fault(Unusable::Missing, "distinct_id"))
    }

    /// What the rule made, and did not just move, is not the sender's.
    fn own(&self, fault: Fault, is_made: bool, field: &'static str) -> Fault {
        match fault {
            Fault::ForbiddenEvent | Fault::ForbiddenId | Fault::InvalidDistinctId if is_made => {
                Fault::RuleForbidden { line: self.number(), field }
            }
            fault => fault,
        }
    }

    fn number(&self) -> u32 {
        u32::try_from(self.line).unwrap_or(u32::MAX)
    }

    fn fault(&self, error: Unusable, field: &'static str) -> Fault {
        let line = self.number();
        match error {
            Unusable::Missing => Fault::RuleMissingValue { line, field },
            Unusable::Failed => Fault::RuleFailed { line, field },
            Unusable::Costly => Fault::RuleCostly { line, field },
        }
    }
}

impl Rules {
    /// The person by the configured list; none where there is no list.
    pub(crate) fn person<'a>(&self, scope: &Scope<'_, 'a>, notes: &mut Notes) -> Option<Result<Cow<'a, str>, Fault>> {
        if self.identity.distinct_id.is_empty() {
            return None;
        }
        let mut maker = Maker { scope, rules: self, place: "identity", notes };
        for expression in &self.identity.distinct_id {
            let raw = match expression.evaluate(scope, self.secret.as_ref()) {
                Ok(raw) => raw,
                Err(error) => {
                    maker.tell(error, "distinct_id", "");
                    continue;
                }
            };
            match maker.person(raw) {
                Ok(None) => {}
                Ok(Some(id)) => return Some(Ok(id)),
                Err(fault) => return Some(Err(fault)),
            }
        }
        Some(Err(Fault::MissingDistinctId))
    }
}

struct Maker<'m, 's, 'a> {
    scope: &'m Scope<'s, 'a>,
    rules: &'m Rules,
    /// Where what is made is said, as messages call it.
    place: &'m str,
    notes: &'m mut Notes,
}

impl<'a> Maker<'_, '_, 'a> {
    /// A value as JSON; none where something is missing, was not filled, or cannot be computed or read.
    fn value(&mut self, node: &Node, field: &str, name: &str) -> Option<Cow<'a, str>> {
        match node.evaluate(self.scope, self.rules.secret.as_ref()) {
            Ok(value) if placeholder::is_unfilled(&value) => {
                self.say_if(true, Note::DroppedPlaceholder, field, name);
                None
            }
            Ok(value) if json::nests_deeper(&value, MAX_DEPTH) || json::numbers(&value) == json::Numbers::Endless => {
                self.say_if(true, Note::WrongKind, field, name);
                None
            }
            Ok(value) => Some(value),
            Err(error) => {
                self.say_if(error == Unusable::Failed, Note::RuleFailed, field, name);
                self.tell(error, field, name);
                None
            }
        }
    }

    /// Names what costs too much.
    fn tell(&mut self, error: Unusable, field: &str, name: &str) {
        if error == Unusable::Costly {
            self.notes.costly(self.named(field, name));
        }
    }

    fn person(&mut self, raw: Cow<'a, str>) -> Result<Option<Cow<'a, str>>, Fault> {
        text_of(raw, |raw| identity::distinct_id(raw, "distinct_id", self.scope.reading, self.notes))
    }

    /// Adds to one of the objects that PostHog merges key by key.
    fn merge(&mut self, name: &'a str, key: &'a str, targets: &'a [Target], properties: &mut Properties<'a>) {
        let values: Vec<_> =
            targets.iter().filter_map(|target| Some((target, self.value(&target.node, name, &target.name)?))).collect();
        if values.is_empty() {
            return;
        }
        let outer = values.iter().map(|(target, value)| Pair {
            name: Cow::Borrowed(target.name.as_str()),
            key: &target.key,
            value,
        });
        let inner = properties.get(name).filter(|inner| json::is_object(inner)).unwrap_or("{}");
        let merged = members::object(&members::merged(inner, outer.collect()));
        properties.put(name, key, Cow::Owned(merged));
    }

    /// A time, by the source's clock or in the zone that it was printed in.
    fn moment<'r>(&mut self, raw: &'r str, field: &str, zone: Option<&TimeZone>) -> Option<Moment<'r>> {
        let Webhook { source, received_at_ms, .. } = self.scope.webhook;
        let clock = self.rules.clock(source);
        match zone {
            None => self.notes.moment(raw, field, clock, Arrival::at(*received_at_ms)),
            Some(zone) => {
                let printed = Clock { zone: Some(zone.clone()), ..clock.clone() };
                self.notes.moment(raw, field, &printed, Arrival::at(*received_at_ms))
            }
        }
    }

    /// Has the event say which rule failed to make what.
    fn say_if(&mut self, condition: bool, note: Note, field: &str, name: &str) {
        if condition {
            self.notes.say(note, &self.named(field, name), "");
        }
    }

    /// A property, and the rule that makes it.
    fn named(&self, field: &str, name: &str) -> String {
        let dot = if name.is_empty() { "" } else { "." };
        format!("{}, {field}{dot}{name}", self.place)
    }
}

/// Reads a text out of JSON that may be computed.
fn text_of<'a>(
    raw: Cow<'a, str>,
    read: impl for<'r> FnOnce(&'r str) -> Result<Option<Cow<'r, str>>, Fault>,
) -> Result<Option<Cow<'a, str>>, Fault> {
    match raw {
        Cow::Borrowed(raw) => read(raw),
        Cow::Owned(raw) => Ok(read(&raw)?.map(|text| Cow::Owned(text.into_owned()))),
    }
}
