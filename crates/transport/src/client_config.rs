//! How a channel behaves.

use std::time::Duration;

use crate::Tls;

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
