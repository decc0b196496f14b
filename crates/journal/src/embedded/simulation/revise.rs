//! Dead letters that are tried again or discarded.

use std::collections::BTreeSet;

use moehog_proto::journal::EventPlace;
use rand::{Rng, seq::IteratorRandom};

use super::history::History;
use crate::{Letters, Revised, Revision, revision};

impl History {
    /// Some dead letters are revised, and some that are none.
    pub(super) fn revise(&mut self) {
        if self.damaged {
            // what was recorded of some may be gone
            return;
        }
        let to = if self.random.random_bool(0.7) { Revision::Retry } else { Revision::Discard };
        let dead: BTreeSet<_> = self.model.dead_letters().into_iter().map(|(sequence, _)| sequence).collect();
        let count = self.random.random_range(1..8);
        let mut chosen = dead.into_iter().choose_multiple(&mut self.random, count);
        if self.random.random_bool(0.2) {
            let any = self.model.by_sequence.keys().copied().choose(&mut self.random);
            chosen.extend(any.filter(|any| !chosen.contains(any)));
        }
        let mut letters = Vec::new();
        let mut expected = Vec::new();
        let death = self.disk.postpone_crash();
        for sequence in chosen {
            let log = self.log();
            let receipt = log.receipt(sequence);
            let Ok(entry) = log.get(receipt) else { continue };
            let places: Vec<_> = match self.random.random_bool(0.5) {
                true => Vec::new(),
                false => (0..2).map(|position| EventPlace { position, ordinal: 0 }).collect(),
            };
            let routed = entry.as_ref().is_some_and(|entry| !entry.header.routed.is_empty());
            let known = entry.as_ref().and_then(|entry| entry.progress.as_ref());
            let revised = known.and_then(|known| revision::revise(known, &places, to, routed));
            expected.push(match entry {
                None => (Revised::Gone, None),
                Some(entry) if !entry.settled => (Revised::UnderWay, None),
                Some(_) => match revised {
                    None if known.is_none() => (Revised::Gone, None),
                    None => (Revised::Events(0), None),
                    Some((progress, events)) => (Revised::Events(events), Some(progress)),
                },
            });
            letters.push(Letters { receipt, places });
        }
        death.into_iter().for_each(|calls| self.disk.crash_after(calls));
        let mut results = Vec::new();
        let end = self.log().revise(&letters, to, &mut results, |_, _, _| {});
        self.say(|_| format!("revise {:?} of {letters:?}: {end:?}, {results:?}", to));
        if let Err(error) = &end {
            assert!(self.faulty || self.limited || self.disk.crashed(), "a disk that works failed: {error:?}");
        }
        results.resize(letters.len(), Revised::Gone);
        for ((letters, result), (expected, progress)) in letters.iter().zip(results).zip(expected) {
            let sequence = letters.receipt.sequence;
            match (result, progress) {
                (Revised::Events(1..), Some(progress)) => {
                    assert_eq!(result, expected, "entry {sequence}");
                    self.model.revised(sequence, progress, to == Revision::Discard);
                    self.met(if to == Revision::Retry { "dead letter tried again" } else { "dead letter discarded" });
                }
                // it failed, and may be there once the process has died
                (_, Some(progress)) if end.is_err() => {
                    self.model.record_failed(sequence, progress, to == Revision::Discard);
                }
                _ => assert!(end.is_err() || result == expected, "entry {sequence}: {result:?}, not {expected:?}"),
            }
        }
    }
}
