//! Trace context across every hop: from the request, into the journal's entry, inside the gRPC messages, onto the
//! PostHog request.
//!
//! A span is made only for a trace that is recorded; all functions here give [`Span::none`] otherwise, so that an
//! unsampled webhook costs nothing.
//!
//! What stands between two processes, or between two lives of one, hangs on spans that end at once: a process that is
//! killed takes only those with it that are not over. So one trace stays whole over a crash and a retry days later.
//!
//! Spans are named in the code for their operation, and exported under the names and attributes of OpenTelemetry's semantic
//! conventions 1.45 (HTTP, RPC, messaging; read 2026-11-27): the journal is the messaging system `moehog`, a source its
//! destination, a receipt the message's id. Attributes of our own begin with `moehog.`.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use moehog_proto::event::TraceContext;
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::SdkTracer;
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::sampling::Sampling;

mod call;
mod leaf;
mod message;

pub use call::{Side, call, call_goes_to, called};
pub use leaf::{Description, Leaf};
pub use message::{Operation, message};
pub use opentelemetry::trace::SpanKind;

/// What is recorded, and what makes spans that are not tracing's.
static TRACING: OnceLock<(Sampling, SdkTracer)> = OnceLock::new();
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Most links of a batch span.
const MAX_LINKS: usize = 128;

/// Says that spans are exported. Without it none is made.
pub(crate) fn enable(sampling: Sampling, tracer: SdkTracer) {
    let _already_enabled = TRACING.set((sampling, tracer));
}

/// Takes the trace of a request from its headers, or begins one. The span is the request's server span, made by `make`
/// where the trace is recorded; the context is what the work for this request continues.
pub fn receive(headers: &HeaderMap, make: impl FnOnce() -> Span) -> (TraceContext, Span) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let parent = text(TRACEPARENT).and_then(TraceContext::from_traceparent).map(|mut parent| {
        parent.tracestate = text(TRACESTATE).filter(|state| state.len() <= 512).unwrap_or_default().to_string();
        parent
    });
    let recorded = |trace_id, parent| TRACING.get().is_some_and(|(sampling, _)| sampling.records(trace_id, parent));
    match parent {
        Some(mut parent) => {
            let records = recorded(parent.trace_id(), Some(parent.sampled()));
            parent.flags = u32::from(records);
            let span = child(Some(&parent), make);
            (context(&span, None).unwrap_or(parent), span)
        }
        None => {
            let (trace_id, span_id) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
            let span = if recorded(trace_id, None) { make() } else { Span::none() };
            let begun = TraceContext {
                trace_id_high: (trace_id >> 64) as u64,
                trace_id_low: trace_id as u64,
                span_id,
                flags: 0,
                tracestate: String::new(),
            };
            (context(&span, None).unwrap_or(begun), span)
        }
    }
}

/// A span below `parent`, made by `make` where the trace is recorded.
pub fn child(parent: Option<&TraceContext>, make: impl FnOnce() -> Span) -> Span {
    match parent {
        Some(parent) if parent.sampled() && TRACING.get().is_some() => {
            // a span made while its parent is the current one needs not be told of it
            let _current = remote(parent).attach();
            make()
        }
        _ => Span::none(),
    }
}

/// The span of a call for many members: linked to each recorded member, and a child of the trace when it is one only.
/// None is made where no member is recorded.
pub fn batch<'a>(members: impl IntoIterator<Item = &'a TraceContext>, make: impl FnOnce() -> Span) -> Span {
    if TRACING.get().is_none() {
        return Span::none();
    }
    let sampled: Vec<_> = members.into_iter().filter(|member| member.sampled()).take(MAX_LINKS).collect();
    let Some(first) = sampled.first() else { return Span::none() };
    let is_one_trace = sampled.iter().all(|member| member.trace_id() == first.trace_id());
    let span = if is_one_trace { child(Some(first), make) } else { make() };
    link_all(&span, sampled);
    span
}

/// The span of a batch call in the service that works on it: a child of the caller's span, linked to each recorded member.
/// A caller that records none leaves it to the members, as in [`batch`].
pub fn serve<'a>(
    caller: Option<&TraceContext>,
    members: impl IntoIterator<Item = &'a TraceContext>,
    make: impl FnOnce() -> Span,
) -> Span {
    match caller.filter(|caller| caller.sampled() && TRACING.get().is_some()) {
        None => batch(members, make),
        Some(caller) => {
            let span = child(Some(caller), make);
            link_all(&span, members.into_iter().filter(|member| member.sampled()).take(MAX_LINKS));
            span
        }
    }
}

fn link_all<'a>(span: &Span, members: impl IntoIterator<Item = &'a TraceContext>) {
    members.into_iter().for_each(|member| link(span, member));
}

/// Links `span` to another trace.
pub fn link(span: &Span, to: &TraceContext) {
    if !span.is_none() && to.sampled() {
        span.add_link(span_context(to));
    }
}

/// What to put into a message so that the receiver's spans become children of `span`; `fallback` where there is no span.
#[must_use]
pub fn context(span: &Span, fallback: Option<&TraceContext>) -> Option<TraceContext> {
    if span.is_none() {
        return fallback.cloned();
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    if !context.is_valid() {
        return fallback.cloned();
    }
    Some(carried(&context))
}

fn carried(context: &SpanContext) -> TraceContext {
    let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
    TraceContext {
        trace_id_high: (trace_id >> 64) as u64,
        trace_id_low: trace_id as u64,
        span_id: u64::from_be_bytes(context.span_id().to_bytes()),
        flags: u32::from(context.is_sampled()),
        tracestate: context.trace_state().header(),
    }
}

/// Writes the context into the headers of an outgoing request; nothing where there is none.
pub fn inject(context: Option<TraceContext>, headers: &mut HeaderMap) {
    let Some(context) = context else { return };
    if let Ok(mut value) = HeaderValue::try_from(context.to_traceparent()) {
        // no two are alike: in HPACK's table of a connection it would only push out what is
        value.set_sensitive(true);
        headers.insert(TRACEPARENT, value);
    }
    if !context.tracestate.is_empty()
        && let Ok(value) = HeaderValue::try_from(context.tracestate)
    {
        headers.insert(TRACESTATE, value);
    }
}

/// [`inject`] for a gRPC call, with the context of its span.
pub fn inject_metadata(span: &Span, metadata: &mut MetadataMap) {
    if !span.is_none() {
        let mut headers = std::mem::take(metadata).into_headers();
        inject(context(span, None), &mut headers);
        *metadata = MetadataMap::from_headers(headers);
    }
}

/// The context that a gRPC call came with, if it has one.
#[must_use]
pub fn extract_metadata(metadata: &MetadataMap) -> Option<TraceContext> {
    metadata.get("traceparent").and_then(|value| value.to_str().ok()).and_then(TraceContext::from_traceparent)
}

fn remote(parent: &TraceContext) -> Context {
    Context::new().with_remote_span_context(span_context(parent))
}

fn span_context(context: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id().to_be_bytes()),
        SpanId::from_bytes(context.span_id.to_be_bytes()),
        if context.sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        match context.tracestate.as_str() {
            "" => TraceState::NONE,
            state => state.parse().unwrap_or(TraceState::NONE),
        },
    )
}

#[cfg(test)]
mod tests;
