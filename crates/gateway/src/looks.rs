//! What the mapping makes of a webhook, asked by whoever looks at it: nothing is counted for it.

use std::time::Duration;

use moehog_journal::{Crashed, Entry};
use moehog_proto::{
    Channel,
    event::TraceContext,
    transformer::{
        MappedEvent, TransformRequest, TransformedWebhook, TransformerServiceClient, mapped_event::Outcome,
        transformed_webhook,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Longest wait for the events that the mapping makes of a webhook now.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most notes that an answer names.
const MOST_NAMED: usize = 20;

/// Asks the transformer.
#[derive(Debug, Clone)]
pub(crate) struct Looks(TransformerServiceClient<Channel>);

impl Looks {
    pub(crate) fn new(transformer: TransformerServiceClient<Channel>) -> Self {
        Self(transformer)
    }

    /// What the transformer makes of the webhook; none where it does not answer, or has died of it before.
    pub(crate) async fn map(&self, entry: &Entry) -> Option<TransformedWebhook> {
        let died = entry.crashed != Crashed::default()
            || entry.progress.as_ref().is_some_and(|progress| {
                progress.transform_deaths > 0 || progress.events.iter().any(|event| event.reason == "transform_failed")
            });
        if died {
            return None;
        }
        // its events carry the trace; looking at them adds no span to it
        let trace = entry.header.trace.clone().map(|trace| TraceContext { flags: 0, ..trace });
        let webhooks = vec![moehog_relay::webhook_of(entry.clone(), trace)];
        let looked = TransformRequest { webhooks, only_looks: true, ..TransformRequest::default() };
        let mut request = tonic::Request::new(looked);
        request.set_timeout(DEADLINE);
        let mut transformer = self.0.clone();
        let answer = tokio::time::timeout(DEADLINE, transformer.transform(request)).await;
        let answer = answer.ok()?.inspect_err(|status| tracing::debug!(%status, "webhook is shown without its events"));
        answer.ok()?.into_inner().webhooks.into_iter().next()
    }

    /// What the events of the webhook say of themselves.
    pub(crate) async fn notes(&self, entry: &Entry) -> Vec<Note> {
        let Some(TransformedWebhook { result: Some(transformed_webhook::Result::Mapped(mapped)) }) =
            self.map(entry).await
        else {
            return Vec::new();
        };
        mapped.events.iter().flat_map(Note::all).take(MOST_NAMED).collect()
    }
}

/// Something that is not as the sender of an event meant it.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    position: u32,
    #[serde(flatten)]
    said: Said,
}

/// As the event has it under `properties.moehog.notes`.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    code: String,
    property: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    original: String,
}

/// The part of an event that notes stand in.
#[derive(Debug, Deserialize)]
struct Made<'e> {
    #[serde(borrow)]
    properties: Properties<'e>,
}

#[derive(Debug, Deserialize)]
struct Properties<'e> {
    #[serde(borrow)]
    moehog: Option<&'e RawValue>,
}

#[derive(Debug, Deserialize)]
struct Origin {
    #[serde(default)]
    notes: Vec<Said>,
}

impl Note {
    /// Of an event.
    fn all(event: &MappedEvent) -> Vec<Self> {
        let Some(Outcome::Event(made)) = &event.outcome else { return Vec::new() };
        let origin = serde_json::from_slice::<Made<'_>>(&made.json).ok().and_then(|made| made.properties.moehog);
        let notes = origin.and_then(|origin| serde_json::from_str::<Origin>(origin.get()).ok());
        let notes = notes.map_or_else(Vec::new, |origin| origin.notes);
        notes.into_iter().map(|said| Self { position: event.position, said }).collect()
    }
}
