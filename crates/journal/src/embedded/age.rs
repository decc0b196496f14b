//! The time by which things grow old: what the clock shows, but for its jumps.
//!
//! A clock that is wrong for a moment, by hours or by years, either way, must delete nothing too early and keep nothing for
//! ever. So what the clock shows is believed while it goes along with what has passed, and a jump once it has stood for an
//! hour. A process that begins does not know what has passed before, nor whether its clock is right: unless that shows about
//! when the last webhook came, no time is known until the hour is over.

use std::time::Duration;

use parking_lot::Mutex;

use super::Clock;

/// A difference that is no jump: a clock that is set right is moved by seconds.
const NEAR_MS: i64 = 60_000;
/// How long a jump must have stood.
const STANDS: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub(super) struct Age {
    clock: Clock,
    belief: Mutex<Belief>,
}

/// What is believed of the clock, as what it shows less what has passed.
#[derive(Debug)]
struct Belief {
    offset_ms: i64,
    /// What it shows now, and since when it has gone on without a jump.
    shown: (i64, Duration),
    certain: bool,
}

impl Age {
    /// The time, where the last thing that is known of happened at `last_ms`; none where nothing is known.
    pub(super) fn new(clock: Clock, last_ms: Option<i64>) -> Self {
        let (passed, shown_ms) = (clock.passed(), clock.now_ms());
        let offset = |at_ms: i64| at_ms.saturating_sub(millis(passed));
        let belief = Belief {
            offset_ms: offset(last_ms.map_or(shown_ms, |last_ms| shown_ms.min(last_ms))),
            shown: (offset(shown_ms), passed),
            certain: last_ms.is_some_and(|last_ms| is_near(shown_ms, last_ms)),
        };
        Self { clock, belief: Mutex::new(belief) }
    }

    /// Milliseconds since the epoch, or less.
    pub(super) fn now_ms(&self) -> i64 {
        self.look().0
    }

    /// Milliseconds since the epoch; none while that is not known.
    pub(super) fn known_ms(&self) -> Option<i64> {
        let (now_ms, certain) = self.look();
        certain.then_some(now_ms)
    }

    fn look(&self) -> (i64, bool) {
        let (passed, shown_ms) = (self.clock.passed(), self.clock.now_ms());
        let offset_ms = shown_ms.saturating_sub(millis(passed));
        let mut belief = self.belief.lock();
        if !is_near(offset_ms, belief.shown.0) {
            let jump_seconds = (offset_ms - belief.shown.0) / 1000;
            tracing::warn!(
                jump_seconds,
                "the clock has jumped: what is kept by its age is kept as if it had not, until the clock has stood so for an hour"
            );
            belief.shown.1 = passed;
        }
        belief.shown.0 = offset_ms;
        let has_stood = passed.saturating_sub(belief.shown.1) >= STANDS;
        if has_stood || belief.certain && is_near(offset_ms, belief.offset_ms) {
            (belief.offset_ms, belief.certain) = (offset_ms, true);
        }
        (millis(passed).saturating_add(belief.offset_ms), belief.certain)
    }
}

fn is_near(one_ms: i64, other_ms: i64) -> bool {
    one_ms.abs_diff(other_ms) <= NEAR_MS.unsigned_abs()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    };

    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const START_MS: i64 = 1_700_000_000_000;

    /// A clock, and what moves what it shows and what has passed.
    struct Hand {
        shown_ms: Arc<AtomicI64>,
        passed_ms: Arc<AtomicI64>,
    }

    impl Hand {
        fn new() -> (Self, Clock) {
            let (shown_ms, passed_ms) = (Arc::new(AtomicI64::new(START_MS)), Arc::new(AtomicI64::new(5)));
            let (shows, passes) = (shown_ms.clone(), passed_ms.clone());
            let passed = move || Duration::from_millis(passes.load(Ordering::Relaxed).unsigned_abs());
            (Self { shown_ms, passed_ms }, Clock::set_by_hand(move || shows.load(Ordering::Relaxed), passed))
        }

        fn passes(&self, ms: i64) {
            self.passed_ms.fetch_add(ms, Ordering::Relaxed);
            self.jumps(ms);
        }

        fn jumps(&self, ms: i64) {
            self.shown_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_is_not_believed() {
        let (hand, clock) = Hand::new();
        let age = Age::new(clock, Some(START_MS));
        assert_eq!(age.known_ms(), Some(START_MS));
        for years in [10, -10] {
            let before_ms = age.now_ms();
            hand.jumps(years * 365 * 24 * HOUR_MS);
            assert_eq!(age.now_ms(), before_ms);
            hand.passes(3000);
            assert_eq!(age.now_ms(), before_ms + 3000);
            hand.jumps(-years * 365 * 24 * HOUR_MS);
            assert_eq!(age.now_ms(), before_ms + 3000);
        }
        hand.jumps(20_000);
        assert_eq!(age.now_ms(), START_MS + 26_000, "one that is set right is");
    }

    #[test]
    fn a_jump_that_stands_is_believed_and_one_that_wanders_is_not() {
        let (hand, clock) = Hand::new();
        let age = Age::new(clock, Some(START_MS));
        hand.jumps(50 * HOUR_MS);
        age.now_ms();
        hand.passes(HOUR_MS / 2);
        assert_eq!(age.now_ms(), START_MS + HOUR_MS / 2);
        hand.passes(HOUR_MS / 2);
        assert_eq!(age.now_ms(), START_MS + 51 * HOUR_MS);
        for _ in 0..10 {
            hand.jumps(HOUR_MS);
            let believed_ms = age.now_ms();
            hand.passes(HOUR_MS / 2);
            assert_eq!(age.now_ms(), believed_ms + HOUR_MS / 2);
        }
    }

    #[test]
    fn a_process_that_begins_knows_the_time_when_its_clock_has_stood_or_shows_that_of_the_last_webhook() {
        let (hand, clock) = Hand::new();
        assert_eq!(Age::new(clock.clone(), Some(START_MS + 5000)).known_ms(), Some(START_MS));
        for last_ms in [None, Some(START_MS - 400 * 24 * HOUR_MS), Some(START_MS + 400 * 24 * HOUR_MS)] {
            let age = Age::new(clock.clone(), last_ms);
            let began_ms = clock.now_ms();
            assert_eq!(
                (age.known_ms(), age.now_ms()),
                (None, last_ms.map_or(began_ms, |last_ms| last_ms.min(began_ms)))
            );
            hand.passes(HOUR_MS - 1);
            assert_eq!(age.known_ms(), None);
            hand.passes(1);
            assert_eq!(age.known_ms(), Some(began_ms + HOUR_MS));
        }
    }
}
