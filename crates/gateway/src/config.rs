//! What can be set.

mod check;
mod source;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use http::HeaderName;
use moehog_proto::limits::MAX_BODY_BYTES;
use moehog_runtime::{Listen, Secret, SecretFiles, Shutdown};
use moehog_transport::TlsConfig;
use serde::Deserialize;

pub(crate) use self::check::check;
pub use self::source::{Basic, Signature, Source};
use self::source::{default_name, header_name, header_names};
use crate::addresses::Block;

/// What can be set; `config.default.toml` documents every key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The public listener and its limits.
    pub http: Http,
    /// What an answer says beyond "taken".
    pub feedback: Feedback,
    /// The admin listener.
    pub admin: Listen,
    /// Who may ask the admin API.
    pub api: Api,
    /// Where webhooks are kept.
    pub journal: moehog_journal::embedded::Config,
    /// How the relay carries them.
    pub relay: moehog_relay::Config,
    /// Where the transformer is.
    pub transformer: Worker,
    /// Where delivery is.
    pub delivery: Worker,
    /// Who may post to the capture paths.
    pub capture: Capture,
    /// Senders to `/v1/in/{name}`, by name.
    pub sources: BTreeMap<String, Source>,
    /// PostHog projects, by name.
    pub destinations: BTreeMap<String, Destination>,
    /// How tokens and keys that stand in files are read again.
    pub secrets: SecretFiles,
    /// How it stops.
    pub shutdown: Shutdown,
    /// Certificates shown to the workers.
    pub tls: TlsConfig,
    /// Logs.
    pub telemetry: moehog_telemetry::Config,
}

impl Config {
    /// Every key with its default, as TOML: the gateway's own, the journal's, the relay's and the transport's.
    pub const DEFAULTS: &str = concat!(
        include_str!("../config.default.toml"),
        "\n",
        include_str!("../../journal/config.default.toml"),
        "\n",
        include_str!("../../relay/config.default.toml"),
        include_str!("../../transport/config.default.toml"),
    );

    /// Reads the defaults, the file of the command line and the variables.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, an unknown key, a value of the wrong kind.
    pub fn load() -> anyhow::Result<Self> {
        let file = moehog_runtime::arguments("moehog-gateway");
        Ok(moehog_runtime::load(Self::DEFAULTS, file.as_deref(), moehog_runtime::environment())?)
    }

    /// Whether the files that others write can be used: of tokens, keys and certificates.
    ///
    /// # Errors
    ///
    /// What is wrong with them and what to do, in a line.
    pub fn look_at_files(&self) -> Result<(), String> {
        let mut faults = self.secret_faults(Secret::is_in_file);
        faults.extend(self.tls.open().err().map(|error| format!("certificates of section tls: {error}")));
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// Every token and key, by the name of its key.
    #[must_use]
    pub fn all_secrets(&self) -> Vec<(String, Secret)> {
        let numbered = |list: &str, tokens: &[Secret]| {
            let token = |(index, token): (usize, &Secret)| (format!("{list}[{index}]"), token.clone());
            tokens.iter().enumerate().map(token).collect::<Vec<_>>()
        };
        let mut secrets = numbered("api.tokens", &self.api.tokens);
        secrets.extend(numbered("capture.tokens", &self.capture.tokens));
        for (name, source) in &self.sources {
            secrets.extend(numbered(&format!("sources.{name}.tokens"), &source.tokens));
            let passwords = source.basic.iter().enumerate();
            secrets.extend(passwords.map(|(index, basic)| (password_key(name, index), basic.password.clone())));
            let signed = source
                .signature
                .iter()
                .flat_map(|it| numbered(&format!("sources.{name}.signature.secrets"), &it.secrets));
            secrets.extend(signed);
        }
        let keys =
            self.destinations.iter().filter_map(|(name, destination)| Some((name, destination.api_key.clone()?)));
        secrets.extend(keys.map(|(name, key)| (format!("destinations.{name}.api_key"), key)));
        secrets
    }
}

/// Who may ask the admin API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Bearer tokens; without one nobody is answered, or with `allow_local` this machine alone.
    pub tokens: Vec<Secret>,
    /// Without a token, whoever is on this machine may ask, where the port listens on the loopback.
    pub allow_local: bool,
}

