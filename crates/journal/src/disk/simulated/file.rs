//! An open file.

use std::{fmt, io};

use rand::Rng;

use super::{Call, SimulatedDisk, state::State};
use crate::disk::File;

/// An open file of a simulated disk.
pub(super) struct SimulatedFile {
    disk: SimulatedDisk,
    generation: u64,
    inode: u64,
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimulatedFile").field("inode", &self.inode).finish_non_exhaustive()
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        let mut state = self.disk.shared.state.lock();
        if state.generation == self.generation {
            state.open_files -= 1;
        }
    }
}

impl SimulatedFile {
    pub(super) fn new(disk: SimulatedDisk, generation: u64, inode: u64) -> Self {
        Self { disk, generation, inode }
    }

    fn call<T>(&self, call: Call, works: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.disk.call(self.generation, call, works, |_| {})
    }
}

impl File for SimulatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let works = |state: &mut State| state.write(self.inode, bytes, offset);
        let part = |state: &mut State| {
            let written = state.random.random_range(0..=bytes.len());
            // Whether that part fitted is of no interest: the call fails in any case.
            drop(state.write(self.inode, &bytes[..written], offset));
        };
        self.disk.call(self.generation, Call::Write, works, part)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(Call::Read, |state| {
            let filled = state.inode(self.inode).read(buffer, offset);
            state.read_bytes += filled as u64;
            if filled > 0 && state.lies() {
                buffer[state.random.random_range(0..filled)] ^= 1 << state.random.random_range(0..8);
            }
            Ok(filled)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.call(Call::Len, |state| Ok(state.inode(self.inode).data.len() as u64))
    }

    fn is_there(&self) -> io::Result<bool> {
        Ok(self.disk.shared.state.lock().names.values().any(|inode| *inode == self.inode))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.call(Call::Allocate, |state| {
            let more = length.saturating_sub(state.inode(self.inode).data.len() as u64);
            if more > state.room() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if more > 0 {
                state.inode(self.inode).resize(length);
            }
            Ok(())
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.call(Call::Truncate, |state| {
            state.inode(self.inode).resize(length);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let works = |state: &mut State| {
            state.inode(self.inode).sync();
            Ok(())
        };
        let part = |state: &mut State| {
            let State { inodes, random, .. } = state;
            if let Some(inode) = inodes.get_mut(&self.inode) {
                inode.fail_sync(random);
            }
        };
        self.disk.call(self.generation, Call::SyncData, works, part)
    }
}
