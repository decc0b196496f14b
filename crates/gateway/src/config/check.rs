//! What the shape of a configuration does not say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, anyhow};
use http::HeaderName;
use moehog_proto::{Destination, project_key_fault};
use moehog_runtime::{Exit, Mistake, NAME_RULE, Secret, is_name};

use super::{Basic, CAPTURE, Config, Source, sources};

/// Refuses a configuration that contradicts itself.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    match config.contradictions().as_slice() {
        [] => Ok(()),
        all => {
            let told: Vec<_> = all.iter().map(|mistake| mistake.text.as_str()).collect();
            Err(anyhow!(told.join("; "))).context(Exit::Configuration)
        }
    }
}

impl Config {
    /// The sources there are: those configured, or `default` alone.
    #[must_use]
    pub fn all_sources(&self) -> BTreeMap<String, Source> {
        sources(&self.sources)
    }

    /// What the shape of the file does not say: each thing that cannot be meant, with the key it stands at.
    #[must_use]
    pub fn contradictions(&self) -> Vec<Mistake> {
        let Self { http, sources, destinations, .. } = self;
        let mut found = Vec::new();
        for (key, name) in names(sources, destinations) {
            if Destination::of(name).key().is_some() {
                let is_meant = key.ends_with(".destination")
                    && Destination::of(name).key().is_some_and(|key| project_key_fault(key).is_none());
                if !is_meant {
                    let text = format!("a destination `key:…` of a source does not name a project key: {NAME_RULE}");
                    found.push(Mistake::new(key, text));
                }
            } else if !is_name(name) {
                found.push(Mistake::new(key, format!("`{name}` is not a name: {NAME_RULE}")));
            }
        }
        let mut tell = |key: &str, text: String| found.push(Mistake::new(key, text));
        if sources.contains_key(CAPTURE) {
            let key = format!("sources.{CAPTURE}");
            let text = format!("{key}: the name is taken by the capture paths, whose key picks the destination");
            tell(&key, text);
        }
        for (name, source) in sources {
            source.contradictions(name, &mut found);
        }
        found.extend(self.kept_secrets());
        found.extend(self.faults_of_secrets(|_| true));
        let mut keys = BTreeSet::new();
        let mut tell = |key: &str, text: String| found.push(Mistake::new(key, format!("{key}{text}")));
        for (name, destination) in destinations {
            let Some(key) = destination.api_key.as_ref().map(Secret::expose) else { continue };
            if !key.is_empty() && !keys.insert(key.to_string()) {
                tell(
                    &format!("destinations.{name}.api_key"),
                    " is another destination's too: capture paths could not tell them apart".to_string(),
                );
            }
        }
        if http.proxy_protocol && http.trusted_proxies.is_empty() {
            let why = " needs http.trusted_proxies: whoever else connects could say that it is anybody";
            tell("http.proxy_protocol", why.to_string());
        }
        if http.append_deadline > Duration::from_millis(1900) {
            tell("http.append_deadline", ": more than 1900ms leaves no time to answer within 2 s".to_string());
        }
        if http.max_held_bytes < http.max_body_bytes {
            let why = format!(
                " = {} is less than one body may have: raise it to http.max_body_bytes = {}, or lower that",
                http.max_held_bytes, http.max_body_bytes
            );
            tell("http.max_held_bytes", why);
        }
        found
    }
}

/// Every name that must be one, with the key that it stands at.
fn names<'a>(
    sources: &'a BTreeMap<String, Source>,
    destinations: &'a BTreeMap<String, super::Destination>,
) -> impl Iterator<Item = (String, &'a str)> {
    let of_sources = sources.iter().flat_map(|(name, source)| {
        let routes = source.routes.iter().map(move |route| (format!("sources.{name}.routes"), route.as_str()));
        let own = (format!("sources.{name}"), name.as_str());
        [own, (format!("sources.{name}.destination"), source.destination.as_str())].into_iter().chain(routes)
    });
    of_sources.chain(destinations.keys().map(|name| (format!("destinations.{name}"), name.as_str())))
}

impl Config {
    /// Tokens and keys that have no value: a text that is empty, or a file that is or that cannot be read. Each with
    /// its key and what to do.
    pub(crate) fn secret_faults(&self, of: impl Fn(&Secret) -> bool) -> Vec<String> {
        self.faults_of_secrets(of).into_iter().map(|mistake| mistake.text).collect()
    }

    fn faults_of_secrets(&self, of: impl Fn(&Secret) -> bool) -> Vec<Mistake> {
        let secrets = self.all_secrets().into_iter().filter(|(_, secret)| of(secret));
        let fault = |(key, secret): (String, Secret)| {
            let text = format!("{key} {}", secret.fault()?);
            Some(Mistake::new(key, text))
        };
        secrets.filter_map(fault).collect()
    }

    /// Tokens and passwords that can be guessed: each with its key and what to do. A project key is public.
    #[must_use]
    pub fn secret_weaknesses(&self) -> Vec<String> {
        let secrets = self.all_secrets().into_iter().filter(|(key, _)| !key.ends_with(".api_key"));
        secrets.filter_map(|(key, secret)| Some(format!("{key} {}", secret.weakness()?))).collect()
    }
}

