//! The journal as our own segmented log on one disk.
//!
//! A **segment** is two files. `<first sequence>.webhooks` holds frames of entries in order, one `fdatasync` a group; it is
//! sealed with a foot that tells where they are. `<first sequence>.records` holds what became of these entries, the last
//! record of an entry counts; it is synced every second and sealed when all of them are settled. Opening replays unsealed
//! files only. In memory an entry is a bit or two, so a backlog of millions costs little.
//!
//! What is appended is never overwritten: after a failed write or sync the segment is sealed at its last good frame, and
//! the next append begins a new one. A segment that crossed a crash is sealed when it is opened.
//!
//! `FORMAT.md` beside the crate's `src` has the files byte by byte, and what an opening makes of each that is damaged.
//!
//! [`Log`] is the log, on the caller's thread; [`Embedded`] is the [`Journal`] over it, with a thread that commits groups
//! and one that maintains.

mod accounts;
mod age;
mod bits;
mod blocks;
mod coding;
mod commit;
mod config;
#[cfg(test)]
mod conformance;
mod counts;
mod decisions;
mod files;
mod format;
mod frame;
#[cfg(test)]
mod fuzz;
mod identity;
mod index;
mod log;
mod opening;
mod pending;
mod plan;
mod records;
mod recover;
mod reserve;
mod run;
mod runs;
mod segment;
#[cfg(test)]
mod simulation;
mod slots;
mod snapshot;
mod state;
#[cfg(test)]
mod test_disk;
#[cfg(test)]
mod tests;
mod webhooks;
mod window;
mod writer;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use moehog_proto::{
    JournalId, ParseReceiptError, Receipt, Sequence,
    journal::{Mapping, Progress},
};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    task,
    time::{Instant, timeout_at},
};

pub use config::{Clock, Config};
pub use log::{Log, OpenError};
pub use pending::{Chain, Decision, Link, Pending};

use self::commit::Threads;
use crate::{
    AppendError, Batch, Claim, ClaimError, DeadLetter, DeadLetterQuery, Entry, Journal, LaneStats, Ledger, Letters,
    NewEntry, ReadError, ReadLimit, Record, RecordError, Revised, Revision, Stats, Ticket, Until, Watch, disk::Disk,
    growth::Growths, metrics::Appends, reopened::Reopened, watch::Known,
};

/// The journal on one disk.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    threads: Threads,
    appends: Appends,
}

#[derive(Debug)]
struct Shared {
    log: Arc<Log>,
    growths: Arc<Growths>,
    reopened: Reopened,
    claims: Mutex<HashMap<String, u64>>,
}

impl Shared {
    fn check(&self, source: &str, epoch: u64) -> Result<(), RecordError> {
        match self.claims.lock().get(source) {
            Some(current) if *current == epoch => Ok(()),
            _ => Err(RecordError::StaleClaim { epoch }),
        }
    }
}

impl Embedded {
    /// Opens the journal on `disk`, making it where there is none. It blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// See [`Log::open`].
    pub fn open(disk: Arc<dyn Disk>, config: Config) -> Result<Self, OpenError> {
        let log = Arc::new(Log::open(disk, config)?);
        let growths = Arc::<Growths>::default();
        let threads = Threads::start(&log, &growths)
            .map_err(|source| OpenError::Disk { what: "start the journal's threads".into(), source })?;
        let shared = Arc::new(Shared { log, growths, reopened: Reopened::default(), claims: Mutex::default() });
        Ok(Self { shared, threads, appends: Appends::new() })
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Log) -> T + Send + 'static) -> Option<T> {
        let log = self.shared.log.clone();
        task::spawn_blocking(move || work(&log)).await.ok()
    }

    async fn commit(&self, entry: NewEntry, deadline: Instant, watch: Option<Ticket>) -> Result<Receipt, AppendError> {
        let started = Instant::now();
        let result = match self.begin(entry, deadline, watch, None).await {
            Ok(append) => append.end(deadline).await,
            Err(error) => Err(error),
        };
        self.appends.ended(result.as_ref().err(), started.elapsed());
        result
    }

    /// Hands a webhook to the commit thread.
    async fn begin(
        &self,
        entry: NewEntry,
        deadline: Instant,
        watch: Option<Ticket>,
        chain: Option<Link>,
    ) -> Result<UnderWay, AppendError> {
        let queue = &self.threads.queue;
        let Ok(room) = timeout_at(deadline, queue.room_for(&entry)).await else { return Err(AppendError::Deadline) };
        let decision = Decision::default();
        let answer = queue.push(Pending { entry, decision: decision.clone(), watch, chain }, room?)?;
        Ok(UnderWay { decision, answer })
    }
}

