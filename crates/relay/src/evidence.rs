//! Whether a refusal is an event's own fault: what a destination did with other events, in every lane of this process.
//!
//! An event that is refused alone is suspect. It is at fault where it is refused alone again after the destination took
//! another event in between, the two refusals at most a minute apart. Where the events of several persons are refused and
//! none is taken, the destination may refuse everything, and one such pair proves nothing; nor does it at a destination that
//! took an event which it had refused, other than while it refused everything for once. There an event is at fault once it was refused many times, each shortly after another
//! was taken that had not been when it was refused before.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Persons whose events are refused for the first time with none taken, from which on it may be the destination that refuses.
const SEVERAL: usize = 3;
/// The same of persons whose events are refused again: what is at fault is refused again and again where all is well.
const SEVERAL_AGAIN: usize = 20;
/// Longest time between the two refusals.
const APART: Duration = Duration::from_secs(60);
/// Longest time between what was taken and a refusal of which that is evidence where the destination may be at fault.
const NEAR: Duration = Duration::from_secs(10);
/// Refusals near what was taken that it takes where the destination may refuse everything for some seconds.
const IN_DOUBT: u8 = 3;
/// The same where it refused what it took later: of an event that is refused with even odds one in 8,000 dies.
const CAPRICIOUS: u8 = 12;
/// How long a destination counts as one that refuses what it takes later.
const CAPRICIOUS_FOR: Duration = Duration::from_secs(300);

/// Longest wait of a suspect: what is taken meanwhile is to lie between two of its refusals.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    seen: Mutex<Seen>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Seen {
    /// Requests with events that were taken.
    taken: u64,
    taken_at: Option<Instant>,
    /// Times that several were refused before one was taken.
    crowds: u64,
    /// Some of the persons whose events were refused alone since the last was taken: for the first time, and again.
    first: HashSet<u64>,
    again: HashSet<u64>,
    /// And some of those whose events failed alone for the first time since.
    failed: HashSet<u64>,
    /// When one was taken after several had been refused.
    crowd_ended_at: Option<Instant>,
    /// When an event was taken that had been refused, and not while the destination, once, refused everything.
    acquitted_at: Option<Instant>,
}

/// When an event was last refused alone, and what the destination had done until then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    at: Instant,
    taken: u64,
    crowds: u64,
    /// Refusals near what was taken.
    near: u8,
}

impl Refusal {
    /// Of an event that a former process tried, and may have seen refused.
    pub(crate) fn unknown(now: Instant) -> Self {
        Self { at: now, taken: u64::MAX, crowds: 0, near: 0 }
    }

    pub(crate) fn at(self) -> Instant {
        self.at
    }

    /// Times that everything had been refused by then.
    pub(crate) fn crowds(self) -> u64 {
        self.crowds
    }

    /// This process saw it.
    pub(crate) fn is_known(self) -> bool {
        self.taken != u64::MAX
    }
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

    /// A request was taken; `acquits` is the last refusal of an event of its call that had been refused alone.
    pub(crate) fn took(&self, acquits: Option<Refusal>, now: Instant) {
        let mut seen = self.seen.lock();
        let mut again = false;
        if seen.is_crowded() {
            again = seen.crowd_ended_at.is_some_and(|at| now.saturating_duration_since(at) <= CAPRICIOUS_FOR);
            (seen.crowds, seen.crowd_ended_at) = (seen.crowds + 1, Some(now));
        }
        (seen.taken, seen.taken_at) = (seen.taken + 1, Some(now));
        // what was refused while everything was says nothing, unless that happens again and again
        if acquits.is_some_and(|refusal| again || refusal.crowds == seen.crowds) {
            seen.acquitted_at = Some(now);
        }
        seen.first.clear();
        seen.again.clear();
        seen.failed.clear();
    }

    /// A request was taken since then.
    pub(crate) fn took_since(&self, then: Instant) -> bool {
        self.seen.lock().taken_at.is_some_and(|at| at >= then)
    }

