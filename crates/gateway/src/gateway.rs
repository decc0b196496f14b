//! The process: ports, journal, relay, and the order they stop in.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use moehog_journal::{Journal, disk::RealDisk, embedded::Embedded};
use moehog_proto::Destination;
use moehog_relay::{Feed, Relay};
use moehog_runtime::{Exit, spawn_apart, ways_to_set, within_grace};
use moehog_transport::{Address, ClientConfig, Link, connect};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Ingest, admin,
    config::{self, Api, Source, Worker},
    ingest::{key_remedy, without_key},
    listener::{Listener, Port},
    looks::Looks,
};

/// The gateway with its ports, its journal and its relay.
#[derive(Debug)]
pub struct Gateway {
    listener: Listener,
    admin: moehog_runtime::Admin,
    admin_addr: SocketAddr,
    api: Api,
    ingest: Arc<Ingest>,
    journal: Arc<dyn Journal>,
    relay: Relay,
    looks: Looks,
    grace: Duration,
}

impl Gateway {
    /// Takes the ports, opens the journal of `config.journal.dir`, and connects to the configured workers.
    ///
    /// # Errors
    ///
    /// A configuration that contradicts itself, a port that is taken, a journal that cannot be opened.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let tls = config.tls.open().context("certificates of section tls").context(Exit::Configuration)?;
        let worker = |name: &str, worker: &Worker| -> anyhow::Result<Link> {
            let address: Address =
                worker.address.parse().with_context(|| format!("{name}.address")).context(Exit::Configuration)?;
            let server_name = Some(worker.server_name.clone()).filter(|name| !name.is_empty());
            Ok(connect(&address, &ClientConfig { tls: tls.clone(), server_name, ..ClientConfig::default() }))
        };
        let (transformer, delivery) =
            (worker("transformer", &config.transformer)?, worker("delivery", &config.delivery)?);
        Self::bind_with(config, transformer, delivery).await
    }

    /// [`Gateway::bind`], with workers reached by these links.
    ///
    /// # Errors
    ///
    /// As [`Gateway::bind`].
    pub async fn bind_with(config: Config, transformer: Link, delivery: Link) -> anyhow::Result<Self> {
        Self::bind_on(None, config, transformer, delivery).await
    }

    /// [`Gateway::bind_with`], over another journal than the one in `config.journal.dir`.
    ///
    /// # Errors
    ///
    /// As [`Gateway::bind`].
    pub async fn bind_on(
        journal: Option<Arc<dyn Journal>>,
        config: Config,
        transformer: Link,
        delivery: Link,
    ) -> anyhow::Result<Self> {
        config::check(&config)?;
        let port = Port::take(config.http.listen)
            .with_context(|| format!("webhooks on {}", config.http.listen))
            .context(Exit::Listen)?;
        let admin = moehog_runtime::Admin::bind(config.admin.listen)
            .with_context(|| format!("admin on {}", config.admin.listen))
            .context(Exit::Listen)?;
        let admin_addr = admin.local_addr().context(Exit::Listen)?;
        let journal = match journal {
            Some(journal) => journal,
            None => open_journal(&config).await.context(Exit::Journal)?,
        };
        let looks = Looks::new(moehog_proto::transformer::client(transformer.channel.clone()));
        let relay = Relay::new(journal.clone(), transformer, delivery, config.relay());
        let ingest = Ingest::new((journal.clone(), Some(relay.status())), &config).with_looks(looks.clone());
        say_who_may_send(&config, &ingest);
        let readiness = admin.readiness();
        let needed = journal.clone();
        readiness.require(move || match needed.disk_works() {
            true => Ok(()),
            false => Err("the journal's disk fails, and webhooks are refused: see the log".into()),
        });
        let listener = port
            .open(&config.http, readiness)
            .with_context(|| format!("webhooks on {}", config.http.listen))
            .context(Exit::Listen)?;
        Ok(Self {
            listener,
            admin,
            admin_addr,
            api: config.api,
            ingest: Arc::new(ingest),
            journal,
            relay,
            looks,
            grace: config.shutdown.grace,
        })
    }

    /// Where webhooks come to.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Where the admin port is.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// What passes: events that became final, or that wait.
    #[must_use]
    pub fn feed(&self) -> Feed {
        self.relay.status().feed().clone()
    }

    /// Serves until `shutdown`. Then `/readyz` says 503, the public port closes, requests under way end, the relay records
    /// what it holds, and the journal closes.
    ///
    /// # Errors
    ///
    /// The admin port fails, the relay ends by itself, or the stop takes longer than its grace.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (grace, stop) = (self.grace, shutdown.clone());
        within_grace(&stop, grace, self.run(shutdown)).await
    }

    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let readiness = self.admin.readiness();
        let (relay_stops, admin_stops) = (CancellationToken::new(), CancellationToken::new());
        let (journal, relay) = (self.journal.clone(), self.relay.status());
        let admin = admin::Admin { journal, relay, looks: self.looks, persons: admin::Persons::new() };
        let routes = admin::routes(admin, self.admin_addr.ip(), self.api);
        let mut admin = tokio::spawn(self.admin.serve(routes, admin_stops.clone()));
        let mut relay = spawn_apart("relay", relay_threads(), self.relay.run(relay_stops.clone()))
            .context("threads of the relay")?;
        readiness.set(true, "ready");

        // a gateway whose relay or admin port is gone must not go on as if nothing were wrong
        let failed = tokio::select! {
            () = async {
                shutdown.cancelled().await;
                readiness.set(false, "stopping");
                // the listener returns when its last request has ended
                std::future::pending::<()>().await;
            } => None,
            () = self.listener.serve(self.ingest, shutdown.clone()) => None,
            ended = &mut relay => Some(ended_early("relay", ended.map(|()| Ok(())))),
            ended = &mut admin => Some(ended_early("admin port", ended)),
        };
        if failed.is_none() {
            relay_stops.cancel();
            relay.await.context("stop the relay")?;
        }
        say_what_waits(&*self.journal);
        self.journal.close().await;
        if let Some(error) = failed {
            return Err(error);
        }
        admin_stops.cancel();
        stopped(admin).await
    }
}

