//! Measures what the relay costs by itself: CPU-seconds per million events, with a journal in memory and a transformer
//! and a delivery service that do next to nothing. Their part of gRPC (decode, encode) is included.
//!
//! `cargo run --release -p moehog-relay --example carry [webhooks] [events a webhook]`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints and may panic")]

use std::{env, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use moehog_journal::{Journal, NewEntry, memory::Memory};
use moehog_proto::{
    delivery::{Answer, DeliverRequest, DeliverResponse, Delivered, DeliveryService, EventVerdict, Verdict},
    event::Event,
    journal::EntryHeader,
    transformer::{
        Mapped, MappedEvent, TransformRequest, TransformResponse, TransformedWebhook, TransformerService, Webhook,
        mapped_event::Outcome, transformed_webhook::Result as Mapping,
    },
};
use moehog_relay::{Config, Relay};
use moehog_transport::Link;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

#[derive(Debug)]
struct Mapper {
    events: u32,
    json: Bytes,
}

#[tonic::async_trait]
impl TransformerService for Mapper {
    async fn transform(&self, request: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
        let webhooks = request.into_inner().webhooks.iter().map(|webhook| self.map(webhook)).collect();
        Ok(Response::new(TransformResponse {
            webhooks,
            mapping_revision: "3f9a1c2b".into(),
            ..TransformResponse::default()
        }))
    }
}

impl Mapper {
    fn map(&self, webhook: &Webhook) -> TransformedWebhook {
        let event = |position| {
            let uuid: u128 = rand::random();
            let event = Event {
                position,
                uuid: uuid.to_be_bytes().to_vec().into(),
                distinct_id: format!("user_{:08x}", uuid as u32),
                name: "purchase_completed".into(),
                trace: webhook.trace.clone(),
                json: self.json.clone(),
                receipt: webhook.receipt.clone(),
                ..Event::default()
            };
            MappedEvent { position, ordinal: 0, outcome: Some(Outcome::Event(event)) }
        };
        let mapped = Mapped { events: (0..self.events).map(event).collect() };
        TransformedWebhook { result: Some(Mapping::Mapped(mapped)) }
    }
}

#[derive(Debug)]
struct Sink;

#[tonic::async_trait]
impl DeliveryService for Sink {
    async fn deliver(&self, request: Request<DeliverRequest>) -> Result<Response<DeliverResponse>, Status> {
        let events = request.into_inner().events.len();
        sleep(Duration::from_millis(2)).await;
        let verdict = EventVerdict {
            verdict: Some(Verdict::Delivered(Delivered {})),
            sent: true,
            answer: 1,
            ..EventVerdict::default()
        };
        let answers = vec![Answer { started_at_ms: 1, status: 200, events: events as u32, ..Answer::default() }];
        Ok(Response::new(DeliverResponse { verdicts: vec![verdict; events], answers, load: None }))
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse::<u64>().unwrap());
    let (webhooks, events) = (arguments.next().unwrap_or(200_000), arguments.next().unwrap_or(1));
    let journal = Arc::new(Memory::new());
    let header = EntryHeader {
        source: "shop".into(),
        destination: "default".into(),
        route: "in".into(),
        content_type: "application/json".into(),
        ..EntryHeader::default()
    };
    let body = Bytes::from(vec![b'x'; 470 * events as usize]);
    for _ in 0..webhooks {
        let entry = NewEntry { header: header.clone(), body: body.clone() };
        journal.append(entry, Instant::now() + Duration::from_secs(9)).await.unwrap();
    }
    let mapper = Mapper { events: events as u32, json: Bytes::from(vec![b'x'; 700]) };
    let transformer = moehog_proto::channel(moehog_proto::transformer::server(mapper));
    let delivery = moehog_proto::channel(moehog_proto::delivery::server(Sink));
    let relay = Relay::new(journal.clone(), Link::to_one(transformer), Link::to_one(delivery), Config::default());
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(relay.run(shutdown.clone()));
    while !journal.lanes().is_empty() {
        sleep(Duration::from_millis(250)).await;
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    shutdown.cancel();
    running.await.unwrap();
    let total = (webhooks * events) as f64;
    println!("{total} events in {wall:.2} s: {:.2} CPU-s per million events", cpu * 1e6 / total);
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}
