//! A mapping file: rules over the built-in mapping, in the language that MoEngage's templates have, Jinja.
//!
//! What `[all]` says is applied to every event, then the first rule whose source and condition fit, and behind a rule that says `continue`
//! the next one that fits. Of two that say the same the later one counts; what none says stays as the built-in mapping has it. Everything that can be wrong without an event is found when the file is read. A value that only names a place is
//! copied as it stands in the body; the template engine runs for what is computed, and sees only what an expression names.

mod apply;
mod budget;
mod charged;
mod condition;
mod dates;
mod engine;
mod expression;
mod filters;
mod json_text;
mod like;
mod money;
mod names;
mod path;
mod problem;
mod read;
mod rule;
mod scope;
mod size;
mod source;
mod unusable;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

pub use self::problem::Problem;
pub(crate) use self::size::MAX_FILE_BYTES;
pub(crate) use self::{apply::Applied, budget::Budget, scope::Scope};
use self::{expression::Expression, names::Secret, rule::Rule, scope::Root};
use crate::{
    fault::Fault,
    notes::{Note, Notes},
    value::{
        privacy::Privacy,
        time::{Arrival, Clock, Moment, Unread},
        types::Types,
    },
};

/// Names the built-in mapping; it changes with what the mapping makes of a body.
pub(crate) const BUILT_IN: &str = "builtin-3";

/// Rules as they are applied.
#[derive(Debug)]
pub struct Rules {
    revision: String,
    /// The file.
    text: String,
    /// Whether device push tokens become properties.
    pub(crate) keep_push_tokens: bool,
    pub(crate) heal: Heal,
    pub(crate) types: Types,
    pub(crate) privacy: Privacy,
    pub(crate) identity: Identity,
    clocks: Clocks,
    /// Sources whose events are history.
    historical: BTreeSet<String>,
    /// Names of PostHog's own that may be used.
    pub(crate) allow: BTreeSet<String>,
    secret: Option<Secret>,
    /// What holds for every event.
    all: Option<Rule>,
    list: Vec<Rule>,
}

/// A destination that a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// The rule's line, from 1.
    pub line: usize,
    /// The rule, as messages call it.
    pub place: &'a str,
    /// The source whose events alone the rule is for.
    pub source: Option<&'a str>,
    /// Name of the destination.
    pub destination: &'a str,
}

/// A header that a rule reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadHeader<'a> {
    /// The rule's line, from 1.
    pub line: usize,
    /// The rule, as messages call it.
    pub place: &'a str,
    /// The source whose events alone the rule is for.
    pub source: Option<&'a str>,
    /// The header's name, in small letters.
    pub header: String,
}

/// Attributes by their display names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Of the event.
    pub event: BTreeSet<String>,
    /// Of the user.
    pub user: BTreeSet<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            revision: BUILT_IN.to_string(),
            text: String::new(),
            keep_push_tokens: false,
            heal: Heal::default(),
            types: Types::default(),
            privacy: Privacy::default(),
            identity: Identity::default(),
            clocks: Clocks::default(),
            historical: BTreeSet::new(),
            allow: BTreeSet::new(),
            secret: None,
            all: None,
            list: Vec::new(),
        }
    }
}

impl Rules {
    /// Reads a mapping file; `hash_key` is what `[privacy] hash` and the filter `hash` work with.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, in the order of its lines.
    pub fn read(text: &str, hash_key: Option<&[u8]>) -> Result<Self, Vec<Problem>> {
        let read = read::read(text, hash_key.is_some())?;
        let digest = hex::encode(Sha256::digest(text));
        let revision = format!("{BUILT_IN}+{}", &digest[..12]);
        let secret = hash_key.map(Secret::new);
        Ok(Self { revision, text: text.to_string(), secret, ..read })
    }

    /// The same, and whether device push tokens become properties.
    #[must_use]
    pub(crate) fn with_push_tokens(mut self, keep: bool) -> Self {
        if keep && !self.keep_push_tokens {
            self.revision.push_str("+push_tokens");
        }
        self.keep_push_tokens |= keep;
        self
    }

