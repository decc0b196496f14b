//! A configuration looked at whole: every mistake, each once, and where it stands.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use crate::{
    config::{ConfigError, PREFIX, SECTIONS, keys_of, line_and_column, merge, parse_file, set, unusable},
    words::meant,
};

/// Most mistakes that are looked for in one service's part: each costs a reading of the whole.
const MAX_MISTAKES: usize = 200;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key that it stands at, as in `sources.shop.destination`.
    pub key: String,
    /// The sentence, which names the key and the remedy.
    pub text: String,
}

/// Where a key was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file; both from 1 on, columns in characters.
    File {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// In a variable of the environment.
    Variable(String),
}

/// What a person wrote: a file and `MOEHOG__…` variables.
#[derive(Debug)]
pub struct Written {
    file: Option<(PathBuf, String)>,
    /// Both, the variables last.
    table: Table,
    variables: Vec<(String, Vec<String>)>,
    mistakes: Vec<Mistake>,
    values: Vec<(Vec<String>, String)>,
}

impl Mistake {
    /// One at `key`.
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into() }
    }
}

impl Written {
    /// Of a file, by its path and text, and the variables of `env` that are moehog's.
    ///
    /// # Errors
    ///
    /// The file is no TOML: then nothing else can be said of it.
    pub fn new(
        file: Option<(PathBuf, String)>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let table = file.as_ref().map_or(Ok(Table::new()), |(path, text)| parse_file(path, text))?;
        let mut written = Self { file, table, variables: Vec::new(), mistakes: Vec::new(), values: Vec::new() };
        for (name, value) in env {
            let Some(keys) = name.strip_prefix(PREFIX).map(keys_of) else { continue };
            if set(&mut written.table, &keys, &value).is_none() {
                let error = ConfigError::Variable { name: name.clone() };
                written.mistakes.push(Mistake::new(keys.join("."), format!("{error}: unset it")));
            } else {
                written.values.push((keys.clone(), value));
            }
            written.variables.push((name, keys));
        }
        let unknown = written.table.keys().filter(|name| !SECTIONS.contains(&name.as_str()));
        let unknown =
            unknown.map(|name| Mistake::new(name, format!("there is no section `{name}`: {}", meant(name, &SECTIONS))));
        written.mistakes.extend(unknown);
        Ok(written)
    }

    /// How many variables were.
    #[must_use]
    pub fn variables(&self) -> usize {
        self.variables.len()
    }

    /// Mistakes that are no service's: unknown sections, and variables that name no key.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// The configuration of the service with these defaults, as far as it can be read, and all that cannot: there the default stands, or
    /// nothing.
    #[must_use]
    pub fn review<T: DeserializeOwned>(&self, defaults: &str) -> (Option<T>, Vec<Mistake>) {
        let Ok(defaults) = toml::from_str::<Table>(defaults) else { return (None, Vec::new()) };
        let mut merged = defaults.clone();
        // text stays text where the default is one, as when a process starts
        if let Some(table) = self.file.as_ref().and_then(|(_, text)| toml::from_str(text).ok()) {
            merge(&mut merged, table);
        }
        for (keys, value) in &self.values {
            let _unusable = set(&mut merged, keys, value);
        }
        merged.retain(|key, _| defaults.contains_key(key));
        let (mut merged, defaults) = (Value::Table(merged), Value::Table(defaults));
        let mut mistakes = Vec::new();
        while mistakes.len() < MAX_MISTAKES {
            let error = match serde_path_to_error::deserialize::<_, T>(merged.clone()) {
                Ok(config) => return (Some(config), mistakes),
                Err(error) => error,
            };
            let ConfigError::Value { key, why } = unusable(&error.path().to_string(), error.inner().message()) else {
                break;
            };
            mistakes.push(Mistake::new(key.clone(), format!("{key}: {why}")));
            // what a list lacks is mended with the list
            let keys = error.path().iter().map_while(|segment| match segment {
                Segment::Map { key } => Some(key.as_str()),
                _ => None,
            });
            if !mend(&mut merged, &defaults, &keys.collect::<Vec<_>>()) {
                break;
            }
        }
        (None, mistakes)
    }

