//! A disk in memory that does the worst a real one may.
//!
//! It keeps two states: what readers see, and what would be there after a power cut. It forgets, tears, reorders, fills,
//! fails and hangs when told to, and two disks of one seed that get the same calls do the same.

use std::{fmt, io, sync::Arc};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rand::Rng;

pub use self::damage::Files;
use self::{
    file::SimulatedFile,
    inode::Inode,
    lock::Lock,
    state::{Change, Fate, State},
};
use super::{Disk, File};

mod damage;
mod file;
mod inode;
mod lock;
mod state;
#[cfg(test)]
mod tests;

/// A kind of disk call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named for the calls of Disk and File")]
pub enum Call {
    Create,
    Open,
    List,
    Rename,
    Remove,
    SyncDir,
    Size,
    Lock,
    Write,
    Read,
    Len,
    Allocate,
    Truncate,
    SyncData,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// kill -9: all that was written is there.
    Kill,
    /// Of what was not synced any part is there: sectors, sizes, names, each for itself.
    PowerCut,
}

/// A disk in memory that does the worst a real one may. A clone is the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimulatedDisk").finish_non_exhaustive()
    }
}

impl SimulatedDisk {
    /// An empty disk without a bound.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(State::new(seed)), changed: Condvar::new() }) }
    }

    /// Calls made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.state.lock().calls
    }

    /// Successful calls of one kind so far.
    #[must_use]
    pub fn calls_of(&self, call: Call) -> u64 {
        self.shared.state.lock().done.get(&call).copied().unwrap_or(0)
    }

    /// Calls of one kind that failed as told so far.
    #[must_use]
    pub fn failures_of(&self, call: Call) -> u64 {
        self.shared.state.lock().failed.get(&call).copied().unwrap_or(0)
    }

    /// Bytes that were read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.shared.state.lock().read_bytes
    }

    /// Lets the process die within the call after the next `calls`: that call may have done all, part or nothing of its
    /// work, and it and every later one fail until [`Self::reboot`].
    pub fn crash_after(&self, calls: u64) {
        self.shared.state.lock().crash_in = Some(calls);
    }

    /// Takes back a death that has not come yet, and says after how many calls it would have.
    #[must_use]
    pub fn postpone_crash(&self) -> Option<u64> {
        self.shared.state.lock().crash_in.take()
    }

    /// Whether the process has died and not been rebooted.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.shared.state.lock().crashed
    }

    /// Ends the process, if it has not ended yet, and starts another: files and locks held until now are refused from
    /// here on, planned failures and hangs are forgotten. The limit of space stays.
    pub fn reboot(&self, death: Death) {
        self.shared.state.lock().reboot(death);
        self.shared.changed.notify_all();
    }

    /// Lets calls of this kind work `after` times more, then fail `times` times. A write that fails has written a part; a
    /// sync that fails leaves each unsynced sector written, dirty, or dropped for good so that a later sync says nothing.
    pub fn fail(&self, call: Call, after: u64, times: u64) {
        self.shared.state.lock().failures.push((call, after, times));
    }

    /// Lets the read after `reads` others give back one bit turned over, once.
    pub fn lie(&self, reads: u64) {
        self.shared.state.lock().lies_in = Some(reads);
    }

    /// Whether a failure or a lie has not come yet.
    #[must_use]
    pub fn is_to_fail(&self) -> bool {
        let state = self.shared.state.lock();
        state.lies_in.is_some() || state.failures.iter().any(|(.., times)| *times > 0)
    }

    /// Forgets planned failures and crashes that have not come yet.
    pub fn heal(&self) {
        let mut state = self.shared.state.lock();
        state.failures.clear();
        state.lies_in = None;
        state.crash_in = None;
    }

    /// Files that the process holds open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.shared.state.lock().open_files
    }

    /// Lets the process hold so many files open at most.
    pub fn limit_open_files(&self, most: usize) {
        self.shared.state.lock().most_open_files = most;
    }

    /// Leaves `free` bytes of room beyond what is in use now; none is no bound.
    pub fn limit(&self, free: Option<u64>) {
        let mut state = self.shared.state.lock();
        state.capacity = free.map_or(u64::MAX, |free| state.used() + free);
    }

    /// Makes the disk one of so many bytes, used or not. What [`Self::limit`] says is less or more stays said.
    pub fn set_size(&self, bytes: u64) {
        self.shared.state.lock().size = Some(bytes);
    }

    /// Bytes in use by files that have a name.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.shared.state.lock().used()
    }

    /// Does something once, when the next call of this kind has come and has not done its work yet.
    pub fn during(&self, call: Call, what: impl FnOnce() + Send + 'static) {
        self.shared.state.lock().planned.push((call, Box::new(what)));
    }

    /// Lets calls of this kind wait until [`Self::release`].
    pub fn hang(&self, call: Call) {
        self.shared.state.lock().hanging.insert(call);
    }

    /// Lets all calls go on.
    pub fn release(&self) {
        self.shared.state.lock().hanging.clear();
        self.shared.changed.notify_all();
    }

    /// Calls that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().waiting
    }

    /// Names and sizes of the files, by name.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        let state = self.shared.state.lock();
        state.names.iter().map(|(name, inode)| (name.clone(), state.inodes[inode].data.len() as u64)).collect()
    }

    /// The bytes of a file as readers see them; none where there is no such file.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        Some(state.inodes[state.names.get(name)?].data.clone())
    }

    fn generation(&self) -> u64 {
        self.shared.state.lock().generation
    }

    /// Makes one call: the fate that the state decides, then `works`, or `part` where the call fails.
    fn call<T>(
        &self,
        generation: u64,
        call: Call,
        works: impl FnOnce(&mut State) -> io::Result<T>,
        part: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let planned = self.shared.state.lock().take_planned(call);
        planned.into_iter().for_each(|what| what());
        let mut state = self.shared.state.lock();
        self.wait_while_hanging(&mut state, generation, call);
        match state.fate(generation, call) {
            Fate::Works => works(&mut state).inspect(|_| *state.done.entry(call).or_default() += 1),
            Fate::Fails(error) => {
                part(&mut state);
                *state.failed.entry(call).or_default() += 1;
                Err(error)
            }
            Fate::Dies => {
                if state.random.random() {
                    drop(works(&mut state));
                } else if call != Call::SyncData {
                    part(&mut state);
                } // a sync that nobody waits for any more has not failed
                state.crashed = true;
                Err(state::crashed())
            }
            Fate::Dead => Err(state::crashed()),
        }
    }

    fn wait_while_hanging(&self, state: &mut MutexGuard<'_, State>, generation: u64, call: Call) {
        if state.hanging.contains(&call) {
            state.waiting += 1;
            self.shared
                .changed
                .wait_while(state, |state| state.generation == generation && state.hanging.contains(&call));
            state.waiting -= 1;
        }
    }

    fn file(&self, generation: u64, inode: u64) -> Arc<dyn File> {
        self.shared.state.lock().open_files += 1;
        Arc::new(SimulatedFile::new(self.clone(), generation, inode))
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let generation = self.generation();
        let works = |state: &mut State| {
            state.may_open()?;
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if state.room() == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let inode = state.inodes.last_key_value().map_or(1, |(last, _)| last + 1);
            state.inodes.insert(inode, Inode::default());
            state.change(Change::Create { name: name.to_owned(), inode });
            Ok(inode)
        };
        let inode = self.call(generation, Call::Create, works, |_| {})?;
        Ok(self.file(generation, inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let generation = self.generation();
        let works = |state: &mut State| state.may_open().and_then(|()| state.find(name));
        let inode = self.call(generation, Call::Open, works, |_| {})?;
        Ok(self.file(generation, inode))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let works = |state: &mut State| Ok(state.names.keys().cloned().collect());
        self.call(self.generation(), Call::List, works, |_| {})
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let works = |state: &mut State| {
            let inode = state.find(from)?;
            state.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), inode });
            Ok(())
        };
        self.call(self.generation(), Call::Rename, works, |_| {})
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let works = |state: &mut State| {
            let inode = state.find(name)?;
            state.change(Change::Remove { name: name.to_owned(), inode });
            Ok(())
        };
        self.call(self.generation(), Call::Remove, works, |_| {})
    }

    fn sync_dir(&self) -> io::Result<()> {
        let works = |state: &mut State| {
            state.sync_names();
            Ok(())
        };
        self.call(self.generation(), Call::SyncDir, works, |_| {})
    }

    fn size(&self) -> io::Result<Option<u64>> {
        self.call(self.generation(), Call::Size, |state| Ok(state.size), |_| {})
    }

    fn is_there(&self) -> io::Result<bool> {
        Ok(!self.shared.state.lock().is_gone)
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let generation = self.generation();
        let works = |state: &mut State| {
            if state.locked {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "the simulated disk is locked"));
            }
            state.locked = true;
            Ok(())
        };
        self.call(generation, Call::Lock, works, |_| {})?;
        Ok(Box::new(Lock { disk: self.clone(), generation }))
    }
}
