//! The mapping file, read again while the process runs.
//!
//! Kubernetes changes a mounted ConfigMap by pointing a symbolic link elsewhere, editors by renaming, others by writing in place: what is
//! in the file is compared, since watching for one of these misses another.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use moehog_runtime::{Cores, Exit, Rereads, Secret};
use tokio::task;

use crate::{Mapping, Problem, Rules, Transformer, metrics, transformer::WeakTransformer};

/// A transformer with the rules of the configured file, which is followed as long as the transformer lives. What is long works on
/// `cores`. Call it inside the runtime.
///
/// # Errors
///
/// The file cannot be read, or something is wrong with it: all of it is named.
pub fn open(config: &Mapping, cores: Cores) -> anyhow::Result<Transformer> {
    looks(config, cores)().map_err(|fault| anyhow::anyhow!(fault)).context(Exit::Configuration)
}

/// Looks that end with [`open`]'s transformer, or say what is wrong with the file as it is now: the built-in mapping in
/// its place would send what the file's rules keep back. Call each inside the runtime.
pub fn looks(config: &Mapping, cores: Cores) -> impl FnMut() -> Result<Transformer, String> + Send + 'static {
    metrics::reloads_begin();
    let config = config.clone();
    let mut file = config.file.clone().map(|path| File::new(path, config.hash_key.clone()));
    let mut fault = String::new();
    move || {
        let rules = match file.as_mut().map(File::look) {
            None => Rules::default(),
            Some(Look::Rules(rules)) => *rules,
            Some(Look::Same) => return Err(fault.clone()),
            Some(Look::Gone(error)) => {
                metrics::outdated(true);
                return Err(error);
            }
            Some(Look::Wrong(problems)) => {
                metrics::outdated(true);
                metrics::reload("refused");
                fault = file.as_ref().map_or_else(String::new, |file| complaint(&file.path, &problems));
                return Err(fault.clone());
            }
        };
        metrics::outdated(false);
        metrics::mapping(rules.revision());
        let revision = rules.revision().to_string();
        let transformer = Transformer::on(cores.clone(), &config, rules);
        if let Some(file) = file.take() {
            tracing::info!(revision, file = %file.path.display(), "mapping");
            task::spawn(follow(file, transformer.downgrade(), config.reread_every));
        }
        Ok(transformer)
    }
}

async fn follow(mut file: File, transformer: WeakTransformer, every: Duration) {
    let mut rereads = Rereads::every(every);
    loop {
        rereads.due().await;
        let looked = task::spawn_blocking(|| {
            let look = file.look();
            (file, look)
        });
        // fails only while the runtime shuts down
        let Ok((again, look)) = looked.await else { return };
        file = again;
        let Some(transformer) = transformer.upgrade() else { return };
        file.tell(look, &transformer);
    }
}

/// Everything that is wrong with a mapping file, a line each.
#[must_use]
pub fn complaint(path: &Path, problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    format!("{} cannot be used:{}", path.display(), lines.concat())
}

/// What a look at the file gave.
enum Look {
    Same,
    Rules(Box<Rules>),
    Wrong(Vec<Problem>),
    /// Why nothing is there to be used.
    Gone(String),
}

struct File {
    path: PathBuf,
    hash_key: Option<Secret>,
    /// The text and the key that were looked at last.
    seen: Option<(String, Option<String>)>,
    /// The last look found no file; said once.
    missed: bool,
    /// What was read last is wrong.
    is_refused: bool,
}

impl File {
    fn new(path: PathBuf, hash_key: Option<Secret>) -> Self {
        if let Some(weakness) = hash_key.as_ref().and_then(Secret::weakness) {
            tracing::warn!("mapping.hash_key {weakness}");
        }
        Self { path, hash_key, seen: None, missed: false, is_refused: false }
    }

    fn look(&mut self) -> Look {
        if let Some(fault) = self.hash_key.as_ref().and_then(Secret::fault) {
            // what it is to hide would be hashed with nothing
            return Look::Gone(format!("mapping.hash_key {fault}"));
        }
        let text = match moehog_runtime::read_text(&self.path) {
            Ok(text) => text,
            Err(error) => return Look::Gone(format!("mapping.file {} cannot be read: {error}", self.path.display())),
        };
        let key = self.hash_key.as_ref().map(|key| key.expose().to_string());
        let now = Some((text, key));
        if self.seen == now {
            return Look::Same;
        }
        self.seen = now;
        let Some((text, key)) = &self.seen else { return Look::Same };
        match Rules::read(text, key.as_ref().map(String::as_bytes)) {
            Ok(rules) => Look::Rules(Box::new(rules)),
            Err(problems) => Look::Wrong(problems),
        }
    }

    fn tell(&mut self, look: Look, transformer: &Transformer) {
        let file = self.path.display();
        match look {
            Look::Gone(error) => {
                if !self.missed {
                    tracing::warn!(%file, error, "mapping file cannot be read again: the last good one stays");
                    metrics::reload("gone");
                    metrics::outdated(true);
                }
                self.missed = true;
                return;
            }
            Look::Same if self.missed => metrics::outdated(self.is_refused),
            Look::Same => {}
            Look::Rules(rules) => {
                self.is_refused = false;
                metrics::outdated(false);
                tracing::info!(revision = rules.revision(), %file, "mapping has changed");
                metrics::mapping(rules.revision());
                metrics::reload("taken");
                transformer.replace(*rules);
            }
            Look::Wrong(problems) => {
                let revision = transformer.rules().revision().to_string();
                tracing::warn!(
                    revision,
                    problems = complaint(&self.path, &problems),
                    "mapping file is wrong: the last good one stays"
                );
                metrics::reload("refused");
                metrics::outdated(true);
                self.is_refused = true;
            }
        }
        self.missed = false;
    }
}
