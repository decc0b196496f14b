//! Python's Jinja2, in the versions that MoEngage names.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;

use super::{stdout, target};

/// Each version and its wheels, as pip pins them. Source: MoEngage, "Jinja Templating Language" (3.1) and "Personalization Overview"
/// (2.8), read 2026-08.
const VERSIONS: [(&str, &str); 2] = [("3.1", include_str!("jinja-3.1.txt")), ("2.8", include_str!("jinja-2.8.txt"))];

/// Jinja2 of one version: wheels that Python imports as they are.
#[derive(Debug, Clone)]
pub struct Jinja {
    /// The version, as MoEngage names it.
    pub version: &'static str,
    /// The wheels.
    pub wheels: Vec<PathBuf>,
}

impl Jinja {
    /// Fetches each version, unless an earlier call has.
    ///
    /// # Errors
    ///
    /// pip is missing, or cannot reach a registry.
    pub fn fetch() -> anyhow::Result<Vec<Self>> {
        let parent = target();
        fs::create_dir_all(&parent)?;
        let lock = File::create(parent.join("jinja.lock"))?;
        lock.lock()?;
        VERSIONS.into_iter().map(|(version, pins)| fetch(&parent.join("jinja").join(version), version, pins)).collect()
    }
}

fn fetch(directory: &Path, version: &'static str, pins: &str) -> anyhow::Result<Jinja> {
    // written last: what it says is there whole
    let stamp = directory.join("pins.txt");
    if !fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == pins) {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir_all(directory)?;
        let requirements = directory.join("requirements.txt");
        fs::write(&requirements, pins)?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--require-hashes"]);
        // one set of wheels for every machine: what is compiled in them is left aside, since it is in Python too
        pip.args(["--only-binary=:all:", "--platform", "manylinux2014_x86_64", "--python-version", "3.9"]);
        pip.arg("--requirement").arg(&requirements).arg("--dest").arg(directory);
        stdout(pip.stdin(Stdio::null())).with_context(|| format!("fetch Jinja2 {version} with pip"))?;
        fs::write(&stamp, pins)?;
    }
    let mut wheels = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            wheels.push(path);
        }
    }
    Ok(Jinja { version, wheels })
}
