//! Latencies, counted in buckets whose width grows with the value.

use std::time::Duration;

/// Buckets to each doubling: values are known to within 1 in 128.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts of durations, in microseconds, to within one percent.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, value: Duration) {
        let index = index(u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            *own += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether none was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The duration that this share of all (0 to 1) did not exceed; zero when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper(index)).min(self.max);
            }
        }
        self.max
    }
}

fn index(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let shift = 63 - micros.leading_zeros() - STEP_BITS;
    (u64::from(shift) * STEPS + (micros >> shift)) as usize
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    (((index - shift * STEPS) + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        for (share, want) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0), (1.0, 10_000.0)] {
            let got = histogram.quantile(share).as_micros() as f64;
            assert!((got - want).abs() <= want / 100.0, "{share}: {got}");
        }
        let mut doubled = histogram.clone();
        doubled.merge(&histogram);
        assert_eq!((doubled.len(), doubled.quantile(0.5)), (20_000, histogram.quantile(0.5)));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_values_and_is_narrow(micros in 0..u64::MAX / 2) {
            let upper = upper(index(micros));
            prop_assert!(upper >= micros && upper - micros <= micros / STEPS);
            prop_assert!(index(upper) == index(micros) && index(upper + 1) == index(micros) + 1);
        }
    }
}
