//! More workers than one of a kind.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
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

impl Deployment {
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