    /// An event of `person` failed alone for the first time, and may be the reason.
    pub(crate) fn failed(&self, person: &str) {
        let mut seen = self.seen.lock();
        if seen.failed.len() < SEVERAL {
            seen.failed.insert(self.hasher.hash_one(person));
        }
    }

    /// The events of several persons failed since it took one: it is the destination that fails.
    pub(crate) fn is_failing(&self) -> bool {
        self.seen.lock().failed.len() >= SEVERAL
    }

    /// An event of `person` was refused alone, and `before` the last time.
    pub(crate) fn refused(&self, person: &str, before: Option<Refusal>, now: Instant) -> Judgement {
        let mut seen = self.seen.lock();
        let is_crowded = seen.is_crowded();
        let person = self.hasher.hash_one(person);
        if !is_crowded {
            match before {
                None => seen.first.insert(person),
                Some(_) => seen.again.insert(person),
            };
        }
        let within = |at: Option<Instant>, most| at.is_some_and(|at| now.saturating_duration_since(at) <= most);
        let is_capricious = within(seen.acquitted_at, CAPRICIOUS_FOR);
        let mut near = before.map_or(0, |before| before.near);
        if let Some(before) = before.filter(|before| before.taken < seen.taken) {
            let is_calm = !is_crowded && before.crowds == seen.crowds && !is_capricious;
            near += u8::from(within(seen.taken_at, NEAR));
            let most = if is_capricious { CAPRICIOUS } else { IN_DOUBT };
            if is_calm && within(Some(before.at), APART) || near >= most {
                return Judgement::Guilty;
            }
        }
        Judgement::Suspect(Refusal { at: now, taken: seen.taken, crowds: seen.crowds, near })
    }

    /// The events of several persons were refused since it took one.
    pub(crate) fn is_crowded(&self) -> bool {
        self.seen.lock().is_crowded()
    }
}