/// Headers that hold secrets, whoever sends them.
const SECRET_HEADERS: [&str; 11] = [
    "api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-moehog-token",
];
/// Most headers that are kept with each webhook.
const MAX_KEPT_HEADERS: usize = 32;

impl Config {
    /// Headers that are to be kept and must not be.
    fn kept_secrets(&self) -> Vec<Mistake> {
        let Self { capture, sources, .. } = self;
        let shown = sources.values().flat_map(|source| {
            let signed = source.signature.as_ref().map(|signature| &signature.header);
            std::iter::once(&source.header).chain(signed)
        });
        let shown: Vec<_> = shown.chain([&capture.header]).map(HeaderName::as_str).chain(SECRET_HEADERS).collect();
        let of_sources = sources.iter().map(|(name, source)| (format!("sources.{name}.headers"), &source.headers));
        let mut found = Vec::new();
        for (key, headers) in of_sources.chain([("capture.headers".to_string(), &capture.headers)]) {
            let secrets = headers.iter().map(HeaderName::as_str).filter(|name| shown.contains(name));
            found.extend(secrets.map(|name| {
                let text =
                    format!("{key} names `{name}`, which holds a secret, and secrets are never written: take it out");
                Mistake::new(&key, text)
            }));
            if headers.len() > MAX_KEPT_HEADERS {
                let text = format!("{key} has more than {MAX_KEPT_HEADERS} names: leave out what no rule reads");
                found.push(Mistake::new(&key, text));
            }
        }
        found
    }
}

impl Source {
    fn contradictions(&self, name: &str, found: &mut Vec<Mistake>) {
        let mut tell = |key: String, text: &str| found.push(Mistake::new(&key, format!("{key} {text}")));
        if Destination::of(&self.destination).key().is_some() && !self.routes.is_empty() {
            let text = format!("needs names, and sources.{name}.destination is a key: give it a name");
            tell(format!("sources.{name}.routes"), &text);
        }
        if self.signature.as_ref().is_some_and(|signature| signature.secrets.is_empty()) {
            tell(format!("sources.{name}.signature.secrets"), "is empty: no signature would be right");
        }
        for (index, Basic { user, .. }) in self.basic.iter().enumerate() {
            if user.contains(':') {
                tell(
                    format!("sources.{name}.basic[{index}].user"),
                    "holds a colon, behind which Basic authorization has the password: take a name without one",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_cannot_be_meant_is_told_at_once_with_its_key() {
        let variables = [
            ("SOURCES__CAPTURE__DESTINATION", "no/name"),
            ("SOURCES__SHOP__TOKENS", "[\"\", { file = \"/nowhere/token\" }]"),
            ("API__TOKENS", "[\"\"]"),
            ("SOURCES__SHOP__BASIC", "[{ user = \"a:b\", password = \"\" }]"),
            ("SOURCES__SHOP__ROUTES", "[\"a b\"]"),
            ("SOURCES__APP__DESTINATION", "key:phc_0123456789012345678901234567890123456789012"),
            ("SOURCES__APP__ROUTES", "[\"eu\"]"),
            ("DESTINATIONS__EU__API_KEY", "phc_ones_key"),
            ("DESTINATIONS__US__API_KEY", "phc_ones_key"),
            ("DESTINATIONS__XX__API_KEY", ""),
            ("HTTP__APPEND_DEADLINE", "3s"),
            ("HTTP__MAX_HELD_BYTES", "1000000"),
            ("SOURCES__SHOP__HEADER", "x-shop-secret"),
            ("SOURCES__APP__HEADERS", "[\"X-Campaign\", \"Cookie\", \"X-Shop-Secret\"]"),
            ("CAPTURE__HEADERS", "[\"Authorization\"]"),
        ];
        let variables = variables.map(|(name, value)| (format!("MOEHOG__{name}"), value.to_string()));
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, variables).unwrap();
        let told: Vec<_> = config.contradictions().into_iter().map(|mistake| mistake.text).collect();
        for says in [
            "`no/name` is not a name",
            "`a b` is not a name",
            "sources.capture: the name is taken",
            "api.tokens[0] is empty: ",
            "sources.shop.tokens[0] is empty: give it a value",
            "sources.shop.tokens[1] cannot be read from /nowhere/token: No such file",
            "sources.shop.basic[0].user holds a colon",
            "sources.shop.basic[0].password is empty",
            "sources.app.routes needs names",
            "destinations.us.api_key is another destination's too",
            "destinations.xx.api_key is empty",
            "http.append_deadline",
            "http.max_held_bytes = 1000000 is less than one body may have",
            "sources.app.headers names `cookie`, which holds a secret, and secrets are never written: take it out",
            "sources.app.headers names `x-shop-secret`",
            "capture.headers names `authorization`",
        ] {
            assert!(told.iter().any(|told| told.starts_with(says)), "{says}: {told:#?}");
        }
        assert_eq!(told.len(), 16, "{told:#?}");
        assert!(check(&config).unwrap_err().root_cause().to_string().contains("; "));
    }
}