    /// The file that they were read from; empty where there is none.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Names them: the built-in mapping, 12 digits of the file's SHA-256, and `push_tokens` where these become properties.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// How many rules there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The destinations that rules name.
    pub fn destinations(&self) -> impl Iterator<Item = Named<'_>> {
        self.list.iter().filter_map(|rule| {
            let (place, source) = (rule.place.as_str(), rule.source.as_deref());
            Some(Named { line: rule.line, place, source, destination: rule.destination.as_deref()? })
        })
    }

    /// The headers that rules read, in small letters.
    pub fn headers(&self) -> impl Iterator<Item = ReadHeader<'_>> {
        self.all.iter().chain(&self.list).flat_map(|rule| {
            let (place, source) = (rule.place.as_str(), rule.source.as_deref());
            let mut headers = BTreeSet::new();
            rule.attributes(&mut |root, names| {
                if let (Root::Webhook, [member, header]) = (root, names)
                    && member == scope::HEADER
                {
                    headers.insert(header.to_ascii_lowercase());
                }
            });
            headers.into_iter().map(move |header| ReadHeader { line: rule.line, place, source, header })
        })
    }

    /// The attributes that the rules for an event of this name look at: of the event and of the user, by their display names.
    #[must_use]
    pub fn attributes(&self, event: &str) -> Attributes {
        let mut attributes = Attributes::default();
        for rule in self.all.iter().chain(&self.list).filter(|rule| rule.may_be_for(event)) {
            rule.attributes(&mut |root, names| match (root, names) {
                (Root::Event | Root::Properties, [key, ..]) => drop(attributes.event.insert(key.clone())),
                (Root::User, [key, ..]) => drop(attributes.user.insert(key.clone())),
                (Root::Name | Root::Device | Root::Webhook | Root::Field(_), _) | (_, []) => {}
            });
        }
        attributes
    }

    /// Whether some rule may take events that the built-in mapping has no name for.
    pub(crate) fn names_events(&self) -> bool {
        self.list.iter().any(|rule| rule.event.is_some() || rule.filter)
    }

    /// How times of a source are read.
    pub(crate) fn clock(&self, source: &str) -> &Clock {
        self.clocks.of_sources.get(source).unwrap_or(&self.clocks.of_all)
    }

    /// Whether all that a source sends is history.
    pub(crate) fn is_historical(&self, source: &str) -> bool {
        self.historical.contains(source)
    }

    /// How a text in `timestamp` of a source is read of a webhook that was received at `received_at_ms`: milliseconds since the epoch.
    ///
    /// # Errors
    ///
    /// It is no time for certain, and the event would have the time of its arrival.
    pub fn read_time(&self, source: &str, text: &str, received_at_ms: i64) -> Result<i64, Unread> {
        let raw = serde_json::Value::from(text).to_string();
        Moment::read(&raw, self.clock(source), Arrival::at(received_at_ms)).map(|(moment, _)| moment.ms())
    }

    /// The key that values are hashed with.
    pub(crate) fn secret(&self) -> Option<&[u8]> {
        self.secret.as_ref().map(Secret::bytes)
    }

    /// The rules for an event, in the order in which they are applied.
    pub(crate) fn find(&self, scope: &Scope<'_, '_>, notes: &mut Notes) -> Vec<&Rule> {
        let mut found: Vec<_> = self.all.iter().collect();
        let mut failed = None;
        for rule in &self.list {
            if rule.is_for(scope, self, notes, &mut failed) {
                found.push(rule);
                if !rule.continues {
                    break;
                }
            }
        }
        if let Some(place) = failed {
            notes.say(Note::RuleFailed, &format!("{place}, when"), "");
        }
        found
    }
}

/// How times are read that do not say all.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    pub(crate) of_all: Clock,
    pub(crate) of_sources: BTreeMap<String, Clock>,
}

/// Whose texts become numbers where a property's name says that it is a quantity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Heal {
    /// Of bodies that a marketer wrote: every value there is a text.
    #[default]
    Connectors,
    /// Of all.
    All,
    /// Of none.
    None,
}

/// Who an event is about, where the built-in mapping shall not say it.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// The first that has a value counts; none is the built-in mapping's.
    pub(crate) distinct_id: Vec<Expression>,
    /// What becomes of an event without anybody.
    pub(crate) missing: Option<Otherwise>,
    /// What becomes of an event whose id must not be a person.
    pub(crate) refused: Option<Otherwise>,
    /// Blanks around an id stay.
    pub(crate) keeps_blanks: bool,
    /// MoEngage's event of a merge joins the two persons in PostHog.
    pub(crate) joins: bool,
    /// `1000001350.0` stays.
    pub(crate) keeps_fractions: bool,
}

impl Identity {
    /// What becomes of an event without a person because of `fault`; none is what the built-in mapping does.
    pub(crate) fn otherwise(&self, fault: &Fault) -> Option<Otherwise> {
        match fault {
            Fault::MissingDistinctId | Fault::RuleMissingValue { .. } => self.missing,
            Fault::InvalidDistinctId
            | Fault::ForbiddenId
            | Fault::DamagedId
            | Fault::RuleForbidden { .. }
            | Fault::UnresolvedPlaceholder { .. } => self.refused,
            _ => None,
        }
    }
}

/// What becomes of an event without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// A dead letter.
    Dead,
    /// Left out.
    Drop,
    /// Sent without a person profile, under MoEngage's own id or the event's.
    Personless,
}

impl Otherwise {
    fn named(word: &str) -> Option<Self> {
        match word {
            "dead" => Some(Self::Dead),
            "drop" => Some(Self::Drop),
            "personless" => Some(Self::Personless),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
