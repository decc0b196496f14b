//! By which mapping entries are mapped once a call has sent events of theirs: the next process must make the same of them.
//!
//! A records file names the revision before each such call, and holds each mapping that it names, once.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use moehog_proto::{
    Sequence,
    journal::{Decided, Mapping, record_frame::Kind},
};

use super::runs::Runs;

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

    /// It is open again, whatever was decided.
    pub(super) fn undecide(&mut self, sequence: Sequence) {
        self.layers.iter_mut().for_each(|(_, entries)| entries.remove(sequence));
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
