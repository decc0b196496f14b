//! Whether another number of requests at a time is as much work done, or more.

use std::time::Duration;

use super::latency::{Estimate, Latencies};

/// Fewer requests at a time are kept where at most this part of the work done is lost.
const LOST: f64 = 0.05;
/// More are kept where at least this part is won.
const WON: f64 = 0.08;
/// A part that must not be lost for certain.
const NOT_LOST: f64 = 0.15;
/// How much the work done in a round varies at least, as a part of it, were the round one request. Requests that wait
/// for the same others take alike long, and tell less than as many that do not.
const SPREAD: f64 = 0.35;
/// A trial that gathered so many times what a full round has is judged by what is likely.
const MAX_ROUNDS: usize = 4;

/// Requests that began while all turns were in use, at one limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    pub(super) latencies: Latencies,
    /// How many requests.
    pub(super) count: usize,
    /// Requests that began while turns were free; the latencies have none of them.
    pub(super) idle: usize,
    /// Sum of those under way when each began.
    under_way: usize,
    seconds: f64,
}

/// Another limit, tried.
#[derive(Debug)]
pub(super) struct Trial {
    /// The limit before.
    pub(super) from: usize,
    /// The limit that is tried.
    pub(super) tried: usize,
    /// What it was like before.
    pub(super) before: Round,
    /// It is given up then.
    pub(super) ends_by: Duration,
}

/// What a trial shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// The limit that is tried is the better one.
    Better,
    /// The limit before was.
    Worse,
    /// The limit before was: requests take as long with fewer of them, so that their number has nothing to do with it.
    Unrelated,
}

impl Round {
    /// Adds a request that began as one of `under_way`.
    pub(super) fn add(&mut self, bytes: usize, took: Duration, under_way: usize) {
        self.count += 1;
        self.under_way += under_way;
        self.seconds += took.as_secs_f64();
        self.latencies.add(bytes, took);
    }

    /// This round and one before it at the same limit.
    pub(super) fn merged_with(mut self, before: &Self) -> Self {
        self.count += before.count;
        self.idle += before.idle;
        self.under_way += before.under_way;
        self.seconds += before.seconds;
        self.latencies.merge(&before.latencies);
        self
    }

    /// Whether it has enough: two requests a turn.
    pub(super) fn is_full(&self, limit: usize) -> bool {
        self.count >= full_count(limit)
    }

    /// Time between two times of day at which a trial may begin: enough for a trial of requests like these.
    pub(super) fn between_trials(&self) -> Duration {
        let mean_millis = self.seconds * 1000.0 / self.count.max(1) as f64;
        Duration::from_millis(((8.0 * mean_millis) as u64).max(1).next_power_of_two())
    }

    /// Requests that end in a second, compared with another round: by Little's law those under way divided by their
    /// latency.
    fn work_compared_with(&self, other: &Self) -> Option<Estimate> {
        let slower = self.latencies.compared_with(&other.latencies)?;
        let more = self.mean_under_way() / other.mean_under_way();
        let spread = SPREAD * (1.0 / self.count as f64 + 1.0 / other.count as f64).sqrt();
        Some(Estimate { log: more.ln() - slower.log, error: slower.error.max(spread) })
    }

    fn mean_under_way(&self) -> f64 {
        self.under_way as f64 / self.count.max(1) as f64
    }
}

impl Trial {
    pub(super) fn is_of_fewer(&self) -> bool {
        self.tried < self.from
    }

    /// What it shows once `round` is known of the limit that is tried. None: not enough yet.
    pub(super) fn judge(&self, round: &Round) -> Option<Finding> {
        let (rounds, rest) = (round.count / full_count(self.tried), round.count % full_count(self.tried));
        if rounds == 0 || rest > 0 {
            return None;
        }
        let is_last = rounds >= MAX_ROUNDS;
        let Some(work) = round.work_compared_with(&self.before) else {
            // requests of other sizes than before tell nothing
            return is_last.then_some(Finding::Worse);
        };
        let (likely, certain) = if self.is_of_fewer() {
            ((1.0 - LOST).ln(), (1.0 - NOT_LOST).ln())
        } else {
            // where the most that they can win is little, half of it
            let most = self.tried as f64 / self.from as f64 - 1.0;
            ((1.0 + WON.min(most / 2.0)).ln(), 0.0)
        };
        let doubt = if is_last { 1.0 } else { 2.0 };
        if work.log >= likely && work.log - doubt * work.error >= certain {
            Some(Finding::Better)
        } else if is_last || work.log + 2.0 * work.error < likely {
            // were it unrelated, work would fall like the number of requests
            let unrelated = (self.tried as f64 / self.from as f64).ln();
            Some(if work.log < unrelated / 2.0 { Finding::Unrelated } else { Finding::Worse })
        } else {
            None
        }
    }
}

fn full_count(limit: usize) -> usize {
    (2 * limit).max(8)
}
