//! Servers: health, bounds, a random connection age, a bounded drain.

use std::{io, net::SocketAddr, time::Duration};

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::server::TcpIncoming};
use tonic_health::ServingStatus;

use crate::{Callers, ServerBounds, Tls, accept::Door, client_config::WINDOW_BYTES, guard::Guard, held::Room};

/// Most bytes of a call's metadata: ours is some hundred, and a trace's state.
const METADATA_BYTES: u32 = 8 * 1024;

/// How a server behaves.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Longest time that calls under way may take after the stop began.
    pub grace: Duration,
    /// Certificates; none is plain HTTP/2.
    pub tls: Option<Tls>,
    /// Who may call, by their certificates.
    pub callers: Callers,
    /// How much it takes on at a time.
    pub bounds: ServerBounds,
    /// Whether it describes its services to whoever asks.
    pub reflection: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(25),
            tls: None,
            callers: Callers::default(),
            bounds: ServerBounds::default(),
            reflection: false,
        }
    }
}

/// A bound gRPC listener.
#[derive(Debug)]
pub struct Server {
    incoming: TcpIncoming,
    config: ServerConfig,
}

impl Server {
    /// Takes the address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn bind(addr: SocketAddr, config: ServerConfig) -> io::Result<Self> {
        Ok(Self { incoming: TcpIncoming::bind(addr)?.with_nodelay(Some(true)), config })
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// The socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.incoming.local_addr()
    }

    /// Serves `routes` until `shutdown`, with health (for the whole server and each of `names`) beside them. Then health says not serving, calls under way have the grace to end, and what is left is dropped.
    ///
    /// # Errors
    ///
    /// The listener fails.
    pub async fn serve(
        self,
        routes: Routes,
        names: &[&str],
        shutdown: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let (mut health, health_service) = tonic_health::server::health_reporter();
        for name in [""].iter().chain(names) {
            health.set_service_status(*name, ServingStatus::Serving).await;
        }
        let mut routes = routes.add_service(health_service);
        if self.config.reflection {
            routes = with_reflection(routes);
        }
        let room = Room::new(self.config.bounds);
        let (door, guarded) = (Door::new(&room), Guard { routes: routes.prepare(), room: room.clone() });
        // random, so that the connections of many replicas do not move at once; no grace: with one, tonic 0.14 cuts the
        // connection instead of announcing the end
        let age = Duration::from_secs(rand::random_range(25 * 60..35 * 60));
        let stopping = shutdown.clone();
        let server = tonic::transport::Server::builder()
            .max_connection_age(age)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .max_concurrent_streams(room.bounds.streams)
            .http2_max_header_list_size(METADATA_BYTES);
        let stop = async move {
            stopping.cancelled().await;
            for name in [""].iter().chain(names) {
                health.set_service_status(*name, ServingStatus::NotServing).await;
                // whoever watches is told, and then its watch ends: the stop waits for all calls
                health.clear_service_status(name).await;
            }
        };
        let server = match self.config.tls {
            None => server.serve_with_incoming_shutdown(guarded, door.plain(self.incoming), stop).boxed(),
            Some(tls) => {
                let connections = door.authenticated(self.incoming, tls, self.config.callers);
                server.serve_with_incoming_shutdown(guarded, connections, stop).boxed()
            }
        };
        tokio::select! {
            result = server => result,
            () = async { shutdown.cancelled().await; tokio::time::sleep(self.config.grace).await } => {
                tracing::warn!(grace = ?self.config.grace, "gRPC calls were left after the grace");
                Ok(())
            }
        }
    }
}

/// Adds gRPC reflection, as tools ask for it.
fn with_reflection(routes: Routes) -> Routes {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(moehog_proto::DESCRIPTORS)
        .build_v1();
    match reflection {
        Ok(reflection) => routes.add_service(reflection),
        Err(error) => {
            tracing::warn!(%error, "gRPC reflection is off");
            routes
        }
    }
}
