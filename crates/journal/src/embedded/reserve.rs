//! Room set aside, so that a full disk stops appends and not the records of what was delivered.

use std::{io, sync::Arc};

use parking_lot::Mutex;

use super::{blocks::create_over, coding::FRAMES_AT};
use crate::disk::{Disk, File};

pub(super) const NAME: &str = "reserve";

/// The least that is worth setting aside.
const LEAST: u64 = 64 * 1024;

/// What is kept for writing down what is let go: without that nothing can be. Of a small reserve, an eighth.
const LAST: u64 = 8 * 1024;

/// A file of nothing, given back piece by piece when the disk is full.
#[derive(Debug)]
pub(super) struct Reserve {
    wanted: u64,
    held: Mutex<(Option<Arc<dyn File>>, u64)>,
}

impl Reserve {
    pub(super) fn new(wanted: u64) -> Self {
        Self { wanted, held: Mutex::new((None, 0)) }
    }

    /// Takes as much of the reserve as the disk has room for.
    pub(super) fn fill(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut held = self.held.lock();
        if held.1 >= self.wanted {
            return Ok(());
        }
        if held.0.is_none() {
            held.0 = Some(create_over(disk, NAME)?);
        }
        let (Some(file), mut size) = (held.0.clone(), self.wanted) else { return Ok(()) };
        while size > held.1 {
            match file.allocate(size) {
                Ok(()) => {
                    held.1 = size;
                    return Ok(());
                }
                Err(error) if is_full(&error) => size = if size < LEAST { 0 } else { size / 2 },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes room where less than half of it is set aside, which is an error where that is not to be had: a webhook would take
    /// what was given back for records and not used up.
    pub(super) fn fill_for_appends(&self, disk: &dyn Disk) -> io::Result<()> {
        if self.holds(2) {
            return Ok(());
        }
        self.fill(disk)?;
        if self.holds(2) { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    /// One part in `share` of what is wanted is set aside.
    fn holds(&self, share: u64) -> bool {
        self.held.lock().1 >= self.wanted / share
    }

    /// All that is wanted is set aside.
    pub(super) fn is_whole(&self) -> bool {
        self.holds(1)
    }

    /// Does `work`, giving back a piece of the reserve each time it finds the disk full.
    pub(super) fn with_room<T>(&self, work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.with_room_down_to(LAST.min(self.wanted / 8), work)
    }

    /// The same for what is large, which leaves a quarter for records, and for one file of them at least: without them
    /// nothing more is settled.
    pub(super) fn with_much_room<T>(&self, work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.with_room_down_to((self.wanted / 4).max(2 * FRAMES_AT).min(self.wanted / 2), work)
    }

    /// The same for what makes room: it may take all of the reserve.
    pub(super) fn with_last_room<T>(&self, work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.with_room_down_to(0, work)
    }

    fn with_room_down_to<T>(&self, kept: u64, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match work() {
                Err(error) if is_full(&error) && self.give_back(kept)? => {}
                result => return result,
            }
        }
    }

    fn give_back(&self, kept: u64) -> io::Result<bool> {
        let mut held = self.held.lock();
        let (Some(file), true) = (held.0.clone(), held.1 > kept) else { return Ok(false) };
        let left = if held.1 <= LEAST { kept } else { (held.1 / 2).max(kept) };
        file.truncate(left)?;
        held.1 = left;
        Ok(true)
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
