//! The promises of [`Journal`], as tests that every back end passes.
//!
//! A back end gives a [`Store`] and names it in [`conformance`]; each promise is then a test of its own.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use moehog_proto::{
    Receipt, Sequence,
    journal::{Attempt, EntryHeader, EventOutcome, EventState, Progress},
};
use tokio::time::Instant;

use crate::{Claim, Entry, Journal, NewEntry, ReadLimit, Record};

pub(crate) mod appends;
pub(crate) mod books;
pub(crate) mod claims;
pub(crate) mod reads;
pub(crate) mod records;
pub(crate) mod revisions;
pub(crate) mod watches;

/// What outlives a journal: a directory, a disk, a stream.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Opens the journal over what is stored. The one before was closed, or its process has died.
    async fn open(&mut self) -> Arc<dyn Journal>;

    /// Ends the process that has the journal open: kill -9.
    async fn kill(&mut self);

    /// Ends the process that has the journal open, and the machine's power with it.
    async fn cut_power(&mut self);

    /// Lets nothing become durable until [`Store::resume`].
    fn stall(&mut self);

    /// Ends a stall.
    fn resume(&mut self);
}

/// Makes one test of each promise; `$store` is an expression that makes an empty [`Store`].
macro_rules! conformance {
    ($store:expr) => {
        $crate::conformance::conformance! { $store =>
            appends: what_was_appended_is_read_byte_for_byte
            appends: nothing_is_read_before_it_is_durable
            appends: an_append_past_its_deadline_is_not_read_while_the_process_lives
            appends: dropping_an_append_cancels_nothing
            appends: what_was_acknowledged_survives_a_kill_and_a_power_cut
            appends: sequences_grow_and_are_not_used_again
            appends: many_senders_at_once_each_keep_their_order
            appends: what_is_appended_in_order_has_nothing_behind_one_that_failed
            appends: a_closed_journal_refuses_and_has_all_when_opened_again
            reads: a_read_is_of_one_lane_in_order_and_holds_no_cursor
            reads: limits_bound_a_read_and_next_skips_nothing
            reads: growth_is_told_when_it_is_durable
            reads: growth_wakes_the_lane_that_grew
            reads: a_receipt_finds_its_entry_and_no_other
            reads: a_receipt_is_read_from_its_text_and_another_journals_is_told
            reads: an_events_uuid_finds_the_entries_that_hold_it
            claims: a_source_is_claimed_once_and_free_when_the_claim_is_dropped
            claims: a_claim_of_a_dead_process_is_refused
            claims: epochs_grow_over_restarts
            claims: a_transform_under_way_when_the_process_died_is_told
            claims: what_is_decided_is_told_until_the_entry_is_settled
            records: the_last_record_counts_and_a_repeated_one_changes_nothing
            records: a_settled_entry_is_never_read_again
            records: records_survive_a_kill_at_once_and_a_power_cut_soon
            records: records_of_what_is_not_there_do_no_harm
            records: dead_letters_are_listed_newest_first
            books: the_books_agree_with_a_recount_at_every_step
            books: the_books_survive_restarts
            books: lanes_tell_what_waits
            revisions: dead_events_are_tried_again_and_their_neighbours_are_not
            revisions: a_webhook_of_which_nothing_was_made_is_mapped_as_a_new_one
            revisions: what_is_tried_again_is_mapped_by_what_is_in_force_then
            revisions: who_walks_the_lane_is_told_what_was_reopened
            revisions: what_was_discarded_is_listed_no_more
            revisions: what_is_under_way_or_not_dead_or_not_there_stays_as_it_is
            revisions: a_revision_survives_a_kill_at_once_and_a_power_cut_soon
            watches: a_watch_that_began_with_the_append_misses_nothing
            watches: a_watch_of_a_receipt_begins_with_what_is_stored
            watches: a_watch_that_begins_during_a_record_knows_of_it
            watches: an_announcement_is_told_of_its_entry_and_stores_nothing
            watches: a_stale_claim_announces_nothing
            watches: a_watch_costs_nothing_once_it_is_dropped_or_its_append_failed
        }
    };
    ($store:expr => $($module:ident: $name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let mut store = $store;
            let test = $crate::conformance::$module::$name(&mut store);
            tokio::time::timeout(std::time::Duration::from_secs(30), test).await.expect("the test hangs");
        }
    )*};
}
pub(crate) use conformance;

const ALL: ReadLimit = ReadLimit { max_entries: NonZeroUsize::MAX, max_bytes: usize::MAX };

fn at_most(max_entries: usize, max_bytes: usize) -> ReadLimit {
    ReadLimit { max_entries: NonZeroUsize::new(max_entries).unwrap(), max_bytes }
}

fn webhook(source: &str, destination: &str, body: impl Into<Bytes>) -> NewEntry {
    let header = EntryHeader {
        source: source.into(),
        destination: destination.into(),
        received_at_ms: 1_700_000_000_000,
        ..EntryHeader::default()
    };
    NewEntry { header, body: body.into() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn append(journal: &Arc<dyn Journal>, source: &str, destination: &str, body: impl Into<Bytes>) -> Receipt {
    journal.append(webhook(source, destination, body), soon()).await.unwrap()
}

async fn read(claim: &Arc<dyn Claim>, destination: &str) -> Vec<Entry> {
    claim.read(destination, 0, ALL).await.unwrap().entries
}

fn bodies(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.body.to_vec()).unwrap()).collect()
}

fn sequences(entries: &[Entry]) -> Vec<Sequence> {
    entries.iter().map(Entry::sequence).collect()
}

/// A progress whose events are in `states`.
fn progress(states: &[EventState]) -> Progress {
    let event = |(position, state): (usize, &EventState)| EventOutcome {
        position: position.try_into().unwrap(),
        uuid: vec![position.try_into().unwrap(); 16].into(),
        state: (*state).into(),
        reason: if *state == EventState::Dead { "rejected".into() } else { String::new() },
        attempts: 1,
        attempt: 1,
        ..EventOutcome::default()
    };
    let answer = Attempt { started_at_ms: 5, duration_ms: 7, status: 400, answer: "bad event".into() };
    Progress {
        mapping_revision: "1".into(),
        events: states.iter().enumerate().map(event).collect(),
        attempts: vec![answer],
        ..Progress::default()
    }
}

fn record(sequence: Sequence, states: &[EventState]) -> Record {
    let open = [EventState::Pending, EventState::Unspecified];
    let settled = !states.iter().any(|state| open.contains(state));
    Record { sequence, progress: progress(states).into(), settled }
}
