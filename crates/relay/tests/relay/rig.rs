//! A relay, its journal and its doubles.

use std::{sync::Arc, time::Duration};

use moehog_journal::{Journal, NewEntry, memory::Memory};
use moehog_proto::journal::{EntryHeader, EventOutcome, Kind, Progress};
use moehog_relay::{Config, Relay, Status};
use moehog_transport::{Link, Replicas};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{mapper::Mapper, sink::Sink};

pub(crate) struct Rig {
    pub(crate) journal: Arc<Memory>,
    pub(crate) sink: Sink,
    pub(crate) mapper: Mapper,
    pub(crate) config: Config,
    /// Replicas of the delivery service, as the relay is told.
    pub(crate) deliveries: Replicas,
    /// The transformer lives and dies with the relay.
    pub(crate) same_process: bool,
    running: Option<(JoinHandle<()>, CancellationToken, Status)>,
}

/// A webhook of the source `shop`.
pub(crate) fn webhook(destination: &str, body: &str) -> NewEntry {
    let header = EntryHeader {
        kind: Kind::Webhook.into(),
        source: "shop".into(),
        destination: destination.into(),
        route: "in".into(),
        received_at_ms: 1_790_000_000_000,
        ..EntryHeader::default()
    };
    NewEntry { header, body: body.to_string().into() }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::over(Memory::new(), config)
    }

    pub(crate) fn over(journal: Memory, config: Config) -> Self {
        let journal = Arc::new(journal);
        let (sink, mapper) = (Sink::new(journal.clone()), Mapper::new(journal.clone()));
        Self { journal, sink, mapper, config, deliveries: Replicas::one(), same_process: false, running: None }
    }

    /// A rig whose relay runs.
    pub(crate) fn started() -> Self {
        let mut rig = Self::new();
        rig.start();
        rig
    }

    pub(crate) fn start(&mut self) {
        let transformer = moehog_proto::channel(moehog_proto::transformer::server(self.mapper.clone()));
        let delivery = moehog_proto::channel(moehog_proto::delivery::server(self.sink.clone()));
        let relay = Relay::new(
            self.journal.clone(),
            Link { same_process: self.same_process, ..Link::to_one(transformer) },
            Link { replicas: self.deliveries.clone(), ..Link::to_one(delivery) },
            self.config.clone(),
        )
        .with_seed(7);
        let (status, shutdown) = (relay.status(), CancellationToken::new());
        self.running = Some((tokio::spawn(relay.run(shutdown.clone())), shutdown, status));
    }

    pub(crate) async fn append(&self, body: impl Into<String>) -> u64 {
        self.append_to("default", body).await
    }

    pub(crate) async fn append_to(&self, destination: &str, body: impl Into<String>) -> u64 {
        let body = body.into();
        self.append_entry(webhook(destination, &body), body).await
    }

    /// A webhook of another source.
    pub(crate) async fn append_from(&self, source: &str, destination: &str, body: impl Into<String>) -> u64 {
        let body = body.into();
        let mut entry = webhook(destination, &body);
        entry.header.source = source.to_string();
        self.append_entry(entry, body).await
    }

    async fn append_entry(&self, entry: NewEntry, body: String) -> u64 {
        // nothing runs between the append and the plan: an event is planned before it can be sent
        let is_routed = entry.header.destination.starts_with("rule:");
        let receipt = self.journal.append(entry, Instant::now() + Duration::from_secs(2)).await.unwrap();
        if is_routed {
            // what is handed on has other entries
            return receipt.sequence;
        }
        let mut state = self.sink.state();
        for (position, line) in body.lines().filter(|line| !line.starts_with('@')).enumerate() {
            if !line.starts_with('!') && !body.contains("@reject") {
                let person = line.split_once(" uuid=").map_or(line, |(person, _)| person);
                state.planned.entry(person.to_string()).or_default().push((receipt.sequence, position as u32));
            }
        }
        receipt.sequence
    }

    /// The process dies at once: nothing is finished, nothing recorded.
    pub(crate) async fn crash(&mut self) {
        if let Some((task, _, _)) = self.running.take() {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        self.journal = Arc::new(self.journal.restart());
        self.sink.forget();
    }

    /// The relay is told to stop, and does.
    pub(crate) async fn stop(&mut self) {
        let (task, shutdown, _) = self.running.take().unwrap();
        shutdown.cancel();
        task.await.unwrap();
    }

    pub(crate) fn status(&self) -> Status {
        self.running.as_ref().unwrap().2.clone()
    }

    /// Waits until `condition` holds.
    pub(crate) async fn until(&self, what: &str, within: Duration, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + within;
        while !condition(self) {
            assert!(Instant::now() < deadline, "not within {within:?}: {what}\n{:?}", self.journal.stats());
            sleep((within / 10_000).max(Duration::from_millis(5))).await;
        }
    }

    /// Waits until all is settled, and checks what must hold then.
    pub(crate) async fn settled(&self, within: Duration) {
        self.until("all is settled", within, |rig| rig.journal.stats().ledger.waiting == 0).await;
        self.check().await;
    }

    /// Nothing forbidden was seen, and the books are the journal's.
    pub(crate) async fn check(&self) {
        let (mut faults, overtaken) = {
            let state = self.sink.state();
            (state.faults.clone(), state.overtaken.clone())
        };
        for (earlier, what) in overtaken {
            // what was never made of a webhook that kills its process was never sent; one event of it says so
            let of_webhook = self.sink.outcome((earlier.0, 0)).await;
            let outcome = self.sink.outcome(earlier).await.or(of_webhook).unwrap_or_default();
            if outcome.reason != "transform_failed" {
                faults.push(what);
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
        assert_eq!(self.journal.stats().ledger, self.journal.recount().await.unwrap());
    }

    pub(crate) async fn progress(&self, sequence: u64) -> Progress {
        self.journal.get(self.journal.receipt_of(sequence)).await.unwrap().unwrap().progress.unwrap_or_default()
    }

    pub(crate) async fn outcome(&self, sequence: u64, position: u32) -> EventOutcome {
        self.sink.outcome((sequence, position)).await.unwrap_or_default()
    }
}
