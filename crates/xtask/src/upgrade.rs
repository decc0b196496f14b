//! `cargo xtask upgrade`: the last release and this build in one deployment, under load.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::workspace;

/// The services whose versions may differ.
const SERVICES: [&str; 3] = ["moehog-gateway", "moehog-transformer", "moehog-delivery"];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Revision to upgrade from, instead of the one that `.cargo/last-release` names.
    #[arg(long)]
    from: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let named = || -> anyhow::Result<String> {
        let path = workspace::root().join(".cargo/last-release");
        Ok(fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?.trim().to_string())
    };
    let revision = arguments.from.clone().map_or_else(named, Ok)?;
    let Some(commit) = commit(&revision) else {
        println!("LEFT OUT: this source tree has no git history with revision {revision} (a shallow clone?)");
        ensure!(arguments.from.is_none(), "no revision {revision}");
        return Ok(true);
    };
    let binaries = binaries(&commit)?;
    println!("from {revision} ({}) to this build", &commit[..12]);
    let status = workspace::cargo()
        .args(["test", "--package", "moehog-tests", "--test", "end_to_end", "versions_work_together", "--"])
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .env("MOEHOG_TEST_LAST_RELEASE", &binaries)
        .status()
        .context("start cargo test")?;
    Ok(status.success())
}

/// The full id of a revision; none where its tree is not here.
fn commit(revision: &str) -> Option<String> {
    let commit = workspace::git(&["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")])?;
    (commit.len() >= 40).then_some(commit)
}

/// Builds the services of a commit, once.
fn binaries(commit: &str) -> anyhow::Result<PathBuf> {
    let release = workspace::target().join("last-release");
    let (built, binaries) = (release.join("built"), release.join("debug"));
    if fs::read_to_string(&built).is_ok_and(|of| of == commit) {
        return Ok(binaries);
    }
    if release.exists() {
        fs::remove_dir_all(&release).with_context(|| format!("remove {}", release.display()))?;
    }
    let source = release.join("source");
    fs::create_dir_all(&source)?;
    extract(commit, &source)?;
    println!("building {} of {}", SERVICES.join(", "), &commit[..12]);
    let mut cargo = workspace::cargo();
    cargo.current_dir(&source).args(["build", "--quiet", "--locked", "--bins"]).args(workspace::features());
    cargo.args(SERVICES.iter().flat_map(|service| ["--package", service]));
    // A directory of its own: cargo knows a crate of a workspace by its path in it, so in a shared one this release's
    // crates, built later than today's sources were written, would pass for today's.
    cargo.arg("--target-dir").arg(&release).env("CARGO_PROFILE_DEV_DEBUG", "0");
    let status = cargo.status().context("start cargo build")?;
    ensure!(status.success(), "build of {commit}: {status}");
    fs::write(&built, commit)?;
    Ok(binaries)
}

/// Writes the tree of a commit into a directory.
fn extract(commit: &str, into: &Path) -> anyhow::Result<()> {
    let tar = into.with_extension("tar");
    let output = format!("--output={}", tar.display());
    let archived = Command::new("git").current_dir(workspace::root()).args(["archive", &output, commit]).status();
    ensure!(archived.context("start git archive")?.success(), "git archive {commit}");
    let extracted = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(into).status();
    ensure!(extracted.context("start tar")?.success(), "extract {}", tar.display());
    fs::remove_file(tar)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_that_is_not_here_is_none() {
        assert_eq!(commit("0123456789012345678901234567890123456789"), None);
        assert_eq!(commit("no-such-tag"), None);
    }

    #[test]
    fn the_last_release_is_one_word() {
        let named = fs::read_to_string(workspace::root().join(".cargo/last-release")).unwrap();
        assert_eq!(named.split_whitespace().count(), 1, "{named}");
    }
}
