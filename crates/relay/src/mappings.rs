//! The mappings that transformers map by, as they gave them: before events are sent the journal notes by which they were made.

use std::sync::Arc;

use moehog_proto::{Sequence, journal::Mapping, transformer};
use parking_lot::Mutex;

/// Mappings that are kept: while transformers are replaced there are two.
const MOST: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Mappings(Mutex<Vec<Arc<Mapping>>>);

/// Entries of which a call sends events, and by which mapping these were made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) sequences: Vec<Sequence>,
}

impl Mappings {
    /// Revisions of those that are kept, for a transformer; an empty one where there is none.
    pub(crate) fn known(&self) -> Vec<String> {
        let known = self.0.lock();
        match known.is_empty() {
            true => vec![String::new()],
            false => known.iter().map(|mapping| mapping.revision.clone()).collect(),
        }
    }

    /// Keeps one that a transformer gave.
    pub(crate) fn keep(&self, given: transformer::Mapping) {
        let mut known = self.0.lock();
        if known.iter().any(|mapping| mapping.revision == given.revision) {
            return;
        }
        if known.len() == MOST {
            known.remove(0);
        }
        known.push(Mapping { revision: given.revision, text: given.text }.into());
    }

    pub(crate) fn of(&self, revision: &str) -> Option<Arc<Mapping>> {
        self.0.lock().iter().find(|mapping| mapping.revision == revision).cloned()
    }
}

/// Adds an entry to the decisions of a call, whose events come in the order of their entries.
pub(crate) fn decide(decisions: &mut Vec<Decision>, mapping: &Arc<Mapping>, sequence: Sequence) {
    match decisions.iter_mut().find(|decision| decision.mapping.revision == mapping.revision) {
        Some(decision) if decision.sequences.last() == Some(&sequence) => {}
        Some(decision) => decision.sequences.push(sequence),
        None => decisions.push(Decision { mapping: mapping.clone(), sequences: vec![sequence] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_are_kept() {
        let mappings = Mappings::default();
        assert_eq!(mappings.known(), [""]);
        for revision in 1..=5 {
            mappings.keep(transformer::Mapping { revision: format!("r{revision}"), text: "text".into() });
        }
        assert_eq!(mappings.known(), ["r2", "r3", "r4", "r5"]);
        assert!(mappings.of("r1").is_none() && mappings.of("r5").is_some());
    }
}
