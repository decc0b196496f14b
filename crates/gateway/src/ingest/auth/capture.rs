//! Who may post to the capture paths: whoever knows a project key, which is public, and shows a token where one is asked for.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use http::{HeaderMap, Uri, header::AUTHORIZATION};
use moehog_coding::{may_be_coded, outermost};
use moehog_proto::{Destination, project_key_fault};
use moehog_runtime::{Secret, ways_to_set};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::{
    Origin,
    credentials::{bearer, is_one_of, shows_one_of},
};
use crate::{
    config,
    ingest::{
        Refusal, local,
        places::Standing,
        refusal::Help,
        request::{self, Keeps},
        scan::Finder,
    },
};

/// Different project keys that are taken at a time where no destination is configured.
const MAX_OPEN_KEYS: usize = 8;
/// How long such a key keeps its place when nothing comes with it.
const OPEN_KEY_STAYS: Duration = Duration::from_secs(600);
/// In a query, what the token goes by: `token` is a project key there.
const TOKEN_IN_QUERY: &str = "moehog_token";
/// In a query, what a project key goes by.
const KEYS_IN_QUERY: [&str; 2] = ["api_key", "token"];

/// See the module.
#[derive(Debug)]
pub(crate) struct Capture {
    config: config::Capture,
    keeps: Keeps,
    keys: Keys,
    remedy: String,
}

/// Looks for the project key in a capture body as it comes.
#[derive(Debug)]
pub(crate) struct KeyWatch<'a> {
    capture: &'a Capture,
    content_encoding: String,
    finder: Finder,
    /// Nothing was seen yet.
    begins: bool,
    /// It may be compressed: what is seen of it says nothing.
    is_opaque: bool,
    /// Where the key sends it: nothing that follows can change that.
    pub(crate) destination: Option<String>,
}

impl<'a> KeyWatch<'a> {
    pub(crate) fn new(capture: &'a Capture, headers: &HeaderMap) -> Self {
        let content_encoding = request::content_encoding(headers);
        Self { capture, content_encoding, finder: Finder::new(), begins: true, is_opaque: false, destination: None }
    }

    /// Looks at the next piece. Says whether the key is known now, and was not before; one that nobody has is refused.
    pub(crate) fn finds(&mut self, piece: &[u8]) -> Result<bool, Refusal> {
        if self.begins && !piece.is_empty() {
            (self.begins, self.is_opaque) = (false, may_be_coded(&self.content_encoding, piece));
        }
        if self.is_opaque || self.finder.certain_key().is_some() {
            return Ok(false);
        }
        self.finder.feed(piece);
        let key = self.finder.certain_key();
        self.destination = key.map(|key| self.capture.destination(Some(key))).transpose()?;
        Ok(self.destination.is_some())
    }

    /// The key, once all of the body is here; none where it has none, or is compressed.
    pub(crate) fn key(mut self, body: &[u8]) -> Option<String> {
        if self.is_opaque && outermost(&self.content_encoding, body).is_none() {
            self.finder.feed(body);
        }
        self.finder.key()
    }
}

/// Which project keys capture bodies may carry.
#[derive(Debug)]
enum Keys {
    /// Only those of configured destinations.
    Configured(Vec<(Secret, String)>),
    /// Whatever is well formed, from this machine alone, [`MAX_OPEN_KEYS`] at a time: each with when it came last.
    Open(Mutex<HashMap<String, Instant>>),
    /// None.
    Closed,
}

impl Capture {
    /// `open_keys` are project keys that were taken before, without a configured destination.
    pub(super) fn new(
        config: &config::Capture,
        destinations: &BTreeMap<String, config::Destination>,
        allow_local: bool,
        open_keys: impl IntoIterator<Item = String>,
    ) -> Self {
        let configured: Vec<_> = destinations
            .iter()
            .filter_map(|(name, destination)| Some((destination.api_key.clone()?, name.clone())))
            .collect();
        let open_keys = open_keys.into_iter().take(MAX_OPEN_KEYS).map(|key| (key, Instant::now()));
        let keys = match (configured.is_empty(), allow_local) {
            (false, _) => Keys::Configured(configured),
            (true, true) => Keys::Open(Mutex::new(open_keys.collect())),
            (true, false) => Keys::Closed,
        };
        let remedy = format!(
            "send the header {}: TOKEN with a token of capture.tokens, or put ?{TOKEN_IN_QUERY}=TOKEN behind the path",
            config.header
        );
        let keeps = Keeps { headers: config.headers.clone(), is_keyed: config.idempotency_header };
        Self { config: config.clone(), keeps, keys, remedy }
    }

