//! One rule: which events it is for, and what it makes of them.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    Rules,
    condition::Condition,
    expression::Node,
    scope::{Root, Scope},
    size::Effort,
    unusable::Unusable,
};
use crate::{notes::Notes, value::types::Type};

/// Every key of a rule.
pub(crate) const KEYS: [&str; 15] = [
    "name",
    "source",
    "when",
    "filter",
    "keep",
    "continue",
    "destination",
    "event",
    "distinct_id",
    "uuid",
    "timestamp",
    "properties",
    "defaults",
    "person",
    "groups",
];

/// Every key of what holds for all events.
pub(crate) const KEYS_OF_ALL: [&str; 7] =
    ["distinct_id", "uuid", "timestamp", "properties", "defaults", "person", "groups"];

/// A rule. What it does not say stays as the built-in mapping has it.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    pub(crate) line: usize,
    /// What it is called in messages: its number.
    pub(crate) place: String,
    pub(crate) name: Option<String>,
    /// Only for events of this source.
    pub(crate) source: Option<String>,
    /// Only for such events.
    pub(crate) when: Option<Condition>,
    /// Its condition could not be read: nothing is said of what it covers.
    pub(crate) is_unread: bool,
    /// The events are left out.
    pub(crate) filter: bool,
    /// Whether the properties of the built-in mapping stay.
    pub(crate) keep: bool,
    /// The rules behind it are looked at, too.
    pub(crate) continues: bool,
    /// Name of the destination that the events go to.
    pub(crate) destination: Option<String>,
    pub(crate) event: Option<Node>,
    pub(crate) distinct_id: Option<Node>,
    /// An id of the event: a UUID is made of it.
    pub(crate) uuid: Option<Node>,
    pub(crate) timestamp: Option<Node>,
    pub(crate) properties: Vec<Target>,
    /// Properties that the event gets where it has none of their names.
    pub(crate) defaults: Vec<Target>,
    pub(crate) set: Vec<Target>,
    pub(crate) set_once: Vec<Target>,
    /// Names as JSON.
    pub(crate) unset: Vec<String>,
    pub(crate) groups: Vec<Target>,
}

/// A name and what it is set to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// The name as JSON.
    pub(crate) key: String,
    pub(crate) node: Node,
    pub(crate) span: Range<usize>,
    pub(crate) line: usize,
}

impl Rule {
    /// Whether it is for an event; a condition that cannot be computed is none that holds.
    pub(crate) fn is_for<'r>(
        &'r self,
        scope: &Scope<'_, '_>,
        rules: &Rules,
        notes: &mut Notes,
        failed: &mut Option<&'r str>,
    ) -> bool {
        if self.source.as_ref().is_some_and(|source| *source != scope.webhook.source) {
            return false;
        }
        let Some(condition) = &self.when else { return true };
        condition.holds(scope, rules.secret.as_ref()).unwrap_or_else(|error| {
            match error {
                Unusable::Costly => notes.costly(format!("{}, when", self.place)),
                Unusable::Missing | Unusable::Failed => *failed = failed.or(Some(&self.place)),
            }
            false
        })
    }

    /// Whether it leaves the person to nobody else.
    pub(crate) fn says_who(&self) -> bool {
        self.filter || self.distinct_id.is_some()
    }

    /// Whether an event of this name may be one of its own.
    pub(crate) fn may_be_for(&self, event: &str) -> bool {
        self.when.as_ref().is_none_or(|when| when.allows(event))
    }

    /// Calls `visit` with each attribute that it names.
    pub(crate) fn attributes(&self, visit: &mut dyn FnMut(&Root, &[String])) {
        if let Some(when) = &self.when {
            when.attributes(visit);
        }
        let said = [&self.event, &self.distinct_id, &self.uuid, &self.timestamp].into_iter().flatten();
        let targets = [&self.properties, &self.defaults, &self.set, &self.set_once, &self.groups].into_iter().flatten();
        for node in said.chain(targets.map(|target| &target.node)) {
            node.expressions(&mut |expression| expression.attributes(visit));
        }
    }

    fn covers(&self, other: &Self, effort: &Effort) -> bool {
        let source = self.source.is_none() || self.source == other.source;
        let read = !(self.is_unread || other.is_unread || self.continues);
        source
            && read
            && match (&self.when, &other.when) {
                (None, _) => true,
                (Some(one), Some(other)) => one.covers(other, effort),
                (Some(_), None) => false,
            }
    }

    /// Properties with the type that the rule itself gives them.
    fn typed(&self) -> impl Iterator<Item = (&Target, Type)> {
        let targets = self.properties.iter().chain(&self.defaults);
        targets.filter_map(|target| Some((target, target.node.promises()?)))
    }

    /// Whether it does more than leave events out.
    fn maps(&self) -> bool {
        [&self.event, &self.distinct_id, &self.uuid, &self.timestamp].iter().any(|node| node.is_some())
            || [&self.properties, &self.defaults, &self.set, &self.set_once, &self.groups]
                .iter()
                .any(|targets| !targets.is_empty())
            || !self.unset.is_empty()
            || self.destination.is_some()
            || !self.keep
            || self.continues
    }
}

