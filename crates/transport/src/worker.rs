//! A process that serves one gRPC service: its gRPC port, its admin port, its stop.

use std::net::SocketAddr;

use anyhow::Context;
use moehog_runtime::{Admin, Exit, Listen, Readiness, Shutdown};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{Server, ServerConfig, TlsConfig};

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
    /// An address that cannot be listened on, certificates that cannot be used.
    pub fn bind(
        name: &'static str,
        routes: Routes,
        (grpc, admin, shutdown): (&Listen, &Listen, &Shutdown),
        tls: &TlsConfig,
    ) -> anyhow::Result<Self> {
        let tls = tls.open().context("certificates of section tls").context(Exit::Configuration)?;
        let grpc = Server::bind(grpc.listen, ServerConfig { grace: shutdown.grace, tls })
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
