//! The log itself: everything that touches the disk, callable from one thread or many.

pub(super) mod append;
mod decide;
pub(super) mod health;
mod maintain;
pub(super) mod marks;
mod merge;
pub(super) mod open;
mod read;
pub(super) mod record;
mod recount;
mod revise;
mod rewrite;
mod seal;

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use moehog_proto::{Incarnation, JournalId, Mint, Receipt, Sequence};
use moehog_runtime::{OncePerMinute, chain};
use parking_lot::Mutex;

use super::{
    Config,
    age::Age,
    format::{Carried, Identity},
    log::health::Health,
    log::marks::Marks,
    reserve::Reserve,
    slots::Slots,
    state::State,
};
use crate::{LaneStats, Stats, disk::Disk, watch::Watchers};

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("journal directory is in use by another process")]
    InUse {
        /// What the disk said.
        source: io::Error,
    },
    /// It was written by a newer moehog.
    #[error(
        "journal directory has format {found}, and this moehog reads format {known}: a newer moehog wrote it; start that \
         one again, since webhooks that wait here are delivered by no other"
    )]
    NewerFormat {
        /// As written.
        found: u32,
        /// What this binary reads.
        known: u32,
    },
    /// The directory holds segments and no readable word of what they are.
    #[error(
        "journal directory holds segments, its file `format` is missing or damaged, and no segment of format 2 tells what \
         stood there: put `format` back from any copy of this directory (it never changes), or set the directory aside as it is, since \
         webhooks may wait in it, and start with an empty one"
    )]
    NoFormat,
    /// The budget holds too few segments.
    #[error(
        "journal.budget_bytes, {budget_bytes}, is less than 8 segments of {segment_bytes} bytes: raise it, or lower \
         journal.segment_bytes"
    )]
    Budget {
        /// As configured.
        budget_bytes: u64,
        /// As configured, or derived.
        segment_bytes: u64,
    },
    /// The disk failed.
    #[error("open journal: {what}")]
    Disk {
        /// What was tried.
        what: String,
        /// What the disk said.
        source: io::Error,
    },
}

/// The segmented log. Each call does its work on the caller's thread and returns when it is done; calls from several
/// threads do not wait for one another's disk, save appends for appends, records for records, and maintenance for
/// maintenance.
///
/// Locks are taken in this order: `appender`, `maintainer`, `recorder`, `marks`, `carried`, `state`; `state` is never held over a disk call, and those who watch are told under any.
pub struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: Config,
    pub(super) id: JournalId,
    pub(super) mint: Mint,
    pub(super) identity: Identity,
    /// `format` says that dead letters were revised.
    pub(super) is_revised: AtomicBool,
    /// Drawn at random when the journal was opened.
    pub(super) incarnation: u64,
    /// The buffer of the group being written.
    pub(super) appender: Mutex<Vec<u8>>,
    /// How many dead letters have gone.
    pub(super) maintainer: Mutex<OncePerMinute>,
    /// The buffer of the records being written.
    pub(super) recorder: Mutex<Vec<u8>>,
    pub(super) state: Mutex<State>,
    pub(super) reserve: Reserve,
    /// What was let go, and what is synced.
    pub(super) carried: Mutex<Slots<Carried>>,
    pub(super) marks: Mutex<Marks>,
    pub(super) health: Health,
    pub(super) age: Age,
    pub(super) watchers: Arc<Watchers>,
    pub(super) directory: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Log").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Log {
    /// Which journal this is.
    #[must_use]
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The highest sequence that readers may see.
    #[must_use]
    pub fn durable(&self) -> Sequence {
        self.state.lock().durable
    }

    /// The lanes that hold unsettled entries.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneStats> {
        self.state.lock().lane_stats()
    }

    /// What of one lane is unsettled, if anything.
    #[must_use]
    pub fn lane(&self, source: &str, destination: &str) -> Option<LaneStats> {
        self.state.lock().stats_of_lane(source, destination)
    }

    /// The books and sizes as they are kept while running.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.state.lock();
        let dropped = |segment: &super::segment::Segment| {
            segment.webhooks.rewritten.as_ref().map_or(0, |rewritten| rewritten.dead_letters_dropped)
        };
        let ledger = state.ledger();
        let dead_letters_dropped =
            state.carried.dead_letters_dropped + state.segments.values().map(dropped).sum::<u64>();
        let retained = state.segments.values().find_map(|segment| {
            let settled = |lane: &super::index::LaneIndex| lane.present.count() > lane.waiting.count();
            let any = segment.index.lanes.iter().any(settled);
            any.then(|| segment.index.received_at_ms.first().copied().unwrap_or(0))
        });
        Stats {
            dead_letters: ledger.book.dead.saturating_sub(dead_letters_dropped),
            ledger,
            used_bytes: state.used(),
            budget_bytes: self.config.budget_bytes,
            cancelled: state.cancelled,
            dead_letters_dropped,
            retained_since_ms: retained,
            segments: state.segments.len() as u64,
            watches: self.watchers.count() as u64,
        }
    }

    /// Makes everything durable and gives the directory free. What is called afterwards fails.
    pub fn close(&self) {
        let buffer = self.appender.lock();
        let maintenance = self.maintainer.lock();
        self.finish_active();
        self.note_losses();
        if let Err(error) = self.sync_records() {
            tracing::warn!(error = %chain(&error), "records of the last second are not synced");
        }
        self.state.lock().closed = true;
        drop((maintenance, buffer));
        self.directory.lock().take();
    }

    /// Whether an append or a record that comes now need not wait for another thread.
    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        let appends = self.appender.try_lock().is_some() && self.carried.try_lock().is_some();
        appends
            && self.recorder.try_lock().is_some()
            && self.marks.try_lock().is_some()
            && self.state.try_lock().is_some()
    }

    /// Whether maintenance that comes now, while a segment is ended, need not wait for another thread.
    #[cfg(test)]
    pub(super) fn is_free_to_maintain(&self) -> bool {
        let is_ending = self.state.try_lock().is_some_and(|state| state.active.is_none());
        is_ending
            && self.maintainer.try_lock().is_some()
            && self.carried.try_lock().is_some()
            && self.recorder.try_lock().is_some()
    }

    /// A number above that of every claim before.
    pub(super) fn next_epoch(&self) -> u64 {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.epoch
    }

    /// The receipt of an entry. Not to be called with `state` held.
    pub(super) fn receipt(&self, sequence: Sequence) -> Receipt {
        let state = self.state.lock();
        let segment = state.segment_of(sequence);
        let incarnation = segment.map_or(self.incarnation, |segment| segment.webhooks.incarnation_of(sequence));
        self.mint.receipt(Incarnation(incarnation), sequence)
    }

    /// Milliseconds since the epoch before which a thing kept for `retention` is to go.
    pub(super) fn before(&self, retention: Duration) -> i64 {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        self.age.now_ms().saturating_sub(retention)
    }
}
