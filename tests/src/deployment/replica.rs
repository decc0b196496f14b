//! More workers than one of a kind.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::Context;

use super::{Deployment, START};
use crate::{Dns, Process, Service, Setup, get};

/// One more worker beside a deployment's own.
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
}

impl Setup {
    /// The gateway finds its deliveries by a name that `dns` answers for; the deployment's own is at 127.0.0.1.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub fn deliveries_by_name(mut self, dns: &Dns) -> io::Result<Self> {
        // the same port at every address
        let grpc = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        self.listen.insert(Service::Delivery, (grpc, (Ipv4Addr::LOCALHOST, 0).into()));
        self.delivery = Some(format!("dns://{}/delivery.test:{}", dns.addr(), grpc.port()));
        Ok(self)
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
