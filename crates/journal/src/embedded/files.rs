//! The files of a directory: how they are named and copied, and what is said of one that failed.

use std::io;

use moehog_proto::Sequence;

use super::{OpenError, blocks::read_surely, webhooks::AHEAD};
use crate::disk::File;

pub(super) const CARRIED: &str = "carried";

pub(super) trait What<T> {
    fn what(self, what: impl Into<String>) -> Result<T, OpenError>;
}

impl<T> What<T> for io::Result<T> {
    fn what(self, what: impl Into<String>) -> Result<T, OpenError> {
        self.map_err(|source| OpenError::Disk { what: what.into(), source })
    }
}

/// Writes the bytes of a file anew, so that the next sync carries them. What one read got wrong would be written: they are
/// read surely.
pub(super) fn copy_over(file: &dyn File, from: u64, until: u64) -> io::Result<()> {
    let mut offset = from;
    while offset < until {
        let bytes = read_surely(file, offset, until.min(offset + AHEAD as u64))?;
        if bytes.is_empty() {
            break;
        }
        file.write_at(&bytes, offset)?;
        offset += bytes.len() as u64;
    }
    Ok(())
}

pub(super) fn first_of(name: &str, suffix: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(suffix).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|first| *first > 0)
}