/// Lanes are walked by one thread for two that answer senders.
fn relay_threads() -> usize {
    (tokio::runtime::Handle::current().metrics().num_workers() / 2).max(1)
}

async fn stopped(admin: JoinHandle<std::io::Result<()>>) -> anyhow::Result<()> {
    admin.await.context("stop the admin port")?.context("serve the admin port")
}

fn ended_early(what: &str, ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("the {what} ended by itself"),
        Ok(Err(error)) => anyhow::Error::new(error).context(format!("the {what} failed")),
        Err(error) => anyhow::Error::new(error).context(format!("the {what} failed")),
    }
}

async fn open_journal(config: &Config) -> anyhow::Result<Arc<dyn Journal>> {
    // whoever knows a public project key fills no more than half, before the others have sent anything
    let sources = config.all_sources().into_keys().collect();
    let config = moehog_journal::embedded::Config { sources, ..config.journal.clone() };
    let dir = config.dir.display().to_string();
    // replaying what is not sealed takes a moment
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<Embedded> {
        let disk = RealDisk::open(&config.dir).context(
            "journal.dir is to be a directory that this process may write to, or make: look at it, or name another",
        )?;
        Ok(Embedded::open(Arc::new(disk), config)?)
    });
    Ok(Arc::new(opened.await?.with_context(|| format!("journal in {dir}"))?))
}

/// Tells who takes this gateway away what goes with it: nobody else delivers what lies in its journal.
fn say_what_waits(journal: &dyn Journal) {
    let mut waiting = BTreeMap::<_, u64>::new();
    for lane in journal.lanes() {
        *waiting.entry(Destination::of(&lane.destination).redacted()).or_default() += lane.unsettled;
    }
    let webhooks: u64 = waiting.values().sum();
    if webhooks == 0 {
        tracing::info!("nothing waits in the journal of this gateway");
        return;
    }
    let by_destination: Vec<_> =
        waiting.iter().map(|(destination, webhooks)| format!("{destination} {webhooks}")).collect();
    tracing::info!(
        webhooks,
        by_destination = by_destination.join(", "),
        remedy = "start a gateway over the same directory again, which delivers them; to take this one away for good, \
                  see \"Scale in\" in deploy/README.md before its volume goes",
        "webhooks wait in the journal of this gateway and stay there"
    );
}

/// Tells, once, who may send and what waits for a key.
fn say_who_may_send(config: &Config, ingest: &Ingest) {
    tracing::info!(sources = ?ingest.source_names(), capture = ingest.capture_rule(), "webhooks are taken");
    let takes_nothing = |source: &Source| source.from.is_none() && !source.asks_for_secret();
    let sources = config.all_sources();
    for source in sources.iter().filter(|(_, source)| takes_nothing(source)).map(|(name, _)| name) {
        let remedy = format!("set {}", ways_to_set(&format!("sources.{source}.tokens")));
        match config.http.allow_local {
            true => tracing::info!(
                source,
                remedy,
                "whoever is on this machine may send without a secret; a proxy here lets everybody in"
            ),
            false => tracing::info!(
                source,
                remedy,
                "nobody may send to this source: it has no token, no password and no addresses"
            ),
        }
    }
    let by_address_alone = |source: &Source| source.from.is_some() && !source.asks_for_secret();
    for source in config.sources.iter().filter(|(_, source)| by_address_alone(source)).map(|(name, _)| name) {
        tracing::warn!(
            source,
            remedy = format!("add sources.{source}.tokens or sources.{source}.basic"),
            "whoever has one of this source's addresses may send, without a secret; MoEngage's are shared by all its customers"
        );
    }
    config.secret_weaknesses().into_iter().for_each(|weakness| tracing::warn!("{weakness}"));
    for (source, destination) in without_key(&config.sources, &config.destinations) {
        if Destination::of(&destination).key().is_none() {
            tracing::info!(
                source,
                remedy = key_remedy(&destination),
                destination,
                "no api key is configured here for this source's destination: unless delivery has one, its webhooks are kept until it has"
            );
        }
    }
}
