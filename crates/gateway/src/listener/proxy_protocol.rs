//! The PROXY protocol: a proxy that passes bytes on says, before them, whose they are.
//!
//! Source: HAProxy, "The PROXY protocol, versions 1 & 2" (2020/03/05).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// Longest time until it is here.
const WITHIN: Duration = Duration::from_secs(5);
/// Begins version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// Most that version 2 may say of addresses and more.
const MOST_BYTES: usize = 4096;

/// Reads what the proxy says, and nothing behind it: whose connection it is, or none where it is the proxy's own.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    timeout(WITHIN, read_header(stream)).await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}

async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        return second(stream).await;
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LONGEST_LINE || !b"PROXY ".iter().zip(&line).all(|(wanted, is)| wanted == is) {
            return Err(malformed());
        }
        line.push(stream.read_u8().await?);
    }
    first(&line).ok_or_else(malformed)
}

/// A line such as `PROXY TCP4 192.0.2.1 192.0.2.2 40000 443`.
fn first(line: &[u8]) -> Option<Option<IpAddr>> {
    let mut words = std::str::from_utf8(line).ok()?.trim_end().strip_prefix("PROXY ")?.split(' ');
    let source = match (words.next()?, words.next()) {
        ("UNKNOWN", _) => return Some(None),
        ("TCP4", Some(address)) => IpAddr::V4(address.parse().ok()?),
        ("TCP6", Some(address)) => IpAddr::V6(address.parse().ok()?),
        _ => return None,
    };
    // the other side's address, and two ports
    words.next()?.parse::<IpAddr>().ok()?;
    let ports = words.map(|port| port.parse::<u16>().ok()).collect::<Option<Vec<_>>>()?;
    (ports.len() == 2).then_some(Some(source))
}

async fn second(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let (kind, family, length) = (stream.read_u8().await?, stream.read_u8().await?, stream.read_u16().await?);
    let length = usize::from(length);
    if length > MOST_BYTES {
        return Err(malformed());
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match (kind, family >> 4) {
        // a health check of the proxy's own
        (0x20, _) => Ok(None),
        (0x21, 1) => Ok(Some(Ipv4Addr::from(array::<4>(&rest, 12)?).into())),
        (0x21, 2) => Ok(Some(Ipv6Addr::from(array::<16>(&rest, 36)?).into())),
        // something else than TCP over IP
        (0x21, _) => Ok(None),
        _ => Err(malformed()),
    }
}

/// The first bytes of addresses that take `all` bytes.
fn array<const N: usize>(rest: &[u8], all: usize) -> io::Result<[u8; N]> {
    let bytes = rest.get(..N).filter(|_| rest.len() >= all).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol before the request")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, and how much is left.
    async fn read_of(bytes: &[u8]) -> (Option<Option<String>>, usize) {
        let mut left = bytes;
        let read = read(&mut left).await.ok().map(|address| address.map(|address| address.to_string()));
        (read, left.len())
    }

    fn second(kind: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[kind, family], &length, addresses, b"GET /"].concat()
    }

    #[tokio::test]
    async fn both_versions_say_whose_connection_it_is_and_nothing_behind_is_read() {
        let address = |text: &str| Some(Some(text.to_string()));
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0; 4]].concat();
        for (bytes, read) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\nGET /".to_vec(), address("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::8 40000 443\r\nGET /".to_vec(), address("2001:db8::7")),
            (b"PROXY UNKNOWN\r\nGET /".to_vec(), Some(None)),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nGET /".to_vec(), Some(None)),
            (second(0x21, 0x11, &[192, 0, 2, 1, 192, 0, 2, 2, 1, 1, 2, 2]), address("192.0.2.1")),
            (second(0x21, 0x11, &[192, 0, 2, 1, 192, 0, 2, 2, 1, 1, 2, 2, 3, 0, 1, 9]), address("192.0.2.1")),
            (second(0x21, 0x21, &v6), address("2001:db8::7")),
            (second(0x20, 0, &[]), Some(None)),
            (second(0x21, 0x31, &[0; 216]), Some(None)),
        ] {
            assert_eq!(read_of(&bytes).await, (read, 5), "{}", bytes.escape_ascii());
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for bytes in [
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 40000\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443 1\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 192.0.2.2 40000 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 somewhere 40000 443\r\n".to_vec(),
            b"PROXY TCP9 192.0.2.1 192.0.2.2 40000 443\r\n".to_vec(),
            [&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\n"].concat(),
            b"PROXY TCP4 192".to_vec(),
            second(0x11, 0x11, &[0; 12]),
            second(0x21, 0x11, &[0; 11]),
            second(0x21, 0x21, &[0; 35]),
            second(0x21, 0x11, &[0; MOST_BYTES + 1]),
            SIGNATURE.to_vec(),
        ] {
            assert_eq!(read_of(&bytes).await.0, None, "{}", bytes.escape_ascii());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_come_is_not_waited_for() {
        let (mut here, _there) = tokio::io::duplex(64);
        assert_eq!(read(&mut here).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
