//! What the delivery service is told.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use moehog_runtime::{ConfigError, Listen, Secret, SecretFiles, Shutdown, duration};
use moehog_transport::{Grpc, TlsConfig, WorkerSection};
use serde::Deserialize;

use crate::posthog::{Api, Host};

/// Everything the delivery service is told; `config.default.toml` documents each key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Section `[grpc]`.
    pub grpc: Grpc,
    /// Section `[admin]`.
    pub admin: Listen,
    /// Section `[delivery]`.
    pub delivery: WorkerSection,
    /// Section `[posthog]`.
    pub posthog: PostHog,
    /// Section `[limits]`.
    pub limits: Limits,
    /// Section `[destinations]`, by name.
    pub destinations: BTreeMap<String, Destination>,
    /// Section `[secrets]`.
    pub secrets: SecretFiles,
    /// Section `[shutdown]`.
    pub shutdown: Shutdown,
    /// Section `[tls]`.
    pub tls: TlsConfig,
    /// Section `[telemetry]`.
    pub telemetry: moehog_telemetry::Config,
}

/// How PostHog is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostHog {
    /// Host of the destinations that name none.
    pub host: Host,
    /// Longest wait for the answer to one request.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Longest wait for a connection.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// In which API the destinations are spoken to that say nothing of it.
    pub api: Api,
    /// How long nobody asks again for v1 where there was none.
    #[serde(with = "duration")]
    pub v1_probe_every: Duration,
    /// Whether `/flags/` is asked if a project owns the key.
    pub verify_key: bool,
    /// How long a definite yes stands.
    #[serde(with = "duration")]
    pub key_check_every: Duration,
    /// How soon anything else is asked again.
    #[serde(with = "duration")]
    pub key_check_retry: Duration,
    /// Longest wait for the answer to one check.
    #[serde(with = "duration")]
    pub key_check_timeout: Duration,
    /// Largest request before gzip, in bytes; a larger single event travels alone.
    pub max_request_bytes: usize,
    /// PEM file with further certificate authorities; empty is none.
    pub ca_file: PathBuf,
    /// Hosts of PostHog's regions, by name.
    pub regions: BTreeMap<String, Host>,
}

/// How much is taken on at a time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls of one destination that are worked on at a time, at most.
    #[serde(deserialize_with = "moehog_runtime::above_zero")]
    pub concurrency: usize,
    /// Calls of one destination that wait for their turn.
    pub queue: usize,
    /// Longest wait for a turn.
    #[serde(with = "duration")]
    pub queue_wait: Duration,
}

/// A PostHog project.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Its project key; without one its events are held.
    pub api_key: Option<Secret>,
    /// Where it is; [`PostHog::host`] when absent.
    pub host: Option<Host>,
    /// In which API it is spoken to; [`PostHog::api`] when absent.
    pub api: Option<Api>,
    /// Most events a second that it is sent; the gateway's business.
    pub max_events_per_second: Option<u32>,
}

impl Config {
    /// The defaults, as TOML.
    pub const DEFAULTS: &str =
        concat!(include_str!("../config.default.toml"), include_str!("../../transport/config.default.toml"));

    /// Reads the configuration of this process: defaults, then the file that the command line names, then variables.
    ///
    /// # Errors
    ///
    /// See [`moehog_runtime::load`].
    pub fn load() -> Result<Self, ConfigError> {
        let file = moehog_runtime::arguments("moehog-delivery");
        moehog_runtime::load(Self::DEFAULTS, file.as_deref(), moehog_runtime::environment())
    }

    /// Every project key, by the name of its key.
    #[must_use]
    pub fn all_secrets(&self) -> Vec<(String, Secret)> {
        let keys =
            self.destinations.iter().filter_map(|(name, destination)| Some((name, destination.api_key.clone()?)));
        keys.map(|(name, key)| (format!("destinations.{name}.api_key"), key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        moehog_runtime::load(
            Config::DEFAULTS,
            None,
            env.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())),
        )
    }

    #[test]
    fn the_defaults_are_complete_and_secrets_are_not_printed() {
        let config = load(&[("MOEHOG__DESTINATIONS__EU__API_KEY", "phc_secret")]).unwrap();
        assert_eq!(config.posthog.host.to_string(), "https://us.i.posthog.com/");
        assert_eq!(&*config.destinations["eu"].api_key.as_ref().unwrap().expose(), "phc_secret");
        assert!(!format!("{config:?}").contains("phc_secret"));
    }

    #[test]
    fn what_the_gateway_reads_of_a_destination_is_no_mistake_here() {
        let config = load(&[("MOEHOG__DESTINATIONS__EU__MAX_EVENTS_PER_SECOND", "160")]).unwrap();
        assert_eq!(config.destinations["eu"].max_events_per_second, Some(160));
    }

    #[test]
    fn its_section_holds_its_callers_beside_what_the_gateway_reads() {
        let [callers, address, name] =
            ["CALLERS", "ADDRESS", "SERVER_NAME"].map(|key| format!("MOEHOG__DELIVERY__{key}"));
        let both = [(&*callers, "[\"gateway.svc\"]"), (&*address, "dns://delivery:50052"), (&*name, "delivery")];
        assert!(!load(&both).unwrap().delivery.callers.is_empty());
        assert!(load(&[]).unwrap().delivery.callers.is_empty());
        let complaint = load(&[(&*callers, "[\"not a name\"]")]).unwrap_err().to_string();
        assert!(complaint.contains("delivery.callers") && complaint.contains("not a name"), "{complaint}");
        assert!(load(&[("MOEHOG__DELIVERY__CALLER", "x")]).unwrap_err().to_string().contains("caller"));
    }

    #[test]
    fn a_host_that_is_none_and_an_unknown_key_are_refused_by_name() {
        let message = |name, value| load(&[(name, value)]).unwrap_err().to_string();
        assert!(message("MOEHOG__POSTHOG__HOST", "ftp://example.com").contains("ftp://example.com"));
        assert!(message("MOEHOG__DESTINATIONS__EU__APIKEY", "x").contains("apikey"));
    }
}
