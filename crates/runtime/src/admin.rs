//! The admin port: `/livez`, `/readyz`, `/metrics`, and what a service adds.

use std::{
    borrow::Cow,
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use tokio_util::sync::CancellationToken;

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

    /// Asks `check` too, each time that somebody asks while the process is said to be ready. The first one given counts.
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
            .route("/metrics", get(|| async { metrics().into_response() }))
            .merge(extra);
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        axum::serve(listener, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await
    }
}

fn metrics() -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], moehog_telemetry::metrics_text())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

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
