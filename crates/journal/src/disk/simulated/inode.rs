//! One file: what readers see, what the medium holds, and what lies between.

use std::collections::BTreeSet;

use rand::{Rng, rngs::StdRng};

/// What a disk writes at once.
pub(super) const SECTOR: usize = 512;

/// The content of one file.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What readers see.
    pub(super) data: Vec<u8>,
    /// What the medium holds, as of the last sync.
    durable: Vec<u8>,
    /// Sectors written since, that a sync would store.
    dirty: BTreeSet<usize>,
    /// Sectors that a failed sync has dropped: readers may see them, the medium does not have them, and no sync will store
    /// them unless they are written again.
    dropped: BTreeSet<usize>,
    /// Sizes the file has had since the last sync.
    sizes: Vec<usize>,
}

impl Inode {
    /// A file that has been there for long.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { data: bytes.clone(), durable: bytes, ..Self::default() }
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let start = index(offset).min(self.data.len());
        let count = buffer.len().min(self.data.len() - start);
        buffer[..count].copy_from_slice(&self.data[start..start + count]);
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let start = index(offset);
        let end = start + bytes.len();
        if bytes.is_empty() {
            return;
        }
        if end > self.data.len() {
            self.resize(end as u64);
        }
        self.data[start..end].copy_from_slice(bytes);
        self.touch(start, end);
    }

    pub(super) fn resize(&mut self, length: u64) {
        let (before, after) = (self.data.len(), index(length));
        if before != after {
            self.data.resize(after, 0);
            self.sizes.push(after);
            self.touch(before.min(after), before.max(after));
        }
    }

    fn touch(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            self.dropped.remove(&sector);
            self.dirty.insert(sector);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.data.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.store(sector, SECTOR);
        }
        self.sizes.clear();
    }

    /// Puts the first `count` bytes of a sector, as readers see it, on the medium.
    fn store(&mut self, sector: usize, count: usize) {
        let start = sector * SECTOR;
        for at in start..(start + count).min(self.durable.len()) {
            self.durable[at] = self.data.get(at).copied().unwrap_or(0);
        }
    }

    /// Shows readers what the medium holds of a sector.
    fn forget(&mut self, sector: usize) {
        for at in sector * SECTOR..((sector + 1) * SECTOR).min(self.data.len()) {
            self.data[at] = self.durable.get(at).copied().unwrap_or(0);
        }
    }

    /// A sync that fails: each dirty sector is stored, stays dirty, or is dropped.
    pub(super) fn fail_sync(&mut self, random: &mut StdRng) {
        if self.durable.len() < self.data.len() && random.random() {
            self.durable.resize(self.data.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            match random.random_range(0..4) {
                0 => self.store(sector, SECTOR),
                1 => {
                    self.dirty.insert(sector);
                }
                2 => {
                    self.dropped.insert(sector);
                }
                _ => {
                    self.dropped.insert(sector);
                    self.forget(sector);
                }
            }
        }
    }

    /// The process ends and the machine goes on: the cache may let go of what it believes stored.
    pub(super) fn kill(&mut self, random: &mut StdRng) {
        for sector in self.dropped.clone() {
            if random.random() {
                self.forget(sector);
            }
        }
    }

    /// The power fails: any part of what was not synced is there.
    pub(super) fn cut_power(&mut self, random: &mut StdRng) {
        // Mostly the disk had not got far, or had nearly all: both ends are as likely as the middle.
        let kept = [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)];
        let size = match self.sizes.len() {
            0 => self.durable.len(),
            _ if random.random_bool(kept) => self.data.len(),
            count => [self.durable.len(), self.sizes[random.random_range(0..count)]][random.random_range(0..2)],
        };
        // A sector beyond the durable end is written before the size tells of it.
        self.durable.resize(size.max(self.durable.len()), 0);
        for sector in std::mem::take(&mut self.dirty) {
            if random.random_bool(kept) {
                let torn = random.random_bool(0.1);
                self.store(sector, if torn { random.random_range(0..SECTOR) } else { SECTOR });
            }
        }
        self.durable.truncate(size);
        self.data.clone_from(&self.durable);
        self.dropped.clear();
        self.sizes.clear();
    }

    pub(super) fn flip(&mut self, offset: u64, mask: u8) -> bool {
        let at = index(offset);
        for bytes in [&mut self.data, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
        at < self.data.len()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a simulated file fits into memory")]
fn index(offset: u64) -> usize {
    offset as usize
}
