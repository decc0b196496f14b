//! What is known of a webhook's Transform calls.

use moehog_journal::Crashed;
use moehog_proto::journal::Progress;

/// How a webhook's Transform calls went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    /// Goes alone from now on.
    pub(crate) suspect: bool,
    /// Was in a call when a process died.
    pub(crate) crashed: Crashed,
    /// Proven deaths with this webhook alone.
    pub(crate) deaths: u32,
    /// Crashes that count no more.
    void: u32,
}

impl Trial {
    /// As the journal tells it, of the crashes and of what else is known.
    pub(crate) fn new(crashed: Crashed, known: &Progress) -> Self {
        let deaths = known.transform_deaths;
        // the process that was to live without it did not
        let is_void = crashed.alone > 0 && known.crashes_watched == crashed.alone;
        let void = if is_void { crashed.alone } else { known.crashes_void };
        Self { suspect: deaths > 0 || crashed != Crashed::default(), crashed, deaths, void }
    }

    /// What is to be known of crashes when the next process finds it, where that is not known already.
    pub(crate) fn to_watch(self, known: &Progress) -> Option<(u32, u32)> {
        let watched = if self.crashes() > 0 { self.crashed.alone } else { 0 };
        Some((watched, self.void)).filter(|known_now| *known_now != (known.crashes_watched, known.crashes_void))
    }

    /// Crashes that count.
    pub(crate) fn crashes(self) -> u32 {
        self.crashed.alone.saturating_sub(self.void)
    }

    /// Deaths to record. Crashes are the journal's own count and are not part of it.
    pub(crate) fn deaths(&self) -> u32 {
        self.deaths
    }

    /// Deaths that count against the webhook.
    pub(crate) fn counted(&self) -> u32 {
        self.deaths + self.crashes()
    }
}
