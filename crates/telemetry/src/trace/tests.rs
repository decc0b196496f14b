//! Spans as an exporter sees them.

use std::sync::LazyLock;

use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// Where the leaves of all tests go: tracing is enabled once for a process.
static LEAVES: LazyLock<InMemorySpanExporter> = LazyLock::new(|| {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    enable(Sampling::from_variables(|_| None), provider.tracer("test"));
    exporter
});

/// Runs `work` with spans going to memory, and gives them.
fn exported(work: impl FnOnce()) -> Vec<SpanData> {
    LazyLock::force(&LEAVES);
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    exporter.get_finished_spans().unwrap()
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name} in {spans:?}"))
}

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(traceparent: &str) -> HeaderMap {
    HeaderMap::from_iter([(TRACEPARENT, traceparent.parse().unwrap())])
}

#[test]
fn a_trace_goes_on_from_the_request_through_a_message_to_the_next_hop() {
    let mut outgoing = HeaderMap::new();
    let spans = exported(|| {
        let (received, span) = receive(&headers(CALLER), || info_span!("received"));
        let entered = span.entered();
        let carried = child(Some(&received), || info_span!("carried"));
        inject(context(&carried, None), &mut outgoing);
        drop((entered, carried));
    });
    let (received, carried) = (named(&spans, "received"), named(&spans, "carried"));
    assert_eq!(received.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(received.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(carried.parent_span_id, received.span_context.span_id());
    let expected = format!("00-{}-{}-01", carried.span_context.trace_id(), carried.span_context.span_id());
    assert_eq!(outgoing[TRACEPARENT], expected);
}

#[test]
fn a_trace_that_the_caller_does_not_record_makes_no_span_and_keeps_its_id() {
    let spans = exported(|| {
        let (context, span) = receive(&headers(&CALLER.replace("-01", "-00")), || info_span!("received"));
        assert!(span.is_none());
        assert_eq!(context.trace_id_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(child(Some(&context), || info_span!("child")).is_none());
        assert!(batch([&context], || info_span!("batch")).is_none());
    });
    assert!(spans.is_empty(), "{spans:?}");
}

#[test]
fn a_trace_begun_here_has_no_parent_and_the_id_that_the_answer_names() {
    let mut begun = String::new();
    let spans = exported(|| {
        let (context, _span) = receive(&HeaderMap::new(), || info_span!("received"));
        begun = context.trace_id_text();
    });
    let received = named(&spans, "received");
    assert_eq!(received.parent_span_id, SpanId::INVALID);
    assert_eq!(received.span_context.trace_id().to_string(), begun);
}

#[test]
fn a_call_is_a_child_of_its_caller_and_linked_to_its_members() {
    let member = |trace_id| TraceContext { trace_id_low: trace_id, span_id: 7, flags: 1, ..Default::default() };
    let (one, two, caller) = (member(1), member(2), member(9));
    let unsampled = TraceContext { flags: 0, ..member(8) };
    let spans = exported(|| {
        drop(serve(Some(&caller), [&one, &two], || info_span!("called")));
        drop(serve(Some(&unsampled), [&one], || info_span!("of its member")));
    });
    let trace = |id: u128| TraceId::from_bytes(id.to_be_bytes());
    let called = named(&spans, "called");
    assert_eq!(called.span_context.trace_id(), trace(9));
    assert_eq!(called.parent_span_id, SpanId::from_bytes(7_u64.to_be_bytes()));
    let linked: Vec<_> = called.links.iter().map(|link| link.span_context.trace_id()).collect();
    assert_eq!(linked, [trace(1), trace(2)]);
    assert_eq!(named(&spans, "of its member").span_context.trace_id(), trace(1));
}

#[test]
fn a_batch_of_many_traces_is_linked_to_each_and_one_of_a_single_trace_belongs_to_it() {
    let member = |trace_id, flags| TraceContext { trace_id_low: trace_id, span_id: 7, flags, ..Default::default() };
    let (one, two, unsampled) = (member(1, 1), member(2, 1), member(3, 0));
    let spans = exported(|| {
        drop(batch([&one, &two, &unsampled], || info_span!("many")));
        drop(batch([&one, &one, &unsampled], || info_span!("single")));
    });
    let many = named(&spans, "many");
    let linked: Vec<_> = many.links.iter().map(|link| link.span_context.trace_id()).collect();
    assert_eq!(linked, [TraceId::from_bytes(1_u128.to_be_bytes()), TraceId::from_bytes(2_u128.to_be_bytes())]);
    assert_eq!(many.parent_span_id, SpanId::INVALID);
    assert_eq!(named(&spans, "single").span_context.trace_id(), TraceId::from_bytes(1_u128.to_be_bytes()));
}

#[test]
fn a_leaf_is_below_its_webhook_linked_and_continued() {
    let webhook = TraceContext { trace_id_low: 5, span_id: 7, flags: 1, ..Default::default() };
    let call = TraceContext { trace_id_low: 6, ..webhook.clone() };
    LazyLock::force(&LEAVES);
    let step = || Description::new("step", SpanKind::Client).with("moehog.receipt", "r-1");
    let mut leaf = Leaf::begin(Some(&webhook), step);
    leaf.link(&call);
    leaf.set("error.type", "503");
    leaf.fail();
    let continued = leaf.context();
    drop(leaf);
    let unsampled = TraceContext { flags: 0, ..webhook.clone() };
    assert!(Leaf::begin(Some(&unsampled), step).is_none() && Leaf::begin(None, step).is_none());
    let spans = LEAVES.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 1, "{spans:?}");
    let step = named(&spans, "step");
    assert_eq!(step.span_context.trace_id(), TraceId::from_bytes(5_u128.to_be_bytes()));
    assert_eq!(step.parent_span_id, SpanId::from_bytes(7_u64.to_be_bytes()));
    assert_eq!(continued, Some(carried(&step.span_context)));
    assert_eq!(step.links.links[0].span_context.trace_id(), TraceId::from_bytes(6_u128.to_be_bytes()));
    assert!(matches!(step.status, Status::Error { .. }) && step.span_kind == SpanKind::Client, "{step:?}");
    let attributes: Vec<_> = step.attributes.iter().map(|found| (found.key.as_str(), found.value.as_str())).collect();
    assert_eq!(attributes, [("moehog.receipt", "r-1".into()), ("error.type", "503".into())]);
}
