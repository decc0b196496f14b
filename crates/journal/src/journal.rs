//! The journal's promises.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use moehog_proto::{
    JournalId, ParseReceiptError, Receipt, Sequence,
    journal::{Book, Mapping, Progress},
};
use tokio::time::Instant;

use crate::{
    AppendError, Batch, ClaimError, DeadLetter, Entry, Letters, NewEntry, ReadError, ReadLimit, Record, RecordError,
    Revised, Revision, Until, Watch,
};

/// A durable log of webhooks, read by lane (source and destination), with what became of their events beside it.
///
/// Every implementation passes the tests of `conformance.rs`.
#[async_trait]
pub trait Journal: Debug + Send + Sync + 'static {
    /// Which journal this is; part of every receipt.
    fn id(&self) -> JournalId;

    /// Reads a receipt's text. It says nothing of whether the entry exists.
    ///
    /// # Errors
    ///
    /// It is no receipt, or is of another journal.
    fn receipt(&self, text: &str) -> Result<Receipt, ParseReceiptError>;

    /// The receipt of the entry with this number; of a number that was never given out one that finds nothing.
    fn receipt_of(&self, sequence: Sequence) -> Receipt;

    /// Stores a webhook. It returns when one of two things came first: the entry is durable (`Ok`: it survives kill -9
    /// and a power cut, and readers see it from now on), or the deadline passed or the disk failed (`Err`: no reader
    /// sees it while this process lives).
    ///
    /// # Errors
    ///
    /// No room, a deadline passed, a failed disk, a closing journal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the entry may become durable and is then delivered.
    async fn append(&self, entry: NewEntry, deadline: Instant) -> Result<Receipt, AppendError>;

    /// Stores webhooks in their order: none counts after one that failed. The results stand in that order.
    ///
    /// # Cancel safety
    ///
    /// As [`Journal::append`].
    async fn append_in_order(&self, entries: Vec<NewEntry>, deadline: Instant) -> Vec<Result<Receipt, AppendError>>;

    /// As [`Journal::append`], and watches what becomes of the entry from before any reader can see it, so that nothing
    /// told of it is missed. No watch where there are too many.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    ///
    /// # Cancel safety
    ///
    /// As [`Journal::append`]; a dropped watch leaves nothing behind.
    async fn append_watched(
        &self,
        entry: NewEntry,
        deadline: Instant,
        until: Until,
    ) -> Result<(Receipt, Option<Watch>), AppendError>;

    /// Watches what becomes of an entry: it begins with what is stored, and what was announced before is not told. None
    /// where there is no such entry, or too many watches.
    ///
    /// # Errors
    ///
    /// The receipt is of another journal or of another life of this one, or the disk failed.
    async fn watch(&self, receipt: Receipt) -> Result<Option<Watch>, ReadError>;

    /// Takes the one claim on a source. It is given up when dropped.
    ///
    /// # Errors
    ///
    /// The source is claimed already, or the journal is closing.
    async fn claim(&self, source: &str) -> Result<Arc<dyn Claim>, ClaimError>;

    /// The lanes that hold unsettled entries.
    fn lanes(&self) -> Vec<LaneStats>;

    /// The same of one lane; none where it holds no unsettled entry. It costs no more where there are many lanes.
    fn lane(&self, source: &str, destination: &str) -> Option<LaneStats>;

    /// Waits until a sequence above `seen` is durable and returns the highest durable one; none where the journal closes
    /// before.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    async fn grown(&self, seen: Sequence) -> Option<Sequence>;

    /// Finds an entry by its receipt; none where it was never taken, was cancelled, or its raw bytes are gone.
    ///
    /// # Errors
    ///
    /// The receipt is of another journal or of another life of this one, or the disk failed.
    async fn get(&self, receipt: Receipt) -> Result<Option<Entry>, ReadError>;

    /// Finds the entries that hold an event with this uuid, newest first, by what is recorded of their events. It reads all
    /// records that are kept: for a person who asks, not for each event.
    ///
    /// # Errors
    ///
    /// The disk failed.
    async fn find(&self, uuid: [u8; 16]) -> Result<Vec<Receipt>, ReadError>;

    /// Dead letters, newest first.
    ///
    /// # Errors
    ///
    /// The disk failed.
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, ReadError>;

    /// Has dead events of settled entries tried again, or discards them. An entry that is tried again waits in its lane with
    /// these events open and its others as they are: it is read again ([`Claim::reopened`]), mapped by what is in force then,
    /// and keeps receipt, time and UUIDs. Survives kill -9 when it returns, and a power cut one second later. Safe to repeat:
    /// an event that is not dead stays as it is. The results stand in the order of the letters.
    ///
    /// # Errors
    ///
    /// The disk failed or the journal is closing: what was revised before counts.
    async fn revise(&self, letters: Vec<Letters>, to: Revision) -> Result<Vec<Revised>, ReadError>;

    /// The books and sizes as they are kept while running.
    fn stats(&self) -> Stats;

    /// Whether the disk takes what is appended: false from an append that it failed until one works, or until the
    /// journal, which tries by itself, sees that one would. Cheap. A full journal is no failure of the disk.
    fn disk_works(&self) -> bool;

    /// The books counted anew from what is stored, to be compared with [`Stats::ledger`].
    ///
    /// # Errors
    ///
    /// The disk failed.
    async fn recount(&self) -> Result<Ledger, ReadError>;

    /// Refuses what comes from now on, makes everything durable, and gives the directory free.
    async fn close(&self);
}

