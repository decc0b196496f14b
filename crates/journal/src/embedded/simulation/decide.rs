//! By which mapping entries are decided to be mapped.

use moehog_proto::{Sequence, journal::Mapping};
use rand::Rng;

use super::{history::History, model::UNDECIDED};
use crate::Entry;

/// The mapping of a revision.
fn mapping(revision: u32) -> Mapping {
    let text = format!("{revision}:").repeat(1 + 40 * revision as usize);
    Mapping { revision: revision.to_string(), text: text.into() }
}

impl History {
    pub(super) fn decide(&mut self) {
        let count = self.random.random_range(1..5);
        let skip = self.random.random_range(0..6);
        let sequences: Vec<Sequence> =
            self.model.waiting().map(|(sequence, _)| sequence).skip(skip).take(count).collect();
        if sequences.is_empty() {
            return;
        }
        let revision = self.random.random_range(0..4);
        let result = self.log().decide(&mapping(revision), sequences.clone());
        self.say(|_| format!("decided {sequences:?} by {revision}: {result:?}"));
        self.met("decided");
        for sequence in sequences {
            self.model.decisions.entry(sequence).or_default().push((revision, result.is_ok()));
        }
    }

    /// What an entry is decided to be mapped by is what was last said, while nothing but kills happens; what else happens may
    /// lose that, and never gives a mapping that was not decided on, nor another's text.
    pub(super) fn compare_decisions(&self, waiting: &[Entry]) {
        for entry in waiting {
            let said = self.model.decisions.get(&entry.sequence()).map(Vec::as_slice).unwrap_or_default();
            if let Some(decided) = &entry.decided {
                let revision: u32 = decided.revision.parse().expect("a revision of ours");
                assert_eq!(*decided, mapping(revision), "text of another mapping");
                assert!(
                    said.iter().any(|(said, _)| *said == revision),
                    "entry {}: {decided:?} of {said:?}",
                    entry.sequence()
                );
            }
            if self.crashed.is_some() && said.iter().all(|(_, stored)| *stored) {
                let last = said.last().map(|(revision, _)| *revision).filter(|revision| *revision != UNDECIDED);
                let last = last.map(|revision| revision.to_string());
                let decided = entry.decided.as_ref().map(|decided| decided.revision.clone());
                assert_eq!(decided, last, "entry {}: {said:?}", entry.sequence());
            }
        }
    }
}
