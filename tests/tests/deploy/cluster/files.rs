//! Volumes, as the kubelet lays them out.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use moehog_tests::project;

use super::plan::{Content, Volume};

/// The Secrets of the namespace: their keys and what these hold.
pub(crate) type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// Makes a volume's directory with what it holds.
pub(super) fn lay(volume: &Volume, secrets: &Secrets) -> anyhow::Result<()> {
    fs::create_dir_all(&volume.path)?;
    match &volume.content {
        Content::Own => Ok(()),
        Content::Files(files) => projected(&volume.path, files, 0o644),
        Content::Secret { name, items, mode } => {
            let secret = secrets.get(name).with_context(|| format!("there is no Secret {name}"))?;
            let file = |(key, path): (&String, &String)| {
                let value = secret.get(key).with_context(|| format!("the Secret {name} has no key {key}"))?;
                anyhow::Ok((path.clone(), value.clone()))
            };
            let files = match items {
                Some(items) => items.iter().map(file).collect::<anyhow::Result<_>>()?,
                None => secret.clone(),
            };
            projected(&volume.path, &files, *mode)
        }
    }
}

fn projected(path: &Path, files: &BTreeMap<String, String>, mode: u32) -> anyhow::Result<()> {
    let files = files.iter().map(|(name, content)| (name.as_str(), content.as_str()));
    Ok(project(path, "..2026_11_27_00_00_00.000000001", files, mode)?)
}
