//! What was refused, and why: counted each time, said at most once a minute.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use metrics::{Counter, counter};
use parking_lot::Mutex;

/// Time between two lines for one reason.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Why a connection was closed, or a call refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Too many connections.
    Connections,
    /// No HTTP/2 came in time.
    Preface,
    /// No certificate that can be used, or not in time.
    Certificate,
    /// A certificate of somebody who is not among the callers.
    Caller,
    /// Too many calls under way.
    Calls,
    /// Too many bytes held.
    Bytes,
    /// Too many events or webhooks in a call.
    Items,
    /// A message that did not come in time, or an answer that was not taken.
    Silence,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::Connections,
        Self::Preface,
        Self::Certificate,
        Self::Caller,
        Self::Calls,
        Self::Bytes,
        Self::Items,
        Self::Silence,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Preface => "preface",
            Self::Certificate => "certificate",
            Self::Caller => "caller",
            Self::Calls => "calls",
            Self::Bytes => "bytes",
            Self::Items => "items",
            Self::Silence => "silence",
        }
    }
}

/// Counts refusals of one server. Make it after the metrics recorder is installed.
#[derive(Debug)]
pub(crate) struct Refusals([Refusal; Reason::ALL.len()]);

#[derive(Debug)]
struct Refusal {
    counter: Counter,
    said: Mutex<Said>,
}

/// When a line was last written, and how many refusals came since.
#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    since: u64,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self(Reason::ALL.map(|reason| Refusal { counter: refused(reason.label()), said: Mutex::default() }))
    }

    /// Counts one more, and says it where the last line for this reason is a minute old.
    pub(crate) fn add(&self, reason: Reason, why: &dyn Display) {
        let refusal = &self.0[reason as usize];
        refusal.counter.increment(1);
        if let Some(unsaid) = refusal.said.lock().add(Instant::now()) {
            let reason = reason.label();
            tracing::warn!(reason, error = %why, unsaid, "gRPC caller was turned away");
        }
    }
}

impl Said {
    /// Whether this one is said: how many were not, before it.
    fn add(&mut self, now: Instant) -> Option<u64> {
        if self.at.is_some_and(|at| now.duration_since(at) < SAID_EVERY) {
            self.since += 1;
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// Connections that were closed and calls that were refused.
fn refused(reason: &'static str) -> Counter {
    counter!("moehog_transport_refused_total", "reason" => reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_minutes_refusals_is_said_and_the_next_line_counts_the_others() {
        let (mut said, began) = (Said::default(), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(said.add(began), Some(0));
        assert!((1..60).all(|second| said.add(after(second)).is_none()));
        assert_eq!(said.add(after(60)), Some(59));
        assert_eq!(said.add(after(61)), None);
    }

    #[test]
    fn each_reason_is_counted_in_its_own_place() {
        assert!(Reason::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place));
    }
}
