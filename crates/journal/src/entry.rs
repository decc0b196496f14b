//! What the journal holds and hands out, and what can go wrong.

use std::{io, num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use moehog_proto::{
    Destination, Receipt, Sequence,
    journal::{EntryHeader, EventOutcome, Mapping, Origin, Progress},
};

/// A webhook to append: its bytes as they came and what is known beside them.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Source, destination, time of arrival, trace; `source` and `destination` name the lane and are never empty.
    pub header: EntryHeader,
    /// The body as received, still compressed.
    pub body: Bytes,
}

impl NewEntry {
    /// Whether its events are still to be handed on to the lanes that their rules name. What is taken of these leaves room
    /// in the budget for that, or a full journal could never be emptied.
    pub(crate) fn is_to_be_routed(&self) -> bool {
        matches!(Destination::of(&self.header.destination), Destination::ByRule(_))
    }
}

/// A webhook in the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What its sender was told.
    pub receipt: Receipt,
    /// What is known beside its bytes.
    pub header: EntryHeader,
    /// The body as received, still compressed. Empty when `raw_dropped`.
    pub body: Bytes,
    /// What was last recorded of its events; none before the first record.
    pub progress: Option<Progress>,
    /// Every event is final.
    pub settled: bool,
    /// A Transform that named this webhook had begun and not ended when the process before this one died:
    /// how many such calls held it alone, and whether it was in one with others. Of an entry that was reopened, calls of before
    /// may count too.
    pub crashed: Crashed,
    /// The mapping that a call was made by which sent events of it ([`crate::Claim::decide`]); none before the first.
    pub decided: Option<Mapping>,
}

/// Transform calls that were under way with an entry when a process died.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crashed {
    /// Calls that held this entry alone.
    pub alone: u32,
    /// Calls that held it with others.
    pub together: u32,
}

impl Entry {
    /// The entry's number.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.receipt.sequence
    }

    /// The webhook first taken: this one, unless it is a replay or was routed.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.header.origin.clone().unwrap_or_else(|| Origin {
            receipt: self.receipt.address(),
            received_at_ms: self.header.received_at_ms,
            shown: if self.receipt.is_plain() { String::new() } else { self.receipt.to_string() },
        })
    }
}

impl Entry {
    /// What it holds in memory: its body, what its header keeps of the request, and the events that its progress keeps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.header.headers.iter().map(|header| header.name.len() + header.value.len());
        let request = self.header.query.len() + headers.sum::<usize>();
        let kept = self.progress.iter().flat_map(|progress| &progress.events).filter_map(|event| event.mapped.as_ref());
        self.body.len() + request + kept.map(|event| event.json.len()).sum::<usize>()
    }
}

/// How much one read may hand out.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    /// Most entries.
    pub max_entries: NonZeroUsize,
    /// Most bytes of entries, as [`Entry::bytes`] counts them.
    pub max_bytes: usize,
}

/// Entries of one lane in journal order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Unsettled entries.
    pub entries: Vec<Entry>,
    /// Where to read on: every unsettled entry of the lane below this and not before the read's start is in `entries`.
    pub next: Sequence,
    /// Bytes of the entry at `next`, where it alone is more than the limit, or a few more: nothing is handed out.
    pub too_large: Option<usize>,
}

/// What is to be stored of one entry.
#[derive(Debug, Clone)]
pub struct Record {
    /// The entry.
    pub sequence: Sequence,
    /// All that is known of its events; replaces what was stored before.
    pub progress: Arc<Progress>,
    /// Every event is final: the entry is not read again.
    pub settled: bool,
}

/// An event that cannot be delivered, or a webhook of which nothing could be made.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The webhook.
    pub receipt: Receipt,
    /// What is known beside its bytes.
    pub header: EntryHeader,
    /// The event: position, uuid, reason, detail.
    pub event: EventOutcome,
    /// PostHog's answer to the last attempt, where there was one.
    pub answer: Option<moehog_proto::journal::Attempt>,
}

/// Why a webhook could not be appended. The sender gets a 503; the entry will not be delivered while this process lives.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Unsettled entries and dead letters fill the budget.
    #[error("journal is full: {used} of {limit} bytes hold webhooks that are not settled")]
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes that may be used.
        limit: u64,
    },
    /// This source alone has more than its share of unsettled entries.
    #[error("source {source_name} is full: {used} of its {limit} bytes hold webhooks that are not settled")]
    SourceFull {
        /// Name of the source.
        source_name: String,
        /// Bytes in use.
        used: u64,
        /// Bytes that may be used.
        limit: u64,
    },
    /// The disk did not sync in time; the entry is cancelled.
    #[error("append was not durable by its deadline")]
    Deadline,
    /// The disk failed; the entry is cancelled.
    #[error("append to journal segment {segment}")]
    Write {
        /// The segment.
        segment: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// One that it was to stand behind was not stored.
    #[error("an entry before it was not stored, and it is not stored ahead of that one")]
    Behind,
    /// The journal is closing.
    #[error("journal is closed")]
    Closed,
}

/// Why a source could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another relay walks it.
    #[error("source {source_name} is claimed already")]
    Taken {
        /// Name of the source.
        source_name: String,
    },
    /// The journal is closing.
    #[error("journal is closed")]
    Closed,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The receipt names another journal.
    #[error("receipt {receipt} is of another journal")]
    OtherJournal {
        /// What was asked for.
        receipt: Receipt,
    },
    /// The receipt is of this journal and of no entry of this directory's past.
    #[error(
        "receipt {receipt} is of another life of this journal: a copy of its directory took that webhook, or this \
         directory was put back to what it was before"
    )]
    OtherLife {
        /// What was asked for.
        receipt: Receipt,
    },
    /// The disk failed.
    #[error("read journal segment {segment}")]
    Disk {
        /// The segment.
        segment: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// The journal is closing.
    #[error("journal is closed")]
    Closed,
}

/// Why records could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A newer claim of the source exists.
    #[error("claim of epoch {epoch} is stale")]
    StaleClaim {
        /// The epoch of the claim that tried.
        epoch: u64,
    },
    /// The disk failed; nothing of the batch counts, and it may be repeated.
    #[error("record to journal segment {segment}")]
    Write {
        /// The segment.
        segment: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// The journal is closing.
    #[error("journal is closed")]
    Closed,
}
