//! Which replicas an address has at this moment.

use std::{fmt, io, net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::{net::lookup_host, time::timeout};

use crate::{Address, address::Kind};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(4);

impl Address {
    /// The `host:port` of each replica at this moment.
    ///
    /// # Errors
    ///
    /// The name is not resolved.
    pub async fn replicas(&self) -> io::Result<Vec<String>> {
        Resolver::new(self).replicas().await
    }
}

/// Tells the replicas of an address as `host:port`.
pub(crate) enum Resolver {
    /// They do not change.
    Fixed(Vec<String>),
    /// As the system resolves the name.
    System { name: String, port: u16 },
    /// As one DNS server says.
    Server { client: Box<TokioResolver>, name: String, port: u16 },
}

impl Resolver {
    pub(crate) fn new(address: &Address) -> Self {
        match &address.0 {
            Kind::List(hosts) => Self::Fixed(hosts.clone()),
            Kind::Dns { server: None, name, port } => Self::System { name: name.clone(), port: *port },
            Kind::Dns { server: Some(server), name, port } => match client(*server) {
                Ok(client) => Self::Server { client: Box::new(client), name: name.clone(), port: *port },
                Err(error) => {
                    tracing::warn!(%error, %server, "the system resolves the name instead of this DNS server");
                    Self::System { name: name.clone(), port: *port }
                }
            },
        }
    }

    /// Whether an answer may change.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self, Self::Fixed(_))
    }

    /// The replicas, sorted.
    pub(crate) async fn replicas(&self) -> io::Result<Vec<String>> {
        let found = async {
            io::Result::Ok(match self {
                Self::Fixed(hosts) => hosts.clone(),
                Self::System { name, port } => {
                    lookup_host((name.as_str(), *port)).await?.map(|addr| addr.to_string()).collect()
                }
                Self::Server { client, name, port } => {
                    let found = client.lookup_ip(name.as_str()).await.map_err(io::Error::other)?;
                    found.iter().map(|ip| SocketAddr::new(ip, *port).to_string()).collect()
                }
            })
        };
        let mut replicas: Vec<String> = timeout(TIMEOUT, found).await.map_err(|_elapsed| io::ErrorKind::TimedOut)??;
        replicas.sort_unstable();
        replicas.dedup();
        Ok(replicas)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(hosts) => formatter.debug_tuple("Fixed").field(hosts).finish(),
            Self::System { name, port } | Self::Server { name, port, .. } => write!(formatter, "Dns({name}:{port})"),
        }
    }
}

fn client(server: SocketAddr) -> Result<TokioResolver, impl fmt::Display> {
    let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut name_server.connections {
        connection.port = server.port();
    }
    let config = ResolverConfig::from_name_servers(vec![name_server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    // every answer is a new one: what is cached here would be a replica that is gone
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    (options.timeout, options.attempts) = (Duration::from_secs(1), 2);
    builder.build()
}
