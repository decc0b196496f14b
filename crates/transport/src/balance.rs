//! One channel over the replicas of a service.
//!
//! A call goes to the replica that has the fewest under way. A replica that cannot be connected to is left out for ten
//! seconds, and the call goes to another: it never left. Once a request is on a connection it is not repeated.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::{Counter, Gauge, counter, gauge};
use moehog_proto::BoxError;
use moehog_runtime::chain;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tonic::{body::Body, codegen::Service};

use crate::{ClientConfig, Replicas, client_config::WINDOW_BYTES, resolve::Resolver, unreached::Unreached};

/// Time a replica is left out after it could not be connected to.
const EJECTION: Duration = Duration::from_secs(10);
/// Replicas that one call tries to connect to.
const TRIES: usize = 3;
/// Time between two questions to the resolver.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// Least time between two questions, whatever happens.
const RESOLVE_AT_MOST_EVERY: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Balance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: String,
    config: ClientConfig,
    /// The name a replica's certificate is for.
    server_name: Option<String>,
    replicas: watch::Sender<Vec<Arc<Replica>>>,
    /// How many there are, for callers.
    count: Replicas,
    /// A replica could not be connected to: the resolver is asked at once.
    doubt: Notify,
    turn: AtomicUsize,
    known: Gauge,
    failures: Counter,
}

#[derive(Debug)]
struct Replica {
    host: String,
    under_way: AtomicUsize,
    /// When it last could not be connected to.
    failed_at: Mutex<Option<Instant>>,
    connection: tokio::sync::Mutex<Option<SendRequest<Body>>>,
}

/// A call while it is under way.
struct UnderWay(Arc<Replica>);

