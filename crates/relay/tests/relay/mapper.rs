//! A transformer that reads bodies of one event a line.
//!
//! A line is `person`, or `person uuid=N`; `person >eu,us` names the destination `eu`, from the next revision on `us`; `!filter`, `!duplicate` and `!dead` make no event, nor
//! does `!mended…` before the first other revision. A body that holds `@die`
//! kills the call, `@slow` takes 3 s, `@hang` never ends, `@reject` is a rejection, as `@unread` is before the first other revision, `@big` makes events of 100 KB.

use std::{sync::Arc, time::Duration};

use moehog_journal::{Journal, memory::Memory};
use moehog_proto::{
    Blame, Reason,
    event::Event,
    transformer::{
        self, Mapped, MappedEvent, TransformRequest, TransformResponse, TransformedWebhook, TransformerService,
        Webhook, mapped_event::Outcome, transformed_webhook::Result as Answer,
    },
};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

/// Its events name their webhook by its sequence, where others name the receipt: who tests has no key.
#[derive(Debug, Clone)]
pub(crate) struct Mapper(pub(crate) Arc<Mutex<State>>, Arc<Memory>);

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Webhooks of each call, as sequences; a call without webhooks is empty.
    pub(crate) calls: Vec<Vec<u64>>,
    /// Every call fails, as if the transformer were gone in the middle of it.
    pub(crate) down: bool,
    /// No call ends.
    pub(crate) hangs: bool,
    /// What every call takes.
    pub(crate) takes: Duration,
    /// Deaths so far: who answers now is another after each.
    pub(crate) deaths: u32,
    /// How long it is down after each death; zero is not at all.
    pub(crate) restart: Duration,
    /// Events of each position, to show a mapping that changed.
    pub(crate) revision: u32,
    /// It maps by no mapping of before.
    pub(crate) maps_as_now: bool,
    /// It gives its mapping to nobody, as one of an earlier release.
    pub(crate) keeps_to_itself: bool,
    /// Lines of the next mapping that are left out.
    pub(crate) forget: Vec<String>,
}

#[tonic::async_trait]
impl TransformerService for Mapper {
    async fn transform(&self, request: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
        let request = request.into_inner();
        self.0.lock().calls.push(request.webhooks.iter().map(|webhook| self.sequence(webhook)).collect());
        if self.0.lock().down {
            return Err(Status::unavailable("connection reset"));
        }
        let holds = |marker: &str| request.webhooks.iter().any(|webhook| text(webhook).contains(marker));
        if holds("@slow") {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        if holds("@hang") || self.0.lock().hangs {
            std::future::pending::<()>().await;
        }
        let takes = self.0.lock().takes;
        tokio::time::sleep(takes).await;
        if holds("@die") {
            self.0.lock().deaths += 1;
            let restart = self.0.lock().restart;
            if !restart.is_zero() {
                self.0.lock().down = true;
                let mapper = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(restart).await;
                    mapper.0.lock().down = false;
                });
            }
            return Err(Status::internal("the service panicked"));
        }
        let mut response = TransformResponse::default();
        let mut bytes = 0;
        let wanted = request.mapping.as_ref().filter(|_| !self.0.lock().maps_as_now);
        let mapping = wanted.map_or_else(|| self.0.lock().mapping(), Mapping::of);
        for webhook in &request.webhooks {
            let answer = self.map(webhook, &mapping);
            if let Answer::Mapped(mapped) = &answer {
                let size = |event: &MappedEvent| match &event.outcome {
                    Some(Outcome::Event(event)) => event.json.len() as u64,
                    _ => 0,
                };
                bytes += mapped.events.iter().map(size).sum::<u64>();
            }
            if !response.webhooks.is_empty() && request.max_response_bytes > 0 && bytes > request.max_response_bytes {
                break;
            }
            response.webhooks.push(TransformedWebhook { result: Some(answer) });
        }
        response.mapping_revision = mapping.name();
        let is_wanted = !request.known_revisions.is_empty() && !request.known_revisions.contains(&mapping.name());
        response.mapping = (is_wanted && !self.0.lock().keeps_to_itself).then(|| mapping.given());
        response.instance = format!("instance {}", self.0.lock().deaths);
        Ok(Response::new(response))
    }
}

