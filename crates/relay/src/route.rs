//! Hands events on to the lanes of the destinations that their mapping rules name.
//!
//! What is handed on is an entry of its own, with the webhook's bytes and the places of the events it is for: it waits, is
//! mapped, tried and recorded in its destination's lane as any other, and no lane waits for another one's destination. A
//! process that dies between the append and its record hands the events on again; PostHog collapses them by their UUIDs.

use std::{sync::Arc, time::Duration};

use moehog_journal::{AppendError, Entry, Journal, NewEntry, ReadError};
use moehog_proto::{
    Destination, Receipt, Sequence,
    journal::{EntryHeader, EventPlace, Kind},
};
use moehog_runtime::chain;
use tokio::time::Instant;
use tracing::warn;

/// Within which an entry that is handed on is durable, or handed on again later.
const APPEND_WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of bodies that are appended at once.
const MAX_BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// Events of one entry for one destination.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parcel {
    pub(crate) sequence: Sequence,
    pub(crate) destination: String,
    pub(crate) events: Vec<EventPlace>,
}

/// What came of handing on a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handed {
    /// It is durable in its destination's lane, as this entry.
    As(Receipt),
    /// Not now.
    Later,
    /// The webhook can no longer be read.
    Gone,
}

/// Where the events of a webhook may go: the names in the destination of its entry, the default first; none where they all go to
/// one.
pub(crate) fn names(destination: &str) -> Option<Vec<String>> {
    match Destination::of(destination) {
        Destination::ByRule(names) => Some(names.iter().map(ToString::to_string).collect()),
        Destination::Named(_) | Destination::Keyed(_) => None,
    }
}

/// Hands on parcels of one lane, in their order: after one that was not, none is.
pub(crate) async fn hand_on(journal: Arc<dyn Journal>, parcels: Vec<Parcel>) -> Vec<Handed> {
    let mut handed = Vec::with_capacity(parcels.len());
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let mut last: Option<Entry> = None;
    for parcel in parcels {
        if last.as_ref().is_none_or(|entry| entry.sequence() != parcel.sequence) {
            last = match read(&*journal, parcel.sequence).await {
                Ok(found) => found,
                Err(error) => {
                    warn!(error = %chain(&error), "webhook to hand on cannot be read; tried again");
                    append(&*journal, &mut entries, &mut handed).await;
                    return handed;
                }
            };
        }
        let Some(entry) = last.as_ref().filter(|entry| entry.sequence() == parcel.sequence) else {
            append(&*journal, &mut entries, &mut handed).await;
            if handed.contains(&Handed::Later) {
                return handed;
            }
            handed.push(Handed::Gone);
            continue;
        };
        bytes += entry.bytes();
        entries.push(routed(entry, parcel));
        if bytes >= MAX_BYTES_AT_ONCE {
            bytes = 0;
            append(&*journal, &mut entries, &mut handed).await;
            if handed.contains(&Handed::Later) {
                return handed;
            }
        }
    }
    append(&*journal, &mut entries, &mut handed).await;
    handed
}

/// Reads an entry whose bytes are still there: the body, or the query that is the event.
async fn read(journal: &dyn Journal, sequence: Sequence) -> Result<Option<Entry>, ReadError> {
    let has_bytes = |entry: &Entry| !entry.body.is_empty() || !entry.header.query.is_empty();
    Ok(journal.get(journal.receipt_of(sequence)).await?.filter(has_bytes))
}

/// The entry by which a parcel is handed on.
fn routed(entry: &Entry, parcel: Parcel) -> NewEntry {
    let header = EntryHeader {
        kind: Kind::Routed.into(),
        destination: parcel.destination,
        origin: Some(entry.origin()),
        routed: parcel.events,
        ..entry.header.clone()
    };
    NewEntry { header, body: entry.body.clone() }
}

/// Appends all at once, in their order.
async fn append(journal: &dyn Journal, entries: &mut Vec<NewEntry>, handed: &mut Vec<Handed>) {
    let results = journal.append_in_order(std::mem::take(entries), Instant::now() + APPEND_WITHIN).await;
    let failed = results.iter().find_map(|result| result.as_ref().err());
    if let Some(error) = failed.filter(|error| !matches!(error, AppendError::Closed)) {
        warn!(error = %chain(error), "events cannot be handed to their destinations; tried again");
    }
    handed.extend(results.into_iter().map(|result| result.map_or(Handed::Later, Handed::As)));
}
