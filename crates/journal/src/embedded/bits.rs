//! A set of small numbers, one bit each.

use bytes::Bytes;

/// A set of numbers counted from 0; a word of 64 of them is a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: u64,
}

impl Bits {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.word(number / 64) & (1 << (number % 64)) != 0
    }

    /// Members of the block, as bits.
    pub(super) fn word(&self, block: u64) -> u64 {
        usize::try_from(block).ok().and_then(|block| self.words.get(block)).copied().unwrap_or(0)
    }

    /// Adds a number; false where it was there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let block = (number / 64) as usize;
        if block >= self.words.len() {
            self.words.resize(block + 1, 0);
        }
        let new = self.words[block] & (1 << (number % 64)) == 0;
        self.words[block] |= 1 << (number % 64);
        self.count += u64::from(new);
        new
    }

    /// Takes a number out; false where it was not there.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let there = self.contains(number);
        if there {
            self.words[(number / 64) as usize] &= !(1 << (number % 64));
            self.count -= 1;
        }
        if self.count == 0 {
            self.words = Vec::new();
        }
        there
    }

    /// Members from `from` on, ascending.
    pub(super) fn from(&self, from: u64) -> impl Iterator<Item = u64> {
        let first = from / 64;
        (first..self.words.len() as u64).flat_map(move |block| {
            let mask = if block == first { u64::MAX << (from % 64) } else { u64::MAX };
            Ones(self.word(block) & mask).map(move |bit| block * 64 + bit)
        })
    }

    /// Members below `below`, descending.
    pub(super) fn below(&self, below: u64) -> impl Iterator<Item = u64> {
        let blocks = (below.div_ceil(64)).min(self.words.len() as u64);
        (0..blocks).rev().flat_map(move |block| {
            let mut left = self.word(block);
            std::iter::from_fn(move || {
                let bit = 63_u64.checked_sub(u64::from(left.leading_zeros()))?;
                left &= !(1 << bit);
                Some(block * 64 + bit)
            })
            .filter(move |number| *number < below)
        })
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.from(0).next()
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>().into()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let words: Vec<_> = bytes
            .chunks(8)
            .map(|chunk| chunk.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)))
            .collect();
        let count = words.iter().map(|word| u64::from(word.count_ones())).sum();
        Self { words, count }
    }
}

impl FromIterator<u64> for Bits {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut bits = Self::default();
        for number in numbers {
            bits.insert(number);
        }
        bits
    }
}

struct Ones(u64);

impl Iterator for Ones {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let bit = self.0.trailing_zeros();
        (bit < 64).then(|| {
            self.0 &= self.0 - 1;
            u64::from(bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((0_u64..300, any::<bool>()), 0..200), at in 0_u64..320) {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for (number, add) in steps {
                let (changed, expected) = match add {
                    true => (bits.insert(number), model.insert(number)),
                    false => (bits.remove(number), model.remove(&number)),
                };
                prop_assert_eq!(changed, expected);
            }
            prop_assert_eq!(bits.count(), model.len() as u64);
            prop_assert_eq!(bits.first(), model.first().copied());
            prop_assert_eq!(bits.from(at).collect::<Vec<_>>(), model.range(at..).copied().collect::<Vec<_>>());
            prop_assert_eq!(bits.below(at).collect::<Vec<_>>(), model.range(..at).rev().copied().collect::<Vec<_>>());
            let copy = Bits::from_bytes(&bits.to_bytes());
            prop_assert_eq!(copy.from(0).collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }
}