impl Seen {
    fn is_crowded(&self) -> bool {
        self.first.len() >= SEVERAL || self.again.len() >= SEVERAL_AGAIN
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

    /// The refusal of an event that is taken now.
    fn acquitted(evidence: &Evidence, now: Instant) -> Refusal {
        let crowds = evidence.seen.lock().crowds;
        Refusal { crowds, ..Refusal::unknown(now) }
    }

    /// How often an event is refused until it is at fault: each `pause` later, and before each others are as `between` says.
    fn refusals(evidence: &Evidence, pause: Duration, mut between: impl FnMut(usize, Instant)) -> Option<usize> {
        let (mut now, mut before) = (Instant::now(), None);
        for refusals in 1..100 {
            between(refusals, now);
            before = match evidence.refused("bad", before, now) {
                Judgement::Suspect(refusal) => Some(refusal),
                Judgement::Guilty => return Some(refusals),
            };
            now += pause;
        }
        None
    }

    #[test]
    fn an_event_is_at_fault_where_another_was_taken_between_its_two_refusals() {
        let (evidence, now) = (Evidence::new(), Instant::now());
        evidence.took(None, now);
        let first = suspect(evidence.refused("anna", None, now));
        assert!(first.is_some(), "what was taken before says nothing of now");
        let second = suspect(evidence.refused("anna", first, now + SECOND));
        assert!(second.is_some(), "nothing was taken in between");
        evidence.took(None, now + SECOND);
        assert!(suspect(evidence.refused("anna", second, now + 2 * SECOND)).is_none());
    }

    #[test]
    fn refusals_that_lie_far_apart_prove_nothing() {
        let evidence = Evidence::new();
        // what is taken lies long before each
        let took = |pause: u32| {
            let mut at = Instant::now();
            let took = move |evidence: &Evidence, now| evidence.took(None, std::mem::replace(&mut at, now));
            (pause * SECOND, took)
        };
        let (pause, mut between) = took(61);
        assert_eq!(refusals(&evidence, pause, |_, now| between(&evidence, now)), None);
        let (pause, mut between) = took(59);
        assert_eq!(refusals(&evidence, pause, |_, now| between(&evidence, now)), Some(2));
    }

    #[test]
    fn the_first_success_after_everything_was_refused_condemns_nobody() {
        let (evidence, now) = (Evidence::new(), Instant::now());
        let persons = ["anna", "bob", "carl"];
        let first: Vec<_> = persons.map(|person| suspect(evidence.refused(person, None, now))).into();
        assert!(evidence.is_crowded());
        evidence.took(None, now);
        assert!(!evidence.is_crowded());
        for (person, first) in persons.iter().zip(&first) {
            assert!(suspect(evidence.refused(person, *first, now + SECOND)).is_some(), "{person}");
        }
        // nor does the second, of what was refused in that time
        evidence.took(None, now);
        assert!(suspect(evidence.refused("anna", first[0], now + SECOND)).is_some());
    }

    #[test]
    fn beside_the_bad_events_of_a_stranger_a_bad_one_is_at_fault_too() {
        let evidence = Evidence::new();
        let flood = |refusals: usize, now| {
            evidence.took(None, now);
            for stranger in 0..5 {
                suspect(evidence.refused(&format!("stranger {refusals} {stranger}"), None, now));
            }
        };
        assert_eq!(refusals(&evidence, SECOND, flood), Some(4));
    }

    #[test]
    fn a_destination_that_takes_what_it_refused_must_refuse_an_event_many_times() {
        let evidence = Evidence::new();
        assert_eq!(refusals(&evidence, SECOND, |_, now| evidence.took(Some(acquitted(&evidence, now)), now)), Some(13));
        let last = Instant::now() + 13 * SECOND;
        let later = last + CAPRICIOUS_FOR;
        let first = suspect(evidence.refused("anna", None, later));
        evidence.took(None, later);
        assert!(suspect(evidence.refused("anna", first, later + SECOND)).is_none(), "it has not for five minutes");
    }

    #[test]
    fn what_was_refused_while_everything_was_raises_the_bar_only_where_that_happens_again() {
        let evidence = Evidence::new();
        let blanket = |now| {
            let refused = ["anna", "bob", "carl"].map(|person| suspect(evidence.refused(person, None, now)));
            evidence.took(refused[0], now);
        };
        let (now, minute) = (Instant::now(), 60 * SECOND);
        blanket(now);
        assert_eq!(refusals(&evidence, SECOND, |_, now| evidence.took(None, now)), Some(2));
        blanket(now + 6 * minute);
        let bar = |evidence: &Evidence| evidence.seen.lock().acquitted_at.is_some();
        assert!(!bar(&evidence), "the other was long before");
        blanket(now + 7 * minute);
        assert!(bar(&evidence));
    }

    #[test]
    fn one_persons_events_are_not_everything_and_those_refused_again_are_hardly() {
        let (evidence, now) = (Evidence::new(), Instant::now());
        for _ in 0..10 {
            suspect(evidence.refused("anna", None, now));
            suspect(evidence.refused("bob", None, now));
        }
        assert!(!evidence.is_crowded());
        for person in 0..20 {
            assert!(!evidence.is_crowded());
            suspect(evidence.refused(&person.to_string(), Some(Refusal::unknown(now)), now));
        }
        assert!(evidence.is_crowded());
    }

    #[test]
    fn of_what_a_former_process_saw_refused_two_refusals_of_this_one_decide() {
        let (evidence, now) = (Evidence::new(), Instant::now());
        evidence.took(None, now);
        let first = suspect(evidence.refused("anna", Some(Refusal::unknown(now)), now));
        assert!(first.is_some());
        evidence.took(None, now);
        assert!(suspect(evidence.refused("anna", first, now)).is_none());
    }
}
