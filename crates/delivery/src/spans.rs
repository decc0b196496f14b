//! The spans of a call: one for the call, one an event whose trace is recorded.

use moehog_proto::{
    delivery::{EventVerdict, Verdict},
    event::{Event, TraceContext},
};
use moehog_telemetry::trace::{self, Side};
use tracing::{Span, field::Empty, info_span};
use uuid::Uuid;

use crate::posthog::Host;

/// Spans of a call. Without a recorded trace there are none.
#[derive(Debug)]
pub(crate) struct Spans {
    /// The call's, linked with the events'.
    pub(crate) call: Span,
    /// The events', with their index.
    events: Vec<(usize, Span)>,
}

impl Spans {
    /// Begins the spans of a call that `caller` made.
    pub(crate) fn begin(caller: Option<&TraceContext>, destination: &str, events: &[Event]) -> Self {
        let members = events.iter().filter_map(|event| event.trace.as_ref());
        let method = "moehog.delivery.v1.DeliveryService/Deliver";
        let call = trace::serve(caller, members, || trace::call(Side::Server, method, events.len()));
        call.record("moehog.destination", destination);
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
                        otel.name = "attempt",
                        otel.status_code = Empty,
                        http.response.status_code = Empty,
                        moehog.event.uuid = %Uuid::from_slice(&event.uuid).unwrap_or_default(),
                        moehog.receipt = event.receipt,
                        moehog.verdict = Empty,
                        moehog.reason = Empty,
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

    /// A span for a request of `bytes` to `host`, below the call's.
    pub(crate) fn request(&self, host: &Host, events: usize, bytes: usize) -> Span {
        if self.call.is_none() {
            return Span::none();
        }
        let (address, port) = host.server();
        info_span!(
            parent: &self.call,
            "delivery.request",
            otel.kind = "client",
            otel.name = "POST",
            otel.status_code = Empty,
            http.request.method = "POST",
            http.request.body.size = bytes,
            http.response.status_code = Empty,
            server.address = address,
            server.port = port,
            url.full = host.at("batch/"),
            error.r#type = Empty,
            moehog.events = events,
        )
    }

    /// Notes how a request ended. `status` is 0 where PostHog did not answer.
    pub(crate) fn requested(span: &Span, status: u16, failure: Option<&'static str>) {
        if status > 0 {
            span.record("http.response.status_code", status);
        }
        if status >= 400 {
            span.record("error.type", status);
        } else if let Some(failure) = failure {
            span.record("error.type", failure);
        }
        if failure.is_some() || status >= 400 {
            span.record("otel.status_code", "ERROR");
        }
    }

    /// Ends the spans with what became of the events. `statuses` are those of the call's requests.
    pub(crate) fn end(self, verdicts: &[EventVerdict], statuses: &[u32]) {
        trace::called(&self.call, None);
        for (index, span) in &self.events {
            let verdict = &verdicts[*index];
            if let Some(status) = (verdict.answer as usize).checked_sub(1).and_then(|answer| statuses.get(answer)) {
                span.record("http.response.status_code", status);
            }
            let (word, reason) = match &verdict.verdict {
                Some(Verdict::Delivered(_)) => ("delivered", None),
                Some(Verdict::Degraded(degraded)) => ("degraded", Some(&degraded.reason)),
                Some(Verdict::Rejected(rejected)) => ("rejected", Some(&rejected.reason)),
                Some(Verdict::Retry(retry)) => ("retry", Some(&retry.reason)),
                Some(Verdict::Hold(hold)) => ("hold", Some(&hold.reason)),
                None => ("none", None),
            };
            span.record("moehog.verdict", word);
            if !matches!(word, "delivered" | "degraded") {
                span.record("otel.status_code", "ERROR");
            }
            if let Some(reason) = reason {
                span.record("moehog.reason", reason.as_str());
            }
        }
    }
}
