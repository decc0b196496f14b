//! The process: the gRPC port, the admin port, the stop.

use std::net::SocketAddr;

use anyhow::Context;
use moehog_runtime::{Exit, Readiness};
use moehog_transport::ServerConfig;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{Config, Delivery};

/// The delivery service with its ports.
#[derive(Debug)]
pub struct Server {
    grpc: moehog_transport::Server,
    admin: moehog_runtime::Admin,
    delivery: Delivery,
}

impl Server {
    /// Takes the ports. Call it inside the runtime, after telemetry is set up.
    ///
    /// # Errors
    ///
    /// A port is taken, or the HTTP client cannot be made.
    pub fn bind(config: &Config) -> anyhow::Result<Self> {
        let delivery = Delivery::new(config).context(Exit::Configuration)?;
        let listening = |what, addr| format!("{what} on {addr}");
        let grpc = moehog_transport::Server::bind(config.grpc.listen, ServerConfig { grace: config.shutdown.grace })
            .with_context(|| listening("gRPC", config.grpc.listen))
            .context(Exit::Listen)?;
        let admin = moehog_runtime::Admin::bind(config.admin.listen)
            .with_context(|| listening("admin", config.admin.listen))
            .context(Exit::Listen)?;
        Ok(Self { grpc, admin, delivery })
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
        let service = moehog_proto::delivery::server(self.delivery);
        let served = self.grpc.serve(Routes::new(service), &["moehog.delivery.v1.DeliveryService"], shutdown).await;
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
