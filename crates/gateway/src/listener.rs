//! The public port: connections in, requests to [`Ingest`].

mod proxy_protocol;

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::service::service_fn;
use moehog_runtime::{Connection, Connections, OncePerMinute, Patience, Readiness, allow_open_files, serve_http1};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::yield_now,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{addresses::Block, config::Http, ingest::Ingest, probes};

/// Time that requests under way have to end once the stop began. One whose body is here ends within the append deadline; of
/// one whose body still comes nothing was taken.
const REQUESTS_GRACE: Duration = Duration::from_secs(5);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Open files that connections of the public port leave to the rest of the process: the journal's 128 and what it writes,
/// requests to PostHog, calls of the other services, the admin port.
const KEPT_FILES: usize = 384;
/// Connections that are taken in any case.
const LEAST_CONNECTIONS: usize = 64;

/// The public port, taken and still closed: whoever connects is refused at once, which a load balancer takes for a
/// gateway that is not there, and asks another one. An answer of 503 it would hand on to MoEngage.
#[derive(Debug)]
pub(crate) struct Port {
    socket: TcpSocket,
    addr: SocketAddr,
}

impl Port {
    /// Takes the address; port 0 takes a free one.
    pub(crate) fn take(addr: SocketAddr) -> io::Result<Self> {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // a free port that is not listened on yet must be given to nobody else
        socket.set_reuseaddr(addr.port() != 0)?;
        socket.bind(addr)?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr })
    }

    /// Opens it.
    pub(crate) fn open(self, http: &Http, readiness: Readiness) -> io::Result<Listener> {
        // connections inherit it, so that a restart takes the port again while the last of them linger
        self.socket.set_reuseaddr(true)?;
        let listener = self.socket.listen(BACKLOG)?;
        let connections = Connections::new(connections(http.max_connections, allow_open_files()));
        let patience = Patience { head: http.keep_alive, answer: http.answer_idle };
        let proxies = http.trusted_proxies.clone().into();
        Ok(Listener {
            listener,
            addr: self.addr,
            connections,
            patience,
            proxies,
            proxy_protocol: http.proxy_protocol,
            readiness,
        })
    }
}

/// The open public port.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    addr: SocketAddr,
    connections: Connections,
    patience: Patience,
    /// Proxies before this one.
    proxies: Arc<[Block]>,
    /// Whether connections begin with the PROXY protocol: only those of proxies are taken then.
    proxy_protocol: bool,
    /// What probes are told.
    readiness: Readiness,
}

