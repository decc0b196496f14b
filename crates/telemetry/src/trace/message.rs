//! The span of what is done with a webhook in the journal, as conventions for messaging name it.

use std::{fmt::Display, time::Duration};

use moehog_proto::event::TraceContext;
use opentelemetry::trace::SpanKind;

use super::{Leaf, leaf::Description};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is appended.
    Append {
        /// Of its body.
        bytes: i64,
    },
    /// It is taken up by the relay.
    Receive {
        /// Since it came.
        waited: Duration,
    },
    /// It is recorded as settled, with so many events.
    Settle {
        /// PostHog has them.
        delivered: i64,
        /// They are dead letters.
        dead: i64,
        /// Filtered, or there already.
        left_out: i64,
    },
}

/// The span of `operation` on a webhook of `source`; the receipt of an append is known once it has ended.
pub fn message(
    parent: Option<&TraceContext>,
    operation: Operation,
    source: &str,
    receipt: Option<&dyn Display>,
) -> Leaf {
    Leaf::begin(parent, || {
        let (kind, name, class) = match operation {
            Operation::Append { .. } => (SpanKind::Producer, "append", "send"),
            Operation::Receive { .. } => (SpanKind::Client, "receive", "receive"),
            Operation::Settle { .. } => (SpanKind::Client, "settle", "settle"),
        };
        let span = Description::new(format!("{name} {source}"), kind)
            .with("messaging.system", "moehog")
            .with("messaging.operation.name", name)
            .with("messaging.operation.type", class)
            .with("messaging.destination.name", source.to_string());
        let span = match receipt {
            Some(receipt) => span.with("messaging.message.id", receipt.to_string()),
            None => span,
        };
        match operation {
            Operation::Append { bytes } => span.with("messaging.message.body.size", bytes),
            Operation::Receive { waited } => span.with("moehog.waited_seconds", waited.as_secs_f64()),
            Operation::Settle { delivered, dead, left_out } => span
                .with("moehog.events.delivered", delivered)
                .with("moehog.events.dead", dead)
                .with("moehog.events.left_out", left_out),
        }
    })
}
