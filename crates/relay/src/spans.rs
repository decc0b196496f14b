//! The relay's spans. Each ends within the step it stands for, so that a gateway that is killed leaves no trace in pieces.

use std::time::Duration;

use moehog_journal::Entry;
use moehog_proto::{
    delivery::DeliverRequest,
    event::TraceContext,
    journal::{EventState, Progress},
    transformer::TransformRequest,
};
use moehog_telemetry::trace::{self, Leaf, Operation, Side};
use tracing::Span;

use moehog_runtime::epoch_ms;

/// What is kept of an entry whose trace is recorded.
#[derive(Debug)]
pub(crate) struct Traced {
    trace: TraceContext,
    receipt: String,
    source: String,
}

impl Traced {
    /// Nothing is kept of an entry whose trace is not recorded.
    pub(crate) fn of(entry: &Entry, trace: Option<&TraceContext>) -> Option<Box<Self>> {
        let trace = trace.filter(|trace| trace.sampled())?.clone();
        Some(Box::new(Self { trace, receipt: entry.receipt.to_string(), source: entry.header.source.clone() }))
    }
}

/// Takes up an entry: what is done for it continues the context that this gives.
pub(crate) fn receive(entry: &Entry) -> Option<TraceContext> {
    let header = &entry.header;
    let waited = u64::try_from(epoch_ms() - header.received_at_ms).unwrap_or_default();
    let operation = Operation::Receive { waited: Duration::from_millis(waited) };
    let span = trace::message(header.trace.as_ref(), operation, &header.source, Some(&entry.receipt));
    span.context().or_else(|| header.trace.clone())
}

/// A Transform call, linked with the webhooks in it.
pub(crate) fn transform(request: &TransformRequest) -> Span {
    let members = request.webhooks.iter().filter_map(|webhook| webhook.trace.as_ref());
    let method = "moehog.transformer.v1.TransformerService/Transform";
    trace::batch(members, || trace::call(Side::Client, method, request.webhooks.len(), None))
}

/// A Deliver call, linked with the events in it.
pub(crate) fn deliver(request: &DeliverRequest) -> Span {
    let members = request.events.iter().filter_map(|event| event.trace.as_ref());
    let method = "moehog.delivery.v1.DeliveryService/Deliver";
    trace::batch(members, || trace::call(Side::Client, method, request.events.len(), Some(&request.destination)))
}

/// The record that settles an entry.
pub(crate) fn settle(entry: &Traced, progress: &Progress) -> Leaf {
    let count =
        |wanted: &[EventState]| progress.events.iter().filter(|event| wanted.contains(&event.state())).count() as i64;
    let operation = Operation::Settle {
        delivered: count(&[EventState::Delivered, EventState::DeliveredDegraded]),
        dead: count(&[EventState::Dead]),
        left_out: count(&[EventState::Filtered, EventState::Duplicate]),
    };
    trace::message(Some(&entry.trace), operation, &entry.source, Some(&entry.receipt))
}
