//! A process that serves one gRPC service: its gRPC port, its admin port, its stop.

use std::net::SocketAddr;

use anyhow::Context;
use moehog_runtime::{Admin, Exit, Listen, Readiness, Shutdown, memory_limit};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{Callers, Server, ServerBounds, ServerConfig, TlsConfig};

/// The section `[grpc]`: a worker's gRPC listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Most bytes of messages and answers under way at a time; no more than a third of the memory there is, and at least 96 MiB.
    #[serde(deserialize_with = "moehog_runtime::above_zero")]
    pub max_held_bytes: usize,
    /// Whether it describes its services to whoever asks.
    pub reflection: bool,
}

/// A service with its ports taken.
#[derive(Debug)]
pub struct Worker {
    grpc: Server,
    admin: Admin,
    routes: Routes,
    name: &'static str,
}

impl Worker {
    /// Takes both ports for the gRPC service in `routes`; `name` is its full name, for health. Call it inside the runtime.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on, certificates that cannot be used, callers without certificates.
    pub fn bind(
        name: &'static str,
        routes: Routes,
        (grpc, admin, shutdown): (&Grpc, &Listen, &Shutdown),
        (tls, callers): (&TlsConfig, &Callers),
    ) -> anyhow::Result<Self> {
        let tls = tls.open().context("certificates of section tls").context(Exit::Configuration)?;
        match (&tls, callers.is_empty()) {
            (None, false) => {
                let why = "callers are named, and without section tls nobody shows a name: give both, or none";
                return Err(anyhow::anyhow!(why).context(Exit::Configuration));
            }
            (Some(_), true) => tracing::warn!(
                service = name,
                "every certificate of tls.ca may call: name the gateway's in `callers` of this service's section"
            ),
            _ => {}
        }
        let config = ServerConfig {
            grace: shutdown.grace,
            tls,
            callers: callers.clone(),
            bounds: ServerBounds::default().holding(grpc.max_held_bytes, memory_limit()),
            reflection: grpc.reflection,
        };
        let grpc = Server::bind(grpc.listen, config)
            .with_context(|| format!("listen on {} (grpc.listen)", grpc.listen))
            .context(Exit::Listen)?;
        let admin = Admin::bind(admin.listen)
            .with_context(|| format!("listen on {} (admin.listen)", admin.listen))
            .context(Exit::Listen)?;
        Ok(Self { grpc, admin, routes, name })
    }

    /// Where gRPC is listened for.
    ///
    /// # Errors
    ///
    /// The socket is gone.
    pub fn grpc_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.grpc.local_addr()?)
    }

    /// Where the admin port is.
    ///
    /// # Errors
    ///
    /// The socket is gone.
    pub fn admin_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.admin.local_addr()?)
    }

    /// Serves until `shutdown`; then no call is taken, and those under way have the grace to end.
    ///
    /// # Errors
    ///
    /// A listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let readiness = self.admin.readiness();
        // the admin port outlives the calls, so that a probe sees the stop
        let ended = CancellationToken::new();
        let admin = tokio::spawn(self.admin.serve(axum::Router::new(), ended.clone()));
        readiness.set(true, "ready");
        let stopping = tokio::spawn(unready(readiness, shutdown.clone()));
        let served = self.grpc.serve(self.routes, &[self.name], shutdown).await;
        stopping.abort();
        ended.cancel();
        served.context("serve gRPC")?;
        admin.await.context("serve the admin port")?.context("serve the admin port")
    }
}

async fn unready(readiness: Readiness, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    readiness.set(false, "stopping");
}
