//! The span of what is done with a webhook in the journal, as conventions for messaging name it.

use std::fmt::Display;

use tracing::{Span, field, field::Empty, info_span};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is appended.
    Append,
    /// It is taken up by the relay.
    Receive,
    /// It is recorded as settled.
    Settle,
}

/// The span of an operation on a webhook of `source`; the receipt of an append is known once it has ended.
pub fn message(operation: Operation, source: &str, receipt: Option<&dyn Display>) -> Span {
    let (kind, name, class) = match operation {
        Operation::Append => ("producer", "append", "send"),
        Operation::Receive => ("client", "receive", "receive"),
        Operation::Settle => ("client", "settle", "settle"),
    };
    info_span!(
        "journal",
        otel.kind = kind,
        otel.name = format!("{name} {source}"),
        otel.status_code = Empty,
        messaging.system = "moehog",
        messaging.operation.name = name,
        messaging.operation.r#type = class,
        messaging.destination.name = source,
        messaging.message.id = receipt.map(field::display),
        messaging.message.body.size = Empty,
        error.r#type = Empty,
        moehog.waited_seconds = Empty,
        moehog.events.delivered = Empty,
        moehog.events.dead = Empty,
        moehog.events.left_out = Empty,
    )
}
