//! Whether the disk takes what is appended.

use std::{
    io,
    time::{Duration, Instant},
};

use moehog_runtime::chain;
use parking_lot::Mutex;

use crate::disk::File;
use crate::embedded::{Log, blocks::create_over};

/// A group of appends that the disk has been at for this long: all of its webhooks were given up before.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// A file that is written to see whether the disk works, and removed again. What a crash leaves of it the next start
/// removes.
const TRIED: &str = "tried.new";

/// The least that is tried to write.
const LEAST_TRIED: u64 = 4096;

/// What the last appends came to.
#[derive(Debug, Default)]
pub(in crate::embedded) struct Health(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    /// When the group that is under way began.
    group_since: Option<Instant>,
    /// Bytes that the disk did not take, where the last append failed.
    refused: Option<u64>,
}

impl Health {
    pub(in crate::embedded) fn group_begins(&self) {
        self.0.lock().group_since = Some(Instant::now());
    }

    pub(in crate::embedded) fn group_ends(&self) {
        self.0.lock().group_since = None;
    }

    pub(in crate::embedded) fn works(&self) {
        self.0.lock().refused = None;
    }

    pub(in crate::embedded) fn fails(&self, bytes: u64) {
        self.0.lock().refused = Some(bytes);
    }

    fn is_well(&self, now: Instant) -> bool {
        let last = self.0.lock();
        last.refused.is_none() && last.group_since.is_none_or(|since| now.duration_since(since) < HANGS_AFTER)
    }
}

impl Log {
    /// Whether the disk takes what is appended: it does not from an append that failed, or that it has been at for
    /// seconds, until one works, or [`Log::maintain`] has seen that one would. A full journal is no failure of the
    /// disk.
    #[must_use]
    pub fn disk_works(&self) -> bool {
        self.health.is_well(Instant::now())
    }

    /// Fails where what is synced would be gone with this process: somebody removed or replaced the directory or the file.
    pub(in crate::embedded) fn is_there(&self, file: &dyn File) -> io::Result<()> {
        match self.disk.is_there()? && file.is_there()? {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the journal's directory, or a file of it, was removed or replaced",
            )),
        }
    }

    /// Tries what the last append needed, where it failed: whoever asks for readiness sends nothing until the disk
    /// works again.
    pub(in crate::embedded) fn try_failed_disk(&self) {
        let Some(bytes) = self.health.0.lock().refused else { return };
        let tried = || -> io::Result<()> {
            let file = create_over(&*self.disk, TRIED)?;
            let written = file
                .allocate(bytes.max(LEAST_TRIED))
                .and_then(|()| file.write_at(&[0; LEAST_TRIED as usize], 0))
                .and_then(|()| file.sync_data())
                .and_then(|()| self.is_there(&*file));
            // the room is given back in any case
            self.disk.remove(TRIED).and(written)
        };
        match tried() {
            Ok(()) => {
                tracing::info!("the disk works again");
                self.health.works();
            }
            Err(error) => tracing::debug!(error = %chain(&error), "the disk does not work yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_takes_too_long_is_a_failure_until_it_ends() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(health.is_well(now + HANGS_AFTER * 2), "nothing is under way");
        health.group_begins();
        assert!(health.is_well(now + HANGS_AFTER / 2));
        assert!(!health.is_well(now + HANGS_AFTER * 2));
        health.group_ends();
        assert!(health.is_well(now + HANGS_AFTER * 2));
    }
}
