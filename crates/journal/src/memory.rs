//! A journal that forgets all when the process ends: for the tests of those who use a journal.
//!
//! It keeps the promises of [`Journal`] short of surviving anything, and has what tests need beside: appends that hang
//! or fail ([`Memory::set_appends`]), records that fail, and a [`Memory::restart`] that stands for a process that died.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use moehog_proto::{Incarnation, JournalId, Mint, ParseReceiptError, Receipt, Sequence, journal::EntryHeader};
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use crate::{
    AppendError, Claim, ClaimError, DeadLetter, DeadLetterQuery, Entry, Journal, LaneStats, Ledger, Letters, NewEntry,
    ReadError, Revised, Revision, Stats, Ticket, Until, Watch,
    growth::Growths,
    reopened::Reopened,
    watch::{Known, Watchers},
};

use self::{
    claim::MemoryClaim,
    store::{Pending, Store},
};

mod claim;
mod store;
#[cfg(test)]
mod tests;

/// What becomes of appends from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Appends {
    /// They are stored at once.
    #[default]
    Work,
    /// They wait, as if the disk did not answer, until the next [`Memory::set_appends`] or their deadline.
    Hang,
    /// The disk fails.
    Fail,
    /// There is no room.
    Full,
}

/// A journal in memory.
pub struct Memory {
    shared: Arc<Shared>,
    growths: Arc<Growths>,
    reopened: Arc<Reopened>,
    /// Process that this handle stands for; another one after a restart.
    process: u64,
}

struct Shared {
    life: Life,
    store: Mutex<Store>,
    grown: watch::Sender<Grown>,
    watchers: Arc<Watchers>,
}

/// What makes the receipts: the journal and its one life, which a restart does not end.
#[derive(Debug)]
struct Life {
    id: JournalId,
    mint: Mint,
    incarnation: Incarnation,
}

impl Life {
    fn new() -> Self {
        let id = JournalId(rand::random());
        Self { id, mint: Mint::new(id, rand::random()), incarnation: Incarnation(rand::random_range(1..=u64::MAX)) }
    }

    fn receipt(&self, sequence: Sequence) -> Receipt {
        self.mint.receipt(self.incarnation, sequence)
    }

    fn check(&self, receipt: Receipt) -> Result<(), ReadError> {
        if receipt.journal != self.id {
            return Err(ReadError::OtherJournal { receipt });
        }
        if receipt != self.receipt(receipt.sequence) {
            return Err(ReadError::OtherLife { receipt });
        }
        Ok(())
    }
}

/// What a waiter for growth looks at.
#[derive(Debug, Clone, Copy, Default)]
struct Grown {
    durable: Sequence,
    process: u64,
    closed: bool,
}

