//! Who may send: who shows a source's secret from one of its addresses, or a capture body's project key.

mod credentials;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use http::{HeaderMap, Uri};
use moehog_runtime::{Secret, ways_to_set};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

use self::credentials::Credentials;
pub(crate) use self::credentials::shows_one_of;
use super::{Refusal, answers::Help, local, route::CAPTURE_PATHS, scan::well_formed, sender};
use crate::{
    addresses::{Addresses, Block},
    config,
};

/// Different project keys that are taken where no destination is configured.
const MAX_OPEN_KEYS: usize = 8;
/// Begins the name of a destination that is nothing but a project key.
pub(crate) const KEY_DESTINATION: &str = "key:";

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) peer: IpAddr,
    /// Whose `X-Forwarded-For` counts.
    pub(crate) trusted: &'a [Block],
}

impl Origin<'_> {
    /// The sender's address; none where a trusted proxy names none.
    pub(crate) fn sender(self, headers: &HeaderMap) -> Option<IpAddr> {
        sender::address(self.peer, self.trusted, headers)
    }
}

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
    credentials: Credentials,
    from: Option<Addresses>,
    remedy: String,
}

impl Source {
    fn new(name: String, config: &config::Source) -> Self {
        let credentials = Credentials::new(config);
        let remedy = credentials.remedy(&name);
        Self { name, destination: config.webhooks_go_to(), credentials, from: config.from.clone(), remedy }
    }

    /// Whether the request may send here. What it knows is looked at before where it comes from, so that only a sender who
    /// knows learns that addresses are looked at.
    pub(crate) fn admit(&self, origin: Origin<'_>, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.credentials.is_empty() {
            match self.credentials.shown(headers) {
                None => return Err(Refusal::TokenMissing),
                Some(false) => return Err(Refusal::TokenWrong),
                Some(true) => {}
            }
        }
        match &self.from {
            Some(from) => {
                let sender = origin.sender(headers);
                if sender.is_some_and(|sender| from.contain(sender)) {
                    return Ok(());
                }
                // the one place that says it where there is no secret to be right: see `help`
                tracing::debug!(source = self.name, ?sender, "address is not among the source's");
                Err(Refusal::AddressNotAllowed)
            }
            None if !self.credentials.is_empty() || local::straight_from_here(origin.peer, uri, headers) => Ok(()),
            None => Err(Refusal::NotLocal),
        }
    }

    /// What only the source knows of a refusal of [`Source::admit`].
    pub(crate) fn help(&self, refusal: Refusal, origin: Origin<'_>, headers: &HeaderMap) -> Help<'_> {
        match refusal {
            Refusal::TokenMissing | Refusal::TokenWrong => Help {
                field: Some(self.credentials.header()),
                remedy: Some(self.remedy.as_str().into()),
                challenges: &self.credentials.challenges,
            },
            Refusal::NotLocal => {
                let ways = ways_to_set(&format!("sources.{}.tokens", self.name));
                let remedy = format!("set {ways} to a token, and send the header Authorization: Bearer TOKEN");
                Help { remedy: Some(remedy.into()), ..Help::default() }
            }
            Refusal::AddressNotAllowed => {
                Help { remedy: Some(self.address_remedy(origin, headers).into()), ..Help::default() }
            }
            _ => Help::default(),
        }
    }

    /// The address that was seen is the operator's to know: it stands here where the request showed a secret.
    fn address_remedy(&self, origin: Origin<'_>, headers: &HeaderMap) -> String {
        let seen = match origin.sender(headers) {
            _ if self.credentials.is_empty() => "the sender's address".to_string(),
            Some(sender) => format!("{sender}, where this request comes from,"),
            None => {
                format!("the sender's address, which {} does not tell in X-Forwarded-For,", origin.peer.to_canonical())
            }
        };
        format!(
            "add {seen} to sources.{}.from; if that is a proxy of yours, name it in http.trusted_proxies instead, and its \
             X-Forwarded-For counts",
            self.name
        )
    }
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
    let sources = config::sources(sources).into_iter();
    let lanes = sources.flat_map(|(name, source)| {
        source.destinations().map(|destination| (name.clone(), destination.to_string())).collect::<Vec<_>>()
    });
    lanes.filter(|(_, destination)| !has_key(destination)).collect()
}

/// What sets the key of a destination.
pub(crate) fn key_remedy(destination: &str) -> String {
    format!("set {}", ways_to_set(&format!("destinations.{destination}.api_key")))
}

#[cfg(test)]
mod tests;
