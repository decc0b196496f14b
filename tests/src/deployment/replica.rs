//! More workers than one of a kind.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::Context;

use super::{Deployment, START};
use crate::{Dns, Log, Process, Service, Setup, get, within};

/// One worker of several of a kind.
#[derive(Debug)]
pub struct Replica {
    /// Where it listens.
    pub host: Ipv4Addr,
    /// Its admin address.
    pub admin: SocketAddr,
    /// The process.
    pub process: Process,
}

/// One more gateway of a deployment, with a journal of its own.
#[derive(Debug)]
pub struct FurtherGateway {
    /// Where it takes webhooks.
    pub http: SocketAddr,
    /// Its admin address.
    pub admin: SocketAddr,
    /// The process.
    pub process: Process,
}

impl Deployment {
    /// Starts one more gateway over the same workers, with a journal in `journal`, and waits until it is ready. The caller
    /// stops it.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub async fn further_gateway(&self, journal: &Path) -> anyhow::Result<FurtherGateway> {
        let mut command = self.command(Service::Gateway)?;
        command.env("MOEHOG__HTTP__LISTEN", "127.0.0.1:0").env("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0");
        command.env("MOEHOG__JOURNAL__DIR", journal);
        let mut process = Process::start("moehog-gateway (further)", command, &self.log)?;
        let http = process.logged("http", START).await?.parse()?;
        let admin = process.logged("admin", START).await?.parse()?;
        within(START, "the further gateway is ready", async || {
            get(admin, "/readyz").await.ok().filter(|answer| answer.status == 200)
        })
        .await?;
        Ok(FurtherGateway { http, admin, process })
    }

    /// Starts one more worker of a kind, on the port that the deployment's own has, at another address of this machine.
    /// The caller stops it.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub async fn replica(&self, service: Service, host: Ipv4Addr) -> anyhow::Result<Replica> {
        let grpc = SocketAddr::new(host.into(), self.grpc(service)?.port());
        let mut command = self.command(service)?;
        command.env("MOEHOG__GRPC__LISTEN", grpc.to_string()).env("MOEHOG__ADMIN__LISTEN", format!("{host}:0"));
        let mut process = Process::start(&format!("{} {host}", service.binary()), command, &self.log)?;
        let admin = process.logged("admin", START).await?.parse()?;
        Ok(Replica { host, admin, process })
    }

    /// Hands the deployment's own worker of a kind over as one of several. The caller stops it.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn release(&mut self, service: Service) -> anyhow::Result<Replica> {
        let process = self.processes.remove(&service).context("not running")?;
        Ok(Replica { host: Ipv4Addr::LOCALHOST, admin: self.admin_of(service)?, process })
    }
}

/// Waits until a gateway has taken over what the name server says: these addresses, and no other with this port.
///
/// # Errors
///
/// It has not in time.
pub async fn known(log: &Log, port: u16, hosts: &[Ipv4Addr], deadline: Duration) -> anyhow::Result<()> {
    let wanted: Vec<_> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    let (wanted, port) = (wanted.join(" "), format!(":{port}"));
    within(deadline, &format!("the gateway knows {wanted}"), async || {
        let last = log.last(|line| line.field("replicas").filter(|replicas| replicas.contains(&port)));
        (last? == wanted).then_some(())
    })
    .await
}

impl Setup {
    /// The gateway finds its deliveries by a name that `dns` answers for; the deployment's own is at 127.0.0.1.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub fn deliveries_by_name(mut self, dns: &Dns) -> io::Result<Self> {
        self.delivery = Some(self.named(Service::Delivery, "delivery.test", dns)?);
        Ok(self)
    }

    /// The same for its transformers.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub fn transformers_by_name(mut self, dns: &Dns) -> io::Result<Self> {
        self.transformer = Some(self.named(Service::Transformer, "transformer.test", dns)?);
        Ok(self)
    }

    fn named(&mut self, service: Service, name: &str, dns: &Dns) -> io::Result<String> {
        // the same port at every address
        let grpc = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        self.listen.insert(service, (grpc, (Ipv4Addr::LOCALHOST, 0).into()));
        Ok(format!("dns://{}/{name}:{}", dns.addr(), grpc.port()))
    }
}

/// Events that the delivery with this admin address has delivered.
///
/// # Errors
///
/// It does not answer, or not with metrics.
pub async fn delivered(admin: SocketAddr) -> anyhow::Result<u64> {
    const METRIC: &str = "moehog_delivery_events_total{verdict=\"delivered\"} ";
    let text = get(admin, "/metrics").await?.text();
    let count = text.lines().find_map(|line| line.strip_prefix(METRIC)).unwrap_or("0");
    count.parse().with_context(|| format!("`{count}` in the metrics of {admin}"))
}
