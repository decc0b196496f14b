//! Sections of the configuration that more than one service has.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

/// A listener: sections `[grpc]` and `[admin]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// How a process stops: section `[shutdown]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Longest time that work under way may take after the stop began.
    #[serde(with = "crate::duration")]
    pub grace: Duration,
}
