//! Sections `[sources.NAME]`: who may send to `/v1/in/NAME`, and where it goes.

use std::{collections::BTreeSet, time::Duration};

use http::{HeaderName, header};
use moehog_proto::Destination;
use moehog_runtime::Secret;
use serde::{Deserialize, Deserializer, de::Error};

use super::DEFAULT;
use crate::addresses::Addresses;

/// Senders to `/v1/in/{name}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of the destination that its events go to.
    #[serde(default = "default_name")]
    pub destination: String,
    /// Names of further destinations that mapping rules may send its events to.
    #[serde(default)]
    pub routes: BTreeSet<String>,
    /// Tokens that may be shown, any of them: two while one is being replaced. Without a token, a password and an address,
    /// only this machine may send.
    #[serde(default)]
    pub tokens: Vec<Secret>,
    /// Header that the token stands in; `authorization` takes it with and without `Bearer`.
    #[serde(default = "authorization", deserialize_with = "header_name")]
    pub header: HeaderName,
    /// Users with passwords that may be shown instead, any of them.
    #[serde(default)]
    pub basic: Vec<Basic>,
    /// Addresses that senders must have, whatever they show; none are all.
    #[serde(default)]
    pub from: Option<Addresses>,
    /// How its bodies are signed, where they are.
    #[serde(default)]
    pub signature: Option<Signature>,
    /// Headers that are kept with each webhook, for mapping rules.
    #[serde(default, deserialize_with = "header_names")]
    pub headers: Vec<HeaderName>,
    /// `Idempotency-Key` is the key of a webhook's events: their UUIDs are made from it.
    #[serde(default)]
    pub idempotency_header: bool,
}

/// How a sender signs its bodies: HMAC-SHA256 over the bytes as they are sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Secrets, any of them: two while one is being replaced.
    pub secrets: Vec<Secret>,
    /// Header that the signature stands in, in hexadecimal or Base64.
    #[serde(deserialize_with = "header_name")]
    pub header: HeaderName,
    /// What stands before it there, such as `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// Header with the seconds since the epoch, where these and a dot are signed before the body.
    #[serde(default, deserialize_with = "some_header_name")]
    pub timestamp: Option<HeaderName>,
    /// How far that time may be from now.
    #[serde(default = "five_minutes", with = "moehog_runtime::duration")]
    pub tolerance: Duration,
}

/// A user with its password, for Basic authorization.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// Without a colon.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Source {
    /// The destination of its webhooks: where rules may choose, the names they may choose from.
    pub(crate) fn webhooks_go_to(&self) -> String {
        if self.routes.is_empty() {
            return self.destination.clone();
        }
        let names: Vec<_> = self.destinations().collect();
        Destination::by_rule(&names)
    }

    /// Whether a sender must know something.
    pub(crate) fn asks_for_secret(&self) -> bool {
        !self.tokens.is_empty() || !self.basic.is_empty() || self.signature.is_some()
    }

    /// Every destination that its events may go to, the one without a rule first.
    pub fn destinations(&self) -> impl Iterator<Item = &str> {
        let routes = self.routes.iter().filter(|name| **name != self.destination);
        std::iter::once(&self.destination).chain(routes).map(String::as_str)
    }
}

fn some_header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HeaderName>, D::Error> {
    header_name(deserializer).map(Some)
}

pub(super) fn header_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderName>, D::Error> {
    let mut names: Vec<HeaderName> = Vec::new();
    for text in Vec::<String>::deserialize(deserializer)? {
        let name = text.parse().map_err(|_| {
            D::Error::custom("holds what is not the name of a header, such as X-Campaign: letters, digits and -")
        })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

pub(super) fn default_name() -> String {
    DEFAULT.to_string()
}

fn authorization() -> HeaderName {
    header::AUTHORIZATION
}

pub(super) fn header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
    let text = String::deserialize(deserializer)?;
    // it is not repeated: who writes the whole header here writes its secret
    text.parse()
        .map_err(|_| D::Error::custom("not the name of a header, such as x-moehog-token: letters, digits and -"))
}

impl Default for Source {
    fn default() -> Self {
        Self {
            destination: default_name(),
            routes: BTreeSet::new(),
            tokens: Vec::new(),
            header: authorization(),
            basic: Vec::new(),
            from: None,
            signature: None,
            headers: Vec::new(),
            idempotency_header: false,
        }
    }
}
