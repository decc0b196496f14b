//! Who may send: a source's token, or a capture body's project key.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use http::{HeaderMap, HeaderName, Uri, header};
use moehog_runtime::Secret;
use parking_lot::Mutex;
use subtle::{Choice, ConstantTimeEq};

use super::{Refusal, local, route::CAPTURE_PATHS, scan::well_formed};
use crate::config::{self, DEFAULT};

/// Different project keys that are taken where no destination is configured.
const MAX_OPEN_KEYS: usize = 8;
/// Begins the name of a destination that is nothing but a project key.
pub(crate) const KEY_DESTINATION: &str = "key:";

/// All that may send.
#[derive(Debug)]
pub(crate) struct Senders {
    sources: HashMap<String, Source>,
    keys: Keys,
    /// Says which paths there are, for a 404.
    pub(crate) paths: String,
}

impl Senders {
    /// `open_keys` are project keys that were taken before, without a configured destination.
    pub(crate) fn new(
        sources: &BTreeMap<String, config::Source>,
        destinations: &BTreeMap<String, config::Destination>,
        listens_on_loopback: bool,
        open_keys: impl IntoIterator<Item = String>,
    ) -> Self {
        let configured: Vec<_> = destinations
            .iter()
            .filter_map(|(name, destination)| Some((destination.api_key.clone()?, name.clone())))
            .collect();
        let keys = match (configured.is_empty(), listens_on_loopback) {
            (false, _) => Keys::Configured(configured),
            (true, true) => Keys::Open(Mutex::new(open_keys.into_iter().take(MAX_OPEN_KEYS).collect())),
            (true, false) => Keys::Closed,
        };
        let sources: HashMap<_, _> = config::sources(sources)
            .into_iter()
            .map(|(name, source)| (name.clone(), Source::new(name, &source)))
            .collect();
        let mut senders = Self { sources, keys, paths: String::new() };
        let names: Vec<_> = senders.source_names().iter().map(|name| format!("/v1/in/{name}")).collect();
        senders.paths = format!("POST to one of {}, {}/", names.join(", "), CAPTURE_PATHS.join("/, "));
        senders
    }

    pub(crate) fn source(&self, name: &str) -> Option<&Source> {
        self.sources.get(name)
    }

    pub(crate) fn source_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.sources.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn capture_rule(&self) -> &'static str {
        match self.keys {
            Keys::Configured(_) => "keys of configured destinations",
            Keys::Open(_) => "any well-formed key, since none is configured and only this machine can connect",
            Keys::Closed => "no key: no destination has one",
        }
    }

    /// The destination that a capture body's key picks.
    pub(crate) fn destination(&self, key: Option<&str>) -> Result<String, Refusal> {
        self.keys.destination(key)
    }
}

/// A source of `/v1/in/{source}`.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) destination: String,
    header: HeaderName,
    tokens: Vec<Secret>,
    remedy: String,
}

impl Source {
    fn new(name: String, config: &config::Source) -> Self {
        let header = config.header.clone();
        let value = if header == header::AUTHORIZATION { "Bearer TOKEN" } else { "TOKEN" };
        let remedy = format!("send the header {header}: {value} with a token of sources.{name}.tokens");
        Self { name, destination: config.destination.clone(), header, tokens: config.tokens.clone(), remedy }
    }

    /// Whether the request may send here.
    pub(crate) fn admit(&self, peer: IpAddr, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.tokens.is_empty() {
            return if local::straight_from_here(peer, uri, headers) { Ok(()) } else { Err(Refusal::NotLocal) };
        }
        match shows_one_of(&self.tokens, &self.header, headers) {
            None => Err(Refusal::TokenMissing),
            Some(false) => Err(Refusal::TokenWrong),
            Some(true) => Ok(()),
        }
    }

    /// The header that the token is read from, and what to do, for a refusal of [`Source::admit`].
    pub(crate) fn help(&self, refusal: Refusal) -> (Option<&str>, Option<&str>) {
        match refusal {
            Refusal::TokenMissing | Refusal::TokenWrong => (Some(self.header.as_str()), Some(&self.remedy)),
            _ => (None, None),
        }
    }
}

/// Whether the header holds one of the tokens; none where there is no such header. In constant time a token.
pub(crate) fn shows_one_of(tokens: &[Secret], header: &HeaderName, headers: &HeaderMap) -> Option<bool> {
    let shown = headers.get(header)?.as_bytes();
    let bearer = (*header == header::AUTHORIZATION).then(|| after_bearer(shown)).flatten();
    // every token is compared, whichever fits
    let fits = tokens.iter().fold(Choice::from(0), |fits, token| {
        let token = token.expose();
        let token = token.as_bytes();
        fits | token.ct_eq(shown) | bearer.map_or(Choice::from(0), |shown| token.ct_eq(shown))
    });
    Some(fits.into())
}

fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Which project keys capture bodies may carry.
#[derive(Debug)]
enum Keys {
    /// Only those of configured destinations.
    Configured(Vec<(Secret, String)>),
    /// Whatever is well formed, up to [`MAX_OPEN_KEYS`]: nothing is configured and only this machine can connect.
    Open(Mutex<Vec<String>>),
    /// None.
    Closed,
}

impl Keys {
    fn destination(&self, key: Option<&str>) -> Result<String, Refusal> {
        if matches!(self, Self::Closed) {
            return Err(Refusal::KeyNotConfigured);
        }
        let key = key.ok_or(Refusal::KeyMissing)?;
        match self {
            Self::Closed => Err(Refusal::KeyNotConfigured),
            Self::Configured(keys) => {
                // every key is compared; the first that fits counts
                let mut found = None;
                for (configured, name) in keys {
                    let fits = bool::from(configured.expose().as_bytes().ct_eq(key.as_bytes()));
                    found = found.or(fits.then_some(name));
                }
                found.cloned().ok_or(if well_formed(key) { Refusal::KeyUnknown } else { Refusal::KeyMalformed })
            }
            Self::Open(_) if !well_formed(key) => Err(Refusal::KeyMalformed),
            Self::Open(taken) => {
                let mut taken = taken.lock();
                if !taken.iter().any(|taken| taken == key) {
                    if taken.len() >= MAX_OPEN_KEYS {
                        return Err(Refusal::TooManyKeys);
                    }
                    taken.push(key.to_string());
                }
                Ok(format!("{KEY_DESTINATION}{key}"))
            }
        }
    }
}

/// Says what to set, once at the start, about sources whose destination has no key of its own here.
pub(crate) fn without_key(
    sources: &BTreeMap<String, config::Source>,
    destinations: &BTreeMap<String, config::Destination>,
) -> Vec<(String, String)> {
    let has_key = |name: &str| destinations.get(name).is_some_and(|destination| destination.api_key.is_some());
    let lanes = config::sources(sources).into_iter().map(|(name, source)| (name, source.destination));
    lanes.filter(|(_, destination)| !has_key(destination)).collect()
}

/// What sets the key of a destination.
pub(crate) fn key_remedy(destination: &str) -> String {
    let key = format!("destinations.{destination}.api_key");
    if destination == DEFAULT { format!("set --api-key, POSTHOG_API_KEY or {key}") } else { format!("set {key}") }
}

#[cfg(test)]
mod tests;