/// What it maps by.
struct Mapping {
    revision: u32,
    forget: Vec<String>,
}

impl Mapping {
    fn of(given: &transformer::Mapping) -> Self {
        let text = String::from_utf8(given.text.to_vec()).unwrap();
        let mut lines = text.lines();
        Self { revision: lines.next().unwrap().parse().unwrap(), forget: lines.map(ToString::to_string).collect() }
    }

    fn name(&self) -> String {
        format!("revision {}", self.revision)
    }

    fn given(&self) -> transformer::Mapping {
        let text = format!("{}\n{}", self.revision, self.forget.join("\n"));
        transformer::Mapping { revision: self.name(), text: text.into() }
    }
}

impl State {
    fn mapping(&self) -> Mapping {
        Mapping { revision: self.revision, forget: self.forget.clone() }
    }
}

impl Mapper {
    pub(crate) fn new(journal: Arc<Memory>) -> Self {
        Self(Arc::default(), journal)
    }

    fn sequence(&self, webhook: &Webhook) -> u64 {
        self.1.receipt(&webhook.receipt).unwrap().sequence
    }

    fn map(&self, webhook: &Webhook, mapping: &Mapping) -> Answer {
        let body = text(webhook);
        if body.contains("@reject") || body.contains("@unread") && mapping.revision == 0 {
            return Answer::Rejection(Reason::new(Blame::Body, "unreadable_json", "line 1").into());
        }
        let padding = if body.contains("@big") { "x".repeat(100_000) } else { String::new() };
        let lines = body.lines().filter(|line| !line.starts_with('@')).enumerate();
        let events = lines.filter(|(_, line)| !mapping.forget.iter().any(|forgotten| forgotten == line));
        let event = |(position, line): (usize, &str)| {
            let position = position as u32;
            let rejection = || Reason::new(Blame::Body, "missing_event", "no name").into();
            let outcome = match line {
                "!filter" => Outcome::Filtered("rule 1".into()),
                "!duplicate" => Outcome::Duplicate(true),
                "!dead" => Outcome::Dead(rejection()),
                line if line.starts_with("!mended") && mapping.revision == 0 => Outcome::Dead(rejection()),
                line => Outcome::Event(self.make(webhook, position, line, mapping.revision, &padding)),
            };
            MappedEvent { position, ordinal: 0, outcome: Some(outcome) }
        };
        Answer::Mapped(Mapped { events: events.map(event).collect() })
    }

    fn make(&self, webhook: &Webhook, position: u32, line: &str, revision: u32, padding: &str) -> Event {
        let (person, number) = line.split_once(" uuid=").unwrap_or((line, ""));
        let (person, destinations) = person.split_once(" >").unwrap_or((person, ""));
        let destination = destinations.split(',').nth(revision as usize).unwrap_or_default();
        let number = number.parse().unwrap_or((u128::from(origin(webhook)) << 64) | u128::from(position));
        let json = format!(
            "{{\"person\":\"{person}\",\"at\":\"{}/{position}\",\"revision\":{revision}{padding}}}",
            webhook.receipt
        );
        Event {
            position,
            ordinal: 0,
            uuid: number.to_be_bytes().to_vec().into(),
            distinct_id: person.into(),
            name: "seen".into(),
            trace: webhook.trace.clone(),
            json: json.into(),
            receipt: self.sequence(webhook).to_string(),
            destination: destination.into(),
            historical: false,
        }
    }
}

/// Sequence of the webhook first taken.
fn origin(webhook: &Webhook) -> u64 {
    let (_incarnation, sequence) = webhook.origin_receipt.split_once('-').unwrap();
    u64::from_str_radix(sequence, 16).unwrap()
}

fn text(webhook: &Webhook) -> String {
    String::from_utf8(webhook.body.to_vec()).unwrap()
}
