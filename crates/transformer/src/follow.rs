//! The mapping file, read again while the process runs.
//!
//! Kubernetes changes a mounted ConfigMap by pointing a symbolic link elsewhere, editors by renaming, others by writing in place: what is
//! in the file is compared, since watching for one of these misses another.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use moehog_runtime::{Exit, Secret};
use tokio::task;

use crate::{Mapping, Problem, Rules, Transformer, metrics, transformer::WeakTransformer};

/// A transformer with the rules of the configured file, which is followed as long as the transformer lives. Call it inside the runtime.
///
/// # Errors
///
/// The file cannot be read, or something is wrong with it: all of it is named.
pub fn open(config: &Mapping) -> anyhow::Result<Transformer> {
    let Some(path) = &config.file else {
        let transformer = Transformer::new(config, Rules::default());
        metrics::mapping(transformer.rules().revision());
        return Ok(transformer);
    };
    let mut file = File { path: path.clone(), hash_key: config.hash_key.clone(), seen: None, missed: false };
    let rules = match file.look() {
        Look::Rules(rules) => rules,
        Look::Same => Rules::default(),
        Look::Gone(error) => {
            return Err(error).with_context(|| format!("read {}", path.display())).context(Exit::Configuration);
        }
        Look::Wrong(problems) => {
            return Err(anyhow::anyhow!("{}", complaint(path, &problems))).context(Exit::Configuration);
        }
    };
    tracing::info!(revision = rules.revision(), file = %path.display(), "mapping");
    metrics::mapping(rules.revision());
    let transformer = Transformer::new(config, rules);
    task::spawn(follow(file, transformer.downgrade(), config.reread_every.max(Duration::from_millis(1))));
    Ok(transformer)
}

async fn follow(mut file: File, transformer: WeakTransformer, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
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
    Rules(Rules),
    Wrong(Vec<Problem>),
    Gone(io::Error),
}

struct File {
    path: PathBuf,
    hash_key: Option<Secret>,
    /// The text and the key that were looked at last.
    seen: Option<(String, Option<String>)>,
    /// The last look found no file; said once.
    missed: bool,
}

impl File {
    fn look(&mut self) -> Look {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => return Look::Gone(error),
        };
        let key = self.hash_key.as_ref().map(|key| key.expose().to_string());
        let now = Some((text, key));
        if self.seen == now {
            return Look::Same;
        }
        self.seen = now;
        let Some((text, key)) = &self.seen else { return Look::Same };
        match Rules::read(text, key.as_ref().map(String::as_bytes)) {
            Ok(rules) => Look::Rules(rules),
            Err(problems) => Look::Wrong(problems),
        }
    }

    fn tell(&mut self, look: Look, transformer: &Transformer) {
        let file = self.path.display();
        match look {
            Look::Gone(error) => {
                if !self.missed {
                    tracing::warn!(%file, %error, "mapping file cannot be read again: the last good one stays");
                    metrics::reload("gone");
                }
                self.missed = true;
                return;
            }
            Look::Same => {}
            Look::Rules(rules) => {
                tracing::info!(revision = rules.revision(), %file, "mapping has changed");
                metrics::mapping(rules.revision());
                metrics::reload("taken");
                transformer.replace(rules);
            }
            Look::Wrong(problems) => {
                let revision = transformer.rules().revision().to_string();
                tracing::warn!(
                    revision,
                    problems = complaint(&self.path, &problems),
                    "mapping file is wrong: the last good one stays"
                );
                metrics::reload("refused");
            }
        }
        self.missed = false;
    }
}
