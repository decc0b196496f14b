//! How many calls of one destination are worked on, and how many wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use moehog_proto::delivery::Load;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    concurrency::{Begun, Concurrency, Ended},
    config::Limits,
    metrics::ConcurrencyGauges,
};

/// The turns of one destination. A call has one request under way, so there are as many as there may be requests.
#[derive(Debug)]
pub(crate) struct Turns {
    /// For logs; never the key.
    label: String,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    limits: Limits,
    state: Mutex<State>,
    gauges: ConcurrencyGauges,
    /// A moment and its time of day.
    began: (Instant, Duration),
}

#[derive(Debug)]
struct State {
    concurrency: Concurrency,
    /// Turns there are: `concurrency.limit()` once it is applied.
    turns: usize,
    /// Turns that are taken.
    in_use: usize,
    /// Turns in use beyond `turns`: each is gone when it ends.
    too_many: usize,
    /// What was last logged.
    is_lowered: bool,
}

/// What came of asking for a turn.
#[derive(Debug)]
pub(crate) struct Taken {
    /// None: too many waited already, or the wait was too long.
    pub(crate) turn: Option<Turn>,
    pub(crate) waited_ms: u32,
}

/// A call's turn; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// The turns of the destination that logs and metrics call `label`.
    pub(crate) fn new(limits: Limits, label: &str) -> Self {
        let concurrency = Concurrency::new(limits.concurrency);
        let turns = concurrency.limit();
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            label: label.to_string(),
            free: Arc::new(Semaphore::new(turns)),
            waiting: AtomicUsize::new(0),
            limits,
            state: Mutex::new(State { concurrency, turns, in_use: 0, too_many: 0, is_lowered: false }),
            gauges: ConcurrencyGauges::new(label, turns),
            began: (Instant::now(), since_epoch),
        }
    }

    /// Waits for a turn, unless too many wait already or it takes too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn take(self: &Arc<Self>) -> Taken {
        let (permit, waited_ms) = match self.free.clone().try_acquire_owned() {
            Ok(permit) => (Some(permit), 0),
            Err(_none_is_free) => {
                let began = Instant::now();
                let permit = self.wait_for_turn().await;
                (permit, u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX))
            }
        };
        let turn = permit.map(|permit| {
            self.state.lock().in_use += 1;
            Turn { turns: self.clone(), permit: Some(permit) }
        });
        Taken { turn, waited_ms }
    }

    /// What a call that asked for a turn is told.
    pub(crate) fn load(&self, waited_ms: u32) -> Load {
        let state = self.state.lock();
        let count = |turns| u32::try_from(turns).unwrap_or(u32::MAX);
        Load {
            waited_ms,
            concurrency: count(state.concurrency.limit()),
            max_concurrency: count(state.concurrency.max()),
        }
    }

    async fn wait_for_turn(&self) -> Option<OwnedSemaphorePermit> {
        let given = {
            let state = self.state.lock();
            // those in the queue have them, and do not know yet
            state.turns.saturating_sub(state.in_use)
        };
        let _place = Place::take(&self.waiting, self.limits.queue + given)?;
        let permit = tokio::time::timeout(self.limits.queue_wait, self.free.clone().acquire_owned()).await;
        permit.ok()?.ok()
    }

    /// The time of day as the time since the epoch. It never goes back.
    fn now(&self) -> Duration {
        self.began.1 + self.began.0.elapsed()
    }

    /// Makes as many turns as there may be requests now.
    fn apply(&self, state: &mut State) {
        let (before, now) = (state.turns, state.concurrency.limit());
        if now > before {
            let kept = state.too_many.min(now - before);
            state.too_many -= kept;
            self.free.add_permits(now - before - kept);
        } else if now < before {
            state.too_many += before - now;
            state.too_many -= self.free.forget_permits(state.too_many);
        }
        if now != before {
            state.turns = now;
            self.gauges.changed(before, now);
        }
        let is_lowered = state.concurrency.is_lowered();
        if std::mem::replace(&mut state.is_lowered, is_lowered) != is_lowered {
            let destination = &self.label;
            if is_lowered {
                tracing::info!(%destination, concurrency = now, "PostHog bears fewer requests at a time");
            } else {
                tracing::info!(%destination, concurrency = now, "PostHog bears limits.concurrency requests again");
            }
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.gauges.gone(state.turns, state.concurrency.max());
    }
}

