//! What happens to files behind everyone's back, on the medium and for readers: damage, and people who copy files.

use std::collections::BTreeMap;

use super::{SimulatedDisk, inode::Inode, state::State};

/// The files of a directory, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

impl SimulatedDisk {
    /// Changes one byte of a file. Does nothing beyond the end of the file, and says so.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) -> bool {
        let mut state = self.shared.state.lock();
        let Some(inode) = state.names.get(name).copied() else { return false };
        state.inodes.get_mut(&inode).is_some_and(|inode| inode.flip(offset, mask))
    }

    /// All files as readers see them.
    #[must_use]
    pub fn copy(&self) -> Files {
        let state = self.shared.state.lock();
        state.names.iter().map(|(name, inode)| (name.clone(), state.inodes[inode].data.clone())).collect()
    }

    /// Puts a file in the place of whatever has that name; none takes the file away.
    pub fn put(&self, name: &str, bytes: Option<Vec<u8>>) {
        let mut state = self.shared.state.lock();
        match bytes {
            Some(bytes) => state.put(name, bytes),
            None => drop(state.names.remove(name)),
        }
        state.sync_names();
    }

    /// Another directory takes the place of this one, or gives it back.
    pub fn move_away(&self, is_gone: bool) {
        self.shared.state.lock().is_gone = is_gone;
    }

    /// Makes these all files there are.
    pub fn put_all(&self, files: &Files) {
        let mut state = self.shared.state.lock();
        state.names.clear();
        files.iter().for_each(|(name, bytes)| state.put(name, bytes.clone()));
        state.sync_names();
    }
}

impl State {
    fn put(&mut self, name: &str, bytes: Vec<u8>) {
        let inode = self.inodes.last_key_value().map_or(1, |(last, _)| last + 1);
        self.inodes.insert(inode, Inode::of(bytes));
        self.names.insert(name.to_owned(), inode);
    }
}
