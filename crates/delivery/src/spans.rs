//! The spans of a call: one for the call, one an event whose trace is recorded.

use moehog_proto::{
    delivery::{EventVerdict, Verdict},
    event::{Event, TraceContext},
};
use moehog_telemetry::trace::{self, Description, Leaf, Side, SpanKind};
use tracing::Span;
use uuid::Uuid;

use crate::posthog::Host;

/// Spans of a call. Without a recorded trace there are none.
#[derive(Debug)]
pub(crate) struct Spans {
    /// The call's, linked with the events'.
    call: Span,
    /// What continues it, where it is recorded.
    context: Option<TraceContext>,
    /// The events', with their index.
    events: Vec<(usize, Leaf)>,
}

impl Spans {
    /// Begins the spans of a call that `caller` made.
    pub(crate) fn begin(caller: Option<&TraceContext>, destination: &str, events: &[Event]) -> Self {
        let members = events.iter().filter_map(|event| event.trace.as_ref());
        let method = "moehog.delivery.v1.DeliveryService/Deliver";
        let call = || trace::call(Side::Server, method, events.len(), Some(destination));
        let call = trace::serve(caller, members, call);
        if call.is_none() {
            return Self { call, context: None, events: Vec::new() };
        }
        let context = trace::context(&call, None);
        let events = events
            .iter()
            .enumerate()
            .filter_map(|(index, event)| {
                let mut span = Leaf::begin(event.trace.as_ref(), || {
                    let uuid = Uuid::from_slice(&event.uuid).unwrap_or_default();
                    Description::new("attempt", SpanKind::Internal)
                        .with("moehog.event.uuid", uuid.to_string())
                        .with("moehog.receipt", event.receipt.clone())
                });
                if let Some(context) = &context {
                    span.link(context);
                }
                (!span.is_none()).then_some((index, span))
            })
            .collect();
        Self { call, context, events }
    }

    /// A span for a request of `bytes` to `host`, below the call's.
    pub(crate) fn request(&self, host: &Host, events: usize, bytes: usize) -> Leaf {
        Leaf::begin(self.context.as_ref(), || {
            let (address, port) = host.server();
            Description::new("POST", SpanKind::Client)
                .with("http.request.method", "POST")
                .with("http.request.body.size", bytes as i64)
                .with("server.address", address.to_string())
                .with("server.port", i64::from(port))
                .with("url.full", host.at("batch/"))
                .with("moehog.events", events as i64)
        })
    }

    /// Notes how a request ended. `status` is 0 where PostHog did not answer.
    pub(crate) fn requested(span: &mut Leaf, status: u16, failure: Option<&'static str>) {
        if status > 0 {
            span.set("http.response.status_code", i64::from(status));
        }
        if status >= 400 {
            span.set("error.type", status.to_string());
        } else if let Some(failure) = failure {
            span.set("error.type", failure);
        }
        if failure.is_some() || status >= 400 {
            span.fail();
        }
    }

    /// Ends the spans with what became of the events. `statuses` are those of the call's requests.
    pub(crate) fn end(self, verdicts: &[EventVerdict], statuses: &[u32]) {
        trace::called(&self.call, None);
        for (index, mut span) in self.events {
            let verdict = &verdicts[index];
            let status = (verdict.answer as usize).checked_sub(1).and_then(|answer| statuses.get(answer));
            let word = match &verdict.verdict {
                Some(Verdict::Delivered(_)) => "delivered",
                Some(Verdict::Degraded(_)) => "degraded",
                Some(Verdict::Rejected(_)) => "rejected",
                Some(Verdict::Refused(_)) => "refused",
                Some(Verdict::Retry(_)) => "retry",
                Some(Verdict::Hold(_)) => "hold",
                None => "none",
            };
            span.set("moehog.verdict", word);
            if let Some(status) = status {
                span.set("http.response.status_code", i64::from(*status));
            }
            if let Some(why) = &verdict.why {
                span.set("moehog.reason", why.to_string());
            }
            if !matches!(word, "delivered" | "degraded") {
                span.fail();
            }
        }
    }
}
