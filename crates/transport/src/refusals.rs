//! What was refused, and why: counted each time, said at most once a minute.

use std::fmt::Display;

use metrics::{Counter, counter};
use moehog_runtime::OncePerMinute;
use parking_lot::Mutex;
use strum::{EnumCount, VariantArray};
use tokio::time::Instant;

/// Why a connection was closed, or a call refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumCount, VariantArray)]
pub(crate) enum Reason {
    /// Too many connections.
    Connections,
    /// No HTTP/2 came in time.
    Preface,
    /// No certificate that can be used, or not in time.
    Certificate,
    /// A certificate of somebody who is not among the callers.
    Caller,
    /// Too many calls under way, or watches of health.
    Calls,
    /// Too many bytes held.
    Bytes,
    /// Too many events or webhooks in a call.
    Items,
    /// A message that did not come in time, or an answer that was not taken.
    Silence,
}

impl Reason {
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
pub(crate) struct Refusals([Refusal; Reason::COUNT]);

#[derive(Debug)]
struct Refusal {
    counter: Counter,
    said: Mutex<OncePerMinute>,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        let refusal =
            |index: usize| Refusal { counter: refused(Reason::VARIANTS[index].label()), said: Mutex::default() };
        Self(std::array::from_fn(refusal))
    }

    /// Counts one more, and says it where the last line for this reason is a minute old.
    pub(crate) fn add(&self, reason: Reason, why: &dyn Display) {
        let refusal = &self.0[reason as usize];
        refusal.counter.increment(1);
        let due = refusal.said.lock().count(Instant::now());
        if let Some(refused) = due {
            let reason = reason.label();
            tracing::warn!(reason, error = %why, refused, "gRPC callers were turned away");
        }
    }
}

/// Connections that were closed and calls that were refused.
fn refused(reason: &'static str) -> Counter {
    counter!("moehog_transport_refused_total", "reason" => reason)
}
