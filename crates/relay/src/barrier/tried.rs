//! What is known of an event that enters the barrier, and how large a call it may travel in.

use std::time::Duration;

/// Call size from which the retries of a former process halve.
const TRIED: u16 = 512;
/// Events that delivery tries alone at most where it takes none: of a call with no more it gives none back.
pub(crate) const TRIED_ALONE: u16 = 8;
/// What was tried and goes in calls of any size is below what was not tried, and above any call.
pub(crate) const TRIED_WHOLE: u16 = u16::MAX / 2;

/// What is known of an event that enters.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tried {
    /// Tries that count.
    pub(crate) attempts: u32,
    /// It was refused the last time.
    pub(crate) suspect: bool,
    /// The last time it was given back, since others of its call were refused.
    pub(crate) given_back: bool,
    /// How long after it was refused it is tried again.
    pub(crate) pause: Duration,
    /// Somebody waits for what becomes of it.
    pub(crate) awaited: bool,
}

impl Tried {
    /// The largest call that it may travel in.
    pub(super) fn limit(&self) -> u16 {
        match self.attempts {
            _ if self.suspect => 1,
            _ if self.given_back => TRIED_ALONE,
            0 => u16::MAX,
            _ => (TRIED >> self.attempts.min(15)).max(1),
        }
    }
}
