//! Watching what becomes of an entry: in memory, lossy, and never waited for by whoever tells.
//!
//! A receipt is known only once the entry can be read, and by then a relay may have mapped it. So a watch is begun before
//! the append and finds its place in the log in the same step that lets readers see the entry.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use moehog_proto::{Sequence, journal::Progress};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Record;

/// Most watches at once: beyond, nobody is told anything.
const MOST: usize = 4096;

/// What somebody who watches an entry waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Its webhook is mapped.
    Mapped,
    /// Its events are final: whoever carries it sends what is before it at once, and it ([`crate::Claim::is_awaited`]).
    Settled,
}

/// What is known of an entry's events.
#[derive(Debug, Clone)]
pub struct Known {
    /// Every event with its state; none before the webhook is mapped.
    pub progress: Arc<Progress>,
    /// Every event is final, and that is stored.
    pub settled: bool,
}

impl Known {
    pub(crate) fn recorded(record: &Record) -> Self {
        Self { progress: record.progress.clone(), settled: record.settled }
    }

    /// The webhook was mapped, or nothing could be made of it.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        !self.progress.events.is_empty()
    }
}

/// A look at what becomes of one entry, from when it began. It costs memory until it is dropped.
pub struct Watch {
    ticket: Ticket,
    watchers: Arc<Watchers>,
    known: watch::Receiver<Option<Known>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Watch {
    /// Waits until the webhook is mapped. It may never be: the caller has the deadline.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    pub async fn mapped(&mut self) -> Known {
        self.until(Known::is_mapped).await
    }

    /// Waits until every event is final. It may never be: the caller has the deadline.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    pub async fn settled(&mut self) -> Known {
        self.until(|known| known.settled).await
    }

    async fn until(&mut self, fits: impl Fn(&Known) -> bool) -> Known {
        let fits = |known: &Option<Known>| known.as_ref().is_some_and(&fits);
        let known = self.known.wait_for(fits).await.ok().and_then(|known| known.clone());
        match known {
            Some(known) => known,
            // the sender lives as long as this watch
            None => std::future::pending().await,
        }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.end(self.ticket);
    }
}

/// Names a watch that has no place in the log yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// All watches of a journal. While there is none, telling costs the look at a number.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    count: AtomicUsize,
    /// Innermost of all locks: held for a few moves in memory and nothing else.
    watches: Mutex<Watches>,
}

#[derive(Debug, Default)]
struct Watches {
    last: u64,
    begun: HashMap<Ticket, Begun>,
    placed: HashMap<Sequence, Vec<Ticket>>,
}

#[derive(Debug)]
struct Begun {
    until: Until,
    known: watch::Sender<Option<Known>>,
    sequence: Option<Sequence>,
}

impl Watchers {
    /// Begins a watch of an entry that has no place yet; none where there are too many.
    pub(crate) fn begin(self: &Arc<Self>, until: Until) -> Option<Watch> {
        let (sender, known) = watch::channel(None);
        let mut watches = self.watches.lock();
        if watches.begun.len() >= MOST {
            return None;
        }
        watches.last += 1;
        let ticket = Ticket(watches.last);
        watches.begun.insert(ticket, Begun { until, known: sender, sequence: None });
        self.count.store(watches.begun.len(), Ordering::Release);
        Some(Watch { ticket, watchers: self.clone(), known })
    }

    /// Says where the entry is. To be called before readers can see it.
    pub(crate) fn place(&self, ticket: Ticket, sequence: Sequence) {
        let watches = &mut *self.watches.lock();
        // who hung up is not told
        if let Some(begun) = watches.begun.get_mut(&ticket) {
            begun.sequence = Some(sequence);
            watches.placed.entry(sequence).or_default().push(ticket);
        }
    }

