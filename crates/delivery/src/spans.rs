//! The spans of a call: one for the call, one an event whose trace is recorded.

use moehog_proto::{
    delivery::{EventVerdict, Verdict},
    event::Event,
};
use moehog_telemetry::trace;
use tracing::{Span, field::Empty, info_span};
use uuid::Uuid;

/// Spans of a call. Without a recorded trace there are none.
#[derive(Debug)]
pub(crate) struct Spans {
    /// The call's, linked with the events'.
    pub(crate) call: Span,
    /// The events', with their index.
    events: Vec<(usize, Span)>,
}

impl Spans {
    /// Begins the spans.
    pub(crate) fn begin(destination: &str, events: &[Event]) -> Self {
        let call = trace::batch(events.iter().filter_map(|event| event.trace.as_ref()), || {
            info_span!("delivery.deliver", otel.kind = "server", destination, events = events.len(), requests = Empty)
        });
        if call.is_none() {
            return Self { call, events: Vec::new() };
        }
        let context = trace::context(&call, None);
        let events = events
            .iter()
            .enumerate()
            .filter_map(|(index, event)| {
                let span = trace::child(event.trace.as_ref(), || {
                    info_span!(
                        "delivery.attempt",
                        event.uuid = %Uuid::from_slice(&event.uuid).unwrap_or_default(),
                        receipt = event.receipt,
                        status = Empty,
                        verdict = Empty,
                        reason = Empty
                    )
                });
                if let Some(context) = &context {
                    trace::link(&span, context);
                }
                (!span.is_none()).then_some((index, span))
            })
            .collect();
        Self { call, events }
    }

    /// A span for a request, below the call's.
    pub(crate) fn request(&self, events: usize) -> Span {
        if self.call.is_none() {
            return Span::none();
        }
        info_span!(parent: &self.call, "delivery.request", otel.kind = "client", events, status = Empty)
    }

    /// Ends the spans with what became of the events. `statuses` are those of the call's requests.
    pub(crate) fn end(self, verdicts: &[EventVerdict], statuses: &[u32]) {
        self.call.record("requests", statuses.len());
        for (index, span) in &self.events {
            let verdict = &verdicts[*index];
            if let Some(status) = (verdict.answer as usize).checked_sub(1).and_then(|answer| statuses.get(answer)) {
                span.record("status", status);
            }
            let (word, reason) = match &verdict.verdict {
                Some(Verdict::Delivered(_)) => ("delivered", None),
                Some(Verdict::Degraded(degraded)) => ("degraded", Some(&degraded.reason)),
                Some(Verdict::Rejected(rejected)) => ("rejected", Some(&rejected.reason)),
                Some(Verdict::Retry(retry)) => ("retry", Some(&retry.reason)),
                Some(Verdict::Hold(hold)) => ("hold", Some(&hold.reason)),
                None => ("none", None),
            };
            span.record("verdict", word);
            if let Some(reason) = reason {
                span.record("reason", reason.as_str());
            }
        }
    }
}
