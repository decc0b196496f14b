//! A disk of which only so many files are open at a time.
//!
//! Each file that nothing was written to since its last sync may be closed behind its user's back, and is opened again by
//! its name when it is next used: the one used longest ago first. One that loses its name (or gives it to another file) is
//! opened before that and stays so, so that who holds it goes on reading the same bytes. One with writes that are not
//! synced stays open too: what a failed write-back has to say is said to those who had the file open.
//!
//! A call that looks at a file or a name and fails is made a second time: one that fails for a moment is nobody's loss.
//! Where the process may open no more, all that may be closed is closed before: connections need some too.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{Disk, File};

/// See the module.
#[derive(Debug)]
pub struct PooledDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    most: usize,
    /// Counts uses, to tell which was the last.
    uses: AtomicU64,
    /// All files that somebody holds, by the name they have.
    files: Mutex<HashMap<String, Vec<Weak<Pooled>>>>,
}

/// A file, open or not.
#[derive(Debug)]
struct Pooled {
    shared: Arc<Shared>,
    name: Mutex<String>,
    open: Mutex<Option<Arc<dyn File>>>,
    used: AtomicU64,
    /// Written to since its last sync.
    dirty: AtomicBool,
    /// Its name is about to change, or is not its own any more: it stays open.
    pinned: AtomicBool,
}

impl PooledDisk {
    /// `disk`, with at most `most` files open, as far as some could be closed.
    pub fn new(disk: Arc<dyn Disk>, most: usize) -> Self {
        let shared = Shared { disk, most: most.max(1), uses: AtomicU64::new(0), files: Mutex::new(HashMap::new()) };
        Self { shared: Arc::new(shared) }
    }

    fn hold(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let pooled = Arc::new(Pooled {
            shared: self.shared.clone(),
            name: Mutex::new(name.to_owned()),
            open: Mutex::new(Some(file)),
            used: AtomicU64::new(self.shared.uses.fetch_add(1, Ordering::Relaxed)),
            dirty: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
        });
        let mut files = self.shared.files.lock();
        files.entry(name.to_owned()).or_default().push(Arc::downgrade(&pooled));
        drop(files);
        self.shared.close_some(self.shared.most);
        pooled
    }

    /// The files of this name stay open from now on: it is about to be gone, or another's.
    fn pin(&self, name: &str) -> io::Result<Vec<Arc<Pooled>>> {
        let files = self.shared.of(name);
        for file in &files {
            file.pinned.store(true, Ordering::Release);
            file.open_file()?;
        }
        Ok(files)
    }
}

/// Makes a call that changes nothing, and makes it again where it fails for no reason that stays.
fn look<T>(call: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match call() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => call(),
        result => result,
    }
}

impl Shared {
    fn of(&self, name: &str) -> Vec<Arc<Pooled>> {
        let mut files = self.files.lock();
        let Some(named) = files.get_mut(name) else { return Vec::new() };
        named.retain(|file| file.strong_count() > 0);
        named.iter().filter_map(Weak::upgrade).collect()
    }

    /// Opens a file; where no more may be open, all that may be closed is closed first.
    fn open(&self, open: impl Fn() -> io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        open().or_else(|error| match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                self.close_some(0);
                open()
            }
            _ => Err(error),
        })
    }

    /// Closes those used longest ago, down to the `most` that may be open. Those that must stay open count too; a few of
    /// the others stay beside them.
    fn close_some(&self, most: usize) {
        let open: Vec<_> = {
            let mut files = self.files.lock();
            files.retain(|_, named| {
                named.retain(|file| file.strong_count() > 0);
                !named.is_empty()
            });
            files.values().flatten().filter_map(Weak::upgrade).filter(|file| file.is_open()).collect()
        };
        if open.len() <= most {
            return;
        }
        // a few more, so that this is not done at each use
        let surplus = open.len() - most + most / 8;
        let mut closable: Vec<_> = open.into_iter().filter(|file| file.is_closable()).collect();
        closable.sort_by_key(|file| file.used.load(Ordering::Relaxed));
        let surplus = surplus.min(closable.len().saturating_sub(most.div_ceil(8)));
        for file in closable.into_iter().take(surplus) {
            if let Some(mut held) = file.open.try_lock()
                && file.is_closable()
            {
                *held = None;
            }
        }
    }
}

