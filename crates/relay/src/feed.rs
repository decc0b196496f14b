//! What passes, told to whoever watches: events that became final, or that wait from now on.
//!
//! Nobody who reads is waited for: what a slow reader misses is counted and told to it. While nobody reads, lanes look at one
//! atomic and gather nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use moehog_proto::{Reason, Receipt, journal::EventState};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Most readers at a time.
pub const MAX_READERS: usize = 16;
/// Events that are kept for the slowest reader, some hundred bytes each.
const CAPACITY: usize = 4096;

/// An event that became final, or that waits from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed {
    /// When that was, milliseconds since the epoch.
    pub at_ms: i64,
    /// The source that it came by.
    pub source: String,
    /// Its destination; of `key:<project key>` the last four characters of the key are shown.
    pub destination: String,
    /// Of the webhook that it came in.
    pub receipt: Receipt,
    /// Index of the MoEngage event in the webhook's body, from 0.
    pub position: u32,
    /// Index among the events that one position gave, from 0.
    pub ordinal: u32,
    /// None where no event could be made.
    pub uuid: Option<Uuid>,
    /// Its name at PostHog, of which the first 200 characters; empty where no event was made.
    pub event: String,
    /// Its `distinct_id`, of which the first 200 characters; empty where no event was made.
    pub person: String,
    /// Pending: it waits.
    pub state: EventState,
    /// Why; without a code where it was simply delivered.
    pub reason: Reason,
}

/// What a reader is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// One event.
    Passed(Arc<Passed>),
    /// So many events passed that the reader was too slow for.
    Missed(u64),
}

/// A handle to what passes. Clones are one.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: broadcast::Sender<Arc<Passed>>,
    readers: AtomicUsize,
    ended: CancellationToken,
}

/// Reads what passes from its making on.
#[derive(Debug)]
pub struct FeedReader {
    feed: Arc<Inner>,
    events: broadcast::Receiver<Arc<Passed>>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let (events, _nobody) = broadcast::channel(CAPACITY);
        Self(Arc::new(Inner { events, readers: AtomicUsize::new(0), ended: CancellationToken::new() }))
    }

    /// A reader of all that passes from now on; none while [`MAX_READERS`] read.
    #[must_use]
    pub fn read(&self) -> Option<FeedReader> {
        let one_more = |readers: usize| (readers < MAX_READERS).then_some(readers + 1);
        self.0.readers.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(FeedReader { feed: self.0.clone(), events: self.0.events.subscribe() })
    }

    /// Whether anybody reads.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.readers.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn tell(&self, passed: Passed) {
        // whoever read may have gone
        let _readers = self.0.events.send(Arc::new(passed));
    }

    /// Nothing more passes.
    pub(crate) fn end(&self) {
        self.0.ended.cancel();
    }
}

impl FeedReader {
    /// The next event, or how many were missed; none once the relay has ended and all is told.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing.
    pub async fn next(&mut self) -> Option<Told> {
        tokio::select! {
            // what was told before the end is read first
            biased;
            next = self.events.recv() => match next {
                Ok(passed) => Some(Told::Passed(passed)),
                Err(RecvError::Lagged(missed)) => Some(Told::Missed(missed)),
                Err(RecvError::Closed) => None,
            },
            () = self.feed.ended.cancelled() => None,
        }
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.feed.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use moehog_proto::JournalId;

    use super::*;

    fn passed(at_ms: i64) -> Passed {
        Passed {
            at_ms,
            source: "shop".into(),
            destination: "default".into(),
            receipt: Receipt::plain(JournalId(1), 1),
            position: 0,
            ordinal: 0,
            uuid: None,
            event: "Purchased".into(),
            person: "ada".into(),
            state: EventState::Delivered,
            reason: Reason::default(),
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_much_it_missed_and_then_all_that_is_kept() {
        let feed = Feed::new();
        let (mut slow, mut quick) = (feed.read().unwrap(), feed.read().unwrap());
        let total = CAPACITY as i64 + 120;
        for at_ms in 0..total {
            feed.tell(passed(at_ms));
            assert_eq!(quick.next().await, Some(Told::Passed(Arc::new(passed(at_ms)))));
        }
        assert_eq!(slow.next().await, Some(Told::Missed(120)));
        feed.end();
        for at_ms in 120..total {
            assert_eq!(slow.next().await, Some(Told::Passed(Arc::new(passed(at_ms)))));
        }
        assert_eq!((slow.next().await, quick.next().await), (None, None));
    }

    #[test]
    fn readers_are_bounded_and_counted_until_they_go() {
        let feed = Feed::new();
        assert!(!feed.is_read());
        let mut readers: Vec<_> = (0..MAX_READERS).map(|_| feed.read().unwrap()).collect();
        assert!(feed.read().is_none() && feed.is_read());
        readers.pop();
        assert!(feed.read().is_some());
        readers.clear();
        assert!(!feed.is_read());
    }
}