impl UnderWay {
    fn begin(replica: &Arc<Replica>) -> Self {
        replica.under_way.fetch_add(1, Ordering::Relaxed);
        Self(replica.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Balance {
    /// Follows `resolver` as long as a clone of this lives.
    pub(crate) fn new(
        resolver: Resolver,
        server_name: Option<String>,
        service: String,
        config: ClientConfig,
        count: Replicas,
    ) -> Self {
        let shared = Arc::new(Shared {
            known: gauge!("moehog_transport_replicas", "service" => service.clone()),
            failures: counter!("moehog_transport_connect_failures_total", "service" => service.clone()),
            service,
            config,
            server_name,
            replicas: watch::Sender::new(Vec::new()),
            count,
            doubt: Notify::new(),
            turn: AtomicUsize::new(0),
        });
        tokio::spawn(follow(resolver, Arc::downgrade(&shared)));
        Self(shared)
    }
}

impl Service<http::Request<Body>> for Balance {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { shared.call(request).await })
    }
}

impl Shared {
    async fn call(&self, mut request: http::Request<Body>) -> Result<http::Response<hyper::body::Incoming>, BoxError> {
        let mut known = self.replicas.subscribe();
        if timeout(self.config.connect_timeout, known.wait_for(|replicas| !replicas.is_empty())).await.is_err() {
            return Err(Unreached::status(&self.service, "its name has no address").into());
        }
        let mut tried: Vec<Arc<Replica>> = Vec::new();
        let mut last = io::Error::other("no replica is left to try");
        while let Some(replica) = (tried.len() < TRIES).then(|| self.pick(&tried)).flatten() {
            let _under_way = UnderWay::begin(&replica);
            let mut connection = match self.connection(&replica).await {
                Ok(connection) => connection,
                Err(error) => {
                    last = error;
                    tried.push(replica);
                    continue;
                }
            };
            moehog_telemetry::trace::call_goes_to(self.server_name.as_deref(), &replica.host);
            *request.uri_mut() = origin(request.uri(), &replica.host)?;
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    // the connection ended before the request was on it
                    Some(unsent) => {
                        request = unsent;
                        last = io::Error::other(error.into_error());
                        tried.push(replica);
                    }
                    None => return Err(error.into_error().into()),
                },
            }
        }
        Err(Unreached::status(&self.service, &last.to_string()).into())
    }

    /// The replica with the fewest calls under way; one that was left out only where there is no other.
    fn pick(&self, tried: &[Arc<Replica>]) -> Option<Arc<Replica>> {
        let replicas = self.replicas.borrow();
        let (now, turn) = (Instant::now(), self.turn.fetch_add(1, Ordering::Relaxed));
        let count = replicas.len();
        let candidates = (0..count).map(|at| &replicas[(at + turn) % count]);
        let untried = candidates.filter(|replica| !tried.iter().any(|tried| Arc::ptr_eq(tried, replica)));
        untried.min_by_key(|replica| (replica.is_ejected(now), replica.under_way.load(Ordering::Relaxed))).cloned()
    }

    /// A connection to the replica: the one there is, or a new one. Calls that wait for one attempt fail with it.
    async fn connection(&self, replica: &Replica) -> io::Result<SendRequest<Body>> {
        let asked = Instant::now();
        let mut connection = replica.connection.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        *connection = None;
        if replica.failed_at.lock().is_some_and(|failed| failed > asked) {
            return Err(io::Error::other(format!("{} could not be connected to", replica.host)));
        }
        let opened = timeout(self.config.connect_timeout, self.open(&replica.host)).await;
        match opened.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
            Ok(opened) => {
                *replica.failed_at.lock() = None;
                *connection = Some(opened.clone());
                Ok(opened)
            }
            Err(error) => {
                self.eject(replica, &error);
                Err(error)
            }
        }
    }

    async fn open(&self, host: &str) -> io::Result<SendRequest<Body>> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        match &self.config.tls {
            None => self.handshake(stream).await,
            Some(tls) => {
                let name = self.config.server_name.as_ref().or(self.server_name.as_ref());
                let name = name.cloned().unwrap_or_else(|| host.to_string());
                self.handshake(tls.connect(name, stream).await?).await
            }
        }
    }

    async fn handshake<S>(&self, stream: S) -> io::Result<SendRequest<Body>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.config.keepalive)
            .keep_alive_timeout(self.config.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            // its calls are told; it ends when the last sender is dropped
            if let Err(error) = connection.await {
                tracing::debug!(error = %chain(&error), "gRPC connection broke");
            }
        });
        Ok(sender)
    }

    fn eject(&self, replica: &Replica, error: &io::Error) {
        self.failures.increment(1);
        let before = replica.failed_at.lock().replace(Instant::now());
        if before.is_none() {
            let (service, replica) = (&self.service, &replica.host);
            tracing::warn!(error = %chain(error), service, replica, "replica cannot be connected to");
        }
        self.doubt.notify_one();
    }

    /// Takes over what the resolver says. A replica that stays keeps its connection; calls under way on one that goes end
    /// where they are.
    fn follow(&self, hosts: Vec<String>) {
        self.replicas.send_if_modified(|replicas| {
            if replicas.iter().map(|replica| &replica.host).eq(&hosts) {
                return false;
            }
            tracing::info!(service = self.service, replicas = hosts.join(" "), "replicas of a service");
            self.known.set(hosts.len() as f64);
            self.count.set(hosts.len());
            let old = std::mem::take(replicas);
            *replicas = hosts
                .into_iter()
                .map(|host| {
                    let same = old.iter().find(|replica| replica.host == host).cloned();
                    same.unwrap_or_else(|| Arc::new(Replica::new(host)))
                })
                .collect();
            true
        });
    }
}

impl Replica {
    fn new(host: String) -> Self {
        Self {
            host,
            under_way: AtomicUsize::new(0),
            failed_at: Mutex::new(None),
            connection: tokio::sync::Mutex::new(None),
        }
    }

    fn is_ejected(&self, now: Instant) -> bool {
        self.failed_at.lock().is_some_and(|failed| now < failed + EJECTION)
    }
}

/// Asks the resolver again and again. What cannot be resolved leaves the replicas as they are.
async fn follow(resolver: Resolver, shared: Weak<Shared>) {
    let mut failed = false;
    loop {
        let answer = resolver.replicas().await;
        let Some(shared) = shared.upgrade() else { return };
        match answer {
            Ok(hosts) if !hosts.is_empty() => {
                failed = false;
                shared.follow(hosts);
            }
            Ok(_) => {}
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    let service = &shared.service;
                    tracing::warn!(error = %chain(&error), service, "name cannot be resolved");
                }
            }
        }
        if !resolver.changes() {
            return;
        }
        let asked = Instant::now();
        tokio::select! {
            () = shared.doubt.notified() => {}
            () = sleep(RESOLVE_EVERY) => {}
        }
        drop(shared);
        sleep(RESOLVE_AT_MOST_EVERY.saturating_sub(asked.elapsed())).await;
    }
}

/// The request's path at the replica.
fn origin(uri: &http::Uri, host: &str) -> Result<http::Uri, http::Error> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    http::Uri::builder().scheme("http").authority(host).path_and_query(path).build()
}