    /// Where a key, or the closest one above it, was written.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Place> {
        let keys: Vec<_> = key.split(['.', '[']).map(|key| key.trim_end_matches(']')).collect();
        let agree = |path: &[String]| path.iter().zip(&keys).all(|(one, other)| one == other);
        let of_variables = || self.variables.iter().rev().filter(|(_, path)| agree(path));
        let name = |(name, _): &(String, Vec<String>)| Place::Variable(name.clone());
        of_variables()
            .find(|(_, path)| path.len() <= keys.len())
            .map(name)
            .or_else(|| self.place_in_file(&keys))
            .or_else(|| of_variables().next().map(name))
    }

    fn place_in_file(&self, keys: &[&str]) -> Option<Place> {
        let (_, text) = self.file.as_ref()?;
        let table = DeTable::parse(text).ok()?;
        let (mut table, mut at) = (table.get_ref(), None);
        for wanted in keys {
            let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == *wanted) else { break };
            at = Some(key.span().start);
            let DeValue::Table(below) = value.get_ref() else { break };
            table = below;
        }
        let (line, column) = line_and_column(text, at?);
        Some(Place::File { line, column })
    }

    /// The text at a key, as it was written.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_str()
    }

    /// Whether anything stands at a key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let mut value = self.table.get(first)?;
        for key in rest.into_iter().flat_map(|rest| rest.split('.')) {
            value = value.get(key)?;
        }
        Some(value)
    }
}

/// Puts the default in the place of what cannot be read, or takes it out; false where nothing is left to mend.
fn mend(merged: &mut Value, defaults: &Value, keys: &[&str]) -> bool {
    let Some((last, above)) = keys.split_last() else { return false };
    let default = keys.iter().try_fold(defaults, |value, key| value.get(*key));
    let Some(parent) = above.iter().try_fold(&mut *merged, |value, key| value.get_mut(*key)) else {
        return mend(merged, defaults, above);
    };
    let mended = parent.as_table_mut().is_some_and(|table| match default {
        Some(default) if table.get(*last) != Some(default) => {
            table.insert((*last).to_string(), default.clone()).is_some()
        }
        _ => table.remove(*last).is_some(),
    });
    mended || mend(merged, defaults, above)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::SocketAddr};

    use serde::Deserialize;

    use super::*;

    const DEFAULTS: &str = "[http]\nlisten = \"127.0.0.1:8080\"\nlimit = 5\n[sources]\n";

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        http: Http,
        sources: BTreeMap<String, Source>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Http {
        listen: SocketAddr,
        limit: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Source {
        user: Option<String>,
        tokens: Option<Vec<String>>,
    }

    #[test]
    fn every_mistake_is_told_once_with_its_place_and_the_rest_is_read() {
        let text = "[http]\nlisten = \"localhost\"\n  limti = 3\n[soruces.shop]\n[sources.shop]\nuser = 5\n\
                    tokens = [1]\n[sources.app]\nuser = \"a\"\ntokns = []\n";
        let variables = [
            ("MOEHOG__HTTP__LIMIT", "many"),
            ("MOEHOG__SOURCES__APP__USER__X", "1"),
            ("MOEHOG__HTTP__LIMIT__X", "1"),
            ("PATH", "/bin"),
        ];
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
        let written = Written::new(Some(("moehog.toml".into(), text.to_string())), variables).unwrap();
        let (config, mistakes) = written.review::<Config>(DEFAULTS);
        let told = written.mistakes().iter().chain(&mistakes);
        let mut told: Vec<_> = told.map(|it| (written.place(&it.key).unwrap(), it.text.as_str())).collect();
        told.sort_by_key(|(place, text)| (format!("{place:?}"), *text));
        let at = |line, column| Place::File { line, column };
        let variable = |name: &str| Place::Variable(format!("MOEHOG__{name}"));
        assert_eq!(
            told,
            [
                (at(10, 1), "sources.app.tokns: there is no key `tokns`: did you mean `tokens`?"),
                (at(2, 1), "http.listen: not an address with a port, such as 127.0.0.1:8080"),
                (at(3, 3), "http.limti: there is no key `limti`: did you mean `limit`?"),
                (at(4, 2), "there is no section `soruces`: did you mean `sources`?"),
                (at(6, 1), "sources.shop.user: a whole number where a text is wanted"),
                (at(7, 1), "sources.shop.tokens[0]: a whole number where a text is wanted"),
                (variable("HTTP__LIMIT"), "http.limit: a text where a whole number is wanted"),
                (
                    variable("HTTP__LIMIT__X"),
                    "variable MOEHOG__HTTP__LIMIT__X does not name a key of the configuration: unset it"
                ),
                (
                    variable("SOURCES__APP__USER__X"),
                    "variable MOEHOG__SOURCES__APP__USER__X does not name a key of the configuration: unset it"
                ),
            ]
        );
        let config = config.unwrap();
        assert_eq!((config.http.listen.port(), config.http.limit), (8080, 5));
        assert_eq!(config.sources["app"].user.as_deref(), Some("a"));
        assert!(config.sources["shop"].user.is_none() && config.sources["shop"].tokens.is_none());
        assert_eq!((written.text("sources.app.user"), written.has("sources.eu")), (Some("a"), false));
        assert_eq!(written.variables(), 3);
    }
}
