//! What a transformer can be told.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use moehog_runtime::{ConfigError, Listen, Secret, Shutdown};
use moehog_transport::{Grpc, TlsConfig, WorkerSection};
use serde::Deserialize;

/// Every key with its default.
pub const DEFAULTS: &str =
    concat!(include_str!("../config.default.toml"), include_str!("../../transport/config.default.toml"));

/// Configuration of the transformer service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The gRPC listener.
    pub grpc: Grpc,
    /// The admin listener.
    pub admin: Listen,
    /// Who may call it.
    pub transformer: WorkerSection,
    /// What the mapping does.
    pub mapping: Mapping,
    /// How the service stops.
    pub shutdown: Shutdown,
    /// Certificates of the gRPC listener.
    pub tls: TlsConfig,
    /// Logs and traces.
    pub telemetry: moehog_telemetry::Config,
}

impl Config {
    /// Defaults, then `file`, then the process's `MOEHOG__…` variables.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, an unknown key (named), a value of the wrong kind.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        moehog_runtime::load(DEFAULTS, file, moehog_runtime::environment())
    }
}

/// What the mapping does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// A file of rules over the built-in mapping.
    pub file: Option<PathBuf>,
    /// Time between two looks at the file.
    #[serde(with = "moehog_runtime::duration")]
    pub reread_every: Duration,
    /// What values are hashed with.
    pub hash_key: Option<Secret>,
    /// Whether device push tokens become properties.
    pub keep_push_tokens: bool,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { file: None, reread_every: Duration::from_secs(1), hash_key: None, keep_push_tokens: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_a_whole_configuration_and_agree_with_the_code() {
        let config: Config = moehog_runtime::load(DEFAULTS, None, []).unwrap();
        assert_eq!(config.grpc.listen.port(), 50051);
        assert_eq!(config.admin.listen.port(), 9081);
        let (mapping, ours) = (config.mapping, Mapping::default());
        assert_eq!(
            (mapping.file, mapping.reread_every, mapping.hash_key.is_none(), mapping.keep_push_tokens),
            (ours.file, ours.reread_every, ours.hash_key.is_none(), ours.keep_push_tokens)
        );
    }
}