impl fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Memory")
            .field("id", &self.shared.life.id)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty journal without a bound.
    #[must_use]
    pub fn new() -> Self {
        Self::with_budget(u64::MAX)
    }

    /// An empty journal that holds at most `budget_bytes` of headers and bodies.
    #[must_use]
    pub fn with_budget(budget_bytes: u64) -> Self {
        let store = Mutex::new(Store::new(budget_bytes));
        let shared = Shared { life: Life::new(), store, grown: watch::Sender::default(), watchers: Arc::default() };
        Self { shared: Arc::new(shared), growths: Arc::default(), reopened: Arc::default(), process: 0 }
    }

    /// Decides what becomes of appends from now on, those that hang included.
    pub fn set_appends(&self, appends: Appends) {
        let mut store = self.shared.store.lock();
        store.appends = appends;
        if appends != Appends::Hang {
            for pending in std::mem::take(&mut store.pending) {
                self.finish(&mut store, pending);
            }
        }
    }

    /// Makes [`Claim::record`], [`Claim::transform_started`] and [`Claim::transform_ended`] fail, or work again.
    pub fn set_records_fail(&self, fail: bool) {
        self.shared.store.lock().records_fail = fail;
    }

    /// Makes reads fail, or work again.
    pub fn set_reads_fail(&self, fail: bool) {
        self.shared.store.lock().reads_fail = fail;
    }

    /// Kills the process that holds the journal and opens it in another: this handle and its claims are refused from
    /// now on, appends that hung are gone, and Transform calls that were under way count as crashed.
    #[must_use]
    pub fn restart(&self) -> Self {
        let mut store = self.shared.store.lock();
        store.restart();
        let grown = Grown { durable: store.durable(), process: store.process, closed: false };
        self.shared.grown.send_replace(grown);
        self.growths.close();
        self.reopened.close();
        Self { shared: self.shared.clone(), growths: Arc::default(), reopened: Arc::default(), process: store.process }
    }

    async fn commit(&self, entry: NewEntry, deadline: Instant, watch: Option<Ticket>) -> Result<Receipt, AppendError> {
        let (answer, mut answered) = oneshot::channel();
        let ticket = {
            let mut store = self.shared.store.lock();
            if store.closed || store.process != self.process {
                return Err(AppendError::Closed);
            }
            let ticket = store.ticket();
            let pending = Pending { ticket, entry, deadline, answer, watch };
            if store.appends == Appends::Hang {
                store.pending.push(pending);
            } else {
                self.finish(&mut store, pending);
            }
            ticket
        };
        match tokio::time::timeout_at(deadline, &mut answered).await {
            Ok(answer) => Ok(self.receipt_of(answer.unwrap_or(Err(AppendError::Closed))?)),
            Err(_elapsed) => {
                // The store's lock decides between the two that may have come first.
                let mut store = self.shared.store.lock();
                match answered.try_recv() {
                    Ok(answer) => Ok(self.receipt_of(answer?)),
                    Err(_) => {
                        store.pending.retain(|pending| pending.ticket != ticket);
                        store.cancelled += 1;
                        Err(AppendError::Deadline)
                    }
                }
            }
        }
    }

    /// Ends an append: the one place where it becomes durable or fails.
    fn finish(&self, store: &mut Store, pending: Pending) {
        let answer = if Instant::now() >= pending.deadline {
            store.cancelled += 1;
            Err(AppendError::Deadline)
        } else {
            let EntryHeader { source, destination, .. } = &pending.entry.header;
            let lane = (source.clone(), destination.clone());
            store.append(pending.entry).inspect(|sequence| {
                if let Some(ticket) = pending.watch {
                    self.shared.watchers.place(ticket, *sequence);
                }
                self.shared.grown.send_modify(|grown| grown.durable = *sequence);
                self.growths.tell(&lane.0, &lane.1, *sequence);
            })
        };
        // A caller that hung up cancels nothing.
        drop(pending.answer.send(answer));
    }
}

#[async_trait]
impl Journal for Memory {
    fn id(&self) -> JournalId {
        self.shared.life.id
    }

    fn receipt(&self, text: &str) -> Result<Receipt, ParseReceiptError> {
        self.shared.life.mint.read(text)
    }

    fn receipt_of(&self, sequence: Sequence) -> Receipt {
        self.shared.life.receipt(sequence)
    }

    async fn append(&self, entry: NewEntry, deadline: Instant) -> Result<Receipt, AppendError> {
        self.commit(entry, deadline, None).await
    }

    async fn append_in_order(&self, entries: Vec<NewEntry>, deadline: Instant) -> Vec<Result<Receipt, AppendError>> {
        let mut results = Vec::with_capacity(entries.len());
        for entry in entries {
            let is_behind = results.last().is_some_and(Result::is_err);
            results.push(if is_behind { Err(AppendError::Behind) } else { self.commit(entry, deadline, None).await });
        }
        results
    }

    async fn append_watched(
        &self,
        entry: NewEntry,
        deadline: Instant,
        until: Until,
    ) -> Result<(Receipt, Option<Watch>), AppendError> {
        let watch = self.shared.watchers.begin(until);
        let receipt = self.commit(entry, deadline, watch.as_ref().map(Watch::ticket)).await?;
        Ok((receipt, watch))
    }

