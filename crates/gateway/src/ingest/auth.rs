//! Who may send: who shows a source's secret from one of its addresses, or a capture body's project key.

mod capture;
mod credentials;
mod signature;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use http::{HeaderMap, Uri, header};
use moehog_runtime::ways_to_set;

use self::credentials::Credentials;
pub(crate) use self::{
    capture::{Capture, KeyWatch},
    credentials::shows_one_of,
    signature::SignatureWatch,
};
use super::{Refusal, local, places::Standing, refusal::Help, request::Keeps, sender};
use crate::{
    Config,
    addresses::{Addresses, Block},
    config,
};

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
    pub(crate) capture: Capture,
    /// See `http.allow_local`.
    allow_local: bool,
}

impl Senders {
    /// `open_keys` are project keys that were taken before, without a configured destination.
    pub(crate) fn new(config: &Config, open_keys: impl IntoIterator<Item = String>) -> Self {
        let allow_local = config.http.allow_local;
        let sources = config.all_sources().into_iter();
        Self {
            sources: sources.map(|(name, source)| (name.clone(), Source::new(name, &source, allow_local))).collect(),
            capture: Capture::new(&config.capture, &config.destinations, allow_local, open_keys),
            allow_local,
        }
    }

    pub(crate) fn source(&self, name: &str) -> Option<&Source> {
        self.sources.get(name)
    }

    /// What somebody is told who posts to a source that there is not: nothing else than to one that there is, but to who shows the
    /// secret of another, or may send to one from this machine.
    pub(crate) fn unknown(&self, origin: Origin<'_>, uri: &Uri, headers: &HeaderMap) -> Refusal {
        let mut sources = self.sources.values();
        let knows = sources.any(|source| source.credentials.shown(headers) == Some(true))
            || self.allow_local && local::straight_from_here(origin.peer, uri, headers);
        if knows { Refusal::UnknownSource } else { nothing_right(headers) }
    }

    /// The source of a GET, and what the request has shown. Crawlers, previews and prefetching browsers GET everything, so it is taken
    /// only where the request shows a token or a password of the source; without one it is told no more than on any other path.
    pub(crate) fn admit_get(
        &self,
        name: &str,
        origin: Origin<'_>,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(&Source, Standing), Refusal> {
        let source = self.source(name);
        let shows = |source: &Source| source.credentials.shown(headers).is_some();
        if !headers.contains_key(header::AUTHORIZATION) && !source.is_some_and(shows) {
            return Err(Refusal::Method);
        }
        let source = source.ok_or_else(|| self.unknown(origin, uri, headers))?;
        match source.admit(origin, uri, headers)? {
            // a signature is over the body, and says nothing of a query
            standing if !source.credentials.is_empty() && source.signature.is_none() => Ok((source, standing)),
            Standing::Stranger => Err(nothing_right(headers)),
            Standing::Key | Standing::Secret => Err(Refusal::Method),
        }
    }

    /// Whether a text is a secret that a request to this source may show; none is the capture paths.
    pub(crate) fn is_secret(&self, source: Option<&Source>, text: &[u8]) -> bool {
        source.map_or_else(|| self.capture.is_secret(text), |source| source.credentials.is_secret(text))
    }

    pub(crate) fn source_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.sources.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

/// A source of `/v1/in/{source}`.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) destination: String,
    credentials: Credentials,
    from: Option<Addresses>,
    signature: Option<config::Signature>,
    keeps: Keeps,
    /// Without a secret and an address this machine may send.
    allow_local: bool,
}

impl Source {
    fn new(name: String, config: &config::Source, allow_local: bool) -> Self {
        let credentials = Credentials::new(config);
        Self {
            name,
            destination: config.webhooks_go_to(),
            credentials,
            from: config.from.clone(),
            signature: config.signature.clone(),
            keeps: Keeps { headers: config.headers.clone(), is_keyed: config.idempotency_header },
            allow_local,
        }
    }

    /// What is kept of its requests.
    pub(crate) fn keeps(&self) -> &Keeps {
        &self.keeps
    }

    /// Computes the signature of the body to come; none where none is asked for.
    pub(crate) fn watch(&self, headers: &HeaderMap) -> Result<Option<SignatureWatch>, Refusal> {
        let Some(signature) = &self.signature else { return Ok(None) };
        // who has shown more than a stranger knows is told of it
        let is_known = !self.credentials.is_empty() || self.from.is_some();
        let missing = || if is_known { Refusal::SignatureWrong } else { nothing_right(headers) };
        SignatureWatch::new(signature, headers)?.ok_or_else(missing).map(Some)
    }

    /// Whether the request may send here, and what it has shown. What it knows is looked at before where it comes from, so that only a sender who
    /// knows learns that addresses are looked at.
    pub(crate) fn admit(&self, origin: Origin<'_>, uri: &Uri, headers: &HeaderMap) -> Result<Standing, Refusal> {
        if !self.credentials.is_empty() {
            match self.credentials.shown(headers) {
                Some(true) => {}
                Some(false) => return Err(Refusal::TokenWrong),
                None => return Err(nothing_right(headers)),
            }
        }
        let sender = || origin.sender(headers);
        let is_here = || local::straight_from_here(origin.peer, uri, headers);
        match &self.from {
            Some(from) if sender().is_some_and(|sender| from.contain(sender)) => Ok(Standing::Secret),
            Some(_) => {
                // the one place that says it where there is no secret to be right: see `help`
                tracing::debug!(source = self.name, sender = ?sender(), "address is not among the source's");
                let knows = !self.credentials.is_empty();
                Err(if knows { Refusal::AddressNotAllowed } else { nothing_right(headers) })
            }
            None if !self.credentials.is_empty() => Ok(Standing::Secret),
            // the body has yet to show it
            None if self.signature.is_some() => Ok(Standing::Stranger),
            None if !is_here() => Err(nothing_right(headers)),
            None if self.allow_local => Ok(Standing::Secret),
            None => Err(Refusal::NotLocal),
        }
    }

    /// What only the source knows of a refusal of [`Source::admit`].
    pub(crate) fn help(&self, refusal: Refusal, origin: Origin<'_>, headers: &HeaderMap) -> Help<'_> {
        match refusal {
            Refusal::NotLocal => {
                let ways = ways_to_set(&format!("sources.{}.tokens", self.name));
                let remedy = format!(
                    "set {ways} to a token, and send the header Authorization: Bearer TOKEN; or http.allow_local = true where no proxy is \
                     before this port"
                );
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

/// Why somebody may not send who shows no secret that is right: whatever header the source looks at, and whether there is one.
fn nothing_right(headers: &HeaderMap) -> Refusal {
    if headers.contains_key(header::AUTHORIZATION) { Refusal::TokenWrong } else { Refusal::TokenMissing }
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
