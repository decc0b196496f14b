//! The gRPC face of the mapping.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use moehog_coding::{Coding, outermost};
use moehog_proto::{
    Blame, Reason,
    event::TraceContext,
    limits::MAX_MAPPED_BYTES,
    transformer::{
        TransformRequest, TransformResponse, TransformedWebhook, TransformerService, Webhook, mapped_event::Outcome,
        transformed_webhook,
    },
};
use moehog_telemetry::trace::{self, Description, Leaf, Side, SpanKind};
use moehog_transport::Held;
use tonic::{Request, Response, Status, async_trait};
use tracing::Span;

use crate::{Notes, Rules, Transformer, former, metrics, metrics::Tally};

/// A call with more work than this, in bytes of body, goes to a thread of its own, so that it holds back no neighbour; as does one by
/// rules, whose expressions may take long.
const INLINE_BYTES: usize = 256 * 1024;
/// How much a body is taken to grow in gzip and deflate, and in br and zstd; only its unpacking tells.
const GROWTH: usize = 32;
const GROWTH_WITHOUT_BOUND: usize = 1024;

#[async_trait]
impl TransformerService for Transformer {
    async fn transform(&self, request: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
        let caller = trace::extract_metadata(request.metadata());
        let held = request.extensions().get::<Held>().cloned();
        let request = request.into_inner();
        let members = request.webhooks.iter().filter_map(|webhook| webhook.trace.as_ref());
        let method = "moehog.transformer.v1.TransformerService/Transform";
        let call =
            trace::serve(caller.as_ref(), members, || trace::call(Side::Server, method, request.webhooks.len(), None));
        let result = self.answer_somewhere(request, &call).await;
        // an answer may be much larger than what was asked, and waits for a caller that does not read it
        let result = result.and_then(|answer| match held {
            Some(held) => held.add(answer.webhooks.iter().map(weight).sum()).map(|()| answer),
            None => Ok(answer),
        });
        trace::called(&call, result.as_ref().err());
        result.map(Response::new)
    }
}

impl Transformer {
    /// Answers here, or on a thread of its own where that may take long.
    async fn answer_somewhere(&self, request: TransformRequest, call: &Span) -> Result<TransformResponse, Status> {
        let work: usize = request.webhooks.iter().map(work).sum();
        // what is asked for may have to be read first
        let by_rules = request.mapping.is_some() || !self.rules().text().is_empty();
        if work <= INLINE_BYTES && !by_rules {
            return Ok(self.answer(request, call));
        }
        let (transformer, call) = (self.clone(), call.clone());
        let answered = self.cores().run(move || transformer.answer(request, &call)).await;
        answered.map_err(|error| Status::internal(format!("transform did not end: {error}")))
    }

