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
    /// Bytes of the next webhook and of the events that it keeps, where there was no room for these.
    pub(super) awaits: Option<(usize, usize)>,
    /// What was in memory was given back: nothing is read before.
    pub(super) not_before: Option<Instant>,
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
            awaits: None,
            not_before: None,
            retry: Retry::new(backoff),
        }
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.retry.at().max(self.not_before)
    }

    /// It failed, or what it read was given back a moment ago.
    pub(super) fn waits(&self, now: Instant) -> bool {
        self.retry.waits(now) || self.not_before.is_some_and(|at| now < at)
    }

    /// It has read all there is.
    pub(super) fn waits_for_growth(&self) -> bool {
        self.caught_up && !self.under_way
    }

    pub(super) fn grown(&mut self) {
        self.caught_up = false;
    }

    /// What was read ends before `next`; `caught_up` says that there is no more.
    pub(super) fn has_read(&mut self, next: Sequence, caught_up: bool) {
        (self.under_way, self.awaits) = (false, None);
        self.retry.worked();
        (self.cursor, self.caught_up, self.keeps_up) = (next, caught_up, caught_up);
    }

    /// The entry at `sequence` finds no room for its bytes: it stays in the journal and is read again.
    pub(super) fn stops_before(&mut self, sequence: Sequence, bytes: (usize, usize)) {
        (self.cursor, self.caught_up, self.awaits) = (sequence, false, Some(bytes));
    }

    /// What comes from `sequence` on is read next.
    pub(super) fn read_on(&mut self, sequence: Sequence) {
        self.caught_up &= sequence == self.cursor;
        (self.cursor, self.awaits) = (sequence, None);
    }

    /// All is read anew, and not before that time.
    pub(super) fn rewind(&mut self, not_before: Option<Instant>) {
        (self.cursor, self.caught_up, self.keeps_up) = (0, false, false);
        (self.awaits, self.not_before) = (None, not_before);
    }
}