/// An append that the commit thread has.
struct UnderWay {
    decision: Decision,
    answer: oneshot::Receiver<Result<Receipt, AppendError>>,
}

impl UnderWay {
    async fn end(mut self, deadline: Instant) -> Result<Receipt, AppendError> {
        match timeout_at(deadline, &mut self.answer).await {
            Ok(result) => result.unwrap_or(Err(AppendError::Closed)),
            Err(_) if self.decision.give_up() => Err(AppendError::Deadline),
            Err(_) => self.answer.await.unwrap_or(Err(AppendError::Closed)),
        }
    }
}

#[async_trait]
impl Journal for Embedded {
    fn id(&self) -> JournalId {
        self.shared.log.id()
    }

    fn receipt(&self, text: &str) -> Result<Receipt, ParseReceiptError> {
        self.shared.log.mint.read(text)
    }

    fn receipt_of(&self, sequence: Sequence) -> Receipt {
        self.shared.log.receipt(sequence)
    }

    async fn append(&self, entry: NewEntry, deadline: Instant) -> Result<Receipt, AppendError> {
        self.commit(entry, deadline, None).await
    }

    async fn append_in_order(&self, entries: Vec<NewEntry>, deadline: Instant) -> Vec<Result<Receipt, AppendError>> {
        let (started, mut chain) = (Instant::now(), Chain::default());
        let mut under_way = Vec::with_capacity(entries.len());
        for entry in entries {
            let begun = self.begin(entry, deadline, None, Some(chain.link())).await;
            if begun.is_err() {
                chain.link().fails();
            }
            under_way.push(begun);
        }
        let mut results = Vec::with_capacity(under_way.len());
        for append in under_way {
            let result = match append {
                Ok(append) => append.end(deadline).await,
                Err(error) => Err(error),
            };
            self.appends.ended(result.as_ref().err(), started.elapsed());
            results.push(result);
        }
        results
    }

    async fn append_watched(
        &self,
        entry: NewEntry,
        deadline: Instant,
        until: Until,
    ) -> Result<(Receipt, Option<Watch>), AppendError> {
        let watch = self.shared.log.watchers.begin(until);
        let receipt = self.commit(entry, deadline, watch.as_ref().map(Watch::ticket)).await?;
        Ok((receipt, watch))
    }

    async fn watch(&self, receipt: Receipt) -> Result<Option<Watch>, ReadError> {
        self.blocking(move |log| log.watch(receipt)).await.unwrap_or(Err(ReadError::Closed))
    }

    async fn claim(&self, source: &str) -> Result<Arc<dyn Claim>, ClaimError> {
        if self.threads.queue.is_closed() {
            return Err(ClaimError::Closed);
        }
        let mut claims = self.shared.claims.lock();
        if claims.contains_key(source) {
            return Err(ClaimError::Taken { source_name: source.into() });
        }
        let epoch = self.shared.log.next_epoch();
        claims.insert(source.into(), epoch);
        Ok(Arc::new(EmbeddedClaim { shared: self.shared.clone(), source: source.into(), epoch }))
    }

    fn lanes(&self) -> Vec<LaneStats> {
        self.shared.log.lanes()
    }

    fn lane(&self, source: &str, destination: &str) -> Option<LaneStats> {
        self.shared.log.lane(source, destination)
    }

    async fn grown(&self, seen: Sequence) -> Option<Sequence> {
        self.threads.grown(seen).await
    }

    async fn get(&self, receipt: Receipt) -> Result<Option<Entry>, ReadError> {
        self.blocking(move |log| log.get(receipt)).await.unwrap_or(Err(ReadError::Closed))
    }

