//! Channels to services.

use std::{error::Error, future::Future, pin::Pin, task, time::Duration};

use moehog_proto::{BoxError, Channel, channel};
use tonic::{Code, Status, body::Body, codegen::Service, transport::Endpoint};

use crate::Address;

/// How a channel behaves. Deadlines belong to the calls.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Time between keepalive pings, also while idle.
    pub keepalive: Duration,
    /// Longest wait for a ping's answer.
    pub keepalive_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            keepalive: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

/// HTTP/2 window of a stream and a connection: a message of many events must not wait for window updates.
pub(crate) const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Opens a channel to a service. It connects when first used and again after a failure.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn connect(address: &Address, config: &ClientConfig) -> Channel {
    let endpoints = address.hosts.iter().filter_map(|host| {
        // an `Address` holds only what a URI can: parsing cannot fail
        let endpoint = Endpoint::from_shared(format!("http://{host}")).ok()?;
        Some(
            endpoint
                .connect_timeout(config.connect_timeout)
                .http2_keep_alive_interval(config.keepalive)
                .keep_alive_timeout(config.keepalive_timeout)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .tcp_nodelay(true),
        )
    });
    let mut endpoints: Vec<_> = endpoints.collect();
    if endpoints.len() == 1 {
        channel(endpoints.remove(0).connect_lazy())
    } else {
        channel(tonic::transport::Channel::balance_list(endpoints.into_iter()))
    }
}

/// Reaches a service in this process. Each call runs on a task of its own, so that a panic in it is an `internal` status
/// and dropping the call's future ends it.
pub fn in_process<S, B>(service: S) -> Channel
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    channel(InProcess(service))
}

#[derive(Debug, Clone)]
struct InProcess<S>(S);

impl<S, B> Service<http::Request<Body>> for InProcess<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = http::Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut service = self.0.clone();
        Box::pin(async move {
            let call = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
                std::future::poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
                service.call(request).await.map_err(Into::into)
            }));
            call.await.unwrap_or_else(|_panic| Err(Status::internal("the service panicked").into()))
        })
    }
}

/// Whether a call failed before it reached any service: nothing was worked on.
///
/// Only a failure to connect says so; a connection that broke may have carried the call.
#[must_use]
pub fn never_left(status: &Status) -> bool {
    if status.code() != Code::Unavailable {
        return false;
    }
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
