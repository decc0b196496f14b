//! A disk of a few megabytes that fills up, without being root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A tmpfs in a mount namespace of its own, which a sleeping process keeps alive over kills of its users.
#[derive(Debug)]
pub struct SmallDisk {
    keeper: Child,
    mount: PathBuf,
}

impl SmallDisk {
    /// Mounts `bytes` of space at `mount`, seen only by processes started [`SmallDisk::through`] it.
    ///
    /// # Errors
    ///
    /// This machine lets no ordinary user mount: a kernel without unprivileged user namespaces.
    pub fn mount(mount: &Path, bytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(mount)?;
        let script =
            format!("mount -t tmpfs -o size={bytes} moehog-test \"$1\" && touch \"$1/mounted\" && exec sleep 3600");
        let keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
            .arg(mount)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start unshare")?;
        let mut disk = Self { keeper, mount: mount.to_path_buf() };
        let begun = Instant::now();
        while !disk.inside("mounted").exists() {
            if disk.keeper.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(5) {
                bail!("no user namespace with a mount of its own on this machine");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(disk)
    }

    /// What starts a process that sees the disk.
    #[must_use]
    pub fn through(&self) -> Vec<String> {
        let keeper = self.keeper.id().to_string();
        ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &keeper, "--wd=/", "--"]
            .map(str::to_string)
            .to_vec()
    }

    /// Writes until nothing more fits.
    ///
    /// # Errors
    ///
    /// Something else than a full disk stops it.
    pub fn fill(&self) -> anyhow::Result<()> {
        use std::io::{ErrorKind, Write as _};
        let mut ballast = fs::OpenOptions::new().create(true).append(true).open(self.inside("ballast"))?;
        let mut chunk = vec![1_u8; 64 * 1024];
        loop {
            match ballast.write(&chunk) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    if chunk.len() <= 4096 {
                        return Ok(());
                    }
                    chunk.truncate(4096);
                }
                Err(error) => return Err(error).context("fill the disk"),
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Errors
    ///
    /// It was not filled.
    pub fn empty(&self) -> anyhow::Result<()> {
        fs::remove_file(self.inside("ballast")).context("empty the disk")
    }

    fn inside(&self, name: &str) -> PathBuf {
        let mount = self.mount.strip_prefix("/").unwrap_or(&self.mount);
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(mount).join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.keeper.kill().is_ok() {
            // reaps it; it ended by the signal just sent
            drop(self.keeper.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_and_empties_and_is_seen_only_through_it() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let mount = directory.path().join("disk");
        let disk = match SmallDisk::mount(&mount, 1 << 20) {
            Ok(disk) => disk,
            Err(error) => return crate::skip("a small disk fills and empties", &error),
        };
        let write = || {
            let through = disk.through();
            let mut command = Command::new(&through[0]);
            command
                .args(&through[1..])
                .args(["sh", "-c", "head -c 100000 /dev/zero > \"$1/file.$$\"", "sh"])
                .arg(&mount);
            command.stderr(Stdio::null()).status().map(|status| status.success())
        };
        assert!(write()?, "a process that sees the disk writes to it");
        assert_eq!(fs::read_dir(&mount)?.count(), 0, "nobody else sees it");
        disk.fill()?;
        assert!(!write()?, "a full disk takes more");
        disk.empty()?;
        assert!(write()?, "an emptied disk takes no more");
        Ok(())
    }
}
