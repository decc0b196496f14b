//! One TOML file for all services: defaults, then the file, then `MOEHOG__…` variables; the last wins.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::words::{in_words, meant};

/// Sections of the shared file. A service leaves out the ones it does not have; any other name is a mistake.
pub(crate) const SECTIONS: [&str; 19] = [
    "admin",
    "api",
    "capture",
    "delivery",
    "destinations",
    "feedback",
    "grpc",
    "http",
    "journal",
    "limits",
    "mapping",
    "posthog",
    "relay",
    "secrets",
    "shutdown",
    "sources",
    "telemetry",
    "tls",
    "transformer",
];

pub(crate) const PREFIX: &str = "MOEHOG__";

/// Why a configuration is not usable. It names the key or the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration file {path}")]
    Read {
        /// As given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML. What stands there is left out: it may be a secret.
    #[error("configuration file {path}, line {line}, column {column}: {why}")]
    Syntax {
        /// As given.
        path: PathBuf,
        /// From 1 on.
        line: usize,
        /// In characters, from 1 on.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// A section that no service has.
    #[error("configuration has no section `{section}`: {}", meant(section, &SECTIONS))]
    UnknownSection {
        /// As written.
        section: String,
    },
    /// A variable goes through something that is a value.
    #[error("variable {name} does not name a key of the configuration")]
    Variable {
        /// As set.
        name: String,
    },
    /// A key is unknown or has a value that it cannot have.
    #[error("configuration: {key}: {why}")]
    Value {
        /// The key, or the section that has none of that name.
        key: String,
        /// What is wrong with it, without the value.
        why: String,
    },
}

/// Whether the shared file has a section of this name.
#[must_use]
pub fn is_section(name: &str) -> bool {
    SECTIONS.contains(&name)
}

/// Reads a configuration: `defaults` (TOML, with every key), then `file`, then the `MOEHOG__A__B=value` variables of `env`,
/// which set `a.b`. Top-level sections that `defaults` does not have but another service has are left out.
///
/// # Errors
///
/// A file that cannot be read, an unknown key (named), a value of the wrong kind.
pub fn load<T: DeserializeOwned>(
    defaults: &str,
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let defaults: Table = toml::from_str(defaults)
        .map_err(|error| ConfigError::Value { key: "defaults".into(), why: error.to_string() })?;
    let mut merged = defaults.clone();
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        merge(&mut merged, parse_file(path, &text)?);
    }
    for (name, value) in env {
        if let Some(path) = name.strip_prefix(PREFIX) {
            set(&mut merged, &keys_of(path), &value).ok_or(ConfigError::Variable { name })?;
        }
    }
    if let Some(section) = merged.keys().find(|key| !defaults.contains_key(*key) && !SECTIONS.contains(&key.as_str())) {
        return Err(ConfigError::UnknownSection { section: section.clone() });
    }
    merged.retain(|key, _| defaults.contains_key(key));
    serde_path_to_error::deserialize(Value::Table(merged))
        .map_err(|error| unusable(&error.path().to_string(), error.inner().message()))
}

/// The table that the text of a file is.
pub(crate) fn parse_file(path: &Path, text: &str) -> Result<Table, ConfigError> {
    toml::from_str(text).map_err(|error| syntax(path, text, &error))
}

/// The keys that a variable goes through, of its name without the prefix.
pub(crate) fn keys_of(variable: &str) -> Vec<String> {
    variable.split("__").map(str::to_ascii_lowercase).collect()
}

/// Where the file stops to be TOML, and why.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
    ConfigError::Syntax { path: path.into(), line, column, why: error.message().to_string() }
}

/// Line and column, from 1 on, of a byte.
pub(crate) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let last = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, last.chars().count() + 1)
}

/// Keys that hold secrets: what stands in them, and below them, is not repeated.
const SECRETS: [&str; 6] = ["api_key", "basic", "hash_key", "password", "secrets", "tokens"];

/// What is wrong with the value of a key, without the value.
pub(crate) fn unusable(key: &str, message: &str) -> ConfigError {
    let mut parts = Vec::new();
    let mut is_secret = false;
    for part in key.split('.') {
        if is_secret && !["password", "user"].contains(&part) {
            break;
        }
        parts.push(part);
        is_secret |= SECRETS.iter().any(|secret| part.split('[').next() == Some(secret));
    }
    let why = in_words(message.lines().next().unwrap_or_default(), is_secret);
    ConfigError::Value { key: parts.join("."), why }
}

pub(crate) fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            // a secret given in another form replaces the form it had
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

pub(crate) fn set(table: &mut Table, keys: &[String], text: &str) -> Option<()> {
    match keys {
        [] => None,
        [key] if key.is_empty() => None,
        [key] => {
            // where text is wanted, only text that is quoted is TOML: a bare 8080 stays as it is
            let is_text = table.get(key).is_some_and(Value::is_str);
            let value = parse(text).filter(|value| value.is_str() || !is_text);
            table.insert(key.clone(), value.unwrap_or_else(|| Value::String(text.into())));
            Some(())
        }
        [key, rest @ ..] => table
            .entry(key.clone())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .and_then(|table| set(table, rest, text)),
    }
}

/// A number, boolean, array or table as TOML writes it; everything else is text.
fn parse(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}")).ok()?.remove("value")
}

