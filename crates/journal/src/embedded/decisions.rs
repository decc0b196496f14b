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
    runs::Runs,
    segment::Segment,
};
use crate::RecordError;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Decisions {
    /// Revisions and entries, in the order of deciding: of an entry the last one counts. What is settled stays in it, as part of
    /// a run.
    layers: Vec<(Arc<str>, Runs)>,
    /// The mappings that are in the file.
    pub(super) mappings: HashMap<Arc<str>, Bytes>,
}

impl Decisions {
    /// The mapping by which an entry is decided to be mapped.
    pub(super) fn of(&self, sequence: Sequence) -> Option<Mapping> {
        let (revision, _) = self.layers.iter().rev().find(|(_, entries)| entries.contains(sequence))?;
        let text = self.mappings.get(revision)?;
        Some(Mapping { revision: revision.to_string(), text: text.clone() })
    }

    pub(super) fn decide(&mut self, revision: &str, sequences: &[Sequence]) {
        if self.layers.last().is_none_or(|(last, _)| **last != *revision) {
            self.layers.push((revision.into(), Runs::default()));
        }
        let Some((_, entries)) = self.layers.last_mut() else { return };
        for run in sequences.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
            entries.insert(run[0], run[run.len() - 1]);
        }
    }

    /// Takes over the decisions on the entries of which `waits` is true.
    pub(super) fn merge(&mut self, other: &Self, waits: impl Fn(Sequence) -> bool) {
        for (revision, entries) in &other.layers {
            let Some(text) = other.mappings.get(revision) else { continue };
            let waiting: Vec<_> = entries.sequences().filter(|sequence| waits(*sequence)).collect();
            if !waiting.is_empty() {
                self.mappings.entry(revision.clone()).or_insert_with(|| text.clone());
                self.decide(revision, &waiting);
            }
        }
    }

    /// What a file says of them.
    pub(super) fn notes(&self) -> impl Iterator<Item = Kind> {
        let mapping = |(revision, text): (&Arc<str>, &Bytes)| {
            Kind::Mapping(Mapping { revision: revision.to_string(), text: text.clone() })
        };
        let decided = |(revision, entries): &(Arc<str>, Runs)| {
            Kind::Decided(Decided { revision: revision.to_string(), sequences: entries.sequences().collect() })
        };
        self.mappings.iter().map(mapping).chain(self.layers.iter().map(decided))
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
            let mut segment: Option<&Segment> = None;
            for sequence in sequences {
                segment = segment
                    .filter(|it| (it.index.first..=it.index.last).contains(&sequence))
                    .or_else(|| state.segment_of(sequence));
                if let Some(segment) = segment.filter(|it| it.foot.is_none()) {
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
                decisions.decide(&mapping.revision, &sequences);
                segment.garbage += length;
            }
        })?;
        drop(buffer);
        self.bound_unsynced();
        Ok(())
    }
}
