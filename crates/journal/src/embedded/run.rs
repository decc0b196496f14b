//! How much of a file is read at once for entries that are wanted of it.
//!
//! What is handed out are slices of what was read, and each keeps all of that in memory. So what is read at once is mostly what is
//! wanted: entries of one lane that lie among those of others are read one by one.

use super::{index::BLOCK, webhooks::AHEAD};

/// Bytes read at once on the way to an entry of which only the block is known: the heads of some small frames, or of a large one.
const NARROW: usize = 4096;
/// A gap that is no longer worth one read more.
const GAP: u64 = 64 * 1024;

/// Where a frame is, or between what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) from: u64,
    pub(super) until: u64,
    /// About how much of that is the frame.
    bytes: u64,
}

impl Extent {
    pub(super) fn exact((from, until): (u64, u64)) -> Self {
        Self { from, until, bytes: until.saturating_sub(from) }
    }

    /// Somewhere in a block.
    pub(super) fn in_block((from, until): (u64, u64)) -> Self {
        Self { from, until, bytes: until.saturating_sub(from) / BLOCK }
    }
}

/// Successive entries, and how they are read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// The first that is not one of them.
    pub(super) end: usize,
    /// Bytes to read at once.
    pub(super) ahead: usize,
    /// They may share what was read: at least half of it is theirs.
    pub(super) shares: bool,
}

impl Run {
    /// The run that begins at `at`, of entries in order of which no more than `room` bytes are wanted.
    pub(super) fn of(extents: impl Iterator<Item = Extent>, at: usize, room: usize) -> Self {
        let most = AHEAD.min(room) as u64;
        let mut sparse = Self { end: at + 1, ahead: NARROW, shares: false };
        let mut dense = None;
        let (mut from, mut wanted) = (None, 0);
        for (number, extent) in extents.enumerate().skip(at) {
            let span = extent.until.saturating_sub(*from.get_or_insert(extent.from));
            if number > at && span > most {
                break;
            }
            wanted += extent.bytes;
            sparse.end = number + 1;
            if span <= 2 * wanted {
                // of a first one for which there is no room, the head is to tell that
                let ahead = span.min(most + NARROW as u64) as usize;
                dense = Some(Self { end: number + 1, ahead, shares: true });
            } else if span > 2 * wanted + GAP {
                break;
            }
        }
        dense.unwrap_or(sparse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(extents: &[Extent], at: usize, room: usize) -> (usize, usize, bool) {
        let run = Run::of(extents.iter().copied(), at, room);
        (run.end, run.ahead, run.shares)
    }

    #[test]
    fn neighbours_are_read_together_and_what_lies_apart_alone() {
        let exact = |from, until| Extent::exact((from, until));
        let row: Vec<_> = (0..10).map(|number| exact(100 * number, 100 * number + 100)).collect();
        assert_eq!(run(&row, 0, usize::MAX), (10, 1000, true));
        assert_eq!(run(&row, 4, usize::MAX), (10, 600, true));
        assert_eq!(run(&row, 0, 350), (3, 300, true), "no more than there is room for");
        assert_eq!(run(&row, 0, 1), (1, 100, true), "but the first");
        let large = exact(0, 25 << 20);
        assert_eq!(run(&[large], 0, 24 << 10), (1, (24 << 10) + NARROW, true), "nothing large is read to be told so");
        assert_eq!(run(&[large], 0, usize::MAX), (1, AHEAD + NARROW, true));
        let apart: Vec<_> = (0..10).map(|number| exact(10_000 * number, 10_000 * number + 100)).collect();
        assert_eq!(run(&apart, 3, usize::MAX), (4, 100, true));
        let mixed = [exact(0, 100), exact(150, 250), exact(9_000, 9_100)];
        assert_eq!(run(&mixed, 0, usize::MAX), (2, 250, true));
    }

    #[test]
    fn a_block_is_read_at_once_where_half_of_it_is_wanted() {
        let block = Extent::in_block((0, 64_000));
        assert_eq!(run(&[block; 40], 0, usize::MAX), (40, 64_000, true));
        assert_eq!(run(&[block; 20], 0, usize::MAX), (20, NARROW, false));
        assert_eq!(run(&[block], 0, usize::MAX), (1, NARROW, false));
    }
}
