//! What the mapping did beyond copying, counted: repairs, drops and fallbacks that a person may want to hear of.

use std::collections::BTreeMap;

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// One thing worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
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
    /// Points in time that were readable and rewritten as RFC 3339.
    RewrittenTime,
    /// Ids of an event that were not usable as such.
    UnusableId,
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
    /// Bodies whose JSON was repaired.
    RepairedJson,
    /// Bodies that were form-encoded.
    Form,
}

impl Note {
    /// Every note, in the order of their counts.
    pub const ALL: [Self; Self::COUNT] = {
        let mut all = [Self::RepairedUtf8; Self::COUNT];
        all.copy_from_slice(Self::VARIANTS);
        all
    };

    /// The word that metrics use: the variant's name in snake_case.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What was mended in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

impl Repair {
    /// The word that stands on the event.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Surrogate => "surrogate",
            Self::PythonValue => "python_value",
            Self::TrailingComma => "trailing_comma",
            Self::UnescapedQuote => "unescaped_quote",
            Self::ControlCharacter => "control_character",
            Self::EmptyValue => "empty_value",
        }
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

/// Counts of notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    counts: [u64; Note::ALL.len()],
    /// By property, in small letters: names are those of the mapping file and of the list of quantities.
    healed: BTreeMap<String, Healed>,
    /// By place in the mapping file, the first of them.
    costly: BTreeMap<String, u64>,
}

impl Notes {
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
        self.count(Note::RuleCostly);
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
