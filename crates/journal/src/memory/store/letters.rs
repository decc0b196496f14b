//! Dead letters of the journal in memory.

use std::collections::{BTreeMap, BTreeSet};

use moehog_proto::{Sequence, journal::EventState};

use crate::{DeadLetter, DeadLetterQuery, Letters, Record, Revised, Revision, revision::revise};

use super::{Lane, Life, Store};

/// Dead letters in a page when the query names no limit.
const PAGE: usize = 100;

impl Store {
    /// Revises dead letters; the lanes of those that were reopened are added to `reopened`.
    pub(in crate::memory) fn revise(
        &mut self,
        letters: &Letters,
        to: Revision,
        reopened: &mut BTreeMap<Lane, BTreeSet<Sequence>>,
    ) -> Revised {
        let sequence = letters.receipt.sequence;
        let Some(stored) = self.entries.get_mut(&sequence) else { return Revised::Gone };
        if !stored.settled {
            return Revised::UnderWay;
        }
        let Some(before) = &stored.progress else { return Revised::Events(0) };
        let is_routed = !stored.header.routed.is_empty();
        let Some((progress, count)) = revise(before, &letters.places, to, is_routed) else { return Revised::Events(0) };
        if to == Revision::Retry {
            stored.settled = false;
            stored.decided = None;
            self.ledger.book.settled -= 1;
            self.ledger.waiting += 1;
            let lane = (stored.header.source.clone(), stored.header.destination.clone());
            self.lanes.entry(lane.clone()).or_default().insert(sequence);
            reopened.entry(lane).or_default().insert(sequence);
        }
        let settled = stored.settled;
        self.record(vec![Record { sequence, progress: progress.into(), settled }]);
        Revised::Events(count)
    }

    pub(in crate::memory) fn dead_letters(&self, life: &Life, query: &DeadLetterQuery) -> Vec<DeadLetter> {
        let before = if query.before == 0 { Sequence::MAX } else { query.before };
        let limit = if query.limit == 0 { PAGE } else { query.limit };
        let mut letters = Vec::new();
        for (sequence, stored) in self.entries.range(..before).rev() {
            if letters.len() >= limit {
                break;
            }
            if query.source.as_ref().is_some_and(|source| *source != stored.header.source) {
                continue;
            }
            let Some(progress) = &stored.progress else { continue };
            for event in progress.events.iter().filter(|event| event.state() == EventState::Dead) {
                let attempt = (event.attempt as usize).checked_sub(1).and_then(|at| progress.attempts.get(at));
                letters.push(DeadLetter {
                    receipt: life.receipt(*sequence),
                    header: stored.header.clone(),
                    event: event.clone(),
                    answer: attempt.cloned(),
                });
            }
        }
        letters
    }
}