/// One relay's right to walk a source. A newer claim makes this one stale.
///
/// Its calls may keep their thread for as long as a disk takes: they belong on threads that answer nobody.
#[async_trait]
pub trait Claim: Debug + Send + Sync + 'static {
    /// Grows with every claim of the journal.
    fn epoch(&self) -> u64;

    /// Reads unsettled entries of the lane from sequence `from` on (0 is the oldest), in journal order, each with the
    /// progress stored so far. It holds no cursor: the same read gives the same entries until they are settled. It does
    /// not wait: an empty batch says that the lane has nothing from `from` on yet.
    ///
    /// # Errors
    ///
    /// The disk failed.
    async fn read(&self, destination: &str, from: Sequence, limit: ReadLimit) -> Result<Batch, ReadError>;

    /// Waits until the lane may have an entry above `seen`, and gives the highest sequence that it may have one at: [`Claim::read`]
    /// says what is there. None where the journal closes before. Entries of other lanes wake nobody here.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    async fn grown(&self, destination: &str, seen: Sequence) -> Option<Sequence>;

    /// Waits until entries of the lane were reopened ([`Journal::revise`]) that a read was past, and gives their sequences, each
    /// once; entries that no read was past may be among them. None where the journal closes before.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    async fn reopened(&self, destination: &str) -> Option<BTreeSet<Sequence>>;

    /// Stores what is known of each entry's events, and settles those that are complete. Safe to repeat. Survives
    /// kill -9 when it returns, and a power cut one second later. Who watches one of the entries is told then.
    ///
    /// # Errors
    ///
    /// The claim is stale, or the disk failed: nothing of the batch counts then.
    async fn record(&self, records: Vec<Record>) -> Result<(), RecordError>;

    /// Tells those who watch the entry what is known before it is recorded. It stores nothing, waits for nobody, and costs
    /// the look at a number while nobody watches anything.
    fn announce(&self, sequence: Sequence, progress: &Arc<Progress>);

    /// Whether somebody waits until the entry is settled ([`Until::Settled`]), asked when it was read. It costs the look at a number
    /// while nobody watches anything.
    fn is_awaited(&self, sequence: Sequence) -> bool;

    /// Notes that a Transform call begins with these entries. Survives kill -9 when it returns, so that a webhook that
    /// kills the whole process is found out ([`Entry::crashed`]).
    ///
    /// # Errors
    ///
    /// The claim is stale, or the disk failed.
    async fn transform_started(&self, sequences: &[Sequence]) -> Result<(), RecordError>;

    /// Notes that the call has ended, whatever came of it.
    ///
    /// # Errors
    ///
    /// The claim is stale, or the disk failed.
    async fn transform_ended(&self, sequences: &[Sequence]) -> Result<(), RecordError>;

    /// Notes that a call begins which sends events of these entries as `mapping` made them. Survives kill -9 when it returns,
    /// until they are settled: the next process maps them by the same ([`Entry::decided`]).
    ///
    /// # Errors
    ///
    /// The claim is stale, or the disk failed.
    async fn decide(&self, mapping: &Mapping, sequences: &[Sequence]) -> Result<(), RecordError>;
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterQuery {
    /// Only of this source.
    pub source: Option<String>,
    /// Only entries below this sequence (for the next page); 0 is no bound.
    pub before: Sequence,
    /// Most dead letters to return; entries are not split, so a few more may come. 0 is 100.
    pub limit: usize,
}

/// What waits in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStats {
    /// The source.
    pub source: String,
    /// The destination.
    pub destination: String,
    /// Entries that are not settled.
    pub unsettled: u64,
    /// Where the oldest of them is, or below it.
    pub oldest: Sequence,
    /// When that one was received, milliseconds since the epoch.
    pub oldest_received_at_ms: i64,
}

/// The two books. Webhooks: `taken = settled + waiting + damaged`; a cancelled append was not taken. `unconfirmed` ones
/// are in none of these: a crash left no frame of them, and nothing says that they were ever synced. Events, from their
/// entry's first record on: `mapped = delivered + delivered_degraded + filtered + duplicate + dead + discarded + in_flight`.
/// What is settled only grows until a dead letter of it is tried again ([`Journal::revise`]).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    /// What everything came to.
    pub book: Book,
    /// Webhooks not settled.
    pub waiting: u64,
    /// Events recorded and not final.
    pub in_flight: u64,
}

/// The books, and what the journal uses.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// As kept while running.
    pub ledger: Ledger,
    /// Bytes on the disk.
    pub used_bytes: u64,
    /// Bytes that may be used.
    pub budget_bytes: u64,
    /// Appends cancelled since the start.
    pub cancelled: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// Dead letters that were dropped for want of room or by age since the journal was made.
    pub dead_letters_dropped: u64,
    /// When the oldest settled webhook still kept was received; none where none is kept.
    pub retained_since_ms: Option<i64>,
    /// Segment files.
    pub segments: u64,
    /// Looks at what becomes of entries under way.
    pub watches: u64,
}

/// Whether an event with this uuid is on record; shared by every implementation so that they cannot differ.
pub(crate) fn holds(progress: &Progress, uuid: &[u8; 16]) -> bool {
    progress.events.iter().any(|event| event.uuid == uuid[..])
}

/// What a progress counts to in the event book; shared by every implementation so that they cannot differ.
#[must_use]
pub fn count(progress: &Progress) -> (Book, u64) {
    use moehog_proto::journal::EventState;
    let mut book = Book { mapped: progress.events.len() as u64, ..Book::default() };
    let mut in_flight = 0;
    for event in &progress.events {
        match event.state() {
            EventState::Delivered => book.delivered += 1,
            EventState::DeliveredDegraded => book.delivered_degraded += 1,
            EventState::Filtered => book.filtered += 1,
            EventState::Duplicate => book.duplicate += 1,
            EventState::Dead => book.dead += 1,
            EventState::Discarded => book.discarded += 1,
            EventState::Pending | EventState::Unspecified => in_flight += 1,
        }
    }
    (book, in_flight)
}