/// Who may post to the capture paths.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// Whether they are there.
    pub enabled: bool,
    /// Tokens that must be shown besides the project key, any of them; none are asked for where there is none.
    pub tokens: Vec<Secret>,
    /// Header that the token stands in; a query's `moehog_token` does as well.
    #[serde(deserialize_with = "header_name")]
    pub header: HeaderName,
    /// Headers that are kept with each webhook, for mapping rules.
    #[serde(deserialize_with = "header_names")]
    pub headers: Vec<HeaderName>,
    /// `Idempotency-Key` is the key of a webhook's events: their UUIDs are made from it.
    pub idempotency_header: bool,
}

/// A worker service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// `dns://name:port` or `list://host:port,host:port`.
    pub address: String,
    /// The name its certificate is for; empty is the address's own.
    pub server_name: String,
    /// Who may call it: the worker's business.
    #[serde(default)]
    pub callers: Vec<String>,
}

/// Name of the source and of the destination that exist without a configuration.
pub(crate) const DEFAULT: &str = "default";
/// Name of the source that all capture paths are.
pub(crate) const CAPTURE: &str = "capture";

/// The public listener and its limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Largest body, in bytes, as received and after decompression; larger is a 413.
    #[serde(deserialize_with = "moehog_runtime::up_to::<MAX_BODY_BYTES, _>")]
    pub max_body_bytes: usize,
    /// Bytes of bodies held at once; over it is a 503.
    pub max_held_bytes: usize,
    /// Requests under way at once; over it is a 503.
    pub max_in_flight: usize,
    /// Open connections; over it new ones wait to be accepted.
    pub max_connections: usize,
    /// Longest silence between two pieces of a body; longer is a 408.
    #[serde(with = "moehog_runtime::duration")]
    pub body_idle: Duration,
    /// Longest time a body may take; longer is a 408.
    #[serde(with = "moehog_runtime::duration")]
    pub body_total: Duration,
    /// Time from a body's last byte within which it is durable or refused.
    #[serde(with = "moehog_runtime::duration")]
    pub append_deadline: Duration,
    /// Longest wait for a connection's next request.
    #[serde(with = "moehog_runtime::duration")]
    pub keep_alive: Duration,
    /// Longest time in which nothing of an answer is read.
    #[serde(with = "moehog_runtime::duration")]
    pub answer_idle: Duration,
    /// Whether connections begin with the PROXY protocol; only those of `trusted_proxies` are taken then.
    pub proxy_protocol: bool,
    /// A source without a secret and an address takes requests straight from this machine.
    pub allow_local: bool,
    /// Proxies whose `X-Forwarded-For` says where a request comes from.
    pub trusted_proxies: Vec<Block>,
}

/// What an answer says beyond "taken".
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// Longest wait, once a Connector's webhook is durable, until it is mapped; zero is none.
    #[serde(with = "moehog_runtime::duration")]
    pub wait: Duration,
    /// Most answers that wait at once; the others are told as soon as their webhook is durable.
    pub at_once: usize,
}

/// A PostHog project, as far as the gateway looks at it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The project API key.
    pub api_key: Option<Secret>,
    /// Where PostHog is; delivery's business.
    pub host: Option<String>,
    /// In which API it is spoken to; delivery's business.
    pub api: Option<String>,
    /// Most events a second that it is sent; [`moehog_relay::Config::max_events_per_second`] when absent.
    pub max_events_per_second: Option<u32>,
}

impl Config {
    /// The relay's section, with what the sections of the destinations say of it.
    pub(crate) fn relay(&self) -> moehog_relay::Config {
        let ceilings =
            self.destinations.iter().filter_map(|(name, it)| Some((name.clone(), it.max_events_per_second?)));
        moehog_relay::Config { max_events_per_second_of: ceilings.collect(), ..self.relay.clone() }
    }
}

fn password_key(source: &str, index: usize) -> String {
    format!("sources.{source}.basic[{index}].password")
}

