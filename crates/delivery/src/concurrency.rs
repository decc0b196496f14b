//! How many requests of one destination are made at a time: as many as it bears, and never more than is configured.
//!
//! PostHog says in two ways that it is asked for too much at a time. It refuses (429, 503 and their like, or no answer
//! in time), and then half as many requests are made. Or it lets requests wait for each other: each takes longer, and
//! no more of them are answered in a second. A latency alone does not show that: a PostHog that always takes five
//! seconds does more work the more requests are made. So a suspicion leads to a trial of fewer requests at a time, and
//! where as many are answered in a second as before, the delivery stays at fewer. Where requests take as long with
//! fewer, their latency is taken for normal, and the next trial comes later. A trial of more requests at a time shows in
//! the same way whether PostHog bears more.
//!
//! Several deliveries share a PostHog. One of them that makes fewer requests only leaves its part to the others, and
//! learns nothing. So trials begin at the same times of day in all deliveries: at multiples of a power of two of
//! milliseconds.

use std::time::Duration;

mod latency;
mod trial;

use self::{
    latency::Latencies,
    trial::{Finding, Round, Trial},
};

/// A latency is suspicious once it is certainly so many times the latency at fewer requests.
const SUSPICIOUS: f64 = 1.2;
/// Certainly means by so many standard errors.
const CERTAIN: f64 = 3.0;
/// So many full rounds in a row that are suspicious lead to a trial: then the last two are wholly of the new latency.
const SUSPICIOUS_ROUNDS: u32 = 3;
/// First wait after a trial in vain; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// Longest wait after a trial that cost something: work not done, or refusals.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Longest wait after a trial of more requests that only made them wait for each other.
const LONGEST_WAIT_FOR_MORE: Duration = Duration::from_secs(120);
/// The sum at which refusals count. Each adds one, and the requests of two rounds that are taken take half of it away
/// again: a single refusal says nothing, a second one soon after does.
const REFUSALS: f64 = 1.5;
/// Levels of how many requests were under way: 1, 2, up to 4, up to 8, and so on.
const LEVELS: usize = 12;

/// How many requests are made at a time. Pure: it is told what began and ended, and at what time of day, as the time
/// since the epoch.
#[derive(Debug)]
pub(crate) struct Concurrency {
    limit: usize,
    max: usize,
    changed_at: Duration,
    /// Latencies by how many requests were under way.
    levels: [Latencies; LEVELS],
    round: Round,
    /// The last full round at this limit, and the one before it.
    full: Option<Round>,
    previous: Option<Round>,
    /// Full rounds in a row whose latency is suspicious.
    suspicious: u32,
    /// Time between two times of day at which a trial may begin.
    between_trials: Duration,
    trial: Option<Trial>,
    /// See [`REFUSALS`].
    refusals: f64,
    /// Some request that began since the last change was taken.
    is_taken: bool,
    /// The lowest limit at which requests were refused.
    refused_at: Option<usize>,
    /// When a request that began at this limit was last taken.
    seen_at: Duration,
    /// Before a trial of fewer.
    fewer: Wait,
    /// Before a trial of more.
    more: Wait,
    /// Before a trial of as many as were refused.
    as_refused: Wait,
}

/// A request that began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    at: Duration,
    /// Requests that were under way with it.
    under_way: usize,
}

/// How a request ended, as far as its number at a time may be the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// PostHog took its events.
    Taken,
    /// PostHog has no room, or did not answer in time.
    Refused,
    /// Anything else, which says nothing of the load.
    Other,
}

/// When something may be tried again.
#[derive(Debug, Default)]
struct Wait {
    until: Duration,
    /// The next one's length.
    next: Duration,
}