    /// Maps webhooks in order until the caller has no room for the next; the first is always mapped.
    fn answer(&self, request: TransformRequest, call: &Span) -> TransformResponse {
        let began = Instant::now();
        let room = match request.max_response_bytes {
            0 => MAX_MAPPED_BYTES,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX).min(MAX_MAPPED_BYTES),
        };
        let call = trace::context(call, None);
        let rules = self.rules_of(request.mapping.as_ref());
        let is_known = request.known_revisions.iter().any(|known| known == rules.revision());
        let is_wanted = !is_known && !request.known_revisions.is_empty();
        let mut tally = Tally::default();
        let mut webhooks = Vec::with_capacity(request.webhooks.len());
        let mut used = 0;
        for mut webhook in request.webhooks {
            let (transformed, notes) = self.traced(&mut webhook, &rules, call.as_ref());
            used += weight(&transformed);
            if used > room && !webhooks.is_empty() {
                break;
            }
            if !request.only_looks {
                self.costly().tell(&rules, &webhook.source, &notes);
                tally.add(&webhook.source, &transformed, &notes);
            }
            webhooks.push(transformed);
        }
        if !request.only_looks {
            metrics::transformed(&tally, began.elapsed());
        }
        TransformResponse {
            webhooks,
            mapping_revision: rules.revision().to_string(),
            instance: self.instance().to_string(),
            mapping: is_wanted.then(|| former::mapping(&rules)),
        }
    }

    /// Maps one webhook under a span of its own trace, linked with that of the call; its events continue it.
    fn traced(&self, webhook: &mut Webhook, rules: &Rules, call: Option<&TraceContext>) -> (TransformedWebhook, Notes) {
        let mut span = Leaf::begin(webhook.trace.as_ref(), || {
            Description::new("transform", SpanKind::Internal)
                .with("moehog.receipt", webhook.receipt.clone())
                .with("moehog.source", webhook.source.clone())
                .with("moehog.mapping", rules.revision().to_string())
        });
        if let Some(call) = call {
            span.link(call);
        }
        webhook.trace = span.context().or(webhook.trace.take());
        let (transformed, notes) = caught(webhook, || self.transform_by(rules, webhook));
        if !span.is_none() {
            match &transformed.result {
                Some(transformed_webhook::Result::Mapped(mapped)) => {
                    span.set("moehog.events", i64::try_from(mapped.events.len()).unwrap_or(i64::MAX));
                }
                Some(transformed_webhook::Result::Rejection(rejection)) => {
                    span.set("moehog.rejected", rejection.reason.clone());
                }
                None => {}
            }
        }
        (transformed, notes)
    }
}

/// What `mapping` makes of a webhook; a panic in it costs the webhook and not its neighbours, nor the connection.
fn caught(webhook: &Webhook, mapping: impl FnOnce() -> (TransformedWebhook, Notes)) -> (TransformedWebhook, Notes) {
    catch_unwind(AssertUnwindSafe(mapping)).unwrap_or_else(|_told| {
        let Webhook { receipt, source, .. } = webhook;
        tracing::error!(%receipt, %source, "the mapping panicked: this webhook is a dead letter");
        let why = Reason::new(Blame::Moehog, "transform_failed", "the mapping panicked")
            .remedied("this is a fault of moehog: report it with the webhook's body");
        (TransformedWebhook { result: Some(transformed_webhook::Result::Rejection(why.into())) }, Notes::default())
    })
}

/// How much there is to read, in bytes.
fn work(webhook: &Webhook) -> usize {
    let growth = match outermost(&webhook.content_encoding, &webhook.body) {
        None => 1,
        Some(Coding::Gzip | Coding::Deflate) => GROWTH,
        Some(Coding::Brotli | Coding::Zstd) => GROWTH_WITHOUT_BOUND,
    };
    webhook.body.len().saturating_mul(growth) + webhook.query.len()
}

/// Bytes of a webhook in the answer, overestimated a little.
fn weight(webhook: &TransformedWebhook) -> usize {
    /// Numbers, lengths, uuid and trace of an event.
    const FRAME: usize = 160;
    let Some(transformed_webhook::Result::Mapped(mapped)) = &webhook.result else { return FRAME };
    let outcome = |outcome: &Option<Outcome>| match outcome {
        Some(Outcome::Event(event)) => {
            event.json.len() + event.name.len() + event.distinct_id.len() + event.receipt.len()
        }
        Some(Outcome::Dead(dead)) => {
            [&dead.reason, &dead.field, &dead.detail, &dead.remedy].map(String::len).iter().sum::<usize>()
        }
        Some(Outcome::Filtered(_) | Outcome::Duplicate(_)) | None => 0,
    };
    mapped.events.iter().map(|event| FRAME + outcome(&event.outcome)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_that_panics_costs_its_webhook() {
        let (transformed, _) = caught(&Webhook::default(), || panic!("asked to"));
        let Some(transformed_webhook::Result::Rejection(rejection)) = transformed.result else {
            panic!("{transformed:?}")
        };
        assert_eq!(rejection.reason, "transform_failed");
    }
}
