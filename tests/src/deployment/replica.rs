//! More workers than one of a kind.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Deployment, START};
use crate::{Process, Service};

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