/// The sources there are: those configured, or `default` alone.
pub(crate) fn sources(configured: &BTreeMap<String, Source>) -> BTreeMap<String, Source> {
    if configured.is_empty() { BTreeMap::from([(default_name(), Source::default())]) } else { configured.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_and_key_is_among_the_secrets_by_its_name() {
        let variables = [
            ("MOEHOG__API__TOKENS", "[\"one\"]"),
            ("MOEHOG__SOURCES__SHOP__TOKENS", "[\"two\", \"three\"]"),
            (
                "MOEHOG__SOURCES__SHOP__BASIC",
                "[{ user = \"a\", password = \"five\" }, { user = \"b\", password = \"six\" }]",
            ),
            ("MOEHOG__DESTINATIONS__EU__API_KEY", "phc_four"),
        ];
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, variables).unwrap();
        let printed = format!("{config:?}");
        let secrets = config.all_secrets();
        let shown: Vec<_> = secrets.iter().map(|(name, secret)| format!("{name} {}", &*secret.expose())).collect();
        assert_eq!(
            shown,
            [
                "api.tokens[0] one",
                "sources.shop.tokens[0] two",
                "sources.shop.tokens[1] three",
                "sources.shop.basic[0].password five",
                "sources.shop.basic[1].password six",
                "destinations.eu.api_key phc_four"
            ]
        );
        for (name, secret) in &secrets {
            assert!(!printed.contains(&format!("\"{}\"", &*secret.expose())), "{name} is printed: {printed}");
        }
        assert!(printed.contains("user: \"a\", password: ***"), "{printed}");
    }

    /// What is said of one variable that cannot be read.
    fn complaint(name: &str, value: &str) -> String {
        let variables = [(name.to_string(), value.to_string())];
        moehog_runtime::load::<Config>(Config::DEFAULTS, None, variables).unwrap_err().to_string()
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_refused_by_name() {
        for (key, most) in [
            ("http.max_body_bytes", "33554432"),
            ("relay.max_events_per_webhook", "10000"),
            ("relay.max_mapped_bytes_per_webhook", "67108864"),
        ] {
            let variable = format!("MOEHOG__{}", key.to_uppercase().replace('.', "__"));
            let said = complaint(&variable, "104857600");
            assert!(said.contains(key) && said.contains(&format!("give {most} at most")), "{said}");
            assert!(complaint(&variable, "0").contains(key));
        }
    }

    #[test]
    fn an_address_that_cannot_be_read_is_named_with_its_key_and_what_to_write() {
        for (name, value, says) in [
            ("SOURCES__SHOP__FROM", "[\"10.0.0.0/33\"]", ["`10.0.0.0/33`", "write it as", "sources.shop.from"]),
            ("SOURCES__SHOP__FROM", "[\"10.0.0.5/8\"]", ["`10.0.0.5/8`", "write 10.0.0.0/8", "sources.shop.from"]),
            ("SOURCES__SHOP__FROM", "[\"moengage:dc-9\"]", ["`moengage:dc-9`", "moengage:dc-01", "sources.shop.from"]),
            ("SOURCES__SHOP__FROM", "[]", ["empty", "leave it out", "sources.shop.from"]),
            ("SOURCES__SHOP__BASIC", "[{ user = \"a\" }]", ["missing", "password", "sources.shop.basic"]),
            ("HTTP__TRUSTED_PROXIES", "[\"10.0.0\"]", ["`10.0.0`", "write it as", "http.trusted_proxies"]),
            (
                "HTTP__TRUSTED_PROXIES",
                "[\"moengage:dc-01\"]",
                ["`moengage:dc-01`", "write it as", "http.trusted_proxies"],
            ),
        ] {
            let complaint = complaint(&format!("MOEHOG__{name}"), value);
            for says in says {
                assert!(complaint.contains(says), "{says}: {complaint}");
            }
        }
    }

    #[test]
    fn the_sections_of_workers_hold_their_callers_too() {
        let variable = ("MOEHOG__DELIVERY__CALLERS".to_string(), "[\"gateway.svc\"]".to_string());
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, [variable]).unwrap();
        assert_eq!(config.delivery.callers, ["gateway.svc"]);
    }

    #[test]
    fn webhooks_whose_rules_may_choose_carry_the_names_to_choose_from() {
        let source = |routes: &[&str]| Source {
            destination: "main".into(),
            routes: routes.iter().map(ToString::to_string).collect(),
            ..Source::default()
        };
        assert_eq!(source(&[]).webhooks_go_to(), "main");
        assert_eq!(source(&["us", "eu", "main"]).webhooks_go_to(), "rule:main,eu,us");
    }

    #[test]
    fn the_relay_knows_the_ceiling_of_each_destination_that_names_one() {
        let variables = [
            ("MOEHOG__RELAY__MAX_EVENTS_PER_SECOND", "500"),
            ("MOEHOG__DESTINATIONS__EU__MAX_EVENTS_PER_SECOND", "160"),
            ("MOEHOG__DESTINATIONS__US__HOST", "https://us.i.posthog.com"),
        ];
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, variables).unwrap();
        let relay = config.relay();
        assert_eq!(relay.max_events_per_second, 500);
        assert_eq!(relay.max_events_per_second_of, [("eu".to_string(), 160)].into());
    }
}
