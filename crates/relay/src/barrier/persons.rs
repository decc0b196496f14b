//! A set of persons that has one size for any number of them: a Bloom filter.

/// Bits of the set: with a million persons it takes one stranger in fifty for one of them, with a hundred thousand none in
/// a hundred thousand.
const BITS: usize = 8 * 1024 * 1024;
/// Bits that stand for a person.
const OF_A_PERSON: u32 = 4;

/// Whom it holds it never denies; it may take others for them, and the more it holds the more of these. Empty it has no
/// memory, and 1 MiB with the first person.
#[derive(Debug, Default)]
pub(super) struct Persons(Vec<u64>);

impl Persons {
    pub(super) fn insert(&mut self, person: u64) {
        self.0.resize(BITS / 64, 0);
        for (word, bit) in places(person) {
            if let Some(word) = self.0.get_mut(word) {
                *word |= bit;
            }
        }
    }

    pub(super) fn may_hold(&self, person: u64) -> bool {
        places(person).all(|(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0))
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }
}

impl Extend<u64> for Persons {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, persons: T) {
        persons.into_iter().for_each(|person| self.insert(person));
    }
}

/// Word and bit of each place of a person, whose number is a hash already: its halves give them all.
fn places(person: u64) -> impl Iterator<Item = (usize, u64)> {
    let (first, step) = (person as u32, (person >> 32) as u32 | 1);
    (0..OF_A_PERSON).map(move |time| {
        let place = first.wrapping_add(step.wrapping_mul(time)) as usize % BITS;
        (place / 64, 1 << (place % 64))
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn whom_it_holds_it_never_denies_and_few_others_are_taken_for_them() {
        let mut random = StdRng::seed_from_u64(1);
        let mut draw = |count: usize| (0..count).map(|_| random.random::<u64>()).collect::<Vec<_>>();
        let (held, others) = (draw(1_000_000), draw(10_000));
        let mut persons = Persons::default();
        assert!(!others.iter().any(|person| persons.may_hold(*person)));
        persons.extend(held.iter().copied());
        assert!(held.iter().all(|person| persons.may_hold(*person)));
        let mistaken = others.iter().filter(|person| persons.may_hold(**person)).count();
        assert!(mistaken < 500, "{mistaken} of {} strangers are taken for persons that it holds", others.len());
        persons.clear();
        assert!(!held.iter().any(|person| persons.may_hold(*person)));
    }
}
