//! How long requests took, and by how much one set of them took longer than another.

use std::time::Duration;

/// Sizes that differ by less than a factor of four are alike.
const SIZES: usize = 8;
/// Requests up to this many bytes are the smallest size.
const SMALLEST_BYTES: usize = 1024;
/// Beyond so many requests of a size the older ones count for half.
const MAX_COUNT: f64 = 64.0;
/// Two sets are compared once they have so many requests of the same sizes.
pub(super) const LEAST_COMMON: f64 = 6.0;
/// The least variance that is believed, as a part of the square of the mean, however alike a few requests were.
const LEAST_VARIANCE: f64 = 0.05;

/// How long requests took, apart by their size: a request of one event says nothing of one of 500.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies([Seconds; SIZES]);

/// What requests of one size took, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Seconds {
    count: f64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

/// A quotient as its natural logarithm, and that logarithm's standard error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    pub(super) log: f64,
    pub(super) error: f64,
}

impl Latencies {
    /// Adds a request of `bytes` before compression.
    pub(super) fn add(&mut self, bytes: usize, took: Duration) {
        let size = (bytes / SMALLEST_BYTES).checked_ilog2().map_or(0, |log| log as usize / 2 + 1).min(SIZES - 1);
        self.0[size].merge(&Seconds { count: 1.0, mean: took.as_secs_f64().max(1e-6), squares: 0.0 });
    }

    /// Adds all requests of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| own.merge(other));
    }

    /// Requests that are remembered.
    pub(super) fn count(&self) -> f64 {
        self.0.iter().map(|size| size.count).sum()
    }

    /// How many times as long as in `other` requests took, were both of the same sizes. None: too few are.
    pub(super) fn compared_with(&self, other: &Self) -> Option<Estimate> {
        let (mut common, mut own_seconds, mut other_seconds) = (0.0, 0.0, 0.0);
        let mut parts = Vec::with_capacity(SIZES);
        for (own, other) in self.0.iter().zip(&other.0).filter(|(own, other)| own.count.min(other.count) >= 1.0) {
            common += own.count.min(other.count);
            let requests = own.count + other.count;
            let part = (requests * own.mean, requests * other.mean);
            let squares = own.squares / own.mean.powi(2) + other.squares / other.mean.powi(2);
            let variance = (squares / (requests - 2.0).max(1.0)).max(LEAST_VARIANCE);
            (own_seconds, other_seconds) = (own_seconds + part.0, other_seconds + part.1);
            parts.push((part, variance * (1.0 / own.count + 1.0 / other.count)));
        }
        if common < LEAST_COMMON {
            return None;
        }
        let weigh = |(part, variance): &((f64, f64), f64)| {
            let share = f64::midpoint(part.0 / own_seconds, part.1 / other_seconds);
            share * share * variance
        };
        let error = parts.iter().map(weigh).sum::<f64>().sqrt();
        Some(Estimate { log: (own_seconds / other_seconds).ln(), error })
    }
}

impl Seconds {
    fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if count <= 0.0 {
            return;
        }
        let distance = other.mean - self.mean;
        self.mean += distance * other.count / count;
        self.squares += other.squares + distance * distance * self.count * other.count / count;
        self.count = count;
        if self.count > MAX_COUNT {
            self.squares *= MAX_COUNT / 2.0 / self.count;
            self.count = MAX_COUNT / 2.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(requests: &[(usize, u64)]) -> Latencies {
        let mut latencies = Latencies::default();
        for (bytes, millis) in requests {
            latencies.add(*bytes, Duration::from_millis(*millis));
        }
        latencies
    }

    #[test]
    fn only_requests_of_the_same_size_are_compared() {
        let small = latencies(&[(500, 200); 8]);
        assert!(small.compared_with(&latencies(&[(500_000, 2_000); 8])).is_none(), "nothing in common");
        assert!(small.compared_with(&latencies(&[(500, 200); 3])).is_none(), "too few");
        let mostly_large = latencies(&[&[(500, 400); 8][..], &[(500_000, 2_000); 50]].concat());
        let twice = mostly_large.compared_with(&small).unwrap();
        assert!((twice.log.exp() - 2.0).abs() < 1e-6, "{twice:?}");
    }

    #[test]
    fn sizes_weigh_by_the_time_they_take() {
        // each of the two waits for a second: for a small request that is six times as long, for all of them 1.74 times
        let before = latencies(&[&[(500, 200); 10][..], &[(500_000, 2_500); 10]].concat());
        let after = latencies(&[&[(500, 1_200); 10][..], &[(500_000, 3_500); 10]].concat());
        let longer = after.compared_with(&before).unwrap().log.exp();
        assert!((longer - 4_700.0 / 2_700.0).abs() < 1e-6, "{longer}");
    }

    #[test]
    fn the_error_falls_with_the_number_of_requests_and_the_last_ones_count_most() {
        let noisy = |rounds| latencies(&[(500, 100), (500, 200), (500, 600)].repeat(rounds));
        let error = |rounds| noisy(rounds).compared_with(&noisy(rounds)).unwrap().error;
        assert!(error(3) > 1.5 * error(12) && error(12) > 0.1, "{} {}", error(3), error(12));
        let mut changed = noisy(1000);
        for _ in 0..100 {
            changed.add(500, Duration::from_secs(3));
        }
        let longer = changed.compared_with(&noisy(10)).unwrap().log.exp();
        assert!((7.5..=10.01).contains(&longer), "{longer}");
    }
}
