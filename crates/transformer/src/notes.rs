//! What the mapping did beyond copying, counted: repairs, drops and fallbacks that a person may want to hear of.

/// One thing worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Attributes whose name would change a person, renamed.
    RenamedReserved,
}

impl Note {
    /// Every note, in the order of their counts.
    pub const ALL: [Self; 14] = [
        Self::RepairedUtf8,
        Self::RepairedSurrogate,
        Self::DroppedPlaceholder,
        Self::Clash,
        Self::DuplicateKey,
        Self::DroppedPushToken,
        Self::Personless,
        Self::UnreadableTime,
        Self::RewrittenTime,
        Self::UnusableId,
        Self::IgnoredField,
        Self::WrongKind,
        Self::Cut,
        Self::RenamedReserved,
    ];

    /// The word that metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RepairedUtf8 => "repaired_utf8",
            Self::RepairedSurrogate => "repaired_surrogate",
            Self::DroppedPlaceholder => "dropped_placeholder",
            Self::Clash => "clash",
            Self::DuplicateKey => "duplicate_key",
            Self::DroppedPushToken => "dropped_push_token",
            Self::Personless => "personless",
            Self::UnreadableTime => "unreadable_time",
            Self::RewrittenTime => "rewritten_time",
            Self::UnusableId => "unusable_id",
            Self::IgnoredField => "ignored_field",
            Self::WrongKind => "wrong_kind",
            Self::Cut => "cut",
            Self::RenamedReserved => "renamed_reserved",
        }
    }
}

/// Counts of notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes([u64; Note::ALL.len()]);

impl Notes {
    /// Counts `note` once.
    pub(crate) fn count(&mut self, note: Note) {
        self.add(note, 1);
    }

    /// Counts `note` several times.
    pub(crate) fn add(&mut self, note: Note, count: u64) {
        self.0[note as usize] += count;
    }

    /// Adds the counts of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// How often `note` was counted.
    #[must_use]
    pub fn get(&self, note: Note) -> u64 {
        self.0[note as usize]
    }
}
