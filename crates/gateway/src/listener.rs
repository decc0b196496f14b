//! The public port: connections in, requests to [`Ingest`].

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::Http, ingest::Ingest};

/// Time that requests under way have to end once the stop began. One whose body is here ends within the append deadline; of
/// one whose body still comes nothing was taken.
const REQUESTS_GRACE: Duration = Duration::from_secs(5);

/// The bound public port.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    addr: SocketAddr,
    connections: Arc<Semaphore>,
    keep_alive: Duration,
}

impl Listener {
    /// Takes the address; port 0 takes a free one.
    pub(crate) async fn bind(http: &Http) -> io::Result<Self> {
        let listener = TcpListener::bind(http.listen).await?;
        let addr = listener.local_addr()?;
        let connections = Arc::new(Semaphore::new(http.max_connections.min(Semaphore::MAX_PERMITS)));
        Ok(Self { listener, addr, connections, keep_alive: http.keep_alive })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`: then the port closes, and requests under way end or are cut off.
    pub(crate) async fn serve(self, ingest: Arc<Ingest>, shutdown: CancellationToken) {
        let (open, cut) = (TaskTracker::new(), CancellationToken::new());
        while let Some(accepted) = shutdown.run_until_cancelled(self.accept()).await {
            match accepted {
                Ok((stream, peer, turn)) => {
                    let (ingest, keep_alive, shutdown) = (ingest.clone(), self.keep_alive, shutdown.child_token());
                    let cut = cut.child_token();
                    open.spawn(async move {
                        let connection = serve_connection(stream, peer, ingest, keep_alive, shutdown);
                        cut.run_until_cancelled(connection).await;
                        drop(turn);
                    });
                }
                Err(error) => {
                    // out of file descriptors, mostly: those in use come back
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        open.close();
        if tokio::time::timeout(REQUESTS_GRACE, open.wait()).await.is_err() {
            tracing::info!(requests = open.len(), "bodies that still came are left");
            cut.cancel();
            open.wait().await;
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, IpAddr, Option<tokio::sync::OwnedSemaphorePermit>)> {
        // the semaphore is never closed
        let turn = self.connections.clone().acquire_owned().await.ok();
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer.ip(), turn))
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: IpAddr,
    ingest: Arc<Ingest>,
    keep_alive: Duration,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request| {
        let ingest = ingest.clone();
        async move { Ok::<_, Infallible>(ingest.handle(peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        // a sender that has said all may close its side and still wait for the answer
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
