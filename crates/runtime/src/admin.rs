//! The admin port: `/livez`, `/readyz`, `/metrics`, and what a service adds.

use std::{
    borrow::Cow,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header::HOST},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::service::TowerToHyperService;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Connections, Patience, serve_http1};

type Word = Cow<'static, str>;

/// What the process leans on while it serves; the error says what fails.
type Check = Box<dyn Fn() -> Result<(), Word> + Send + Sync>;

/// Whether the process can do its durable work, and why not. Clones are one.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    phase: RwLock<(bool, Word)>,
    check: OnceLock<Check>,
}

impl Readiness {
    fn starting() -> Self {
        Self(Arc::new(Inner { phase: RwLock::new((false, "starting".into())), check: OnceLock::new() }))
    }

    /// Says whether the process is ready; `why` is shown by `/readyz`.
    pub fn set(&self, ready: bool, why: impl Into<Cow<'static, str>>) {
        *self.0.phase.write().unwrap_or_else(PoisonError::into_inner) = (ready, why.into());
    }

    /// Asks `check` too, each time that somebody asks while the process is said to be ready. The first one given
    /// counts.
    pub fn require(&self, check: impl Fn() -> Result<(), Cow<'static, str>> + Send + Sync + 'static) {
        self.0.check.get_or_init(|| Box::new(check));
    }

    /// Whether the process is ready now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.now().0
    }

    fn now(&self) -> (bool, Word) {
        let (ready, why) = self.0.phase.read().unwrap_or_else(PoisonError::into_inner).clone();
        match self.0.check.get().filter(|_| ready).map(|check| check()) {
            Some(Err(fault)) => (false, fault),
            Some(Ok(())) | None => (ready, why),
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Readiness").field(&self.now()).finish()
    }
}

/// The admin listener of a process. Plain HTTP.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    readiness: Readiness,
}

impl Admin {
    /// Takes the address; port 0 takes a free one. Not ready until told so.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, readiness: Readiness::starting() })
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// The socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A handle to say whether the process is ready.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Serves until `shutdown`, with `extra` beside its own routes.
    ///
    /// # Errors
    ///
    /// The listener fails.
    pub async fn serve(self, extra: Router, shutdown: CancellationToken) -> io::Result<()> {
        let readiness = self.readiness;
        let routes = Router::new()
            .route("/livez", get(|| async { "alive\n" }))
            .route(
                "/readyz",
                get(move || async move {
                    let (ready, why) = readiness.now();
                    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                    (status, format!("{why}\n"))
                }),
            )
            .route("/metrics", get(|headers: HeaderMap| async move { metrics(&headers) }))
            .merge(extra);
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let (open, connections) = (TaskTracker::new(), Connections::new(MOST_CONNECTIONS));
        while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // out of file descriptors, mostly: those in use come back
                    tracing::warn!(%error, "accept a connection of the admin port");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (connection, shutdown) = (connections.enter(peer.ip()), shutdown.clone());
            let service = TowerToHyperService::new(routes.clone());
            open.spawn(async move {
                tokio::select! {
                    ended = serve_http1(stream, service, PATIENCE, &shutdown) => {
                        ended.unwrap_or_else(|error| tracing::debug!(%error, "connection of the admin port ended"));
                    }
                    () = connection.is_cut_off() => {}
                }
            });
        }
        open.close();
        // half a head is not waited for as long as a request may take
        if tokio::time::timeout(STOPS_WITHIN, open.wait()).await.is_err() {
            tracing::debug!(connections = open.len(), "connections of the admin port are left");
        }
        Ok(())
    }
}

/// Connections of the admin port: more than probes, scrapes and people need.
const MOST_CONNECTIONS: usize = 128;
/// Longest time until answers under way have ended once the stop began.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// How long it waits for them.
const PATIENCE: Patience = Patience { head: Duration::from_secs(30), answer: Duration::from_secs(10) };

/// They name sources and say how much comes: so that no web page reads them through a name that it points here, they are asked by
/// an address or by a name that is none of the internet's.
fn metrics(headers: &HeaderMap) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_inside(host) {
        let why = "metrics are asked by the address of this port, or by a name inside the network\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    ([("content-type", "text/plain; version=0.0.4")], moehog_telemetry::metrics_text()).into_response()
}

/// Whether a `Host` is an address, or a name that no public server answers for: a single word, or one below these.
fn is_inside(host: &str) -> bool {
    const INSIDE: [&str; 6] = ["localhost", "local", "internal", "svc", "lan", "home.arpa"];
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let below = |inside: &str| name.strip_suffix(inside).is_some_and(|rest| rest.ends_with('.'));
    !name.is_empty() && (!name.contains('.') || name.parse::<Ipv4Addr>().is_ok() || INSIDE.into_iter().any(below))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn half_a_head_does_not_hold_up_the_stop() {
        let admin = Admin::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let (addr, stop) = (admin.local_addr().unwrap(), CancellationToken::new());
        let served = tokio::spawn(admin.serve(Router::new(), stop.clone()));
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /livez HTTP/1.1\r\nhost: ").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), served).await.expect("it stops").unwrap().unwrap();
    }

    #[test]
    fn metrics_are_asked_by_addresses_and_names_inside() {
        for host in [
            "127.0.0.1:9080",
            "10.1.2.3",
            "[::1]:9080",
            "[2001:db8::1]",
            "localhost:9080",
            "gateway:9080",
            "a.localhost",
        ] {
            assert!(is_inside(host), "{host}");
        }
        for host in
            ["moehog-gateway.moehog.svc:9080", "g.moehog.svc.cluster.local.", "MOEHOG.internal", "pi.home.arpa:1"]
        {
            assert!(is_inside(host), "{host}");
        }
        for host in [
            "",
            ":9080",
            "evil.example",
            "evil.example:9080",
            "127.0.0.1.nip.io:9080",
            "[::1",
            "[evil.example]",
            "svc.example",
        ] {
            assert!(!is_inside(host), "{host}");
        }
    }

    #[test]
    fn who_is_ready_is_so_only_while_what_it_needs_works_and_no_longer_once_it_stops() {
        let (readiness, works) = (Readiness::starting(), Arc::new(AtomicBool::new(true)));
        let checked = works.clone();
        readiness.require(move || checked.load(Ordering::Relaxed).then_some(()).ok_or("the disk fails".into()));
        assert_eq!(readiness.now(), (false, "starting".into()));
        readiness.set(true, "ready");
        assert_eq!(readiness.now(), (true, "ready".into()));
        works.store(false, Ordering::Relaxed);
        assert_eq!(readiness.now(), (false, "the disk fails".into()));
        readiness.set(false, "stopping");
        assert_eq!(readiness.now(), (false, "stopping".into()));
        works.store(true, Ordering::Relaxed);
        assert!(!readiness.is_ready());
    }
}
