//! Hands events on to the lanes of the destinations that their mapping rules name.
//!
//! What is handed on is an entry of its own, with the webhook's bytes and the places of the events it is for: it waits, is
//! mapped, tried and recorded in its destination's lane as any other, and no lane waits for another one's destination. A
//! process that dies between the append and its record hands the events on again; PostHog collapses them by their UUIDs.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use futures::future::maybe_done;
use moehog_journal::{AppendError, BY_RULE, Entry, Journal, NewEntry, ReadError};
use moehog_proto::{
    Receipt, Sequence,
    journal::{EntryHeader, EventPlace, Kind, Origin},
};
use tokio::{task::unconstrained, time::Instant};
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
    Some(destination.strip_prefix(BY_RULE)?.split(',').map(ToString::to_string).collect())
}

/// Hands on parcels of one lane, in their order. After a group with one that was not, none is: only what was begun together with an
/// append that failed may be ahead of it.
pub(crate) async fn hand_on(journal: Arc<dyn Journal>, parcels: Vec<Parcel>) -> Vec<Handed> {
    let mut handed = Vec::with_capacity(parcels.len());
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let mut last: Option<Entry> = None;
    for parcel in parcels {
        if last.as_ref().is_none_or(|entry| entry.sequence() != parcel.sequence) {
            last = match read(&*journal, parcel.sequence).await {
                Ok(found) => found,
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "webhook to hand on cannot be read; tried again");
                    append(&*journal, &mut entries, &mut handed).await;
                    return handed;
                }
            };
        }
        let Some(entry) = last.as_ref().filter(|entry| entry.sequence() == parcel.sequence) else {
            append(&*journal, &mut entries, &mut handed).await;
            handed.push(Handed::Gone);
            continue;
        };
        bytes += entry.body.len();
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

/// Reads an entry whose bytes are still there.
async fn read(journal: &dyn Journal, sequence: Sequence) -> Result<Option<Entry>, ReadError> {
    let receipt = Receipt { journal: journal.id(), sequence };
    Ok(journal.get(receipt).await?.filter(|entry| !entry.body.is_empty()))
}

/// The entry by which a parcel is handed on.
fn routed(entry: &Entry, parcel: Parcel) -> NewEntry {
    let (receipt, received_at_ms) = entry.origin();
    let header = EntryHeader {
        kind: Kind::Routed.into(),
        destination: parcel.destination,
        origin: Some(Origin { receipt, received_at_ms }),
        routed: parcel.events,
        ..entry.header.clone()
    };
    NewEntry { header, body: entry.body.clone() }
}

/// Appends all at once, begun in their order, which the journal keeps.
async fn append(journal: &dyn Journal, entries: &mut Vec<NewEntry>, handed: &mut Vec<Handed>) {
    let deadline = Instant::now() + APPEND_WITHIN;
    let begin = |entry| Box::pin(maybe_done(journal.append(entry, deadline)));
    let mut appends: Vec<_> = std::mem::take(entries).into_iter().map(begin).collect();
    let all = poll_fn(|context| {
        let polled = appends.iter_mut().map(|append| append.as_mut().poll(context));
        if polled.filter(Poll::is_pending).count() > 0 { Poll::Pending } else { Poll::Ready(()) }
    });
    // a task that had its turn would begin only some of them
    unconstrained(all).await;
    let mut failure = None;
    for append in &mut appends {
        handed.push(match append.as_mut().take_output() {
            Some(Ok(receipt)) => Handed::As(receipt),
            Some(Err(error)) => {
                failure = Some(error);
                Handed::Later
            }
            None => Handed::Later,
        });
    }
    if let Some(error) = failure.filter(|error| !matches!(error, AppendError::Closed)) {
        warn!(error = &error as &dyn std::error::Error, "events cannot be handed to their destinations; tried again");
    }
}