/// What only the whole file shows: rules that no event can reach, rules that say two things, properties of two types.
pub(super) fn check(rules: &Rules, report: &mut dyn FnMut(usize, &str, String)) {
    let effort = Effort::of_a_file();
    let mut types: HashMap<&str, Vec<(&Rule, Type)>> = HashMap::new();
    if let Some(all) = &rules.all {
        types.extend(all.typed().map(|(target, found)| (target.name.as_str(), vec![(all, found)])));
        named_twice(all, report);
    }
    for (at, rule) in rules.list.iter().enumerate() {
        if rule.when.as_ref().is_some_and(|when| when.is_impossible(&effort)) {
            report(rule.line, &format!("{}, when", rule.place), "no event can be all of this at once".to_string());
        }
        let mut earlier = rules.list[..at].iter().take_while(|_| !effort.is_spent(1));
        if let Some(earlier) = earlier.find(|earlier| earlier.covers(rule, &effort)) {
            let message = format!(
                "can never apply, since {} (line {}) takes all of its events: put it before that one, or make that one's \
                 condition narrower",
                earlier.place, earlier.line
            );
            report(rule.line, &rule.place, message);
        }
        if rule.filter && rule.maps() {
            let message = "filters the events out and maps them too: take out `filter`, or everything else".to_string();
            report(rule.line, &rule.place, message);
        }
        for (target, found) in rule.typed() {
            let place = || format!("{}, properties.{}", rule.place, target.name);
            let known = types.entry(&target.name).or_default();
            let other = known.iter().find(|(_, other)| *other != found).copied();
            if known.iter().all(|(_, other)| *other != found) {
                known.push((rule, found));
            }
            if let Some(pinned) = rules.types.pinned(&target.name).filter(|pinned| *pinned != found) {
                report(target.line, &place(), two_types(found, pinned, "`types` says"));
                continue;
            }
            if let Some((earlier, other)) = other {
                report(target.line, &place(), two_types(found, other, &format!("{} says", earlier.place)));
            }
        }
        named_twice(rule, report);
    }
}

fn two_types(found: Type, other: Type, who: &str) -> String {
    format!(
        "is a {} here, and {who} {}: PostHog would show a property of two types; make it one",
        found.name(),
        other.name()
    )
}

/// What PostHog refuses or forgets in one event.
fn named_twice(rule: &Rule, report: &mut dyn FnMut(usize, &str, String)) {
    let once: HashSet<_> = rule.set_once.iter().map(|target| &target.name).collect();
    let unset: HashSet<_> = rule.unset.iter().collect();
    for target in &rule.set {
        if once.contains(&target.name) {
            let place = format!("{}, person.set.{}", rule.place, target.name);
            report(target.line, &place, "stands in `set_once` too: take it out of one of them".to_string());
        }
        if unset.contains(&target.key) {
            let place = format!("{}, person.set.{}", rule.place, target.name);
            report(target.line, &place, "stands in `unset` too: take it out of one of them".to_string());
        }
    }
    if let Some(name) = rule.event.as_ref().and_then(Node::constant)
        && name.trim().is_empty()
    {
        report(rule.line, &format!("{}, event", rule.place), "the event's name is empty".to_string());
    }
}
