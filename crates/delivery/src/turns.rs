//! How many calls of one destination are worked on, and how many wait.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use moehog_proto::delivery::Load;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::config::Limits;

/// The turns of one destination.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    limits: Limits,
}

/// A call's turn, unless there was none for it. A turn ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    /// None: too many waited already, or the wait was too long.
    pub(crate) turn: Option<OwnedSemaphorePermit>,
    /// What the caller is told.
    pub(crate) load: Load,
}

impl Turns {
    pub(crate) fn new(limits: Limits) -> Self {
        let free = Arc::new(Semaphore::new(limits.concurrency.max(1)));
        Self { free, waiting: AtomicUsize::new(0), limits }
    }

    /// Waits for a turn, unless too many wait already or it takes too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn take(&self) -> Taken {
        let (turn, waited_ms) = match self.free.clone().try_acquire_owned() {
            Ok(turn) => (Some(turn), 0),
            Err(_none_is_free) => {
                let began = Instant::now();
                let turn = self.wait_for_turn().await;
                (turn, u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX))
            }
        };
        let concurrency = u32::try_from(self.limits.concurrency.max(1)).unwrap_or(u32::MAX);
        Taken { turn, load: Load { waited_ms, concurrency, max_concurrency: concurrency } }
    }

    async fn wait_for_turn(&self) -> Option<OwnedSemaphorePermit> {
        let _place = Place::take(&self.waiting, self.limits.queue)?;
        let turn = tokio::time::timeout(self.limits.queue_wait, self.free.clone().acquire_owned()).await;
        turn.ok()?.ok()
    }
}

#[cfg(test)]
impl Turns {
    /// Whether a call would get its turn at once.
    pub(crate) fn one_is_free(&self) -> bool {
        self.free.available_permits() > 0
    }
}

/// A place in a queue.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, places: usize) -> Option<Self> {
        let taken = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < places).then_some(now + 1));
        taken.is_ok().then(|| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_and_a_long_wait_are_overload() {
        let queue_wait = std::time::Duration::from_secs(10);
        let turns = Arc::new(Turns::new(Limits { concurrency: 2, queue: 1, queue_wait }));
        let first = turns.take().await.turn.unwrap();
        let _second = turns.take().await.turn.unwrap();
        let third = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take().await }
        });
        tokio::task::yield_now().await;
        let began = Instant::now();
        assert!(turns.take().await.turn.is_none(), "one waits already");
        assert!(began.elapsed().is_zero(), "a full queue is told at once");
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
        drop(first);
        let third = third.await.unwrap();
        assert!(third.turn.is_some());
        assert_eq!(third.load, Load { waited_ms: 40, concurrency: 2, max_concurrency: 2 });
        let in_vain = turns.take().await;
        assert!(in_vain.turn.is_none(), "nobody gave up a turn in ten seconds");
        assert_eq!(in_vain.load.waited_ms, 10_000);
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }
}
