//! The admin port: `/livez`, `/readyz`, `/metrics`, and what a service adds.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, RwLock},
};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use tokio_util::sync::CancellationToken;

/// Whether the process can do its durable work, and why not.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<RwLock<(bool, &'static str)>>);

impl Readiness {
    /// Says whether the process is ready; `why` is shown by `/readyz`.
    pub fn set(&self, ready: bool, why: &'static str) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = (ready, why);
    }

    fn get(&self) -> (bool, &'static str) {
        *self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        Ok(Self { listener, readiness: Readiness(Arc::new(RwLock::new((false, "starting")))) })
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
                    let (ready, why) = readiness.get();
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
