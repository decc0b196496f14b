//! The binaries under test, built once.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, ensure};

const PACKAGES: [&str; 5] = ["moehog", "moehog-gateway", "moehog-transformer", "moehog-delivery", "moehog-emulator"];

/// The path of a binary of this workspace. The first call builds them all, in the profile of the running test, unless
/// `MOEHOG_TEST_BINARIES` names a directory that has them (`cargo xtask test` sets it).
///
/// # Errors
///
/// The build fails, or there is no such binary.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| directory().map_err(|error| format!("{error:#}")));
    let path = directory.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?.join(name);
    ensure!(path.is_file(), "no binary {}", path.display());
    Ok(path)
}

fn directory() -> anyhow::Result<PathBuf> {
    if let Some(directory) = env::var_os("MOEHOG_TEST_BINARIES") {
        return Ok(directory.into());
    }
    // target/<profile>/deps/<test>
    let test = env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("a test lies in target/<profile>/deps")?;
    let target = profile.parent().context("a profile lies in target")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").arg("--quiet").arg("--bins").arg("--target-dir").arg(target);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.stdin(Stdio::null()).status().context("start cargo build")?;
    ensure!(status.success(), "cargo build of the binaries under test: {status}");
    Ok(profile.to_path_buf())
}
