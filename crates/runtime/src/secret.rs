//! A value that is never printed.

use std::{
    env, fmt, io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de::Error};

use crate::read_text;

/// A secret of the configuration: a string, `{ file = "…" }` or `{ env = "…" }`. Printed as `***`. One whose file is
/// missing or empty is empty, and has a [`Secret::fault`] until the file is right.
///
/// Clones are one secret: what is read again from its file is seen by all of them.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    value: RwLock<Arc<SecretString>>,
}

/// What a secret was when it was asked; not for logs.
#[derive(Clone)]
pub struct Exposed(Arc<SecretString>);

impl Secret {
    /// Reads one from a file; line ends behind it are not part of it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not text.
    pub fn read(file: &Path) -> io::Result<Self> {
        Ok(Self::new(Some(file.to_path_buf()), text_of(file)?))
    }

    /// One whose file may not be there yet, or may be empty: see [`Secret::fault`].
    fn in_file(file: &Path) -> Self {
        Self::new(Some(file.to_path_buf()), text_of(file).unwrap_or_default())
    }

    /// Why there is nothing to compare with or to send; none where there is a value. A file is looked at again.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if !self.expose().trim().is_empty() {
            return None;
        }
        match self.file() {
            None => Some("is empty: give it a value, or leave it out".to_string()),
            Some(file) => {
                let error = self.read_again().err()?;
                Some(format!("cannot be read from {}: {error}: put the value there", file.display()))
            }
        }
    }

    fn new(file: Option<PathBuf>, value: String) -> Self {
        Self(Arc::new(Inner { file, value: RwLock::new(Arc::new(value.into())) }))
    }

    /// The value as it is now.
    #[must_use]
    pub fn expose(&self) -> Exposed {
        Exposed(self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Whether it stands in a file, which others write.
    #[must_use]
    pub fn is_in_file(&self) -> bool {
        self.0.file.is_some()
    }

    /// The file that it stands in.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Reads its file again, and says whether the value is another one. What stands in no file stays.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or nothing is in it: the value stays as it was.
    pub fn read_again(&self) -> io::Result<bool> {
        let Some(file) = self.file() else { return Ok(false) };
        let text = text_of(file)?;
        if text.trim().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "nothing is in it"));
        }
        let changed = *self.expose() != *text;
        if changed {
            *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(text.into());
        }
        Ok(changed)
    }
}

fn text_of(file: &Path) -> io::Result<String> {
    Ok(read_text(file)?.trim_end_matches(['\r', '\n']).to_string())
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(None, value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Deref for Exposed {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Exposed {
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
            // others write it: what is missing now may come, and one missing file is not to stop the rest
            Written::File(FromFile { file }) => Ok(Self::in_file(Path::new(&file))),
            Written::Env(FromEnv { env }) => match env::var(&env) {
                Ok(text) => Ok(text.into()),
                Err(_) => Err(D::Error::custom(format!("secret variable {env} is not set"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_comes_late_or_is_empty_is_a_fault_until_there_is_a_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = Secret::in_file(&path);
        assert!(key.fault().unwrap().contains("No such file"));
        fs::write(&path, " \n").unwrap();
        assert!(key.fault().unwrap().contains("nothing is in it"));
        fs::write(&path, "phc_late\n").unwrap();
        assert_eq!((key.fault(), &*key.expose()), (None, "phc_late"));
        assert!(Secret::from(String::new()).fault().unwrap().starts_with("is empty"));
    }

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
        assert_eq!(&*holder.key.expose(), "phc_secret");
        assert_eq!(format!("{:?}", holder.key.expose()), "***");
        assert_eq!(format!("{holder:?}"), "Holder { key: *** }");
        let absent: Holder = toml::from_str("key = { file = \"/nowhere/key\" }").unwrap();
        assert!(absent.key.fault().is_some_and(|fault| fault.starts_with("cannot be read from /nowhere/key: No such")));
        let missing = toml::from_str::<Holder>("key = { env = \"MOEHOG_TEST_NOT_SET\" }").unwrap_err().to_string();
        assert!(missing.contains("MOEHOG_TEST_NOT_SET"), "{missing}");
    }
}
