//! What the journal tells of itself.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::{AppendError, LaneStats, Stats};

/// One append ended after `elapsed`.
pub(crate) fn appended(error: Option<&AppendError>, elapsed: Duration) {
    let outcome = match error {
        None => "durable",
        Some(AppendError::Full { .. }) => "full",
        Some(AppendError::SourceFull { .. }) => "source_full",
        Some(AppendError::Deadline) => "deadline",
        Some(AppendError::Write { .. }) => "failed",
        Some(AppendError::Closed) => "closed",
    };
    counter!("moehog_journal_appends_total", "outcome" => outcome).increment(1);
    histogram!("moehog_journal_append_seconds").record(elapsed);
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
    let seconds_since = |at: Option<i64>| at.map_or(0.0, |at| (now_ms - at).max(0) as f64 / 1000.0);
    gauge!("moehog_journal_retained_seconds").set(seconds_since(stats.retained_since_ms));
    let oldest = lanes.iter().map(|lane| lane.oldest_received_at_ms).min();
    gauge!("moehog_journal_oldest_waiting_seconds").set(seconds_since(oldest));
}
