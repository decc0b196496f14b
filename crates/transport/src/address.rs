//! Where a service is.

use std::str::FromStr;

/// Where a service is: `list://host:port,host:port`. A bare `host:port` is a list of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `host:port` of each replica; never empty.
    pub(crate) hosts: Vec<String>,
}

/// Why a text is not an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an address: expected list://host:port,host:port")]
pub struct AddressError {
    text: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let list = text.strip_prefix("list://").unwrap_or(text);
        let hosts: Vec<String> = list.split(',').map(|host| host.trim().to_string()).collect();
        let is_host = |host: &String| {
            host.rsplit_once(':').is_some_and(|(name, port)| {
                port.parse::<u16>().is_ok() && !name.is_empty() && !name.contains(['/', '@', '?', '#'])
            })
        };
        if hosts.iter().all(is_host) { Ok(Self { hosts }) } else { Err(AddressError { text: text.to_string() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lists_hosts_with_ports() {
        let hosts = |text: &str| text.parse::<Address>().map(|address| address.hosts);
        assert_eq!(hosts("list://a:1,[::1]:2").unwrap(), ["a:1", "[::1]:2"]);
        assert_eq!(hosts("127.0.0.1:50051").unwrap(), ["127.0.0.1:50051"]);
        for bad in ["", "list://", "a", "a:", "a:70000", "http://a:1/", "a:1,,b:2"] {
            assert_eq!(hosts(bad), Err(AddressError { text: bad.to_string() }), "{bad}");
        }
    }
}