impl Concurrency {
    /// Begins at `max`: the relay offers few calls at first, so that the latency at fewer is seen anyway.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            limit: max,
            max,
            changed_at: Duration::ZERO,
            levels: Default::default(),
            round: Round::default(),
            full: None,
            previous: None,
            suspicious: 0,
            between_trials: Duration::from_secs(1),
            trial: None,
            refusals: 0.0,
            is_taken: true,
            refused_at: None,
            seen_at: Duration::ZERO,
            fewer: Wait::default(),
            more: Wait::default(),
            as_refused: Wait::default(),
        }
    }

    /// Requests that may be under way at a time now: from 1 to [`max`](Self::max).
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The most that may ever be under way at a time.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Whether what PostHog bears is less than `max`, as far as is known: a trial of fewer is no finding.
    pub(crate) fn is_lowered(&self) -> bool {
        self.trial.as_ref().map_or(self.limit, |trial| trial.from) < self.max
    }

    /// A request begins at `now` and is one of `under_way`.
    pub(crate) fn begin(&mut self, now: Duration, under_way: usize) -> Begun {
        if let Some(trial) = self.trial.take_if(|trial| now >= trial.ends_by) {
            // the turns were not all in use, so nothing was learnt; what is not needed may as well be more
            self.set(now, trial.from.max(trial.tried));
        }
        Begun { at: now, under_way }
    }

    /// A request of `bytes` before compression ended at `now`.
    pub(crate) fn end(&mut self, now: Duration, request: Begun, bytes: usize, ended: Ended) {
        let is_of_now = request.at >= self.changed_at && request.under_way <= self.limit;
        match ended {
            Ended::Other => {}
            Ended::Refused if request.at >= self.changed_at => self.count_refusal(now),
            Ended::Refused => {}
            Ended::Taken => {
                let took = now.saturating_sub(request.at);
                self.levels[level(request.under_way)].add(bytes, took);
                self.refusals = (self.refusals - 0.25 / self.limit as f64).max(0.0);
                self.is_taken |= request.at >= self.changed_at;
                if is_of_now {
                    self.count_taken(now, request, bytes, took);
                }
            }
        }
    }

    fn count_refusal(&mut self, now: Duration) {
        self.refusals += 1.0;
        if self.refusals < REFUSALS {
            return;
        }
        self.refusals = 0.0;
        let refused = self.limit;
        match self.trial.take() {
            Some(trial) if !trial.is_of_fewer() => self.set(now, trial.from),
            // nothing was taken since there are fewer: this is no load but an outage, which the relay waits for
            _ if !self.is_taken || refused == 1 => return,
            _ => {
                self.set(now, refused / 2);
                self.is_taken = false;
            }
        }
        self.refused_at = Some(refused);
        self.as_refused.lengthen(now, self.between_trials, LONGEST_WAIT);
    }

    fn count_taken(&mut self, now: Duration, request: Begun, bytes: usize, took: Duration) {
        let last_seen_at = std::mem::replace(&mut self.seen_at, now);
        if request.under_way * 5 < self.limit * 4 {
            self.round.idle += 1;
            if self.round.idle > self.round.count + 4 {
                self.forget_rounds();
            }
            return;
        }
        self.round.add(bytes, took, request.under_way);
        if self.trial.is_some() {
            return self.judge_trial(now);
        }
        if self.round.is_full(self.limit) {
            self.end_round();
        }
        self.begin_trial(last_seen_at, now);
    }

    fn end_round(&mut self) {
        let round = std::mem::take(&mut self.round);
        let normal = self.latencies_at_fewer();
        let slower = normal.and_then(|normal| round.latencies.compared_with(&normal));
        match slower {
            Some(slower) if slower.log - CERTAIN * slower.error > SUSPICIOUS.ln() => self.suspicious += 1,
            Some(slower) if slower.log + CERTAIN * slower.error < 0.0 => {
                // fewer requests would not have taken longer
                self.suspicious = 0;
                self.take_for_normal(round.latencies.clone());
            }
            _ => self.suspicious = 0,
        }
        self.between_trials = round.between_trials();
        self.previous = self.full.replace(round);
    }

    /// Latencies while at most six in ten of the requests were under way: the fewest that tell something.
    fn latencies_at_fewer(&self) -> Option<Latencies> {
        let mut fewer = Latencies::default();
        for level in (0..LEVELS).take_while(|level| 10 << level <= 6 * self.limit) {
            fewer.merge(&self.levels[level]);
            if fewer.count() >= latency::LEAST_COMMON {
                return Some(fewer);
            }
        }
        None
    }

    fn take_for_normal(&mut self, latencies: Latencies) {
        self.levels = Default::default();
        self.levels[0] = latencies;
    }

    /// Begins a trial of fewer or of more at the next time of day at which all deliveries may.
    fn begin_trial(&mut self, last_seen_at: Duration, now: Duration) {
        let number = |at: Duration| at.as_millis() / self.between_trials.as_millis().max(1);
        if self.full.is_none() || number(now) == number(last_seen_at) {
            return;
        }
        let tried = match self.suspicious {
            SUSPICIOUS_ROUNDS.. if self.limit == 1 || now < self.fewer.until => None,
            SUSPICIOUS_ROUNDS.. => Some((self.limit * 7 / 10).max(1)),
            _ => self.next_higher(now),
        };
        if let (Some(tried), Some(full)) = (tried, self.full.take_if(|_| tried.is_some())) {
            let before = self.previous.take().iter().fold(full, Round::merged_with);
            let (from, ends_by) = (self.limit, now + self.between_trials * 2);
            self.set(now, tried);
            self.trial = Some(Trial { from, tried, before, ends_by });
        }
    }

    /// The next higher limit to try, if it is time.
    fn next_higher(&self, now: Duration) -> Option<usize> {
        let limit = self.limit;
        if limit == self.max || now < self.more.until {
            return None;
        }
        let higher = (limit + 1).max((limit * 7).div_ceil(5));
        // a little more than most would be too little to see
        let higher = if higher * 4 >= self.max * 3 { self.max } else { higher };
        match self.refused_at {
            Some(refused) if now < self.as_refused.until => {
                // halfway to what was refused
                Some(higher.min(usize::midpoint(limit, refused))).filter(|higher| *higher > limit)
            }
            _ => Some(higher),
        }
    }

    fn judge_trial(&mut self, now: Duration) {
        let Some(finding) = self.trial.as_ref().and_then(|trial| trial.judge(&self.round)) else { return };
        let Some(trial) = self.trial.take() else { return };
        match (finding, trial.is_of_fewer()) {
            (Finding::Better, true) => {
                self.fewer = Wait::default();
                self.more.lengthen(now, self.between_trials, LONGEST_WAIT_FOR_MORE);
            }
            (Finding::Better, false) => {
                self.more = Wait::default();
                if self.refused_at.is_some_and(|refused| refused <= trial.tried) {
                    (self.refused_at, self.as_refused) = (None, Wait::default());
                }
            }
            (_, true) => {
                if finding == Finding::Unrelated {
                    self.take_for_normal(trial.before.latencies.clone());
                }
                self.fewer.lengthen(now, self.between_trials, LONGEST_WAIT);
            }
            (_, false) => self.more.lengthen(now, self.between_trials, LONGEST_WAIT_FOR_MORE),
        }
        let round = std::mem::take(&mut self.round);
        let (limit, seen) = match finding {
            Finding::Better => (trial.tried, round),
            Finding::Worse | Finding::Unrelated => (trial.from, trial.before),
        };
        self.set(now, limit);
        self.full = Some(seen);
    }

    fn set(&mut self, now: Duration, limit: usize) {
        self.limit = limit;
        self.changed_at = now;
        self.refusals = 0.0;
        self.forget_rounds();
    }

    fn forget_rounds(&mut self) {
        self.round = Round::default();
        (self.full, self.previous) = (None, None);
        self.suspicious = 0;
    }
}

impl Wait {
    /// Waits twice as long as the last time.
    fn lengthen(&mut self, now: Duration, between_trials: Duration, longest: Duration) {
        let shortest = FIRST_WAIT.max(between_trials * 2);
        let wait = self.next.min(longest).max(shortest);
        self.until = now + wait;
        self.next = wait * 2;
    }
}

fn level(under_way: usize) -> usize {
    (under_way.max(1) - 1).checked_ilog2().map_or(0, |log| log as usize + 1).min(LEVELS - 1)
}

#[cfg(test)]
impl Concurrency {
    /// Sets the limit as if it had been found.
    pub(crate) fn set_for_test(&mut self, limit: usize) {
        self.limit = limit;
    }
}

#[cfg(test)]
mod tests;
