//! How far the lane has read the journal.

use moehog_proto::Sequence;
use tokio::time::Instant;

use crate::backoff::{Backoff, Retry};

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    /// What is below is read.
    pub(super) cursor: Sequence,
    /// When the entry before the cursor was received, milliseconds since the epoch.
    pub(super) cursor_at_ms: i64,
    pub(super) under_way: bool,
    pub(super) caught_up: bool,
    /// The last read left nothing behind.
    pub(super) keeps_up: bool,
    /// The next webhook is larger than the room left: nothing is read until nothing is in flight.
    pub(super) draining: bool,
    pub(super) retry: Retry,
}

impl Reader {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            cursor: 0,
            cursor_at_ms: 0,
            under_way: false,
            caught_up: false,
            keeps_up: false,
            draining: false,
            retry: Retry::new(backoff),
        }
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.retry.at()
    }

    /// It has read all there is.
    pub(super) fn waits_for_growth(&self) -> bool {
        self.caught_up && !self.under_way
    }

    pub(super) fn grown(&mut self) {
        self.caught_up = false;
    }

    /// All that was taken is up to `next`, and `caught_up` says that there is no more.
    pub(super) fn has_read(&mut self, next: Sequence, caught_up: bool) {
        self.under_way = false;
        self.retry.worked();
        (self.cursor, self.caught_up, self.keeps_up) = (next, caught_up, caught_up);
    }

    /// The entry at `sequence` finds no room: it stays in the journal and is read again.
    pub(super) fn stops_before(&mut self, sequence: Sequence, is_first: bool) {
        (self.cursor, self.caught_up, self.draining) = (sequence, false, is_first);
    }

    /// All is read anew.
    pub(super) fn rewind(&mut self) {
        (self.cursor, self.caught_up, self.keeps_up, self.draining) = (0, false, false, false);
    }
}
