//! A value that is never printed.

use std::{env, fmt, fs, io, path::Path};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de::Error};

/// A secret of the configuration: a string, `{ file = "…" }` or `{ env = "…" }`. Printed as `***`.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Reads one from a file; line ends behind it are not part of it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not text.
    pub fn read(file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file)?;
        Ok(text.trim_end_matches(['\r', '\n']).to_string().into())
    }

    /// The value; not for logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a secret: a string, { file = \"…\" } or { env = \"…\" }")]
enum Written {
    Text(String),
    File(FromFile),
    Env(FromEnv),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromFile {
    file: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromEnv {
    env: String,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(text.into()),
            Written::File(FromFile { file }) => {
                Self::read(Path::new(&file)).map_err(|error| D::Error::custom(format!("secret file {file}: {error}")))
            }
            Written::Env(FromEnv { env }) => match env::var(&env) {
                Ok(text) => Ok(text.into()),
                Err(_) => Err(D::Error::custom(format!("secret variable {env} is not set"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        key: Secret,
    }

    #[test]
    fn a_secret_is_read_from_a_file_and_never_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "phc_secret\n").unwrap();
        let holder: Holder = toml::from_str(&format!("key = {{ file = {path:?} }}")).unwrap();
        assert_eq!(holder.key.expose(), "phc_secret");
        assert_eq!(format!("{holder:?}"), "Holder { key: *** }");
        let missing = toml::from_str::<Holder>("key = { env = \"MOEHOG_TEST_NOT_SET\" }").unwrap_err().to_string();
        assert!(missing.contains("MOEHOG_TEST_NOT_SET"), "{missing}");
    }
}
