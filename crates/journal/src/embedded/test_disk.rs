//! Files for the unit tests of this module.

use std::sync::Arc;

use crate::disk::{Disk, File, simulated::SimulatedDisk};

/// A file that holds `bytes`.
pub(super) fn file_of(bytes: &[u8]) -> Arc<dyn File> {
    let file = SimulatedDisk::new(1).create("file").unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}