    fn end(&self, ticket: Ticket) {
        let watches = &mut *self.watches.lock();
        let Some(Begun { sequence, .. }) = watches.begun.remove(&ticket) else { return };
        self.count.store(watches.begun.len(), Ordering::Release);
        if let Some(sequence) = sequence
            && let Some(tickets) = watches.placed.get_mut(&sequence)
        {
            tickets.retain(|other| *other != ticket);
            if tickets.is_empty() {
                watches.placed.remove(&sequence);
            }
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether anybody watches the entry.
    pub(crate) fn watch(&self, sequence: Sequence) -> bool {
        self.count() > 0 && self.watches.lock().placed.contains_key(&sequence)
    }

    /// Whether anybody waits until the entry is settled.
    pub(crate) fn is_awaited(&self, sequence: Sequence) -> bool {
        if self.count() == 0 {
            return false;
        }
        let watches = self.watches.lock();
        let mut begun = watches.placed.get(&sequence).into_iter().flatten().filter_map(|it| watches.begun.get(it));
        begun.any(|begun| begun.until == Until::Settled)
    }

    /// Tells those who watch the entry.
    pub(crate) fn tell(&self, sequence: Sequence, known: &Known) {
        self.tell_each(sequence, known, false);
    }

    /// Tells those who watch the entry and know nothing yet.
    pub(crate) fn tell_new(&self, sequence: Sequence, known: &Known) {
        self.tell_each(sequence, known, true);
    }

    fn tell_each(&self, sequence: Sequence, known: &Known, only_new: bool) {
        if self.count() == 0 {
            return;
        }
        let watches = self.watches.lock();
        for ticket in watches.placed.get(&sequence).into_iter().flatten() {
            let Some(begun) = watches.begun.get(ticket) else { continue };
            begun.known.send_if_modified(|before| {
                let news = before.is_none() || !only_new;
                if news {
                    *before = Some(known.clone());
                }
                news
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use moehog_proto::journal::EventOutcome;

    use super::*;

    fn known(settled: bool) -> Known {
        let progress = Progress { events: vec![EventOutcome::default()], ..Progress::default() };
        Known { progress: progress.into(), settled }
    }

    #[test]
    fn watches_are_bounded_and_a_dropped_one_makes_room() {
        let watchers = Arc::new(Watchers::default());
        let mut watches: Vec<_> = (0..MOST).map(|_| watchers.begin(Until::Settled).unwrap()).collect();
        assert!(watchers.begin(Until::Settled).is_none());
        watchers.place(watches[0].ticket(), 7);
        drop(watches.remove(0));
        assert!(!watchers.watch(7), "a dropped watch has no place");
        assert!(watchers.begin(Until::Settled).is_some());
        watches.clear();
        assert_eq!(watchers.count(), 0);
    }

    #[test]
    fn a_watch_that_was_dropped_before_its_place_was_known_gets_none() {
        let watchers = Arc::new(Watchers::default());
        let (one, other) = (watchers.begin(Until::Settled).unwrap(), watchers.begin(Until::Settled).unwrap());
        let gone = one.ticket();
        drop(one);
        watchers.place(gone, 7);
        assert!(!watchers.watch(7));
        watchers.place(other.ticket(), 7);
        assert!(watchers.watch(7));
    }

    #[test]
    fn an_entry_is_awaited_while_somebody_waits_until_it_is_settled() {
        let watchers = Arc::new(Watchers::default());
        let mapped = watchers.begin(Until::Mapped).unwrap();
        watchers.place(mapped.ticket(), 7);
        assert!(!watchers.is_awaited(7));
        let settled = watchers.begin(Until::Settled).unwrap();
        watchers.place(settled.ticket(), 7);
        assert!(watchers.is_awaited(7) && !watchers.is_awaited(8));
        drop(settled);
        assert!(!watchers.is_awaited(7));
    }

    #[test]
    fn each_who_watches_an_entry_is_told_and_keeps_the_last_word() {
        let watchers = Arc::new(Watchers::default());
        let mut watches = [(); 3].map(|()| watchers.begin(Until::Settled).unwrap());
        for (watch, sequence) in watches.iter().zip([7, 7, 8]) {
            watchers.place(watch.ticket(), sequence);
        }
        watchers.tell(7, &known(false));
        let [one, other, of_another] = &mut watches;
        assert!(one.mapped().now_or_never().is_some() && other.mapped().now_or_never().is_some());
        assert!(one.settled().now_or_never().is_none());
        assert!(of_another.mapped().now_or_never().is_none());
        watchers.tell(7, &known(true));
        watchers.tell_new(7, &known(false));
        assert!(one.settled().now_or_never().is_some(), "what is new is not overwritten by what was stored before");
    }
}