    async fn watch(&self, receipt: Receipt) -> Result<Option<Watch>, ReadError> {
        self.shared.life.check(receipt)?;
        let store = self.shared.store.lock();
        store.check_read()?;
        let Some(entry) = store.entry(&self.shared.life, receipt.sequence) else { return Ok(None) };
        let Some(watch) = self.shared.watchers.begin(Until::Settled) else { return Ok(None) };
        self.shared.watchers.place(watch.ticket(), receipt.sequence);
        if let Some(progress) = entry.progress {
            let known = Known { progress: progress.into(), settled: entry.settled };
            self.shared.watchers.tell_new(receipt.sequence, &known);
        }
        Ok(Some(watch))
    }

    async fn claim(&self, source: &str) -> Result<Arc<dyn Claim>, ClaimError> {
        let mut store = self.shared.store.lock();
        if store.closed || store.process != self.process {
            return Err(ClaimError::Closed);
        }
        let epoch = store.claim(source).ok_or_else(|| ClaimError::Taken { source_name: source.to_owned() })?;
        Ok(Arc::new(MemoryClaim {
            shared: self.shared.clone(),
            growths: self.growths.clone(),
            reopened: self.reopened.clone(),
            source: source.to_owned(),
            epoch,
        }))
    }

    fn lanes(&self) -> Vec<LaneStats> {
        self.shared.store.lock().lanes()
    }

    fn lane(&self, source: &str, destination: &str) -> Option<LaneStats> {
        self.shared.store.lock().lane(&(source.to_owned(), destination.to_owned()))
    }

    async fn grown(&self, seen: Sequence) -> Option<Sequence> {
        let mut grown = self.shared.grown.subscribe();
        let ended = |grown: &Grown| grown.closed || grown.process != self.process;
        let grown = grown.wait_for(|grown| grown.durable > seen || ended(grown)).await.ok()?;
        (grown.durable > seen).then_some(grown.durable)
    }

    async fn get(&self, receipt: Receipt) -> Result<Option<Entry>, ReadError> {
        self.shared.life.check(receipt)?;
        let store = self.shared.store.lock();
        store.check_read()?;
        Ok(store.entry(&self.shared.life, receipt.sequence))
    }

    async fn find(&self, uuid: [u8; 16]) -> Result<Vec<Receipt>, ReadError> {
        let store = self.shared.store.lock();
        store.check_read()?;
        Ok(store.find(&self.shared.life, &uuid))
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, ReadError> {
        let store = self.shared.store.lock();
        store.check_read()?;
        Ok(store.dead_letters(&self.shared.life, &query))
    }

    async fn revise(&self, letters: Vec<Letters>, to: Revision) -> Result<Vec<Revised>, ReadError> {
        let mut store = self.shared.store.lock();
        store.check_read()?;
        let (mut reopened, mut named) = (BTreeMap::new(), BTreeSet::new());
        let mut revised = Vec::with_capacity(letters.len());
        for letters in letters {
            self.shared.life.check(letters.receipt)?;
            revised.push(match named.insert(letters.receipt.sequence) {
                true => store.revise(&letters, to, &mut reopened),
                false => Revised::UnderWay,
            });
        }
        for ((source, destination), sequences) in reopened {
            self.reopened.tell(&source, &destination, sequences);
        }
        Ok(revised)
    }

    fn stats(&self) -> Stats {
        Stats { watches: self.shared.watchers.count() as u64, ..self.shared.store.lock().stats() }
    }

    fn disk_works(&self) -> bool {
        self.shared.store.lock().appends != Appends::Fail
    }

    async fn recount(&self) -> Result<Ledger, ReadError> {
        let store = self.shared.store.lock();
        store.check_read()?;
        Ok(store.recount())
    }

    async fn close(&self) {
        let mut store = self.shared.store.lock();
        if store.process == self.process {
            store.closed = true;
            // Those that hang are answered `Closed` by their sender being gone.
            store.pending.clear();
            self.shared.grown.send_modify(|grown| grown.closed = true);
            self.growths.close();
            self.reopened.close();
        }
    }
}
