//! A wall clock that a test sets, of a real process: libfaketime, preloaded.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::{Setup, stdout, target};

const PACKAGE: &str = "libfaketime";

/// What the clock of some processes shows, as an offset of the machine's own. Time passes as ever.
#[derive(Debug)]
pub struct FakeClock {
    library: PathBuf,
    offset: PathBuf,
}

impl FakeClock {
    /// A clock that shows the machine's time; `directory` holds its offset.
    ///
    /// # Errors
    ///
    /// This machine is no Debian, or cannot reach its packages.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let clock = Self { library: fetch(&target().join("faketime"))?, offset: directory.join("offset") };
        clock.set("+0")?;
        Ok(clock)
    }

    /// The deployment's processes go by it.
    #[must_use]
    pub fn sets(&self, setup: Setup) -> Setup {
        setup
            .variable("LD_PRELOAD", &self.library.display().to_string())
            .variable("FAKETIME_TIMESTAMP_FILE", &self.offset.display().to_string())
            .variable("FAKETIME_NO_CACHE", "1")
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .variable("NO_FAKE_STAT", "1")
    }

    /// Jumps to an offset as faketime reads it: `+31d`, `-400d`, `+0`.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn set(&self, offset: &str) -> io::Result<()> {
        let new = self.offset.with_extension("new");
        fs::write(&new, offset)?;
        fs::rename(new, &self.offset)
    }
}

impl Drop for FakeClock {
    fn drop(&mut self) {
        // a process that was killed leaves them behind
        for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let of = name.strip_prefix("faketime_shm_").or_else(|| name.strip_prefix("sem.faketime_sem_"));
            if of.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                // it is no fault where somebody else was faster
                drop(fs::remove_file(file.path()));
            }
        }
    }
}

/// Unpacks the package under `directory`, unless that was done before; nothing is installed.
fn fetch(directory: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    if let Some(library) = library(directory)? {
        return Ok(library);
    }
    let mut apt = Command::new("apt-get");
    stdout(apt.args(["download", PACKAGE]).current_dir(directory).stdin(Stdio::null()))
        .context("fetch libfaketime with apt")?;
    let mut packages = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    let package = packages.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let mut dpkg = Command::new("dpkg");
    stdout(dpkg.arg("-x").arg(package.context("apt fetched no package")?).arg(directory.join("unpacked")))?;
    library(directory)?.context("no libfaketimeMT.so.1 in the package")
}

fn library(directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    let under = directory.join("unpacked/usr/lib");
    if !under.is_dir() {
        return Ok(None);
    }
    // usr/lib/<architecture>/faketime
    let found = fs::read_dir(&under)?.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found: Vec<_> = found.filter(|path| path.is_file()).collect();
    ensure!(found.len() <= 1, "{} libraries in {}", found.len(), under.display());
    Ok(found.into_iter().next())
}
