//! A webhooks file: frames of entries, in order of their sequences.

use std::{io, sync::Arc};

use moehog_proto::Sequence;

use super::{
    blocks::{COPY_AT, create_over, read_surely},
    coding::{Coding, FRAMES_AT, FRAMES_AT_1, VERSION_1},
    format::{self, Head, Life, Rewritten, WebhooksFoot},
    frame::{self, Frame},
    runs::Runs,
    window::Window,
};
use crate::disk::{Disk, File};

/// Bytes that a walk through a file reads at a time.
pub(super) const AHEAD: usize = 1024 * 1024;

/// An open webhooks file.
#[derive(Debug, Clone)]
pub(super) struct Webhooks {
    pub(super) file: Arc<dyn File>,
    pub(super) coding: Coding,
    /// Where the frames end that readers may see; all below is synced.
    pub(super) end: u64,
    /// Bytes the file takes.
    pub(super) size: u64,
    pub(super) sealed: bool,
    pub(super) rewritten: Option<Rewritten>,
    /// Which opening of the journal gave out its sequences; none in version 1.
    pub(super) lives: Vec<Life>,
    /// See [`Head::skipped`].
    pub(super) skipped: Runs,
    /// See [`Head::apart`].
    pub(super) apart: Runs,
}

pub(super) fn name(first: Sequence) -> String {
    format!("{first:016x}.webhooks")
}

impl Webhooks {
    /// Makes a file, durably, with room for frames up to `size`.
    pub(super) fn create(disk: &dyn Disk, head: &Head, size: u64) -> io::Result<Self> {
        let name = name(head.first);
        let file = create_over(disk, &name)?;
        let make = || {
            file.allocate(size)?;
            file.write_at(&head.to_bytes(), 0)?;
            file.sync_data()?;
            disk.sync_dir()
        };
        match make() {
            Ok(()) => Ok(Self { end: head.coding().frames_at(), ..Self::of(file, head.clone(), size) }),
            Err(error) => {
                if let Err(error) = disk.remove(&name) {
                    tracing::debug!(%error, name, "remove a segment that could not be begun");
                }
                Err(error)
            }
        }
    }

    /// A file of `size` bytes with this head.
    pub(super) fn of(file: Arc<dyn File>, head: Head, size: u64) -> Self {
        let (coding, skipped, apart) = (head.coding(), head.skipped(), Runs::from_pairs(&head.apart));
        let Head { rewritten, lives, .. } = head;
        Self { file, coding, end: size, size, sealed: false, rewritten, lives, skipped, apart }
    }

    /// Which opening of the journal took the entry; 0 is one of version 1.
    pub(super) fn incarnation_of(&self, sequence: Sequence) -> u64 {
        format::incarnation_of(&self.lives, sequence)
    }

    /// Cuts the file behind its last good frame and writes the foot, durably. Safe to repeat.
    pub(super) fn seal(&self, foot: &WebhooksFoot) -> io::Result<u64> {
        self.file.truncate(self.end)?;
        // A foot may be read from the cache of a killed process: what it ends at is durable before, else what a failed
        // append left behind could come back.
        self.file.sync_data()?;
        let mark = format::foot_mark(self.coding.seed);
        let mark = if self.coding.version == VERSION_1 { &[][..] } else { &mark };
        let bytes = [mark, &format::foot_bytes(self.coding.seed, self.end, foot)].concat();
        let mut from = 0;
        if !(foot.damaged.is_empty() && foot.unconfirmed.is_empty() && foot.lost == 0) {
            // Nothing else tells of them: the end of the foot, which says that there is one, comes when the rest is durable.
            from = bytes.len() - format::TRAILER;
            self.file.write_at(&bytes[..from], self.end)?;
            self.file.sync_data()?;
        }
        self.file.write_at(&bytes[from..], self.end + from as u64)?;
        self.file.sync_data()?;
        Ok(self.end + bytes.len() as u64)
    }

    pub(super) fn window(&self, ahead: usize) -> Window {
        Window::new(self.file.clone(), self.end, ahead)
    }
}

/// Whether nothing but zeros was ever written behind the head, of either version.
pub(super) fn is_blank(file: &dyn File, size: u64) -> io::Result<bool> {
    let before_copy = last_written(file, FRAMES_AT_1, (COPY_AT as u64).min(size))?;
    Ok(before_copy.is_none() && last_written(file, FRAMES_AT, size)?.is_none())
}

/// Where the last byte between two offsets that is not zero ends.
pub(super) fn last_written(file: &dyn File, from: u64, until: u64) -> io::Result<Option<u64>> {
    let (mut offset, mut last) = (from, None);
    while offset < until {
        let bytes = read_surely(file, offset, until.min(offset + 64 * 1024))?;
        if bytes.is_empty() {
            break;
        }
        if let Some(at) = bytes.iter().rposition(|byte| *byte != 0) {
            last = Some(offset + at as u64 + 1);
        }
        offset += bytes.len() as u64;
    }
    Ok(last)
}

/// What [`locate_within`] finds.
pub(super) enum Located {
    Frame(Frame),
    /// Its body is said to have so many bytes, and is not read.
    TooLarge(usize),
    Damaged,
}

/// Finds the frame of `sequence` between `from` and `until`, all of them frame starts (or ends). None where it is damaged.
pub(super) fn locate(
    window: &mut Window,
    coding: Coding,
    sequence: Sequence,
    from: u64,
    until: u64,
) -> io::Result<Option<Frame>> {
    Ok(match locate_within(window, coding, sequence, (from, until), usize::MAX)? {
        Located::Frame(frame) => Some(frame),
        Located::TooLarge(_) | Located::Damaged => None,
    })
}

/// [`locate`], of a body of at most so many bytes.
pub(super) fn locate_within(
    window: &mut Window,
    coding: Coding,
    sequence: Sequence,
    (from, until): (u64, u64),
    max_bytes: usize,
) -> io::Result<Located> {
    let mut offset = from;
    while let Some(found) = frame::peek(window, coding, offset)?.filter(|_| offset < until) {
        if found.sequence == sequence && found.body_bytes > max_bytes {
            return Ok(Located::TooLarge(found.body_bytes));
        }
        if found.sequence >= sequence {
            break;
        }
        offset = found.end;
    }
    if let Some(frame) = frame::read(window, coding, offset)?.filter(|frame| frame.sequence == sequence) {
        return Ok(Located::Frame(frame));
    }
    // Something on the way is damaged: look at every frame.
    let mut offset = from;
    while offset < until {
        let frame = match frame::read(window, coding, offset)? {
            Some(frame) => Some(frame),
            None => frame::find(window, coding, offset + 1, until, &(1..=u64::MAX))?,
        };
        match frame {
            Some(frame) if frame.sequence == sequence => return Ok(Located::Frame(frame)),
            Some(frame) if frame.sequence < sequence => offset = frame.end,
            _ => return Ok(Located::Damaged),
        }
    }
    Ok(Located::Damaged)
}
