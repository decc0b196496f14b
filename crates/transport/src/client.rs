//! Channels to services.

use moehog_proto::channel;

use crate::{Address, ClientConfig, Link, Replicas, balance::Balance, resolve::Resolver};

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
