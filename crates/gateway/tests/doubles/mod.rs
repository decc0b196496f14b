//! A transformer and a delivery that do the least that they may, as real services.

use moehog_proto::{
    Blame, Reason,
    delivery::{DeliverRequest, DeliverResponse, Delivered, DeliveryService, EventVerdict, Verdict},
    event::Event,
    transformer::{
        Mapped, MappedEvent, TransformRequest, TransformResponse, TransformedWebhook, TransformerService,
        mapped_event::Outcome, transformed_webhook::Result as Transformed,
    },
};
use moehog_transport::{Link, in_process};
use tonic::{Request, Response, Status, async_trait};

/// Both workers: every webhook gives one event, which is delivered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workers {
    /// Why every webhook is rejected instead.
    pub(crate) reject: Option<&'static str>,
}

impl Workers {
    pub(crate) fn links(self) -> (Link, Link) {
        (in_process(moehog_proto::transformer::server(self.clone())), in_process(moehog_proto::delivery::server(self)))
    }
}

#[async_trait]
impl TransformerService for Workers {
    async fn transform(&self, request: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
        let webhooks = request.into_inner().webhooks.into_iter().map(|webhook| {
            let event = Event {
                uuid: vec![7; 16].into(),
                distinct_id: "user_42".to_string(),
                name: "e".to_string(),
                trace: webhook.trace,
                json: "{}".into(),
                receipt: webhook.receipt,
                ..Event::default()
            };
            let mapped = MappedEvent { position: 0, ordinal: 0, outcome: Some(Outcome::Event(event)) };
            let result = match self.reject {
                Some(reason) => Transformed::Rejection(Reason::new(Blame::Body, reason, "").into()),
                None => Transformed::Mapped(Mapped { events: vec![mapped] }),
            };
            TransformedWebhook { result: Some(result) }
        });
        Ok(Response::new(TransformResponse {
            webhooks: webhooks.collect(),
            mapping_revision: "test".to_string(),
            ..TransformResponse::default()
        }))
    }
}

#[async_trait]
impl DeliveryService for Workers {
    async fn deliver(&self, request: Request<DeliverRequest>) -> Result<Response<DeliverResponse>, Status> {
        let delivered =
            |_| EventVerdict { verdict: Some(Verdict::Delivered(Delivered {})), sent: true, ..EventVerdict::default() };
        let verdicts = request.into_inner().events.iter().map(delivered).collect();
        Ok(Response::new(DeliverResponse { verdicts, answers: Vec::new(), load: None }))
    }
}