impl Pooled {
    fn is_closable(&self) -> bool {
        !self.dirty.load(Ordering::Acquire) && !self.pinned.load(Ordering::Acquire)
    }

    fn is_open(&self) -> bool {
        // one that is locked is being opened, maybe by who wants others closed
        self.open.try_lock().is_some_and(|held| held.is_some())
    }

    /// The file, opened where it was not.
    fn open_file(&self) -> io::Result<Arc<dyn File>> {
        let mut held = self.open.lock();
        self.used.store(self.shared.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(file) = &*held {
            return Ok(file.clone());
        }
        let file = self.shared.open(|| look(|| self.shared.disk.open(&self.name.lock())))?;
        *held = Some(file.clone());
        drop(held);
        self.shared.close_some(self.shared.most);
        Ok(file)
    }

    fn change<T>(&self, change: impl FnOnce(&dyn File) -> io::Result<T>) -> io::Result<T> {
        self.dirty.store(true, Ordering::Release);
        let changed = change(&*self.open_file()?);
        // a sync that began in between took it for clean, and may not have covered it
        self.dirty.store(true, Ordering::Release);
        changed
    }
}

impl File for Pooled {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|file| file.write_at(bytes, offset))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.open_file()?;
        file.read_at(buffer, offset).or_else(|_| file.read_at(buffer, offset))
    }

    fn len(&self) -> io::Result<u64> {
        let file = self.open_file()?;
        look(|| file.len())
    }

    fn is_there(&self) -> io::Result<bool> {
        let file = self.open_file()?;
        look(|| file.is_there())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.change(|file| file.allocate(length))
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change(|file| file.truncate(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let file = self.open_file()?;
        // a write that comes meanwhile makes it dirty again
        let was_dirty = self.dirty.swap(false, Ordering::AcqRel);
        file.sync_data().inspect_err(|_| {
            if was_dirty {
                self.dirty.store(true, Ordering::Release);
            }
        })
    }
}

impl Disk for PooledDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.hold(name, self.shared.open(|| self.shared.disk.create(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.hold(name, self.shared.open(|| look(|| self.shared.disk.open(name)))?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        look(|| self.shared.disk.list())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (moved, replaced) = (self.pin(from)?, self.pin(to)?);
        let renamed = self.shared.disk.rename(from, to);
        if renamed.is_ok() {
            let mut files = self.shared.files.lock();
            files.remove(to);
            if let Some(named) = files.remove(from) {
                files.insert(to.to_owned(), named);
            }
            drop(files);
            moved.iter().for_each(|file| to.clone_into(&mut file.name.lock()));
        }
        let still_named = if renamed.is_ok() { &moved[..0] } else { &replaced };
        still_named.iter().chain(&moved).for_each(|file| file.pinned.store(false, Ordering::Release));
        renamed
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let files = self.pin(name)?;
        let removed = self.shared.disk.remove(name);
        match removed {
            Ok(()) => drop(self.shared.files.lock().remove(name)),
            Err(_) => files.iter().for_each(|file| file.pinned.store(false, Ordering::Release)),
        }
        removed
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.shared.disk.sync_dir()
    }

    fn size(&self) -> io::Result<Option<u64>> {
        look(|| self.shared.disk.size())
    }

    fn is_there(&self) -> io::Result<bool> {
        look(|| self.shared.disk.is_there())
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.shared.disk.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::simulated::SimulatedDisk, *};

    fn pooled(most: usize) -> (SimulatedDisk, PooledDisk) {
        let disk = SimulatedDisk::new(1);
        (disk.clone(), PooledDisk::new(Arc::new(disk), most))
    }

    fn content(file: &dyn File) -> Vec<u8> {
        let mut buffer = vec![0; 16];
        let filled = file.read_at(&mut buffer, 0).unwrap();
        buffer.truncate(filled);
        buffer
    }

    #[test]
    fn it_keeps_the_promises_of_the_trait_with_one_file_open() {
        super::super::check::keeps_the_promises_of_the_trait(&pooled(1).1);
    }

    #[test]
    fn as_many_files_as_are_wanted_are_used_and_few_are_open() {
        let (disk, pool) = pooled(8);
        let files: Vec<_> = (0..100).map(|number| pool.create(&number.to_string()).unwrap()).collect();
        for (number, file) in files.iter().enumerate() {
            file.write_at(&[number as u8], 0).unwrap();
            file.sync_data().unwrap();
        }
        assert!(disk.open_files() <= 9, "{}", disk.open_files());
        assert!(files.iter().enumerate().rev().all(|(number, file)| content(&**file) == [number as u8]));
        assert!(disk.open_files() <= 9, "{}", disk.open_files());
        drop(files);
        assert_eq!(disk.open_files(), 0);
    }

    #[test]
    fn where_no_more_may_be_open_what_may_be_closed_is() {
        let (disk, pool) = pooled(1000);
        let files: Vec<_> = (0..20).map(|number| pool.create(&number.to_string()).unwrap()).collect();
        files.iter().for_each(|file| file.write_at(b"x", 0).unwrap());
        disk.limit_open_files(20);
        pool.create("one more").unwrap_err();
        files.iter().for_each(|file| file.sync_data().unwrap());
        let _another = pool.create("another").unwrap();
        assert_eq!(disk.open_files(), 1);
        assert!(files.iter().all(|file| content(&**file) == b"x"));
        pool.open("0").unwrap();
    }

    #[test]
    fn what_is_written_and_not_synced_stays_open() {
        let (disk, pool) = pooled(1);
        let files: Vec<_> = (0..10).map(|number| pool.create(&number.to_string()).unwrap()).collect();
        files.iter().for_each(|file| file.write_at(b"x", 0).unwrap());
        assert_eq!(disk.open_files(), 10);
        files.iter().for_each(|file| file.sync_data().unwrap());
        content(&*files[0]);
        pool.create("another").unwrap();
        assert!(disk.open_files() <= 2, "{}", disk.open_files());
    }

    #[test]
    fn those_that_must_stay_open_take_the_room_of_others() {
        let (disk, pool) = pooled(16);
        let names: Vec<_> = (0..40).map(|number| number.to_string()).collect();
        let files: Vec<_> = names.iter().map(|name| pool.create(name).unwrap()).collect();
        files[..12].iter().for_each(|file| file.write_at(b"x", 0).unwrap());
        for _ in 0..3 {
            files[12..].iter().for_each(|file| assert_eq!(file.len().unwrap(), 0));
            assert!(disk.open_files() <= 17, "{}", disk.open_files());
        }
    }

    #[test]
    fn a_write_during_a_sync_leaves_the_file_to_be_synced() {
        let (disk, pool) = pooled(1);
        let file = pool.create("a").unwrap();
        let syncing = file.clone();
        // a sync begins and ends while the write is on its way
        disk.during(super::super::simulated::Call::Write, move || syncing.sync_data().unwrap());
        file.write_at(b"x", 0).unwrap();
        for number in 0..4 {
            pool.create(&number.to_string()).unwrap().sync_data().unwrap();
        }
        let held: Vec<_> = (0..4).map(|number| pool.open(&number.to_string()).unwrap()).collect();
        assert_eq!(disk.open_files(), 2, "the one that is not synced, and one of the others");
        drop(held);
    }

    #[test]
    fn who_holds_a_file_reads_it_whoever_takes_its_name() {
        let (_, pool) = pooled(1);
        let make = |name: &str, bytes: &[u8]| {
            let file = pool.create(name).unwrap();
            file.write_at(bytes, 0).unwrap();
            file.sync_data().unwrap();
            file
        };
        let (old, new, removed) = (make("a", b"old"), make("a.new", b"new"), make("b", b"removed"));
        pool.rename("a.new", "a").unwrap();
        pool.remove("b").unwrap();
        // each opening closes what may be closed
        for _ in 0..3 {
            for (file, bytes) in [(&old, &b"old"[..]), (&new, b"new"), (&removed, b"removed")] {
                assert_eq!(content(&**file), bytes);
            }
            assert_eq!(content(&*pool.open("a").unwrap()), b"new");
        }
    }
}
