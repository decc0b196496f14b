//! Where a service is.

use std::{fmt, net::SocketAddr, str::FromStr};

/// Where a service is.
///
/// - `list://host:port,host:port`: these replicas. A bare `host:port` is a list of one.
/// - `dns://name:port`: a replica at every address that the name has, asked for again and again.
/// - `dns://server:53/name:port`: the same, asked of this DNS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub(crate) Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `host:port` of each replica; never empty.
    List(Vec<String>),
    Dns {
        /// The DNS server; none is the system's.
        server: Option<SocketAddr>,
        name: String,
        port: u16,
    },
}

impl Address {
    /// The name that a certificate of the service is for, where there is only one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::List(hosts) => match hosts.as_slice() {
                [host] => split(host).map(|(name, _)| name),
                _ => None,
            },
            Kind::Dns { name, .. } => Some(name),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::List(hosts) => write!(formatter, "list://{}", hosts.join(",")),
            Kind::Dns { server: None, name, port } => write!(formatter, "dns://{name}:{port}"),
            Kind::Dns { server: Some(server), name, port } => write!(formatter, "dns://{server}/{name}:{port}"),
        }
    }
}

/// Why a text is not an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an address: expected list://host:port,host:port or dns://name:port")]
pub struct AddressError {
    text: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| AddressError { text: text.to_string() })
    }
}

fn parse(text: &str) -> Option<Kind> {
    if let Some(rest) = text.strip_prefix("dns://") {
        let (server, target) = match rest.split_once('/') {
            Some((server, target)) => (Some(server.parse().ok()?), target),
            None => (None, rest),
        };
        let (name, port) = split(target)?;
        return Some(Kind::Dns { server, name: name.to_string(), port });
    }
    let list = text.strip_prefix("list://").unwrap_or(text);
    let hosts: Vec<String> = list.split(',').map(|host| host.trim().to_string()).collect();
    let is_once = |host: &&String| hosts.iter().filter(|other| other == host).count() == 1;
    (hosts.iter().all(|host| split(host).is_some()) && hosts.iter().all(|host| is_once(&host)))
        .then_some(Kind::List(hosts))
}

/// Splits `host:port`.
fn split(host: &str) -> Option<(&str, u16)> {
    let (name, port) = host.rsplit_once(':')?;
    // the colons of an IPv6 address stand in brackets; another is that of a scheme without its slashes
    let is_bare = !name.contains(':') || name.starts_with('[') && name.ends_with(']');
    let has_none = |of: &[char]| !name.contains(of) && !name.contains(char::is_whitespace);
    let fits = is_bare && !name.is_empty() && has_none(&['/', '@', '?', '#', ',']);
    let port: u16 = port.parse().ok()?;
    (fits && port > 0).then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lists_hosts_with_ports() {
        let hosts = |text: &str| match text.parse::<Address>()?.0 {
            Kind::List(hosts) => Ok(hosts),
            Kind::Dns { .. } => panic!("{text} is a list"),
        };
        assert_eq!(hosts("list://a:1,[::1]:2").unwrap(), ["a:1", "[::1]:2"]);
        assert_eq!(hosts("127.0.0.1:50051").unwrap(), ["127.0.0.1:50051"]);
        for bad in [
            "",
            "list://",
            "a",
            "a:",
            "a:70000",
            "http://a:1/",
            "a:1,,b:2",
            "dns:a:1",
            "a:0",
            "a b:1",
            "list://a:1,a:1",
            "::1:2",
            "dns://a",
            "dns://a/b:1",
            "dns://:1",
        ] {
            assert_eq!(hosts(bad), Err(AddressError { text: bad.to_string() }), "{bad}");
        }
    }

    #[test]
    fn a_name_may_be_asked_of_a_certain_server() {
        for text in ["dns://delivery.shop.svc:50052", "dns://127.0.0.1:5353/delivery:50052", "list://a:1,b:2"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("dns://[::1]:53/d:1".parse::<Address>().unwrap().name(), Some("d"));
    }
}
