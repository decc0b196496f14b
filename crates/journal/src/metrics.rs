//! What the journal tells of itself.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};

use crate::{AppendError, LaneStats, Stats};

/// What is counted of appends, looked up once.
#[derive(Debug)]
pub(crate) struct Appends {
    outcomes: [Counter; 7],
    seconds: Histogram,
}

impl Appends {
    pub(crate) fn new() -> Self {
        let outcomes = ["durable", "full", "source_full", "deadline", "failed", "closed", "behind"]
            .map(|outcome| counter!("moehog_journal_appends_total", "outcome" => outcome));
        // there from the start, so that its first step is seen
        counter!("moehog_journal_damaged_total").increment(0);
        Self { outcomes, seconds: histogram!("moehog_journal_append_seconds") }
    }

    /// One append ended after `elapsed`.
    pub(crate) fn ended(&self, error: Option<&AppendError>, elapsed: Duration) {
        let outcome = match error {
            None => 0,
            Some(AppendError::Full { .. }) => 1,
            Some(AppendError::SourceFull { .. }) => 2,
            Some(AppendError::Deadline) => 3,
            Some(AppendError::Write { .. }) => 4,
            Some(AppendError::Closed) => 5,
            Some(AppendError::Behind) => 6,
        };
        self.outcomes[outcome].increment(1);
        self.seconds.record(elapsed);
    }
}

/// A group was written and synced.
pub(crate) fn synced(entries: usize, elapsed: Duration) {
    histogram!("moehog_journal_group_entries").record(entries as f64);
    histogram!("moehog_journal_sync_seconds").record(elapsed);
}

/// Entries were found damaged.
pub(crate) fn damaged(entries: u64) {
    counter!("moehog_journal_damaged_total").increment(entries);
}

/// What is held, as of now.
pub(crate) fn space(stats: &Stats, now_ms: i64, lanes: &[LaneStats]) {
    gauge!("moehog_journal_used_bytes").set(stats.used_bytes as f64);
    gauge!("moehog_journal_budget_bytes").set(stats.budget_bytes as f64);
    gauge!("moehog_journal_waiting").set(stats.ledger.waiting as f64);
    gauge!("moehog_journal_dead_letters").set(stats.dead_letters as f64);
    gauge!("moehog_journal_dead_letters_dropped").set(stats.dead_letters_dropped as f64);
    gauge!("moehog_journal_damaged").set(stats.ledger.book.damaged as f64);
    gauge!("moehog_journal_unconfirmed").set(stats.ledger.book.unconfirmed as f64);
    let seconds_since = |at: Option<i64>| at.map_or(0.0, |at| (now_ms - at).max(0) as f64 / 1000.0);
    gauge!("moehog_journal_retained_seconds").set(seconds_since(stats.retained_since_ms));
    let oldest = lanes.iter().map(|lane| lane.oldest_received_at_ms).min();
    gauge!("moehog_journal_oldest_waiting_seconds").set(seconds_since(oldest));
}
