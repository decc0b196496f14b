//! Secrets that stand in files are read again while the process runs: section `[secrets]`.
//!
//! Kubernetes changes a mounted Secret by pointing a symbolic link elsewhere, editors by renaming, others by writing in place: what is in
//! the file is compared, since watching for one of these misses another.

use std::time::Duration;

use metrics::counter;
use serde::Deserialize;
use tokio::task;
use tokio_util::task::AbortOnDropHandle;

use crate::{Rereads, Secret, secret::shown};

/// How secrets in files are followed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFiles {
    /// Time between two readings.
    #[serde(with = "crate::duration")]
    pub reread_every: Duration,
}

/// Secrets are followed as long as this lives.
#[derive(Debug)]
pub struct Following {
    _task: Option<AbortOnDropHandle<()>>,
}

impl SecretFiles {
    /// Begins to follow those of the secrets that stand in files. Each has the name of its key, for the log. One whose file is gone or
    /// empty stays as it was. Call it inside the runtime.
    #[must_use]
    pub fn follow(&self, secrets: Vec<(String, Secret)>) -> Following {
        let in_files = secrets.into_iter().filter(|(_, secret)| secret.file().is_some());
        // a count is there before the first one, so that its growth can be asked for
        READ_OUTCOMES.iter().for_each(|outcome| counter!(READS, "outcome" => *outcome).increment(0));
        let mut watched: Vec<_> = in_files.map(|(key, secret)| Watched { key, secret, missed: false }).collect();
        watched.iter_mut().filter(|it| it.secret.fault().is_some()).for_each(Watched::look);
        let every = self.reread_every;
        Following { _task: (!watched.is_empty()).then(|| AbortOnDropHandle::new(task::spawn(follow(watched, every)))) }
    }
}

async fn follow(mut watched: Vec<Watched>, every: Duration) {
    let mut rereads = Rereads::every(every);
    loop {
        rereads.due().await;
        let looked = task::spawn_blocking(|| {
            watched.iter_mut().for_each(Watched::look);
            watched
        });
        // fails only while the runtime shuts down
        let Ok(again) = looked.await else { return };
        watched = again;
    }
}

/// Readings of secrets' files: each that gave another value was `taken`, each that gave none `refused`.
const READS: &str = "moehog_runtime_secret_reads_total";
const READ_OUTCOMES: [&str; 2] = ["taken", "refused"];

#[derive(Debug)]
struct Watched {
    /// Where it stands in the configuration, as in `sources.default.tokens[0]`.
    key: String,
    secret: Secret,
    /// The last reading gave nothing; said once.
    missed: bool,
}

impl Watched {
    fn look(&mut self) {
        let (key, file) = (&self.key, self.secret.file().map(shown));
        let read = self.secret.read_again();
        match &read {
            Ok(true) => counter!(READS, "outcome" => "taken").increment(1),
            Ok(false) => {}
            Err(_) => counter!(READS, "outcome" => "refused").increment(1),
        }
        match read {
            Ok(true) => tracing::info!(key, file, "secret has changed"),
            Ok(false) if self.missed => tracing::info!(key, file, "secret is there again, as it was"),
            Ok(false) => {}
            Err(error) if !self.missed => {
                if self.secret.expose().is_empty() {
                    tracing::warn!(key, file, %error, "secret cannot be read: there is none until its file is right");
                } else {
                    tracing::warn!(key, file, %error, "secret cannot be read again: the last good value stays");
                }
                self.missed = true;
                return;
            }
            Err(_still) => return,
        }
        self.missed = false;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    /// As the kubelet writes a mounted Secret: the file is a link through `..data`, which is swapped.
    fn mount(directory: &Path, version: &str, value: Option<&str>) {
        let (data, new) = (directory.join("..data"), directory.join("..data_tmp"));
        fs::create_dir(directory.join(version)).unwrap();
        if let Some(value) = value {
            fs::write(directory.join(version).join("token"), value).unwrap();
        }
        symlink(version, &new).unwrap();
        fs::rename(&new, &data).unwrap();
        if !directory.join("token").is_symlink() {
            symlink("..data/token", directory.join("token")).unwrap();
        }
    }

    async fn becomes(secret: &Secret, value: &str) {
        let changed = async {
            while &*secret.expose() != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), changed).await.expect("the secret is read again");
    }

    #[tokio::test]
    async fn a_swapped_file_is_read_again_by_every_clone() {
        let directory = tempfile::tempdir().unwrap();
        mount(directory.path(), "..1", Some("the old one\n"));
        let secret = Secret::read(&directory.path().join("token")).unwrap();
        let fixed = Secret::from("fixed".to_string());
        let files = SecretFiles { reread_every: Duration::from_millis(5) };
        let _following = files.follow(vec![("token".into(), secret.clone()), ("fixed".into(), fixed.clone())]);
        assert_eq!((&*secret.expose(), &*fixed.expose()), ("the old one", "fixed"));
        mount(directory.path(), "..2", Some("the new one\n"));
        becomes(&secret.clone(), "the new one").await;
        assert_eq!(&*fixed.expose(), "fixed");
    }

    #[test]
    fn a_file_that_is_gone_or_empty_leaves_the_last_good_value() {
        let directory = tempfile::tempdir().unwrap();
        mount(directory.path(), "..1", Some("the good one"));
        let secret = Secret::read(&directory.path().join("token")).unwrap();
        let mut watched = Watched { key: "sources.default.tokens[0]".into(), secret: secret.clone(), missed: false };
        for (version, value, missed, expected) in [
            ("..2", None, true, "the good one"),
            ("..3", Some(" \n"), true, "the good one"),
            ("..x", Some("short"), true, "the good one"),
            ("..4", Some("the good one"), false, "the good one"),
            ("..5", Some("a better one"), false, "a better one"),
        ] {
            mount(directory.path(), version, value);
            watched.look();
            assert_eq!((watched.missed, &*secret.expose()), (missed, expected), "{version}");
        }
    }
}
