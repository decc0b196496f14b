//! Where things are, and cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;

pub(crate) use moehog_tests::{root, target};

/// The cargo that runs this, in the root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).stdin(Stdio::null());
    // set for xtask itself by the cargo that started it; they would mislead the one started here
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        cargo.env_remove(name);
    }
    cargo
}

/// What git prints, without the line's end; none where there is no git, or it fails.
pub(crate) fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(root()).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// What is built beside the defaults: the allocator is left out where there is no make to build it with.
pub(crate) fn features() -> &'static [&'static str] {
    let mut make = Command::new("make");
    let has_make = make.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if has_make.is_ok_and(|status| status.success()) { &[] } else { &["--no-default-features"] }
}

/// A binary or test that cargo made.
#[derive(Debug, Clone)]
pub(crate) struct Executable {
    /// Directory of its package.
    pub(crate) package_directory: PathBuf,
    /// Name of its package.
    pub(crate) package: String,
    /// Name of the target within the package.
    pub(crate) target: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether it is a test harness.
    pub(crate) is_test: bool,
}

/// Runs `cargo build` (or another command that takes its options) and gives what it made.
pub(crate) fn build(arguments: &[&str]) -> anyhow::Result<Vec<Executable>> {
    let mut cargo = cargo();
    cargo.args(arguments).args(features()).args(["--message-format", "json-render-diagnostics"]);
    executables(cargo)
}

/// Runs a command that builds and says so in JSON, and gives what it made.
pub(crate) fn executables(mut cargo: Command) -> anyhow::Result<Vec<Executable>> {
    let output = cargo.stdout(Stdio::piped()).stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "{cargo:?}: {}", output.status);
    let lines = output.stdout.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).filter_map(|message| executable(&message)).collect())
}

fn executable(message: &Value) -> Option<Executable> {
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    let directory = manifest.parent()?;
    Some(Executable {
        path: message.get("executable")?.as_str()?.into(),
        package: package_name(directory),
        target: message["target"]["name"].as_str()?.to_string(),
        is_test: message["profile"]["test"].as_bool()?,
        package_directory: directory.to_path_buf(),
    })
}

/// `crates/journal` is `journal`, `tests` is `tests`.
fn package_name(directory: &Path) -> String {
    directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
