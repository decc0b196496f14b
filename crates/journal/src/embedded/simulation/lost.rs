//! What is left after damage.

use std::collections::BTreeMap;

use moehog_proto::Sequence;

use crate::Entry;

use super::model::{Fate, Id, Model, Recorded};

/// What is missing after damage.
pub(super) struct Found {
    /// Webhooks that were taken, waited, and are gone.
    pub(super) missing: Vec<Id>,
    /// Those of them that were marked as synced.
    pub(super) marked: Vec<Id>,
    /// Those that were taken, waiting or not, and are gone, and were not marked, or were refused until damage took the note
    /// of that.
    pub(super) unmarked: u64,
    /// Webhooks that cannot be read and might once have been, whatever was promised of them.
    pub(super) unreadable: u64,
}

impl Model {
    /// Takes over what is there after damage.
    pub(super) fn resynchronise(&mut self, waiting: &[Entry], get: impl Fn(Sequence) -> Option<Entry>) -> Found {
        let mut read = BTreeMap::new();
        for entry in waiting {
            let id = self.identify(entry);
            assert!(read.insert(id, entry).is_none(), "webhook {id} was read twice");
        }
        let mut found = Found { missing: Vec::new(), marked: Vec::new(), unmarked: 0, unreadable: 0 };
        self.by_sequence.clear();
        for id in 0..self.known.len() {
            let there = match read.get(&id) {
                Some(entry) => Some((entry.sequence(), entry.progress.clone(), false)),
                None => self.known[id]
                    .sequence
                    .and_then(&get)
                    .filter(|entry| self.number_of(entry) == id && entry.settled)
                    .map(|entry| (entry.sequence(), entry.progress, true)),
            };
            let known = &mut self.known[id];
            match there {
                Some((sequence, progress, settled)) => {
                    (known.fate, known.sequence, known.marked) = (Fate::Taken, Some(sequence), true);
                    known.history = vec![Recorded { progress, settled }];
                    self.by_sequence.insert(sequence, id);
                }
                None => {
                    let was_settled = known.history.iter().chain(&known.attempted).any(|recorded| recorded.settled);
                    found.unmarked += u64::from(known.fate == Fate::Taken && !(known.marked && known.acknowledged));
                    let might_be = known.fate != Fate::Lost || known.is_uncounted;
                    found.unreadable += u64::from(might_be && !known.dropped);
                    known.is_uncounted = might_be && was_settled;
                    if known.fate == Fate::Taken && known.acknowledged && !was_settled {
                        found.missing.push(id);
                        found.marked.extend(known.marked.then_some(id));
                    }
                    if known.fate == Fate::Taken {
                        known.fate = Fate::Lost;
                    }
                }
            }
            (known.durable, known.shaky) = (0, None);
            known.history = known.history.split_off(known.history.len() - 1);
            known.attempted.clear();
        }
        found
    }
}
