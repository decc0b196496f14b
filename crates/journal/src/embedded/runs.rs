//! Runs of sequences.

use std::{collections::BTreeMap, fmt};

use moehog_proto::Sequence;

/// A set of sequences that are mostly neighbours: the first and last of each run.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Runs(BTreeMap<Sequence, Sequence>);

impl fmt::Debug for Runs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter().map(|(first, last)| first..=last)).finish()
    }
}

impl Runs {
    /// Runs as a file has them: first, last, first, last.
    pub(super) fn from_pairs(pairs: &[u64]) -> Self {
        let mut runs = Self::default();
        pairs.chunks_exact(2).for_each(|run| runs.insert(run[0], run[1]));
        runs
    }

    pub(super) fn to_pairs(&self) -> Vec<u64> {
        self.0.iter().flat_map(|(first, last)| [*first, *last]).collect()
    }

    /// Adds `first..=last`; nothing where that is no run.
    pub(super) fn insert(&mut self, mut first: Sequence, mut last: Sequence) {
        if first > last {
            return;
        }
        while let Some((begins, ends)) =
            self.run_up_to(last.saturating_add(1)).filter(|run| run.1 >= first.saturating_sub(1))
        {
            self.0.remove(&begins);
            (first, last) = (first.min(begins), last.max(ends));
        }
        self.0.insert(first, last);
    }

    pub(super) fn remove(&mut self, sequence: Sequence) {
        if let Some((first, last)) = self.run_up_to(sequence).filter(|(_, last)| *last >= sequence) {
            self.0.remove(&first);
            self.insert(first, sequence.saturating_sub(1));
            self.insert(sequence.saturating_add(1), last);
        }
    }

    pub(super) fn extend(&mut self, others: &Self) {
        others.iter().for_each(|(first, last)| self.insert(first, last));
    }

    /// The last run that begins at `sequence` or before.
    fn run_up_to(&self, sequence: Sequence) -> Option<(Sequence, Sequence)> {
        self.0.range(..=sequence).next_back().map(|(first, last)| (*first, *last))
    }

    pub(super) fn contains(&self, sequence: Sequence) -> bool {
        self.run_up_to(sequence).is_some_and(|(_, last)| last >= sequence)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Sequence, Sequence)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    pub(super) fn sequences(&self) -> impl Iterator<Item = Sequence> {
        self.iter().flat_map(|(first, last)| first..=last)
    }

    /// How many sequences there are.
    pub(super) fn count(&self) -> u64 {
        self.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of all from `from` on.
    pub(super) fn next_from(&self, from: Sequence) -> Option<Sequence> {
        if self.contains(from) { Some(from) } else { self.0.range(from..).next().map(|(first, _)| *first) }
    }

    /// The last of all.
    pub(super) fn last(&self) -> Option<Sequence> {
        self.0.last_key_value().map(|(_, last)| *last)
    }

    /// What of `first..=last` is not in it.
    pub(super) fn missing(&self, first: Sequence, last: Sequence) -> Self {
        let (mut missing, mut from) = (Self::default(), first);
        if let Some((_, ends)) = self.run_up_to(first) {
            from = from.max(ends.saturating_add(1));
        }
        for (begins, ends) in self.0.range(first..=last.max(first)) {
            if *begins > from {
                missing.insert(from, begins - 1);
            }
            from = from.max(ends.saturating_add(1));
        }
        missing.insert(from, last);
        missing
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_a_set(added in proptest::collection::vec((1_u64..80, 0_u64..9), 0..20), at in 1_u64..90, length in 0_u64..30) {
            let (mut runs, mut model) = (Runs::default(), BTreeSet::new());
            for (first, length) in added {
                runs.insert(first, first + length);
                model.extend(first..=first + length);
            }
            prop_assert_eq!(runs.sequences().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert!(runs.0.iter().zip(runs.0.keys().skip(1)).all(|((_, last), next)| last + 1 < *next));
            prop_assert_eq!(runs.contains(at), model.contains(&at));
            prop_assert_eq!(runs.next_from(at), model.range(at..).next().copied());
            prop_assert_eq!(runs.last(), model.last().copied());
            prop_assert_eq!(runs.is_empty(), model.is_empty());
            prop_assert_eq!(runs.count(), model.len() as u64);
            let missing: Vec<_> = (at..=at + length).filter(|sequence| !model.contains(sequence)).collect();
            prop_assert_eq!(runs.missing(at, at + length).sequences().collect::<Vec<_>>(), missing);
            prop_assert_eq!(Runs::from_pairs(&runs.to_pairs()), runs);
        }
    }
}