impl Listener {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`: then the port closes, and requests under way end or are cut off.
    pub(crate) async fn serve(self, ingest: Arc<Ingest>, shutdown: CancellationToken) {
        let (open, cut) = (TaskTracker::new(), CancellationToken::new());
        let refused = Arc::<Undeclared>::default();
        while let Some(accepted) = shutdown.run_until_cancelled(self.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    let connection = self.connections.enter(peer);
                    let (ingest, readiness, shutdown) =
                        (ingest.clone(), self.readiness.clone(), shutdown.child_token());
                    let (patience, cut, proxy_protocol) = (self.patience, cut.child_token(), self.proxy_protocol);
                    let refused = refused.clone();
                    let is_proxy = self.proxies.iter().any(|block| block.contains(peer));
                    if is_proxy && !proxy_protocol {
                        // requests of many come on it
                        connection.shown().is_right();
                    }
                    open.spawn(async move {
                        let served = async {
                            let (mut stream, mut peer) = (stream, peer);
                            if proxy_protocol {
                                match declared(&mut stream, peer, is_proxy).await {
                                    Ok(address) => peer = address,
                                    Err(error) => return refused.note(&error),
                                }
                                connection.is_of(peer);
                            }
                            serve(stream, (peer, &connection), (ingest, readiness), patience, &shutdown).await;
                        };
                        tokio::select! {
                            () = served => {}
                            () = cut.cancelled() => {}
                            () = connection.is_cut_off() => {}
                        }
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

    async fn accept(&self) -> io::Result<(TcpStream, IpAddr)> {
        self.connections.room().await;
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer.ip()))
    }
}

/// Connections that did not begin with the PROXY protocol, or are of nobody who may say whose they are.
#[derive(Debug, Default)]
struct Undeclared(Mutex<OncePerMinute>);

impl Undeclared {
    fn note(&self, error: &io::Error) {
        let due = self.0.lock().count(Instant::now());
        if let Some(connections) = due {
            tracing::warn!(
                connections,
                error = %error,
                "connections are closed: http.proxy_protocol is on, and they begin without it or are of none of http.trusted_proxies"
            );
        }
    }
}

/// Whose connection a proxy says that it is.
async fn declared(stream: &mut TcpStream, peer: IpAddr, is_proxy: bool) -> io::Result<IpAddr> {
    if !is_proxy {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is of no trusted proxy"));
    }
    Ok(proxy_protocol::read(stream).await?.unwrap_or(peer))
}

async fn serve(
    stream: TcpStream,
    (peer, connection): (IpAddr, &Connection),
    (ingest, readiness): (Arc<Ingest>, Readiness),
    patience: Patience,
    shutdown: &CancellationToken,
) {
    let shown = connection.shown();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let (ingest, probed) = (ingest.clone(), probes::answer(&request, &readiness));
        request.extensions_mut().insert(shown.clone());
        async move {
            Ok::<_, Infallible>(match probed {
                Some(answer) => {
                    // a connection on which many are asked at once takes its turn like the others
                    yield_now().await;
                    answer
                }
                None => ingest.handle(peer, request).await,
            })
        }
    });
    if let Err(error) = serve_http1(stream, service, patience, shutdown).await {
        tracing::debug!(%error, "connection ended");
    }
}

/// Open connections within the open files that the system allows: the journal, PostHog and the admin port keep theirs.
fn connections(wanted: usize, open_files: u64) -> usize {
    let left = usize::try_from(open_files).unwrap_or(usize::MAX).saturating_sub(KEPT_FILES).max(LEAST_CONNECTIONS);
    if left < wanted {
        tracing::warn!(
            max_connections = wanted,
            in_force = left,
            open_files,
            "http.max_connections is more than the system lets this process open: raise its limit of open files (ulimit -n, \
             LimitNOFILE), or lower http.max_connections"
        );
    }
    wanted.min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_open_files_to_the_rest() {
        assert_eq!(connections(16_384, 1 << 20), 16_384);
        assert_eq!(connections(16_384, 1024), 640);
        assert_eq!(connections(100, 1024), 100);
        assert_eq!(connections(16_384, 256), 64);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_refuses_connections_until_it_is_opened() {
        let http: Http = {
            let config: crate::Config = moehog_runtime::load(crate::Config::DEFAULTS, None, []).unwrap();
            config.http
        };
        let readiness = moehog_runtime::Admin::bind(([127, 0, 0, 1], 0).into()).unwrap().readiness();
        let port = Port::take(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = port.addr;
        assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(Port::take(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse, "it is ours meanwhile");
        let listener = port.open(&http, readiness).unwrap();
        assert_eq!(listener.addr(), addr);
        TcpStream::connect(addr).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_is_taken_again_while_connections_to_it_linger() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let config: crate::Config = moehog_runtime::load(crate::Config::DEFAULTS, None, []).unwrap();
        let readiness = moehog_runtime::Admin::bind(([127, 0, 0, 1], 0).into()).unwrap().readiness();
        let listener = Port::take(([127, 0, 0, 1], 0).into()).unwrap().open(&config.http, readiness).unwrap();
        let mut sender = TcpStream::connect(listener.addr()).await.unwrap();
        let (mut accepted, ..) = listener.accept().await.unwrap();
        // whoever closes first lingers: here that is the gateway
        accepted.shutdown().await.unwrap();
        assert_eq!(sender.read(&mut [0; 1]).await.unwrap(), 0);
        let addr = listener.addr();
        drop((listener, accepted, sender));
        assert_eq!(Port::take(addr).unwrap().addr, addr);
    }
}
