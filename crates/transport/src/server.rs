//! Servers: health, reflection, a random connection age, a bounded drain.

use std::{io, net::SocketAddr, time::Duration};

use futures::{FutureExt, Stream, StreamExt, stream};
use moehog_runtime::chain;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::server::TcpIncoming};
use tonic_health::ServingStatus;

use crate::{Tls, client::WINDOW_BYTES};

/// Longest time that a caller may take to show its certificate.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How a server behaves.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Longest time that calls under way may take after the stop began.
    pub grace: Duration,
    /// Certificates; none is plain HTTP/2.
    pub tls: Option<Tls>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(25), tls: None }
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

    /// Serves `routes` until `shutdown`, with health (for the whole server and each of `names`) and reflection beside
    /// them. Then health says not serving, calls under way have the grace to end, and what is left is dropped.
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
        let (health, health_service) = tonic_health::server::health_reporter();
        for name in [""].iter().chain(names) {
            health.set_service_status(*name, ServingStatus::Serving).await;
        }
        let routes = routes.add_service(health_service);
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(moehog_proto::DESCRIPTORS)
            .build_v1();
        let routes = match reflection {
            Ok(reflection) => routes.add_service(reflection),
            Err(error) => {
                tracing::warn!(%error, "gRPC reflection is off");
                routes
            }
        };
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
            .add_routes(routes);
        let stop = async move {
            stopping.cancelled().await;
            health.set_service_status("", ServingStatus::NotServing).await;
        };
        let server = match self.config.tls {
            None => server.serve_with_incoming_shutdown(self.incoming, stop).boxed(),
            Some(tls) => server.serve_with_incoming_shutdown(authenticated(self.incoming, tls), stop).boxed(),
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

/// Connections whose other side has shown a certificate. One that does not, or is slow about it, holds up no other.
fn authenticated(mut incoming: TcpIncoming, tls: Tls) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let (accepted, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = incoming.next() => next,
                () = accepted.closed() => return,
            };
            let Some(Ok(stream)) = next else { continue };
            let (accepted, tls) = (accepted.clone(), tls.clone());
            tokio::spawn(async move {
                match timeout(HANDSHAKE, tls.accept(stream)).await {
                    // nobody waits for it where the server has stopped
                    Ok(Ok(stream)) => drop(accepted.send(Ok(stream)).await),
                    Ok(Err(error)) => {
                        tracing::warn!(error = %chain(&error), "gRPC caller was turned away");
                    }
                    Err(_elapsed) => tracing::warn!("gRPC caller showed no certificate in time"),
                }
            });
        }
    });
    stream::unfold(connections, async |mut connections| connections.recv().await.map(|next| (next, connections)))
}
