//! Whether a request came straight from this machine: not through a tunnel, a proxy or a rebound name. A proxy that leaves no trace in
//! its requests is not seen, so it is asked only where `allow_local` says that there is none.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Uri, header};

/// Whether peer, `Host` and `Origin` are this machine and no header says that somebody forwarded the request.
pub(crate) fn straight_from_here(peer: IpAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    // a web page elsewhere may post to a loopback address from the browser here; its Origin gives it away
    let origin_is_local = headers.get_all(header::ORIGIN).iter().all(|origin| {
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, host)| is_loopback_host(host))
    });
    // so do the page that it came from, and what browsers say of requests between sites
    let referer_is_local = headers.get_all(header::REFERER).iter().all(|referer| {
        let authority = referer.to_str().ok().and_then(|referer| referer.parse::<Uri>().ok());
        authority.as_ref().and_then(Uri::authority).is_some_and(|authority| is_loopback_host(authority.as_str()))
    });
    let of_one_site = |value: &HeaderValue| [&b"same-origin"[..], b"none"].contains(&value.as_bytes());
    let site_is_local = headers.get_all("sec-fetch-site").iter().all(of_one_site);
    peer.to_canonical().is_loopback()
        && host_is_loopback(uri, headers)
        && origin_is_local
        && referer_is_local
        && site_is_local
        && !forwarded(headers)
}

/// Whether the request names a loopback host, so that no rebound name brought it here.
pub(crate) fn host_is_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default()).peekable();
    let named = hosts.peek().is_some() || uri.authority().is_some();
    named && hosts.all(is_loopback_host) && uri.authority().is_none_or(|authority| is_loopback_host(authority.as_str()))
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        name.starts_with("x-forwarded")
            || matches!(
                name,
                "forwarded"
                    | "via"
                    | "x-real-ip"
                    | "cf-connecting-ip"
                    | "true-client-ip"
                    | "x-original-host"
                    | "x-original-forwarded-for"
                    | "x-client-ip"
                    | "x-cluster-client-ip"
                    | "x-envoy-external-address"
                    | "x-azure-clientip"
                    | "fly-client-ip"
                    | "fastly-client-ip"
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "a.localhost:1",
            "127.0.0.1",
            "127.9.9.9:8080",
            "[::1]",
            "[::1]:80",
            "localhost.",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.nip.io",
            "10.0.0.1:80",
            "[::2]",
            "[::1",
            "notlocalhost",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
