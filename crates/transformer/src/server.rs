//! The transformer as a process: a gRPC port and an admin port.

use std::net::SocketAddr;

use anyhow::Context;
use moehog_runtime::{Admin, Exit};
use moehog_transport::{Server, ServerConfig};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{Config, Transformer};

/// Name of the service, for gRPC health.
const NAME: &str = "moehog.transformer.v1.TransformerService";

/// A transformer that listens.
#[derive(Debug)]
pub struct TransformerServer {
    transformer: Transformer,
    grpc: Server,
    admin: Admin,
}

impl TransformerServer {
    /// Takes both ports. Call it inside the runtime.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on.
    pub fn bind(config: Config) -> anyhow::Result<Self> {
        let transport = ServerConfig { grace: config.shutdown.grace };
        let grpc = Server::bind(config.grpc.listen, transport)
            .with_context(|| format!("listen on {} (grpc.listen)", config.grpc.listen))
            .context(Exit::Listen)?;
        let admin = Admin::bind(config.admin.listen)
            .with_context(|| format!("listen on {} (admin.listen)", config.admin.listen))
            .context(Exit::Listen)?;
        Ok(Self { transformer: Transformer::new(config.mapping), grpc, admin })
    }

    /// The address of the gRPC listener.
    ///
    /// # Errors
    ///
    /// The socket is gone.
    pub fn grpc_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.grpc.local_addr()?)
    }

    /// The address of the admin listener.
    ///
    /// # Errors
    ///
    /// The socket is gone.
    pub fn admin_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.admin.local_addr()?)
    }

    /// Serves until `shutdown`; calls under way have the grace to end. The admin port closes last.
    ///
    /// # Errors
    ///
    /// A listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let readiness = self.admin.readiness();
        let routes = Routes::new(moehog_proto::transformer::server(self.transformer));
        let admin_shutdown = CancellationToken::new();
        let admin = tokio::spawn(self.admin.serve(axum::Router::new(), admin_shutdown.clone()));

        readiness.set(true, "ready");
        let stopping = shutdown.clone();
        let unready = tokio::spawn(async move {
            stopping.cancelled().await;
            readiness.set(false, "stopping");
        });
        let served = self.grpc.serve(routes, &[NAME], shutdown).await.context("serve gRPC");
        unready.abort();
        admin_shutdown.cancel();
        admin.await.context("serve the admin port")?.context("serve the admin port")?;
        served
    }
}
