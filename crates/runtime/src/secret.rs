//! A value that is never printed.

use std::{
    env, fmt, io,
    ops::Deref,
    path::{Component, Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use crate::read_text;

/// Fewest characters of a secret: with fewer it is guessed within hours.
const SHORTEST: usize = 8;
/// Fewest characters of a secret that nobody guesses.
const LONG_ENOUGH: usize = 16;

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

    /// Why it cannot be used: there is no value, or one that anybody guesses; none where it can. A file is looked at again.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let is_blank = self.expose().trim().is_empty();
        match self.file().filter(|_| is_blank || self.is_shorter_than(SHORTEST)) {
            Some(file) => {
                let error = self.read_again().err()?;
                Some(format!("cannot be read from {}: {error}: put the value there", shown(file)))
            }
            None if is_blank => Some("is empty: give it a value, or leave it out".to_string()),
            None => self.is_shorter_than(SHORTEST).then(|| format!("{}: take a random one", too_short())),
        }
    }

    /// What is to be said of one that is short, and not too short to be used.
    #[must_use]
    pub fn weakness(&self) -> Option<String> {
        let is_short = self.fault().is_none() && self.is_shorter_than(LONG_ENOUGH);
        is_short
            .then(|| format!("has fewer than {LONG_ENOUGH} characters and can be guessed: take a longer random one"))
    }

    fn is_shorter_than(&self, characters: usize) -> bool {
        is_shorter_than(&self.expose(), characters)
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
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Reads its file again, and says whether the value is another one. What stands in no file stays.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or nothing is in it, or what is in it is too short: the value stays as it was.
    pub fn read_again(&self) -> io::Result<bool> {
        let Some(file) = self.file() else { return Ok(false) };
        let text = text_of(file)?;
        if text.trim().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "nothing is in it"));
        }
        if is_shorter_than(&text, SHORTEST) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, too_short()));
        }
        let changed = *self.expose() != *text;
        if changed {
            *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(text.into());
        }
        Ok(changed)
    }
}

fn is_shorter_than(text: &str, characters: usize) -> bool {
    text.trim().chars().count() < characters
}

fn too_short() -> String {
    format!("is too short, it needs {SHORTEST} characters")
}

/// A file as errors name it. What names no directory from the root on may be the secret itself, written where its file's name was
/// to stand.
pub(crate) fn shown(file: &Path) -> String {
    let mut parts = file.components();
    let is_path = parts.next() == Some(Component::RootDir) && parts.count() > 1;
    if is_path { file.display().to_string() } else { "the file that it names".to_string() }
}

fn text_of(file: &Path) -> io::Result<String> {
    let text = read_text(file)?;
    // editors of Windows begin a file with a byte order mark
    Ok(text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']).to_string())
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

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// A secret as it is written. Its errors never hold what is written there.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Secret;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a secret: a string, { file = \"…\" } or { env = \"…\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(text.to_string().into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let wrong = || A::Error::custom("a secret is a string, { file = \"…\" } or { env = \"…\" }");
        let is_file = match map.next_key::<String>()?.as_deref() {
            Some("file") => true,
            Some("env") => false,
            _ => return Err(wrong()),
        };
        let name = map.next_value::<String>().map_err(|_| wrong())?;
        if map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            return Err(wrong());
        }
        if is_file {
            // others write it: what is missing now may come, and one missing file is not to stop the rest
            return Ok(Secret::in_file(Path::new(&name)));
        }
        let value = env::var(&name).map_err(|_| A::Error::custom("the variable that its `env` names is not set"))?;
        Ok(value.into())
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

    #[test]
    fn one_that_is_short_is_refused_or_told_of() {
        let secret = |text: &str| Secret::from(text.to_string());
        for (text, fault, weakness) in [
            ("s3cret", Some("is too short, it needs 8 characters: take a random one"), false),
            ("      s3cret      ", Some("is too short, it needs 8 characters: take a random one"), false),
            ("s3cret_s", None, true),
            ("s3cret_s3cret_s3", None, false),
        ] {
            let secret = secret(text);
            assert_eq!((secret.fault().as_deref(), secret.weakness().is_some()), (fault, weakness), "{text}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "s3cret\n").unwrap();
        let in_file = Secret::in_file(&path);
        let fault = in_file.fault().unwrap();
        assert!(fault.ends_with("is too short, it needs 8 characters: put the value there"), "{fault}");
        fs::write(&path, "s3cret_s3cret_s3\n").unwrap();
        assert_eq!(in_file.fault(), None);
        fs::write(&path, "s3cret\n").unwrap();
        assert!(in_file.read_again().is_err());
        assert_eq!(&*in_file.expose(), "s3cret_s3cret_s3", "the one that was good stays in use");
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
        fs::write(&path, "\u{feff}phc_secret\r\n").unwrap();
        assert_eq!(&*Secret::read(&path).unwrap().expose(), "phc_secret", "as an editor of Windows leaves it");
        assert_eq!(format!("{holder:?}"), "Holder { key: *** }");
        let absent: Holder = toml::from_str("key = { file = \"/nowhere/key\" }").unwrap();
        assert!(absent.key.fault().is_some_and(|fault| fault.starts_with("cannot be read from /nowhere/key: No such")));
        let missing = toml::from_str::<Holder>("key = { env = \"MOEHOG_TEST_NOT_SET\" }").unwrap_err().to_string();
        assert!(missing.contains("the variable that its `env` names is not set"), "{missing}");
    }
}
