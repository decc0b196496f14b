//! The whole disk: files, names, and what is planned to go wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Call, Death, inode::Inode};

/// What becomes of a call.
pub(super) enum Fate {
    Works,
    Fails(io::Error),
    /// The process dies within it.
    Dies,
    /// The process is dead already.
    Dead,
}

/// A change of names that is not durable yet.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Create { name: String, inode: u64 },
    Rename { from: String, to: String, inode: u64 },
    Remove { name: String, inode: u64 },
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create { name, inode } => {
                names.insert(name, inode);
            }
            Self::Rename { from, to, inode } => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
            Self::Remove { name, inode } => {
                if names.get(&name) == Some(&inode) {
                    names.remove(&name);
                }
            }
        }
    }
}

/// Something to do when a call comes.
pub(super) type Planned = Box<dyn FnOnce() + Send>;

/// The whole disk.
pub(super) struct State {
    pub(super) random: StdRng,
    pub(super) inodes: BTreeMap<u64, Inode>,
    /// Names as readers see them.
    pub(super) names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    changes: Vec<Change>,
    pub(super) locked: bool,
    pub(super) generation: u64,
    pub(super) calls: u64,
    pub(super) done: BTreeMap<Call, u64>,
    pub(super) failed: BTreeMap<Call, u64>,
    pub(super) read_bytes: u64,
    pub(super) crash_in: Option<u64>,
    pub(super) crashed: bool,
    /// Kind, calls that still work, calls that then fail.
    pub(super) failures: Vec<(Call, u64, u64)>,
    pub(super) planned: Vec<(Call, Planned)>,
    /// Reads until one that has a bit turned over.
    pub(super) lies_in: Option<u64>,
    /// The most that may be in use now.
    pub(super) capacity: u64,
    /// Another directory has its name.
    pub(super) is_gone: bool,
    /// What the disk has in all.
    pub(super) size: Option<u64>,
    pub(super) hanging: BTreeSet<Call>,
    pub(super) waiting: usize,
    /// Files that the process holds open, and how many it may.
    pub(super) open_files: usize,
    pub(super) most_open_files: usize,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            locked: false,
            generation: 0,
            calls: 0,
            done: BTreeMap::new(),
            failed: BTreeMap::new(),
            read_bytes: 0,
            crash_in: None,
            crashed: false,
            failures: Vec::new(),
            planned: Vec::new(),
            lies_in: None,
            capacity: u64::MAX,
            is_gone: false,
            size: None,
            hanging: BTreeSet::new(),
            waiting: 0,
            open_files: 0,
            most_open_files: usize::MAX,
        }
    }

    pub(super) fn fate(&mut self, generation: u64, call: Call) -> Fate {
        if self.crashed || generation != self.generation {
            return Fate::Dead;
        }
        self.calls += 1;
        if let Some(left) = &mut self.crash_in {
            if *left == 0 {
                self.crash_in = None;
                return Fate::Dies;
            }
            *left -= 1;
        }
        for (kind, after, times) in &mut self.failures {
            if *kind != call || *times == 0 {
                continue;
            }
            if *after > 0 {
                *after -= 1;
                continue;
            }
            *times -= 1;
            return Fate::Fails(io::Error::other(format!("the simulated disk was told to fail this {call:?}")));
        }
        Fate::Works
    }

    pub(super) fn take_planned(&mut self, call: Call) -> Vec<Planned> {
        let (now, later) = std::mem::take(&mut self.planned).into_iter().partition(|(kind, _)| *kind == call);
        self.planned = later;
        now.into_iter().map(|(_, what): (Call, Planned)| what).collect()
    }

    pub(super) fn reboot(&mut self, death: Death) {
        self.generation += 1;
        self.crashed = false;
        self.locked = false;
        self.crash_in = None;
        self.failures.clear();
        self.planned.clear();
        self.lies_in = None;
        self.hanging.clear();
        self.open_files = 0;
        if death == Death::PowerCut {
            let kept = [0.0, 0.5, 1.0][self.random.random_range(0..3)];
            for change in std::mem::take(&mut self.changes) {
                if self.random.random_bool(kept) {
                    change.apply(&mut self.durable_names);
                }
            }
            self.names.clone_from(&self.durable_names);
        }
        let named: BTreeSet<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        let changing = &self.changes;
        self.inodes.retain(|inode, _| named.contains(inode) || changing.iter().any(|change| change.inode() == *inode));
        for inode in self.inodes.values_mut() {
            match death {
                Death::Kill => inode.kill(&mut self.random),
                Death::PowerCut => inode.cut_power(&mut self.random),
            }
        }
    }

    pub(super) fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.names);
        self.changes.push(change);
    }

    pub(super) fn sync_names(&mut self) {
        self.changes.clear();
        self.durable_names.clone_from(&self.names);
    }

    pub(super) fn find(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The content of an open file; a file without a name is kept until the reboot.
    pub(super) fn inode(&mut self, inode: u64) -> &mut Inode {
        self.inodes.entry(inode).or_default()
    }

    pub(super) fn may_open(&self) -> io::Result<()> {
        if self.open_files < self.most_open_files { Ok(()) } else { Err(too_many_files()) }
    }

    /// Whether the read that comes is the one that lies.
    pub(super) fn lies(&mut self) -> bool {
        let lies = self.lies_in == Some(0);
        self.lies_in = self.lies_in.and_then(|left| left.checked_sub(1));
        lies
    }

    pub(super) fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[inode].data.len() as u64).sum()
    }

    pub(super) fn room(&self) -> u64 {
        self.capacity.min(self.size.unwrap_or(u64::MAX)).saturating_sub(self.used())
    }

    /// Writes what fits.
    pub(super) fn write(&mut self, inode: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = self.inode(inode).data.len() as u64 + self.room();
        let fits = end.saturating_sub(offset).min(bytes.len() as u64);
        #[expect(clippy::cast_possible_truncation, reason = "at most the length of `bytes`")]
        self.inode(inode).write(&bytes[..fits as usize], offset);
        if fits < bytes.len() as u64 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Change {
    fn inode(&self) -> u64 {
        match self {
            Self::Create { inode, .. } | Self::Rename { inode, .. } | Self::Remove { inode, .. } => *inode,
        }
    }
}

/// What is said where as many files are open as may be.
pub(super) fn too_many_files() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())
}

/// What every call says once the process has died.
pub(super) fn crashed() -> io::Error {
    io::Error::other("the simulated process has died")
}
