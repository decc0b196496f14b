//! Where a request comes from: its peer, or what a proxy that is trusted says of it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::addresses::Block;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that the request comes from, as far as it can be known; none where a trusted proxy names something that is no
/// address.
///
/// Each proxy writes the address that it was connected from to the right of what it received, and all that stands to the left
/// of what a trusted one wrote may be invented. So it goes from the peer to the left for as long as it meets trusted proxies:
/// the first other address counts, or where all are trusted, the leftmost.
pub(crate) fn address(peer: IpAddr, trusted: &[Block], headers: &HeaderMap) -> Option<IpAddr> {
    let is_proxy = |address: IpAddr| trusted.iter().any(|block| block.contains(address));
    let mut sender = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut named = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(parse);
    while is_proxy(sender) {
        match named.next() {
            Some(address) => sender = address?,
            None => break,
        }
    }
    Some(sender)
}

/// An address with or without port or brackets.
fn parse(named: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(named.trim_ascii()).ok()?;
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(in_brackets);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    address.or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
