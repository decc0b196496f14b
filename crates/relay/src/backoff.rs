//! When to try again.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

/// Capped exponential waiting time. Half of it is fixed and half is jitter, so that many waiters spread out and none
/// hurries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max: max.max(first) }
    }

    /// How long to wait after `failures` (1 is the first), never less than `least` (`Retry-After`). `jitter` is 0 to 1:
    /// one draw for all events of a call keeps them together for the next one.
    pub(crate) fn delay(&self, failures: u32, least: Duration, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        let whole = self.first.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.max);
        least.max(whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
    }
}

/// What is tried again by itself, later after each failure.
#[derive(Debug)]
pub(crate) struct Retry {
    backoff: Backoff,
    failures: u32,
    at: Option<Instant>,
}

impl Retry {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, at: None }
    }

    pub(crate) fn failed(&mut self, now: Instant, jitter: f64) {
        self.failures += 1;
        self.at = Some(now + self.backoff.delay(self.failures, Duration::ZERO, jitter));
    }

    pub(crate) fn worked(&mut self) {
        (self.failures, self.at) = (0, None);
    }

    /// When it may be tried again; none where nothing failed.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    pub(crate) fn waits(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now < at)
    }
}

/// Seeded chance.
#[derive(Debug)]
pub(crate) struct Chance(SmallRng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// A number from 0 to 1.
    pub(crate) fn draw(&mut self) -> f64 {
        self.0.random()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    proptest! {
        #[test]
        fn a_delay_stays_between_half_and_the_cap_and_above_retry_after(
            failures in 1_u32..10_000, least in 0_u64..100_000, jitter in 0.0..=1.0_f64,
        ) {
            let backoff = Backoff::new(SECOND / 2, 300 * SECOND);
            let least = Duration::from_millis(least);
            let delay = backoff.delay(failures, least, jitter);
            prop_assert!(delay >= least && delay >= SECOND / 4);
            prop_assert!(delay <= least.max(300 * SECOND));
            let next = backoff.delay(failures + 1, least, jitter);
            prop_assert!(next >= delay);
        }
    }

    #[test]
    fn delays_double_until_the_cap() {
        let backoff = Backoff::new(SECOND, 60 * SECOND);
        let delays: Vec<_> = (1..=8).map(|failures| backoff.delay(failures, Duration::ZERO, 1.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.delay(3, Duration::ZERO, 0.0), 2 * SECOND);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draws = |seed| {
            let mut chance = Chance::new(seed);
            [chance.draw(), chance.draw()]
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }
}
