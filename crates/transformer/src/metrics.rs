//! The transformer's metrics; counters move once a call.

use std::time::Duration;

use metrics::{counter, histogram};
use moehog_proto::transformer::{TransformedWebhook, mapped_event::Outcome, transformed_webhook};

use crate::{Note, Notes};

/// What became of webhooks and events, counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    webhooks_mapped: u64,
    webhooks_rejected: u64,
    events: u64,
    filtered: u64,
    duplicate: u64,
    dead: u64,
    notes: Notes,
}

impl Tally {
    /// Adds one webhook.
    pub(crate) fn add(&mut self, webhook: &TransformedWebhook, notes: &Notes) {
        self.notes.merge(notes);
        let Some(transformed_webhook::Result::Mapped(mapped)) = &webhook.result else {
            self.webhooks_rejected += 1;
            return;
        };
        self.webhooks_mapped += 1;
        for event in &mapped.events {
            match &event.outcome {
                Some(Outcome::Event(_)) => self.events += 1,
                Some(Outcome::Filtered(_)) => self.filtered += 1,
                Some(Outcome::Duplicate(_)) => self.duplicate += 1,
                Some(Outcome::Dead(_)) | None => self.dead += 1,
            }
        }
    }
}

/// `moehog_transformer_{webhooks,events,notes}_total` and `moehog_transformer_call_seconds`: one Transform call answered.
pub(crate) fn transformed(tally: &Tally, took: Duration) {
    for (outcome, count) in [("mapped", tally.webhooks_mapped), ("rejected", tally.webhooks_rejected)] {
        if count > 0 {
            counter!("moehog_transformer_webhooks_total", "outcome" => outcome).increment(count);
        }
    }
    for (outcome, count) in
        [("event", tally.events), ("filtered", tally.filtered), ("duplicate", tally.duplicate), ("dead", tally.dead)]
    {
        if count > 0 {
            counter!("moehog_transformer_events_total", "outcome" => outcome).increment(count);
        }
    }
    for note in Note::ALL {
        let count = tally.notes.get(note);
        if count > 0 {
            counter!("moehog_transformer_notes_total", "note" => note.name()).increment(count);
        }
    }
    histogram!("moehog_transformer_call_seconds").record(took.as_secs_f64());
}