    /// What is kept of its requests.
    pub(crate) fn keeps(&self) -> &Keeps {
        &self.keeps
    }

    /// Whether a text is one of the tokens.
    pub(super) fn is_secret(&self, text: &[u8]) -> bool {
        is_one_of(&self.config.tokens, text)
    }

    /// Which keys are taken, in words.
    pub(crate) fn rule(&self) -> &'static str {
        match self.keys {
            _ if !self.config.enabled => "none: capture.enabled is false",
            Keys::Configured(_) => "keys of configured destinations",
            Keys::Open(_) => {
                "any well-formed key from this machine, since none is configured and http.allow_local is true"
            }
            Keys::Closed => "no key: no destination has one",
        }
    }

    /// Whether the request may send here, as far as that is known without its body, and what it has shown.
    pub(crate) fn admit(&self, origin: Origin<'_>, uri: &Uri, headers: &HeaderMap) -> Result<Standing, Refusal> {
        if !self.config.enabled {
            return Err(Refusal::UnknownPath);
        }
        if !self.config.tokens.is_empty() {
            let in_header = shows_one_of(&self.config.tokens, &self.config.header, headers);
            return match (in_header, self.shows_in_query(uri)) {
                (None, None) => Err(Refusal::TokenMissing),
                (in_header, in_query) if in_header == Some(true) || in_query == Some(true) => Ok(Standing::Secret),
                _ => Err(Refusal::TokenWrong),
            };
        }
        match self.keys {
            Keys::Open(_) if !local::straight_from_here(origin.peer, uri, headers) => Err(Refusal::KeyNotConfigured),
            Keys::Closed => Err(Refusal::KeyNotConfigured),
            _ if self.shows_key(uri, headers) => Ok(Standing::Key),
            _ => Ok(Standing::Stranger),
        }
    }

    /// Whether a project key that is taken stands before the body: in the query, or as a bearer token. The body's own decides where it goes.
    fn shows_key(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Keys::Configured(keys) = &self.keys else { return false };
        let is_one = |shown: &[u8]| keys.iter().fold(false, |found, (key, _)| found | is_one_of([key], shown));
        let mut in_query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        in_query.any(|(name, shown)| KEYS_IN_QUERY.contains(&&*name) && is_one(shown.as_bytes()))
            || headers.get_all(AUTHORIZATION).iter().any(|shown| bearer(shown).is_some_and(is_one))
    }

    /// Whether the query holds one of the tokens; none where it holds nothing of that name.
    fn shows_in_query(&self, uri: &Uri) -> Option<bool> {
        let pairs = form_urlencoded::parse(uri.query()?.as_bytes());
        let shown = pairs.filter(|(name, _)| name == TOKEN_IN_QUERY);
        shown.map(|(_, shown)| is_one_of(&self.config.tokens, shown.as_bytes())).reduce(|fits, next| fits | next)
    }

    /// The destination that a body's key picks.
    pub(crate) fn destination(&self, key: Option<&str>) -> Result<String, Refusal> {
        self.keys.destination(key)
    }

    /// What only the configuration knows of a refusal.
    pub(crate) fn help(&self, refusal: Refusal) -> Help<'_> {
        let ways = ways_to_set("destinations.NAME.api_key");
        let remedy = match refusal {
            Refusal::TokenMissing | Refusal::TokenWrong => {
                let (field, remedy) = (Some(self.config.header.as_str()), Some(self.remedy.as_str().into()));
                return Help { field, remedy };
            }
            Refusal::KeyUnknown => {
                format!("send the project key of a configured destination, or set {ways} to this one")
            }
            Refusal::TooManyKeys | Refusal::KeyNotConfigured => format!("configure the destinations: set {ways}"),
            _ => return Help::default(),
        };
        Help { remedy: Some(remedy.into()), ..Help::default() }
    }
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
                found.cloned().ok_or(if project_key_fault(key).is_none() {
                    Refusal::KeyUnknown
                } else {
                    Refusal::KeyMalformed
                })
            }
            Self::Open(_) if project_key_fault(key).is_some() => Err(Refusal::KeyMalformed),
            Self::Open(taken) => {
                let (mut taken, now) = (taken.lock(), Instant::now());
                if !taken.contains_key(key) && taken.len() >= MAX_OPEN_KEYS {
                    taken.retain(|_, came| now.duration_since(*came) < OPEN_KEY_STAYS);
                    if taken.len() >= MAX_OPEN_KEYS {
                        return Err(Refusal::TooManyKeys);
                    }
                }
                taken.insert(key.to_string(), now);
                Ok(Destination::Keyed(key).to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests;
