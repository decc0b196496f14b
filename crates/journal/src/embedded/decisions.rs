//! By which mapping entries are mapped once a call has sent events of theirs: the next process must make the same of them.
//!
//! A records file names the revision before each such call, and holds each mapping that it names, once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use moehog_proto::{
    Sequence,
    journal::{Decided, Mapping, record_frame::Kind},
};

use super::{
    Log,
    record::{Then, Write, Writes, note},
};
use crate::RecordError;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Decisions {
    /// Revision of each entry.
    pub(super) entries: HashMap<Sequence, Arc<str>>,
    /// The mappings that are in the file.
    pub(super) mappings: HashMap<Arc<str>, Bytes>,
}

impl Decisions {
    /// The mapping by which an entry is decided to be mapped.
    pub(super) fn of(&self, sequence: Sequence) -> Option<Mapping> {
        let revision = self.entries.get(&sequence)?;
        let text = self.mappings.get(revision)?;
        Some(Mapping { revision: revision.to_string(), text: text.clone() })
    }

    pub(super) fn decide(&mut self, revision: &str, sequences: impl IntoIterator<Item = Sequence>) {
        let known = self.mappings.get_key_value(revision).map(|(known, _)| known.clone());
        let revision = known.unwrap_or_else(|| revision.into());
        self.entries.extend(sequences.into_iter().map(|sequence| (sequence, revision.clone())));
    }

    /// Takes over the decisions on the entries of which `waits` is true.
    pub(super) fn merge(&mut self, other: &Self, waits: impl Fn(Sequence) -> bool) {
        for (sequence, revision) in other.entries.iter().filter(|(sequence, _)| waits(**sequence)) {
            let Some(text) = other.mappings.get(revision) else { continue };
            self.mappings.entry(revision.clone()).or_insert_with(|| text.clone());
            self.entries.insert(*sequence, revision.clone());
        }
    }

    /// What a file says of them.
    pub(super) fn notes(&self) -> impl Iterator<Item = Kind> {
        let mut by_revision: BTreeMap<&str, Vec<Sequence>> = BTreeMap::new();
        for (sequence, revision) in &self.entries {
            by_revision.entry(revision).or_default().push(*sequence);
        }
        let noted = by_revision.into_iter().filter_map(|(revision, mut sequences)| {
            sequences.sort_unstable();
            let text = self.mappings.get(revision)?.clone();
            let mapping = Mapping { revision: revision.to_string(), text };
            let decided = Decided { revision: revision.to_string(), sequences };
            Some([Kind::Mapping(mapping), Kind::Decided(decided)])
        });
        noted.flatten()
    }
}

impl Log {
    /// Notes by which mapping the events of these entries were made that a call sends.
    ///
    /// # Errors
    ///
    /// The disk failed: nothing of it counts.
    pub fn decide(&self, mapping: &Mapping, sequences: Vec<Sequence>) -> Result<(), RecordError> {
        let mut buffer = self.recorder.lock();
        let mut writes = Writes::new();
        {
            let state = self.state.lock();
            if state.closed {
                return Err(RecordError::Closed);
            }
            let mut by_segment: BTreeMap<Sequence, (bool, Vec<Sequence>)> = BTreeMap::new();
            for sequence in sequences {
                if let Some(segment) = state.segment_of(sequence).filter(|it| it.waits_in(sequence).is_some()) {
                    let is_known = segment.decisions.mappings.contains_key(&*mapping.revision);
                    by_segment.entry(segment.index.first).or_insert((is_known, Vec::new())).1.push(sequence);
                }
            }
            for (first, (is_known, sequences)) in by_segment {
                let at = sequences[0];
                let decided = Decided { revision: mapping.revision.clone(), sequences: sequences.clone() };
                let decided =
                    Write { sequence: at, content: Kind::Decided(decided).into(), then: Then::Decided { sequences } };
                let given = (!is_known).then(|| note(at, Kind::Mapping(mapping.clone())));
                writes.insert(first, given.into_iter().chain([decided]).collect());
            }
        }
        self.write(&mut buffer, writes, |segment, _, (_, length), then| {
            if let Then::Decided { sequences } = then {
                let decisions = &mut segment.decisions;
                decisions.mappings.entry(mapping.revision.as_str().into()).or_insert_with(|| mapping.text.clone());
                decisions.decide(&mapping.revision, sequences);
                segment.garbage += length;
            }
        })?;
        drop(buffer);
        self.bound_unsynced();
        Ok(())
    }
}
