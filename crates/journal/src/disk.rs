//! The few file calls the embedded journal makes, so that a simulated disk can stand in for the real one.
//!
//! One directory, flat. Names are what the journal chose; a path never leaves this trait.

use std::{fmt::Debug, io, sync::Arc};

mod access;
#[cfg(test)]
mod check;
mod pool;
mod real;
#[cfg(any(test, feature = "test-util"))]
pub mod simulated;

pub use pool::PooledDisk;
pub use real::RealDisk;

/// A directory on a disk.
///
/// What was written survives a power cut only after [`File::sync_data`]; that a name exists, is gone or points to
/// another file survives only after [`Disk::sync_dir`].
pub trait Disk: Debug + Send + Sync + 'static {
    /// Makes a new, empty file. Fails when the name exists.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Names of all files, in no order.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name; open files stay readable.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that the file system has in all, used or not; none where it does not say.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn size(&self) -> io::Result<Option<u64>>;

    /// Whether the directory still is where it was opened: it was not removed, and no other has its name.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn is_there(&self) -> io::Result<bool>;

    /// Takes the exclusive lock of the directory, held until the value is dropped (or the process dies).
    ///
    /// # Errors
    ///
    /// `WouldBlock` when another process holds it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file. Calls take an offset, so that one handle serves many threads.
pub trait File: Debug + Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// As the operating system says; part of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Bytes in the file.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Reserves room so that a later write below `length` does not fail for want of it; the new bytes read as zero and
    /// [`File::len`] grows to `length`.
    ///
    /// # Errors
    ///
    /// `StorageFull` when there is no room.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file (or grows it with zeros) to `length`.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes the content and length durable.
    ///
    /// # Errors
    ///
    /// As the operating system says. After a failure nothing unsynced can be trusted, not even by syncing again.
    fn sync_data(&self) -> io::Result<()>;

    /// Whether the file still has a name: what is synced into one without is gone when it is closed.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn is_there(&self) -> io::Result<bool>;

    /// Whether the file is empty.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