impl Turn {
    /// The call's request begins.
    pub(crate) fn begin_request(&self) -> Begun {
        let (now, mut state) = (self.turns.now(), self.turns.state.lock());
        let in_use = state.in_use;
        let request = state.concurrency.begin(now, in_use);
        self.turns.apply(&mut state);
        request
    }

    /// The call's request of `bytes` before compression ended.
    pub(crate) fn end_request(&self, request: Begun, bytes: usize, ended: Ended) {
        let (now, mut state) = (self.turns.now(), self.turns.state.lock());
        state.concurrency.end(now, request, bytes, ended);
        self.turns.apply(&mut state);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.state.lock();
        state.in_use -= 1;
        if state.too_many > 0
            && let Some(permit) = self.permit.take()
        {
            state.too_many -= 1;
            permit.forget();
        }
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

    fn turns(concurrency: usize, queue: usize) -> Arc<Turns> {
        let limits = Limits { concurrency, queue, queue_wait: Duration::from_secs(10) };
        Arc::new(Turns::new(limits, "shop"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_and_a_long_wait_are_overload() {
        let turns = turns(2, 1);
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
        tokio::time::sleep(Duration::from_millis(40)).await;
        drop(first);
        let third = third.await.unwrap();
        assert!(third.turn.is_some());
        let load = turns.load(third.waited_ms);
        assert_eq!(load, Load { waited_ms: 40, concurrency: 2, max_concurrency: 2 });
        let in_vain = turns.take().await;
        assert!(in_vain.turn.is_none(), "nobody gave up a turn in ten seconds");
        assert_eq!(in_vain.waited_ms, 10_000);
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_given_a_turn_and_does_not_know_yet_takes_no_place_in_the_queue() {
        let turns = turns(1, 1);
        let take = || {
            let turns = turns.clone();
            tokio::spawn(async move { turns.take().await.turn })
        };
        let first = turns.take().await.turn;
        let second = take();
        tokio::task::yield_now().await;
        drop(first);
        let third = turns.take();
        let (second, third) = tokio::join!(async { second.await.unwrap() }, async {
            tokio::time::timeout(Duration::from_secs(1), third).await
        });
        assert!(second.is_some());
        assert!(third.is_err(), "it waits for the second, which has the one turn");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_limit_holds_for_calls_that_wait_and_turns_in_use_are_gone_when_they_end() {
        let turns = turns(8, 8);
        let mut in_use = Vec::new();
        for _ in 0..8 {
            in_use.push(turns.take().await.turn.unwrap());
        }
        let mut waiting: Vec<_> = (0..4)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.take().await.turn })
            })
            .collect();
        tokio::task::yield_now().await;
        let requests: Vec<_> = in_use.iter().map(Turn::begin_request).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (turn, request) in in_use.iter().zip(requests).take(2) {
            turn.end_request(request, 500, Ended::Refused);
        }
        assert_eq!(turns.load(0).concurrency, 4, "half");
        in_use.drain(..4);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "four of the eight are gone");
        in_use.drain(..2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(waiting.iter().filter(|waiting| waiting.is_finished()).count(), 2);
        in_use.clear();
        for waiting in waiting.drain(..) {
            in_use.push(waiting.await.unwrap().unwrap());
        }
        assert!(!turns.one_is_free());
        in_use.clear();
        assert_eq!(turns.free.available_permits(), 4);
        assert_eq!(turns.state.lock().in_use, 0);
    }

    #[tokio::test]
    async fn a_limit_that_moves_under_calls_ends_with_as_many_turns_as_it_says() {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
        println!("seed {seed}");
        let turns = turns(16, 16);
        let mut chance = seed;
        let mut draw = |below: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % below
        };
        let mut in_use = Vec::new();
        for _ in 0..20_000 {
            match draw(3) {
                0 if turns.one_is_free() => in_use.push(turns.take().await.turn.unwrap()),
                1 if !in_use.is_empty() => drop(in_use.swap_remove(draw(in_use.len() as u64) as usize)),
                _ => {
                    let mut state = turns.state.lock();
                    state.concurrency.set_for_test(draw(16) as usize + 1);
                    turns.apply(&mut state);
                }
            }
            let state = turns.state.lock();
            assert_eq!(state.in_use, in_use.len());
            assert_eq!(turns.free.available_permits() + in_use.len(), state.turns + state.too_many);
            assert!(state.too_many == 0 || turns.free.available_permits() == 0, "what is too many is not given");
        }
    }
}
