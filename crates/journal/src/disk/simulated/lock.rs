//! The lock of the directory.

use super::SimulatedDisk;

/// The lock, free again when dropped or when its process has died.
pub(super) struct Lock {
    pub(super) disk: SimulatedDisk,
    pub(super) generation: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.disk.shared.state.lock();
        if state.generation == self.generation {
            state.locked = false;
        }
    }
}
