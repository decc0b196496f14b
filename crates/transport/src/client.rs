//! Channels to services.

use std::{error::Error, sync::Arc, time::Duration};

use h2::Reason;
use moehog_proto::channel;
use tonic::{Status, metadata::MetadataValue};

use crate::{Address, Link, Replicas, Tls, balance::Balance, resolve::Resolver};

/// How a channel behaves. Deadlines belong to the calls.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Time between keepalive pings, also while idle.
    pub keepalive: Duration,
    /// Longest wait for a ping's answer.
    pub keepalive_timeout: Duration,
    /// Certificates; none is plain HTTP/2.
    pub tls: Option<Tls>,
    /// The name that the service's certificate is for; none is the address's own.
    pub server_name: Option<String>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            keepalive: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            tls: None,
            server_name: None,
        }
    }
}

/// HTTP/2 window of a stream and a connection: a message of many events must not wait for window updates.
pub(crate) const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Opens a way to a service: to each of its replicas once it is needed, and again after a failure.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn connect(address: &Address, config: &ClientConfig) -> Link {
    let server_name = address.name().map(|name| name.trim_matches(['[', ']']).to_string());
    let replicas = Replicas::one();
    let balance =
        Balance::new(Resolver::new(address), server_name, address.to_string(), config.clone(), replicas.clone());
    Link { channel: channel(balance), replicas, same_process: false }
}

/// A call that reached no replica.
#[derive(Debug, thiserror::Error)]
#[error("no replica of {service} can be reached: {why}")]
pub(crate) struct Unreached {
    service: String,
    why: String,
}

impl Unreached {
    pub(crate) fn status(service: &str, why: &str) -> Status {
        let unreached = Self { service: service.to_string(), why: why.to_string() };
        let mut status = Status::unavailable(unreached.to_string());
        status.set_source(Arc::new(unreached));
        status
    }
}

/// Metadata of a call that a server refused before it was worked on.
const UNREAD: &str = "moehog-unread";

/// The status of such a call: the caller should come back later, or go elsewhere.
pub(crate) fn refused_unread(why: &str) -> Status {
    let mut status = Status::resource_exhausted(why);
    status.metadata_mut().insert(UNREAD, MetadataValue::from_static("true"));
    status
}

/// Whether a call failed before it reached any service: nothing was worked on.
///
/// Only a call that got no connection, or one that the service refused by its stream or for a bound of its server, says so; a
/// connection that broke may have carried the call.
#[must_use]
pub fn never_left(status: &Status) -> bool {
    if status.metadata().contains_key(UNREAD) {
        return true;
    }
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        let refused =
            error.downcast_ref::<h2::Error>().is_some_and(|error| error.reason() == Some(Reason::REFUSED_STREAM));
        if refused || error.is::<Unreached>() {
            return true;
        }
        cause = error.source();
    }
    false
}
