//! How many calls of one destination are worked on, and how many wait.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config::Limits, destination::NoDestination};

/// The turns of one destination.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    limits: Limits,
}

impl Turns {
    pub(crate) fn new(limits: Limits) -> Self {
        let free = Arc::new(Semaphore::new(limits.concurrency.max(1)));
        Self { free, waiting: AtomicUsize::new(0), limits }
    }

    /// Waits for a turn, unless too many wait already or it takes too long. A turn ends when it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, NoDestination> {
        if let Ok(turn) = self.free.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let _place = Place::take(&self.waiting, self.limits.queue).ok_or(NoDestination::Overloaded)?;
        let turn = tokio::time::timeout(self.limits.queue_wait, self.free.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(NoDestination::Overloaded)
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
        let first = turns.take().await.unwrap();
        let _second = turns.take().await.unwrap();
        let third = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take().await.map(drop) }
        });
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        assert_eq!(turns.take().await.map(drop), Err(NoDestination::Overloaded), "one waits already");
        assert!(began.elapsed().is_zero(), "a full queue is told at once");
        drop(first);
        assert_eq!(third.await.unwrap(), Ok(()));
        let _first = turns.take().await.unwrap();
        assert_eq!(
            turns.take().await.map(drop),
            Err(NoDestination::Overloaded),
            "nobody gave up a turn in ten seconds"
        );
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }
}
