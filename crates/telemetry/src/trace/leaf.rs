//! Spans that nothing runs inside of.

use std::borrow::Cow;

use moehog_proto::event::TraceContext;
use opentelemetry::{
    Key, KeyValue, Value,
    trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _},
};
use opentelemetry_sdk::trace::Span;

use super::{TRACING, carried, remote, span_context};

/// The span of a step of one webhook: it names what is done, is linked, and ends when dropped. It is never the current one of
/// a thread, so it goes straight to where spans are exported: through tracing's registry and layers it would cost twice as
/// much, and most spans of a webhook are of this kind.
#[derive(Debug, Default)]
pub struct Leaf(Option<Box<Span>>);

impl Leaf {
    /// Begins below `parent`, with what `describe` says of it; none where the trace is not recorded.
    pub fn begin(parent: Option<&TraceContext>, describe: impl FnOnce() -> Description) -> Self {
        let Some((parent, (_, tracer))) = parent.filter(|parent| parent.sampled()).zip(TRACING.get()) else {
            return Self(None);
        };
        let Description { name, kind, attributes } = describe();
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        Self(Some(Box::new(tracer.build_with_context(builder, &remote(parent)))))
    }

    /// Whether the trace is not recorded.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Notes `value` under `key`.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Notes that the step failed.
    pub fn fail(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(""));
        }
    }

    /// Links it to another trace.
    pub fn link(&mut self, to: &TraceContext) {
        if let Some(span) = self.0.as_mut().filter(|_| to.sampled()) {
            span.add_link(span_context(to), Vec::new());
        }
    }

    /// What continues this step; nothing where there is no span.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|span| carried(span.span_context()))
    }
}

/// What a [`Leaf`] is.
#[derive(Debug)]
pub struct Description {
    name: Cow<'static, str>,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
}

impl Description {
    /// Of a step called `name`.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        Self { name: name.into(), kind, attributes: Vec::with_capacity(8) }
    }

    /// With `value` under `key`.
    #[must_use]
    pub fn with(mut self, key: impl Into<Key>, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }
}
