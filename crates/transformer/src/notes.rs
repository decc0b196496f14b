//! What the mapping did beyond copying, counted: repairs, drops and fallbacks that a person may want to hear of.

use std::{borrow::Cow, collections::BTreeMap};

use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::{
    json,
    value::time::{Arrival, Clock, Doubt, Moment, Unread},
};

/// One thing worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Note {
    /// Runs of bytes that were not UTF-8, replaced by U+FFFD.
    RepairedUtf8,
    /// Lone surrogate escapes, replaced by `\ufffd`.
    RepairedSurrogate,
    /// Properties left out because their placeholder was not filled.
    DroppedPlaceholder,
    /// Properties of one name from several places; the first by rank was kept.
    Clash,
    /// Properties of one name in one object; the last was kept.
    DuplicateKey,
    /// Push tokens left out.
    DroppedPushToken,
    /// Events without a customer id, sent without a person profile.
    Personless,
    /// Points in time that were there and not readable, replaced by the time of arrival.
    UnreadableTime,
    /// Dates whose day and month could be exchanged, while no `date_order` is configured: replaced by the time of arrival.
    AmbiguousDate,
    /// Numbers, and times without a zone, before 2010 or more than a day ahead: replaced by the time of arrival.
    ImplausibleTime,
    /// Times before 2010 or more than a day ahead, with their zone: sent as they are.
    FarOffTime,
    /// Times without a zone, read as UTC since no `timezone` is configured.
    AssumedUtc,
    /// Times of an hour that their zone has twice or never, as clocks are set then: the earlier instant.
    RepeatedHour,
    /// Times of a sender whose clock was wrong by a minute or more as its `sent_at` says, shifted by that.
    CorrectedClock,
    /// Points in time that were readable and rewritten as RFC 3339 in UTC.
    RewrittenTime,
    /// Ids of an event that were not usable as such.
    UnusableId,
    /// Blanks around a person's id, cut.
    TrimmedId,
    /// Persons' ids such as `1000001350.0`, read as whole numbers.
    WholeNumberId,
    /// Top-level fields that PostHog does not read.
    IgnoredField,
    /// Values of the wrong kind, left out.
    WrongKind,
    /// Names or ids cut to the length that PostHog keeps.
    Cut,
    /// Names longer than PostHog lists: the values are kept, and nobody finds them in a menu.
    LongName,
    /// Attributes whose name would change a person, renamed.
    RenamedReserved,
    /// Properties left out by `[privacy] drop`.
    DroppedPrivate,
    /// Properties hashed by `[privacy] hash`.
    Hashed,
    /// Values of a rule that could not be computed.
    RuleFailed,
    /// Values and conditions of a rule that cost more than the mapping of one event may.
    RuleCostly,
    /// Texts of a quantity that are no number as JSON writes one, such as `12 €`.
    KeptText,
    /// Whole numbers of more digits than PostHog's doubles hold: it stores others.
    RoundedNumber,
    /// Bodies whose JSON was repaired.
    RepairedJson,
    /// Bodies that were form-encoded.
    Form,
    /// Bodies in another charset than UTF-8.
    Decoded,
    /// Bodies whose JSON stood in a JSON text.
    JsonInText,
}

impl Note {
    /// Every note, in the order of their counts.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether an event is not what its sender meant (`changed`), or what the mapping does every day (`routine`): an alert asks for
    /// the former.
    #[must_use]
    pub fn weight(self) -> &'static str {
        match self {
            Self::Clash
            | Self::Decoded
            | Self::DroppedPrivate
            | Self::DroppedPushToken
            | Self::Form
            | Self::Hashed
            | Self::IgnoredField
            | Self::JsonInText
            | Self::LongName
            | Self::Personless
            | Self::RewrittenTime
            | Self::TrimmedId
            | Self::WholeNumberId => "routine",
            _ => "changed",
        }
    }

    /// The word that metrics use: the variant's name in snake_case.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What was mended in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Repair {
    /// Bytes that are no UTF-8, replaced by U+FFFD.
    Utf8,
    /// Halves of a surrogate pair, replaced by U+FFFD.
    Surrogate,
    /// A value as Python prints it: `True`, `None`, `['a']`.
    PythonValue,
    /// A comma before a closing bracket.
    TrailingComma,
    /// A quote inside of a text.
    UnescapedQuote,
    /// A line break or another control character inside of a text.
    ControlCharacter,
    /// No value at all.
    EmptyValue,
    /// `NaN` or an infinity, which became `null`.
    NotANumber,
    /// No comma between two members, or two objects of a list.
    MissingComma,
    /// Two commas between two members.
    DoubledComma,
    /// A blank that JSON does not know, such as U+00A0, between two values.
    Blank,
}

impl Repair {
    /// The word that stands on the event.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

/// Values whose property has a type that they lacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Healed {
    /// Became values of the type.
    pub healed: u64,
    /// Stayed as they were: they would not have been the same.
    pub kept: u64,
}

/// Most places that are named of what costs too much.
const MAX_PLACES: usize = 16;
/// Most pairs of a note and a property that are counted apart.
const MAX_PROPERTIES: usize = 200;
/// The property of all others.
pub(crate) const OTHER: &str = "(other)";
/// Most notes that stand on one event.
const MAX_TOLD: usize = 20;
/// Most characters of a name or a value that a note shows.
const MAX_SHOWN: usize = 100;

