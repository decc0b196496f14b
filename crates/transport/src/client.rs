//! Channels to services.

use std::{error::Error, time::Duration};

use moehog_proto::{Channel, channel};
use tonic::{Code, Status, transport::Endpoint};

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
