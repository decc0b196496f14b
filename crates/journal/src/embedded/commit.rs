//! The threads of the embedded journal: one commits groups of appends, one syncs records and maintains.

use std::{
    io, mem,
    sync::Arc,
    thread::{self, JoinHandle},
};

use moehog_proto::{Receipt, Sequence, journal::EntryHeader};
use parking_lot::{Condvar, Mutex};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::{Log, Pending, log::append::is_same_lane, log::record::warn_unsynced};
use crate::{AppendError, NewEntry, growth::Growths};

/// Most bytes that one group takes: a neighbour's large body costs others no more than this.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Most entries that one group takes.
const GROUP_ENTRIES: usize = 4096;

/// Bytes that one permit of the queue stands for.
const PERMIT: usize = 1024;

type Answer = oneshot::Sender<Result<Receipt, AppendError>>;

/// Appends that wait for the commit thread.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    room: Arc<Semaphore>,
    permits: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    appends: Vec<Append>,
    closed: bool,
}

#[derive(Debug)]
struct Append {
    pending: Pending,
    answer: Answer,
    room: OwnedSemaphorePermit,
}

impl Queue {
    fn new(bytes: usize) -> Self {
        let permits = (bytes / PERMIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { waiting: Mutex::default(), changed: Condvar::new(), room: Arc::new(Semaphore::new(permits)), permits }
    }

    /// Waits until the queue has room for the entry.
    pub(super) async fn room_for(&self, entry: &NewEntry) -> Result<OwnedSemaphorePermit, AppendError> {
        let bytes = entry.body.len() + entry.header.encoded_len();
        let permits = (1 + bytes / PERMIT).min(self.permits);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        self.room.clone().acquire_many_owned(permits).await.map_err(|_| AppendError::Closed)
    }

    /// Hands a webhook to the commit thread.
    pub(super) fn push(
        &self,
        pending: Pending,
        room: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Receipt, AppendError>>, AppendError> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(AppendError::Closed);
        }
        waiting.appends.push(Append { pending, answer, room });
        if waiting.appends.len() == 1 {
            self.changed.notify_all();
        }
        Ok(answered)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }

    /// Waits for appends; none when the queue is closed and empty.
    fn take(&self) -> Option<Vec<Append>> {
        let mut waiting = self.waiting.lock();
        while waiting.appends.is_empty() {
            if waiting.closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
        let mut bytes = 0;
        let fits = waiting.appends.iter().take(GROUP_ENTRIES).take_while(|append| {
            let first = bytes == 0;
            bytes += append.pending.entry.body.len() + PERMIT;
            first || bytes <= GROUP_BYTES
        });
        let count = fits.count();
        let rest = waiting.appends.split_off(count);
        Some(mem::replace(&mut waiting.appends, rest))
    }
}

/// The threads, and what they share with the journal.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) queue: Arc<Queue>,
    grown: watch::Receiver<Sequence>,
    stopping: Arc<(Mutex<bool>, Condvar)>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    pub(super) fn start(log: &Arc<Log>, growths: &Arc<Growths>) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(log.config().queue_bytes));
        let (grow, grown) = watch::channel(log.durable());
        let stopping = Arc::new((Mutex::new(false), Condvar::new()));
        let threads = Self { queue, grown, stopping, handles: Mutex::default() };
        let (shared, queue, growths) = (log.clone(), threads.queue.clone(), growths.clone());
        let committer = thread::Builder::new().name("journal-commit".into());
        threads.handles.lock().push(committer.spawn(move || commit(&shared, &queue, (&grow, &growths)))?);
        let (shared, stopping) = (log.clone(), threads.stopping.clone());
        let maintainer = thread::Builder::new().name("journal-maintain".into());
        threads.handles.lock().push(maintainer.spawn(move || maintain(&shared, &stopping))?);
        Ok(threads)
    }

    /// Waits until a sequence above `seen` is durable; none where the journal closes before.
    pub(super) async fn grown(&self, seen: Sequence) -> Option<Sequence> {
        let mut grown = self.grown.clone();
        grown.wait_for(|durable| *durable > seen).await.ok().map(|durable| *durable)
    }

    /// Lets the threads finish what they hold.
    pub(super) fn stop(&self) {
        self.queue.waiting.lock().closed = true;
        self.queue.changed.notify_all();
        self.queue.room.close();
        *self.stopping.0.lock() = true;
        self.stopping.1.notify_all();
    }

    /// What waits for the threads' end; to be called where blocking is allowed.
    pub(super) fn join(&self) -> impl FnOnce() + Send + 'static {
        let handles = mem::take(&mut *self.handles.lock());
        move || {
            for handle in handles {
                if handle.join().is_err() {
                    tracing::error!("a thread of the journal panicked");
                }
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

fn commit(log: &Log, queue: &Queue, (grow, growths): (&watch::Sender<Sequence>, &Growths)) {
    while let Some(appends) = queue.take() {
        let mut group = Vec::with_capacity(appends.len());
        let mut answers = Vec::with_capacity(appends.len());
        for Append { pending, answer, room } in appends {
            group.push(pending);
            answers.push((answer, room));
        }
        let results = log.append_group(&group);
        grow.send_if_modified(|durable| mem::replace(durable, log.durable()) != *durable);
        for (header, highest) in grown(&group, &results) {
            growths.tell(&header.source, &header.destination, highest);
        }
        // The bodies go before their permits.
        drop(group);
        for ((answer, room), result) in answers.into_iter().zip(results) {
            drop(room);
            // Nobody may be waiting any more: the entry counts all the same.
            drop(answer.send(result));
        }
    }
    growths.close();
}

/// The lanes of what was stored, each with its highest sequence; one comes again where others are in between.
fn grown<'a>(group: &'a [Pending], results: &[Result<Receipt, AppendError>]) -> Vec<(&'a EntryHeader, Sequence)> {
    let mut lanes: Vec<(&EntryHeader, Sequence)> = Vec::new();
    for (pending, result) in group.iter().zip(results) {
        let (header, Ok(receipt)) = (&pending.entry.header, result) else { continue };
        match lanes.last_mut() {
            Some((last, highest)) if is_same_lane(last, header) => *highest = receipt.sequence,
            _ => lanes.push((header, receipt.sequence)),
        }
    }
    lanes
}

fn maintain(log: &Log, (stopping, changed): &(Mutex<bool>, Condvar)) {
    let mut stop = stopping.lock();
    while !*stop {
        parking_lot::MutexGuard::unlocked(&mut stop, || {
            if let Err(error) = log.sync_records() {
                warn_unsynced(&error);
            }
            log.maintain();
        });
        if !*stop {
            changed.wait_for(&mut stop, log.config().sync_records_every);
        }
    }
}
