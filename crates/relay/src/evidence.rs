//! Whether a refusal is an event's own fault: what a destination did with other events, in every lane of this process.
//!
//! An event that is refused alone is suspect. It is at fault where it is refused alone again after the destination took
//! another event in between, the two refusals at most a minute apart. Where the events of several persons are refused and
//! none is taken, the destination refuses everything: what was refused until it takes events again says nothing of them.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Persons whose events are refused alone with none taken, from which on it is the destination that refuses.
const EVERYTHING: usize = 3;
/// Longest time between the two refusals.
const APART: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    seen: Mutex<Seen>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Seen {
    /// Requests with events that were taken, but for the first after it refused everything.
    taken: u64,
    /// Times that it refused everything.
    blankets: u64,
    /// Some of the persons whose events were refused alone since the last was taken.
    refused: HashSet<u64>,
}

/// Longest wait of a suspect: what is taken meanwhile is to lie between two of its refusals.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(30);

/// When an event was last refused alone, and what the destination had done until then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    at: Instant,
    taken: u64,
    blankets: u64,
}

/// What a lone refusal says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Judgement {
    /// It may be the event's fault or the destination's.
    Suspect(Refusal),
    /// It is the event's.
    Guilty,
}

impl Evidence {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A request was taken.
    pub(crate) fn took(&self) {
        let mut seen = self.seen.lock();
        match seen.refuses_everything() {
            true => seen.blankets += 1,
            false => seen.taken += 1,
        }
        seen.refused.clear();
    }

    /// An event of `person` was refused alone, and `before` the last time.
    pub(crate) fn refused(&self, person: &str, before: Option<Refusal>, now: Instant) -> Judgement {
        let mut seen = self.seen.lock();
        let (taken, blankets) = (seen.taken, seen.blankets);
        let is_guilty = before.is_some_and(|before| {
            before.blankets == blankets && before.taken < taken && now.saturating_duration_since(before.at) <= APART
        });
        if is_guilty && !seen.refuses_everything() {
            return Judgement::Guilty;
        }
        if !seen.refuses_everything() {
            seen.refused.insert(self.hasher.hash_one(person));
        }
        Judgement::Suspect(Refusal { at: now, taken, blankets })
    }

    /// The events of several persons were refused since it took one.
    pub(crate) fn refuses_everything(&self) -> bool {
        self.seen.lock().refuses_everything()
    }
}

impl Seen {
    fn refuses_everything(&self) -> bool {
        self.refused.len() >= EVERYTHING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn suspect(judgement: Judgement) -> Option<Refusal> {
        match judgement {
            Judgement::Suspect(refusal) => Some(refusal),
            Judgement::Guilty => None,
        }
    }

    #[test]
    fn an_event_is_at_fault_where_another_was_taken_between_its_two_refusals() {
        let (evidence, now) = (Evidence::new(), Instant::now());
        evidence.took();
        let first = suspect(evidence.refused("anna", None, now));
        assert!(first.is_some(), "what was taken before says nothing of now");
        let second = suspect(evidence.refused("anna", first, now + SECOND));
        assert!(second.is_some(), "nothing was taken in between");
        evidence.took();
        assert!(suspect(evidence.refused("anna", second, now + 2 * SECOND)).is_none());
    }

    #[test]
    fn refusals_that_lie_far_apart_prove_nothing() {
        let (evidence, now) = (Evidence::new(), Instant::now());
        let first = suspect(evidence.refused("anna", None, now));
        evidence.took();
        let second = suspect(evidence.refused("anna", first, now + 61 * SECOND));
        assert!(second.is_some());
        evidence.took();
        assert!(suspect(evidence.refused("anna", second, now + 121 * SECOND)).is_none());
    }

    #[test]
    fn the_first_success_after_everything_was_refused_condemns_nobody() {
        let (evidence, now) = (Evidence::new(), Instant::now());
        let persons = ["anna", "bob", "carl"];
        let first: Vec<_> = persons.map(|person| suspect(evidence.refused(person, None, now))).into();
        assert!(evidence.refuses_everything());
        evidence.took();
        assert!(!evidence.refuses_everything());
        for (person, first) in persons.iter().zip(&first) {
            assert!(suspect(evidence.refused(person, *first, now + SECOND)).is_some(), "{person}");
        }
        // nor does the second, of what was refused in that time
        evidence.took();
        evidence.took();
        assert!(suspect(evidence.refused("anna", first[0], now + SECOND)).is_some());
    }

    #[test]
    fn one_persons_events_are_not_everything() {
        let (evidence, now) = (Evidence::new(), Instant::now());
        for _ in 0..10 {
            evidence.refused("anna", None, now);
            evidence.refused("bob", None, now);
        }
        assert!(!evidence.refuses_everything());
    }
}