/// What an event says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) note: Note,
    /// The property, the member or the rule that it is about.
    pub(crate) property: String,
    /// What stood there, in short; empty where that is nothing, or private.
    pub(crate) original: String,
}

/// Counts of notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notes {
    counts: [u64; Note::COUNT],
    /// By property, in small letters: names are those of the mapping file and of the list of quantities.
    healed: BTreeMap<String, Healed>,
    /// By place in the mapping file, the first of them.
    costly: BTreeMap<String, u64>,
    /// By note and property.
    said: BTreeMap<(Note, String), u64>,
    /// Of the event under way.
    told: Vec<Told>,
}

impl Default for Notes {
    fn default() -> Self {
        let (healed, costly, said) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { counts: [0; Note::COUNT], healed, costly, said, told: Vec::new() }
    }
}

impl Notes {
    /// Counts `note`, and has the event say it: of a property, in which `raw`, a JSON value or nothing, stood.
    pub(crate) fn say(&mut self, note: Note, property: &str, raw: &str) {
        self.count(note);
        let property = short(property);
        if self.told.len() < MAX_TOLD {
            let original = json::string(raw).unwrap_or(Cow::Borrowed(raw));
            self.told.push(Told { note, property: property.clone(), original: short(&original) });
        }
        self.said_of(note, property, 1);
    }

    /// Reads a time, and says what is not certain of it; none where it is none.
    pub(crate) fn moment<'a>(
        &mut self,
        raw: &'a str,
        field: &str,
        clock: &Clock,
        arrival: Arrival,
    ) -> Option<Moment<'a>> {
        let (moment, note) = match Moment::read(raw, clock, arrival) {
            Ok((moment, doubt)) => {
                let note = doubt.map(|doubt| match doubt {
                    Doubt::AssumedUtc => Note::AssumedUtc,
                    Doubt::RepeatedHour => Note::RepeatedHour,
                    Doubt::FarOff => Note::FarOffTime,
                });
                (Some(moment), note)
            }
            Err(Unread::Form) => (None, Some(Note::UnreadableTime)),
            Err(Unread::Ambiguous) => (None, Some(Note::AmbiguousDate)),
            Err(Unread::FarOff) => (None, Some(Note::ImplausibleTime)),
        };
        if let Some(note) = note {
            self.say(note, field, raw);
        }
        moment
    }

    fn said_of(&mut self, note: Note, property: String, times: u64) {
        if self.said.len() < MAX_PROPERTIES || self.said.contains_key(&(note, property.clone())) {
            *self.said.entry((note, property)).or_default() += times;
        } else {
            *self.said.entry((note, OTHER.to_string())).or_default() += times;
        }
    }

    /// What the event under way says; the next begins with nothing.
    pub(crate) fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Hides what stood in properties that are private.
    pub(crate) fn hide(&mut self, is_private: impl Fn(&str) -> bool) {
        self.told.iter_mut().filter(|told| is_private(&told.property)).for_each(|told| told.original.clear());
    }

    /// How often each note was said of each property: the first of them, the rest as `(other)`.
    #[must_use]
    pub fn said(&self) -> &BTreeMap<(Note, String), u64> {
        &self.said
    }

    /// Counts `note` once.
    pub(crate) fn count(&mut self, note: Note) {
        self.add(note, 1);
    }

    /// Counts `note` several times.
    pub(crate) fn add(&mut self, note: Note, count: u64) {
        self.counts[note as usize] += count;
    }

    /// Counts a value that was to be of another type.
    pub(crate) fn healed(&mut self, property: &str, was: bool) {
        let count = match self.healed.get_mut(property) {
            Some(count) => count,
            None => self.healed.entry(property.to_lowercase()).or_default(),
        };
        *(if was { &mut count.healed } else { &mut count.kept }) += 1;
    }

    /// Counts what costs more than the mapping of one event may, at a place of the mapping file.
    pub(crate) fn costly(&mut self, place: String) {
        self.say(Note::RuleCostly, &place, "");
        self.costly_at(place, 1);
    }

    fn costly_at(&mut self, place: String, times: u64) {
        if self.costly.len() < MAX_PLACES || self.costly.contains_key(&place) {
            *self.costly.entry(place).or_default() += times;
        }
    }

    /// Adds the counts of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for (property, more) in &other.healed {
            let count = self.healed.entry(property.clone()).or_default();
            count.healed += more.healed;
            count.kept += more.kept;
        }
        for (place, times) in &other.costly {
            self.costly_at(place.clone(), *times);
        }
        for ((note, property), times) in &other.said {
            self.said_of(*note, property.clone(), *times);
        }
    }

    /// How often `note` was counted.
    #[must_use]
    pub fn get(&self, note: Note) -> u64 {
        self.counts[note as usize]
    }

    /// How often what costs too much, by place in the mapping file: the first of them.
    #[must_use]
    pub fn too_costly(&self) -> &BTreeMap<String, u64> {
        &self.costly
    }

    /// Values that were to be of another type, by property.
    #[must_use]
    pub fn types(&self) -> &BTreeMap<String, Healed> {
        &self.healed
    }
}

/// The first characters of a text.
fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text.to_string(),
        Some((end, _)) => [&text[..end], "…"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_note_is_explained_where_somebody_looks_it_up() {
        let page = include_str!("../../../deploy/runbooks/events-changed.md");
        for note in Note::ALL {
            assert!(page.contains(&format!("`{}`", note.name())), "{} is not in the runbook", note.name());
        }
    }
}
