//! When requests are due.

use std::time::Duration;

/// A rate over time: held, or moved evenly from one to the next.
#[derive(Debug, Clone, Default)]
pub struct Ramp(Vec<Segment>);

#[derive(Debug, Clone, Copy)]
struct Segment {
    from: f64,
    to: f64,
    seconds: f64,
}

impl Segment {
    fn requests(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds
    }

    /// Seconds until the n-th request of the segment is due: the root of `from·t + (to - from)·t² / 2d = n`.
    fn due(&self, n: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        if n <= 0.0 {
            return 0.0;
        }
        if slope.abs() < 1e-9 {
            return n / self.from;
        }
        2.0 * n / (self.from + (self.from * self.from + 2.0 * slope * n).max(0.0).sqrt())
    }
}

impl Ramp {
    /// So many requests a second for so long.
    #[must_use]
    pub fn constant(per_second: f64, length: Duration) -> Self {
        Self::default().then(per_second, per_second, length)
    }

    /// The same, then from one rate to another.
    #[must_use]
    pub fn then(mut self, from: f64, to: f64, length: Duration) -> Self {
        let seconds = length.as_secs_f64();
        if seconds > 0.0 && from.max(to) > 0.0 {
            self.0.push(Segment { from: from.max(0.0), to: to.max(0.0), seconds });
        }
        self
    }

    /// Requests in all.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.iter().map(Segment::requests).sum::<f64>() as u64
    }

    /// How long it lasts.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_secs_f64(self.0.iter().map(|segment| segment.seconds).sum())
    }

    /// When the n-th request is due, counted from 0; `None` beyond the last.
    #[must_use]
    pub fn due(&self, n: u64) -> Option<Duration> {
        let (mut left, mut passed) = (n as f64, 0.0);
        for segment in &self.0 {
            let requests = segment.requests();
            if left < requests {
                return Some(Duration::from_secs_f64(passed + segment.due(left)));
            }
            left -= requests;
            passed += segment.seconds;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_as_the_rate_says() {
        let second = Duration::from_secs(1);
        let steady = Ramp::constant(1_000.0, second * 2);
        assert_eq!(steady.requests(), 2_000);
        assert_eq!(steady.due(500), Some(second / 2));
        assert_eq!(steady.due(2_000), None);

        let ramp = Ramp::default().then(0.0, 100.0, second * 10).then(100.0, 100.0, second);
        assert_eq!((ramp.requests(), ramp.length()), (600, second * 11));
        assert_eq!(ramp.due(0), Some(Duration::ZERO));
        // a quarter of a triangle is done at half its base
        assert!((ramp.due(125).unwrap().as_secs_f64() - 5.0).abs() < 1e-9);
        assert!((ramp.due(550).unwrap().as_secs_f64() - 10.5).abs() < 1e-9);
        let times: Vec<_> = (0..600).map(|n| ramp.due(n).unwrap()).collect();
        assert!(times.is_sorted());

        let down = Ramp::default().then(100.0, 0.0, second * 10);
        assert!((down.due(375).unwrap().as_secs_f64() - 5.0).abs() < 1e-9);
        assert_eq!(Ramp::default().then(0.0, 0.0, second).due(0), None);
    }
}
