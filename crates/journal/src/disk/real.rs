//! A directory of the operating system.

use std::{
    fs::{self, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::{
    Disk, File,
    access::{Access, make_directory},
};

/// Name of the file that carries the lock; never listed.
const LOCK: &str = "lock";

/// Zeros to reserve room with where the file system has no call for it.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A directory of the operating system. What it makes is its user's alone, or the group's where only that may write to
/// the directory, whatever the umask; a symbolic link in it is nothing of the journal's.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: fs::File,
    access: Access,
    /// Device and inode: a path may come to name another directory.
    place: (u64, u64),
}

impl RealDisk {
    /// Opens the directory at `path`, making it (and its parents) where it does not exist, and closes it to other users
    /// where it is ours.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_durably(path, make_directory)?;
        let directory = fs::File::open(path)?;
        let found = directory.metadata()?;
        let access = Access::to(&found)?;
        access.close_to_others(path, &directory);
        Ok(Self { path: path.to_path_buf(), directory, access, place: (found.dev(), found.ino()) })
    }

    /// Bytes that the file system of `path` has in all, used or not; none where it does not say.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    pub fn file_system_size(path: &Path) -> io::Result<Option<u64>> {
        let system = statvfs(path)?;
        // some of the network and some of memory say nothing
        Ok(Some(system.f_blocks.saturating_mul(system.f_frsize)).filter(|size| *size > 0))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Makes a directory as `make` does, and its parents as anybody would, each synced into the one above: else a power cut
/// could take the directory away with all that was synced inside it.
fn make_durably(path: &Path, make: fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_durably(parent, |parent| fs::create_dir(parent))?;
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    fs::File::open(parent)?.sync_all()
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.access.options().create_new(true).open(self.at(name))?;
        self.access.give(&file);
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.access.options().open(self.at(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is not UTF-8, a directory (`lost+found`) or the lock is not the journal's.
            if let Some(name) = entry.file_name().to_str().filter(|name| *name != LOCK)
                && entry.file_type()?.is_file()
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn size(&self) -> io::Result<Option<u64>> {
        Self::file_system_size(&self.path)
    }

    fn is_there(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            named => named.map(|named| (named.dev(), named.ino()) == self.place),
        }
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let file = match self.access.options().create_new(true).open(self.at(LOCK)) {
            Ok(made) => {
                self.access.give(&made);
                made
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.access.options().open(self.at(LOCK))?,
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("directory {} is in use by another process", self.path.display()),
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let start = self.len()?;
        if length <= start {
            return Ok(());
        }
        loop {
            match fallocate(&self.0, FallocateFlags::empty(), start, length - start) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::OPNOTSUPP) => return self.fill(start, length),
                result => return Ok(result?),
            }
        }
    }

    fn is_there(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 0)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl RealFile {
    /// Reserves room by writing zeros, on file systems that cannot reserve it otherwise.
    fn fill(&self, mut offset: u64, end: u64) -> io::Result<()> {
        while offset < end {
            let count = (end - offset).min(ZEROS.len() as u64);
            #[expect(clippy::cast_possible_truncation, reason = "at most the length of ZEROS")]
            self.write_at(&ZEROS[..count as usize], offset)?;
            offset += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_disk_keeps_the_promises_of_the_trait() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(&directory.path().join("a/b")).unwrap();
        super::super::check::keeps_the_promises_of_the_trait(&disk);
    }

    #[test]
    fn a_directory_is_locked_once_and_free_again_when_the_lock_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (RealDisk::open(directory.path()).unwrap(), RealDisk::open(directory.path()).unwrap());
        let lock = one.lock().unwrap();
        assert_eq!(other.lock().err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        let _lock = other.lock().unwrap();
        assert_eq!(one.list().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_directory_that_was_moved_removed_or_replaced_is_not_there() {
        let parent = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (parent.path().join("journal"), parent.path().join("elsewhere"));
        let disk = RealDisk::open(&path).unwrap();
        assert!(disk.is_there().unwrap());
        fs::rename(&path, &elsewhere).unwrap();
        assert!(!disk.is_there().unwrap());
        fs::create_dir(&path).unwrap();
        assert!(!disk.is_there().unwrap(), "another has its name");
        fs::remove_dir(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        assert!(disk.is_there().unwrap());
    }

    #[test]
    fn room_is_reserved_with_zeros_where_the_file_system_has_no_call_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = RealFile(fs::File::create_new(directory.path().join("f")).unwrap());
        file.write_at(b"kept", 0).unwrap();
        file.fill(4, 200_000).unwrap();
        assert_eq!(file.len().unwrap(), 200_000);
        let mut head = [1; 6];
        file.read_at(&mut head, 0).unwrap();
        assert_eq!(&head, b"kept\0\0");
    }
}