/// The `MOEHOG__…` variables of this process.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    const DEFAULTS: &str = "[http]\nlisten = \"127.0.0.1:8080\"\nlimit = 5\n[sources]\n";

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        http: Http,
        sources: BTreeMap<String, BTreeMap<String, String>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Http {
        listen: String,
        limit: u32,
    }

    fn load_with(file: Option<&str>, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("moehog.toml");
        if let Some(text) = file {
            fs::write(&path, text).unwrap();
        }
        load(
            DEFAULTS,
            file.map(|_| path.as_path()),
            env.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())),
        )
    }

    #[test]
    fn a_value_that_cannot_be_names_its_key() {
        let message = |name, value| load_with(None, &[(name, value)]).unwrap_err().to_string();
        assert!(message("MOEHOG__HTTP__LIMIT", "many").starts_with("configuration: http.limit: "));
        assert!(
            message("MOEHOG__HTTP__LIMTI", "1").contains("http.limti: there is no key `limti`: did you mean `limit`?")
        );
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for its errors")]
    struct Secrets {
        #[serde(default)]
        api: BTreeMap<String, Vec<crate::Secret>>,
        #[serde(default)]
        sources: BTreeMap<String, Vec<Basic>>,
        #[serde(default)]
        mapping: BTreeMap<String, crate::Secret>,
        #[serde(default)]
        limits: BTreeMap<String, u32>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for its errors")]
    struct Basic {
        user: String,
        password: crate::Secret,
    }

    #[test]
    fn no_mistake_repeats_what_stands_in_the_place_of_a_secret() {
        for written in [
            "[api]\ntokens = \"CANARY\"",
            "[api]\ntokens = \"CANARY, expected CANARY\"",
            "[api]\ntokens = [\"CANARY]",
            "[api]\ntokens = [CANARY]",
            "[api]\ntokens = CANARY",
            "[api]\ntokens = { CANARY = 1 }",
            "[api]\ntokens = [{ CANARY = 1 }]",
            "[api]\ntokens = [{ env = \"CANARY\" }]",
            "[api]\ntokens = [{ env = \"CANARY\", file = \"CANARY\" }]",
            "[api]\ntokens = [{ file = 1, env = \"CANARY\" }]",
            "[api]\ntokens = [{ file = [\"CANARY\"] }]",
            "[api]\ntokens = [[\"CANARY\"]]",
            "[sources]\nbasic = [\"moengage:CANARY\"]",
            "[sources]\nbasic = { user = \"moengage\", password = \"CANARY\" }",
            "[sources]\nbasic = [{ user = \"moengage\", password = [\"CANARY\"] }]",
            "[sources]\nbasic = [{ user = \"moengage\", CANARY = 1 }]",
            "[sources]\nbasic = [{ user = \"moengage\", password = { CANARY = 1 } }]",
            "[mapping]\nhash_key = [\"CANARY\"]",
            "[mapping]\nhash_key = { CANARY = \"x\" }",
            "[limits]\nrequests = \"CANARY\"",
            "[limits]\nrequests = CANARY",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("moehog.toml");
            for secret in ["sup3rsecret", "sup3r/s3cret+==", "0x12345678"] {
                let text = written.replace("CANARY", secret);
                fs::write(&path, &text).unwrap();
                // as for a service that has all of these sections
                let defaults = "[api]\n[sources]\n[mapping]\n[limits]\n";
                let Err(error) = load::<Secrets>(defaults, Some(&path), []) else { continue };
                let error = anyhow::Error::from(error);
                let told = format!("{error:#} {error:?}");
                assert!(!told.contains(secret), "{text}: {told}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_toml_says_where() {
        let told = load_with(Some("[http]\nlisten = \"127.0.0.1:1\"\nlimit = [\"x]\n"), &[]).unwrap_err().to_string();
        assert!(told.contains("moehog.toml, line 3, column "), "{told}");
        let told = load_with(None, &[("MOEHOG__HTTP__LIMIT", "many")]).unwrap_err().to_string();
        assert_eq!(told, "configuration: http.limit: a text where a whole number is wanted");
    }

    #[test]
    fn a_variable_wins_over_the_file_and_the_file_over_the_defaults() {
        let config = load_with(
            Some("[http]\nlimit = 6\nlisten = \"1.1.1.1:1\"\n[posthog]\nhost = \"x\"\n"),
            &[("MOEHOG__HTTP__LIMIT", "7"), ("MOEHOG__SOURCES__SHOP__DESTINATION", "eu"), ("MOEHOG_PORT", "tcp://x")],
        )
        .unwrap();
        assert_eq!((config.http.limit, config.http.listen.as_str()), (7, "1.1.1.1:1"));
        assert_eq!(config.sources["shop"]["destination"], "eu");
    }

    #[test]
    fn a_text_key_keeps_a_value_that_looks_like_a_number() {
        for (written, read) in [("8080", "8080"), ("\"8080\"", "8080"), ("a b", "a b")] {
            assert_eq!(load_with(None, &[("MOEHOG__HTTP__LISTEN", written)]).unwrap().http.listen, read);
        }
    }

    #[test]
    fn an_unknown_key_or_section_is_named() {
        let message = |result: Result<Config, ConfigError>| result.unwrap_err().to_string();
        assert!(message(load_with(Some("[http]\nlisen = 1\n"), &[])).contains("lisen"));
        assert!(message(load_with(Some("[htp]\nlisten = 1\n"), &[])).contains("`htp`"));
        assert!(message(load_with(None, &[("MOEHOG__HTTP__LIMITS", "1")])).contains("limits"));
        assert!(message(load_with(None, &[("MOEHOG__HTTP__LIMIT__X", "1")])).contains("MOEHOG__HTTP__LIMIT__X"));
    }
}
