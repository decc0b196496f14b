//! The relay's spans. Each ends within the step it stands for, so that a gateway that is killed leaves no trace in pieces.

use std::time::Duration;

use moehog_journal::Entry;
use moehog_proto::{
    delivery::DeliverRequest,
    event::TraceContext,
    journal::{EventState, Progress},
    transformer::TransformRequest,
};
use moehog_telemetry::trace::{self, Operation, Side};
use tracing::Span;

use crate::calls::epoch_ms;

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
    let span = trace::child(header.trace.as_ref(), || {
        let waited = u64::try_from(epoch_ms() - header.received_at_ms).unwrap_or_default();
        let span = trace::message(Operation::Receive, &header.source, Some(&entry.receipt));
        span.record("moehog.waited_seconds", Duration::from_millis(waited).as_secs_f64());
        span
    });
    trace::context(&span, header.trace.as_ref())
}

/// A Transform call, linked with the webhooks in it.
pub(crate) fn transform(request: &TransformRequest) -> Span {
    let members = request.webhooks.iter().filter_map(|webhook| webhook.trace.as_ref());
    let method = "moehog.transformer.v1.TransformerService/Transform";
    trace::batch(members, || trace::call(Side::Client, method, request.webhooks.len()))
}

/// A Deliver call, linked with the events in it.
pub(crate) fn deliver(request: &DeliverRequest) -> Span {
    let members = request.events.iter().filter_map(|event| event.trace.as_ref());
    let method = "moehog.delivery.v1.DeliveryService/Deliver";
    let span = trace::batch(members, || trace::call(Side::Client, method, request.events.len()));
    span.record("moehog.destination", &*request.destination);
    span
}

/// The record that settles an entry.
pub(crate) fn settle(entry: &Traced, progress: &Progress) -> Span {
    let count =
        |wanted: &[EventState]| progress.events.iter().filter(|event| wanted.contains(&event.state())).count() as u64;
    trace::child(Some(&entry.trace), || {
        let span = trace::message(Operation::Settle, &entry.source, Some(&entry.receipt));
        span.record("moehog.events.delivered", count(&[EventState::Delivered, EventState::DeliveredDegraded]));
        span.record("moehog.events.dead", count(&[EventState::Dead]));
        span.record("moehog.events.left_out", count(&[EventState::Filtered, EventState::Duplicate]));
        span
    })
}