    async fn find(&self, uuid: [u8; 16]) -> Result<Vec<Receipt>, ReadError> {
        let found = self.blocking(move |log| log.find(&uuid)).await.unwrap_or(Err(ReadError::Closed))?;
        Ok(found.into_iter().map(|sequence| self.receipt_of(sequence)).collect())
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, ReadError> {
        self.blocking(move |log| log.dead_letters(&query)).await.unwrap_or(Err(ReadError::Closed))
    }

    async fn revise(&self, letters: Vec<Letters>, to: Revision) -> Result<Vec<Revised>, ReadError> {
        let shared = self.shared.clone();
        let revising = task::spawn_blocking(move || {
            let mut results = Vec::with_capacity(letters.len());
            let end = shared.log.revise(&letters, to, &mut results, |source, destination, sequences| {
                shared.reopened.tell(source, destination, sequences);
            });
            end.map(|()| results)
        });
        revising.await.unwrap_or(Err(ReadError::Closed))
    }

    fn stats(&self) -> Stats {
        self.shared.log.stats()
    }

    fn disk_works(&self) -> bool {
        self.shared.log.disk_works()
    }

    async fn recount(&self) -> Result<Ledger, ReadError> {
        self.blocking(Log::recount).await.unwrap_or(Err(ReadError::Closed))
    }

    async fn close(&self) {
        self.threads.stop();
        self.shared.reopened.close();
        let joined = self.threads.join();
        let log = self.shared.log.clone();
        let closed = task::spawn_blocking(move || {
            joined();
            log.close();
        });
        if closed.await.is_err() {
            tracing::error!("the journal did not close in order");
        }
    }
}

#[derive(Debug)]
struct EmbeddedClaim {
    shared: Arc<Shared>,
    source: String,
    epoch: u64,
}

impl EmbeddedClaim {
    /// The log, as long as the claim is the last of its source.
    fn log(&self) -> Result<&Log, RecordError> {
        self.shared.check(&self.source, self.epoch)?;
        Ok(&self.shared.log)
    }
}

#[async_trait]
impl Claim for EmbeddedClaim {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn read(&self, destination: &str, from: Sequence, limit: ReadLimit) -> Result<Batch, ReadError> {
        let planned = self.shared.log.plan(&self.source, destination, from, limit)?;
        if planned.is_fresh() {
            return self.shared.log.read_planned(planned, limit);
        }
        let log = self.shared.log.clone();
        let read = task::spawn_blocking(move || log.read_planned(planned, limit));
        read.await.unwrap_or(Err(ReadError::Closed))
    }

    async fn grown(&self, destination: &str, seen: Sequence) -> Option<Sequence> {
        let Shared { log, growths, .. } = &*self.shared;
        growths.wait((&self.source, destination), seen, || log.durable()).await
    }

    async fn reopened(&self, destination: &str) -> Option<BTreeSet<Sequence>> {
        self.shared.reopened.wait(&self.source, destination).await
    }

    async fn record(&self, records: Vec<Record>) -> Result<(), RecordError> {
        self.log()?.record(self.epoch, records)
    }

    fn announce(&self, sequence: Sequence, progress: &Arc<Progress>) {
        let watchers = &self.shared.log.watchers;
        // a claim of another process has another log
        if watchers.count() > 0 {
            watchers.tell(sequence, &Known { progress: progress.clone(), settled: false });
        }
    }

    fn is_awaited(&self, sequence: Sequence) -> bool {
        self.shared.log.watchers.is_awaited(sequence)
    }

    async fn transform_started(&self, sequences: &[Sequence]) -> Result<(), RecordError> {
        self.log()?.transform_started(sequences)
    }

    async fn transform_ended(&self, sequences: &[Sequence]) -> Result<(), RecordError> {
        self.log()?.transform_ended(sequences)
    }

    async fn decide(&self, mapping: &Mapping, sequences: &[Sequence]) -> Result<(), RecordError> {
        self.log()?.decide(mapping, sequences.to_vec())
    }
}

impl Drop for EmbeddedClaim {
    fn drop(&mut self) {
        let mut claims = self.shared.claims.lock();
        if claims.get(&self.source) == Some(&self.epoch) {
            claims.remove(&self.source);
        }
    }
}
