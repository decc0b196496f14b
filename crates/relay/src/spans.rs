//! The relay's spans. Each ends within the step it stands for, so that a gateway that is killed leaves no trace in pieces.

use std::time::Duration;

use moehog_journal::Entry;
use moehog_proto::{
    delivery::DeliverRequest,
    event::TraceContext,
    journal::{EventState, Progress},
    transformer::TransformRequest,
};
use moehog_telemetry::trace::{self, Side};
use tracing::{Span, info_span};

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
        info_span!(
            "relay.receive",
            otel.kind = "client",
            otel.name = format!("receive {}", header.source),
            messaging.system = "moehog",
            messaging.operation.name = "receive",
            messaging.operation.r#type = "receive",
            messaging.destination.name = header.source,
            messaging.message.id = %entry.receipt,
            moehog.waited_seconds = Duration::from_millis(waited).as_secs_f64(),
        )
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
    let count = |wanted: &[EventState]| progress.events.iter().filter(|event| wanted.contains(&event.state())).count();
    trace::child(Some(&entry.trace), || {
        info_span!(
            "relay.settle",
            otel.kind = "client",
            otel.name = format!("settle {}", entry.source),
            messaging.system = "moehog",
            messaging.operation.name = "settle",
            messaging.operation.r#type = "settle",
            messaging.destination.name = entry.source,
            messaging.message.id = entry.receipt,
            moehog.events.delivered = count(&[EventState::Delivered, EventState::DeliveredDegraded]),
            moehog.events.dead = count(&[EventState::Dead]),
            moehog.events.left_out = count(&[EventState::Filtered, EventState::Duplicate]),
        )
    })
}
