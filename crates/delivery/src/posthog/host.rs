//! Where a PostHog is.

use std::{fmt, net::IpAddr, str::FromStr};

use reqwest::Url;
use serde::Deserialize;

/// PostHog's app hosts, which people copy from their browser, and the ingestion hosts that take events.
///
/// Source: PostHog, "Capture API" and its SDKs, which all map the one to the other (read 2026-08-22).
const INGESTION: [(&str, &str); 5] = [
    ("us.posthog.com", "us.i.posthog.com"),
    ("app.posthog.com", "us.i.posthog.com"),
    ("eu.posthog.com", "eu.i.posthog.com"),
    ("us.i.posthog.com", "us.i.posthog.com"),
    ("eu.i.posthog.com", "eu.i.posthog.com"),
];

/// Endpoints that people copy along with the host.
const ENDPOINTS: [&str; 9] =
    ["capture", "batch", "track", "engage", "i/v0/e", "e", "flags", "decide", "i/v1/analytics/events"];

/// The base address of a PostHog. Reads what people write: an app host, no scheme, a slash or an endpoint at the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Host(Url);

/// Why a text is not the address of a PostHog.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not the address of a PostHog such as https://us.i.posthog.com: {why}")]
pub struct ParseHostError {
    text: String,
    why: String,
}

impl Host {
    /// The address of `path` at this host.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Its name or address, and port.
    pub(crate) fn server(&self) -> (&str, u16) {
        (self.0.host_str().unwrap_or_default(), self.0.port_or_known_default().unwrap_or_default())
    }

    /// Whether what goes to it can be read on the way: it is another machine, and not asked over TLS.
    pub(crate) fn is_in_clear(&self) -> bool {
        self.0.scheme() == "http" && !self.is_local()
    }

    /// Whether it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

impl Host {
    /// What is to be said of an address that can be read and was meant otherwise, with the one to write: an app host, no scheme, or plain
    /// HTTP to another machine. `text` is as it was written.
    #[must_use]
    pub fn doubt(&self, text: &str) -> Option<String> {
        let text = text.trim();
        let without_path = text.split("://").last().unwrap_or_default().split(['/', '?']).next().unwrap_or_default();
        let meant = self.to_string();
        let meant = meant.trim_end_matches('/');
        if INGESTION.iter().any(|(app, ingestion)| app != ingestion && without_path.eq_ignore_ascii_case(app)) {
            return Some(format!(
                "{without_path} is where people look at PostHog, and events go to {meant}: write that"
            ));
        }
        if !text.contains("://") {
            return Some(format!("has no scheme and is read as {meant}: write that"));
        }
        self.is_in_clear().then(|| "events and key go over the network in clear: write https://".to_string())
    }
}

impl FromStr for Host {
    type Err = ParseHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // what stands before an @ may be a password, also where the rest cannot be read
        let shown = if text.contains('@') { "…@…" } else { text };
        let error = |why: &str| ParseHostError { text: shown.to_string(), why: why.to_string() };
        let trimmed = text.trim();
        let parse = |text: &str| Url::parse(text).map_err(|source| error(&source.to_string()));
        let mut url = match trimmed.contains("://") {
            true => parse(trimmed)?,
            false if Self(parse(&format!("http://{trimmed}"))?).is_local() => parse(&format!("http://{trimmed}"))?,
            false => parse(&format!("https://{trimmed}"))?,
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(error("its scheme is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(error("it holds a password"));
        }
        url.set_query(None);
        url.set_fragment(None);
        let path = url.path().trim_matches('/');
        let prefix = ENDPOINTS
            .iter()
            .filter_map(|endpoint| path.strip_suffix(endpoint))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('/'))
            .min_by_key(|prefix| prefix.len())
            .unwrap_or(path)
            .trim_matches('/');
        let path = if prefix.is_empty() { "/".to_string() } else { format!("/{prefix}/") };
        url.set_path(&path);
        if let Some((_, ingestion)) = INGESTION.iter().find(|(host, _)| url.host_str() == Some(host)) {
            url = parse(&format!("https://{ingestion}/"))?;
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for Host {
    type Error = ParseHostError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_hosts_become_the_ingestion_hosts_however_they_are_written() {
        for (written, meant) in [
            ("https://us.posthog.com", "https://us.i.posthog.com/"),
            ("https://us.posthog.com/capture/", "https://us.i.posthog.com/"),
            ("https://eu.posthog.com/capture/", "https://eu.i.posthog.com/"),
            ("https://app.posthog.com", "https://us.i.posthog.com/"),
            ("http://APP.posthog.com/", "https://us.i.posthog.com/"),
            ("eu.posthog.com", "https://eu.i.posthog.com/"),
            (" https://eu.i.posthog.com/batch ", "https://eu.i.posthog.com/"),
            ("http://us.i.posthog.com/i/v0/e/?ver=1", "https://us.i.posthog.com/"),
            ("https://eu.posthog.com/project/17/settings#key", "https://eu.i.posthog.com/"),
        ] {
            assert_eq!(written.parse::<Host>().unwrap().to_string(), meant, "{written}");
        }
    }

    #[test]
    fn a_self_hosted_base_keeps_its_path_and_loses_an_endpoint() {
        for (written, meant) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/"),
            ("localhost:8000/e/", "http://localhost:8000/"),
            ("posthog.example.com", "https://posthog.example.com/"),
            ("https://example.com/ingest", "https://example.com/ingest/"),
            ("https://example.com/ingest/i/v0/e/", "https://example.com/ingest/"),
            ("https://example.com/ingest/batch/", "https://example.com/ingest/"),
            ("https://example.com/here", "https://example.com/here/"),
        ] {
            let host = written.parse::<Host>().unwrap();
            assert_eq!(host.to_string(), meant, "{written}");
            assert_eq!(host.at("batch/"), format!("{meant}batch/"));
        }
    }

    #[test]
    fn what_cannot_be_a_host_is_refused_without_showing_a_password() {
        let passwords = ["https://me:secret@example.com", "https://me:secret@example.com:x", "me:secret@ex ample.com"];
        for bad in ["", "ftp://example.com", "https://", "http://[::1"].into_iter().chain(passwords) {
            let message = bad.parse::<Host>().unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn what_was_meant_otherwise_is_told_with_what_to_write() {
        let eu =
            "eu.posthog.com is where people look at PostHog, and events go to https://eu.i.posthog.com: write that";
        for (written, told) in [
            ("https://eu.posthog.com/project/1", Some(eu)),
            ("eu.posthog.com", Some(eu)),
            ("posthog.example.com", Some("has no scheme and is read as https://posthog.example.com: write that")),
            ("http://a.example", Some("events and key go over the network in clear: write https://")),
            ("https://eu.i.posthog.com", None),
            ("http://127.0.0.1:8000/", None),
        ] {
            assert_eq!(written.parse::<Host>().unwrap().doubt(written).as_deref(), told, "{written}");
        }
    }

    #[test]
    fn hosts_of_this_machine_are_known() {
        for (host, local) in [("http://[::1]:1", true), ("localhost", true), ("http://127.9.9.9", true), ("a.b", false)]
        {
            assert_eq!(host.parse::<Host>().unwrap().is_local(), local, "{host}");
        }
    }
}
