//! Connections: accepted, served, and cut when told.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::posthog::{
    routes,
    state::State,
    wire::{Fuse, Wire},
};

pub(crate) async fn serve(listener: TcpListener, state: Arc<State>, shutdown: CancellationToken) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let connections = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                drop(connections.spawn(connection(stream, peer, state.clone(), shutdown.clone())));
            }
            Err(error) => {
                // out of descriptors, or the peer is gone already: neither ends the server
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn connection(stream: TcpStream, peer: SocketAddr, state: Arc<State>, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let fuse = Fuse::default();
    let wire = TokioIo::new(Wire::new(stream, fuse.clone()));
    let peer: Arc<str> = peer.ip().to_string().into();
    let service = service_fn(|request| {
        let (state, fuse, peer) = (state.clone(), fuse.clone(), peer.clone());
        async move {
            match routes::answer(&state, request, &peer).await {
                Some(answer) => Ok(Response::<Full<Bytes>>::from(answer)),
                None => {
                    fuse.blow();
                    Err(io::Error::from(io::ErrorKind::ConnectionReset))
                }
            }
        }
    });
    let serving = http1::Builder::new().serve_connection(wire, service);
    if let Some(Err(error)) = shutdown.run_until_cancelled(serving).await {
        tracing::trace!(%error, "connection ended");
    }
}
