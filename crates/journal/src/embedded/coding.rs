//! How the frames of a file are written, by the version of the format.

/// The version whose frames this binary writes; it reads those before too.
pub(super) const VERSION: u32 = 2;

/// The version of a directory in which dead letters were revised: what a binary of version 2 took for the last record of such
/// an entry is not. The frames are those of version 2.
pub(super) const REVISED: u32 = 3;

/// The version whose files of frames this binary reads, and appends to where they hold records. What it knew less is told
/// at each place.
pub(super) const VERSION_1: u32 = 1;

/// Where frames begin.
pub(super) const FRAMES_AT: u64 = 8192;
/// Where they began in version 1.
pub(super) const FRAMES_AT_1: u64 = 1024;

/// Bytes before the header.
pub(super) const HEAD: usize = 32;
/// Bytes before the header in version 1.
const HEAD_1: usize = 28;

/// How the frames of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    /// Seeds the checksums.
    pub(super) seed: u32,
    pub(super) version: u32,
}

impl Coding {
    /// Where the first frame is.
    pub(super) fn frames_at(self) -> u64 {
        if self.version == VERSION_1 { FRAMES_AT_1 } else { FRAMES_AT }
    }

    /// Bytes of a frame before its header.
    pub(super) fn head(self) -> usize {
        if self.version == VERSION_1 { HEAD_1 } else { HEAD }
    }

    pub(super) fn checksum(self, frame: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.seed, &frame[..4]), &frame[8..])
    }
}
