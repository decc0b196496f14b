//! Walks one lane: does what the lane decided, and tells it what came of it.

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use moehog_journal::{Batch, Claim, Crashed, Entry, Journal, ReadError, RecordError};
use moehog_proto::{Blame, Reason, Sequence, transformer::TransformResponse};
use moehog_runtime::{chain, epoch_ms};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    calls::{Calls, TransformError},
    gate::Change,
    lane::{DeliverCall, DeliverEnd, Lane, Now, RecordCall, RouteCall, Step, TransformCall},
    limits::{Room, Use},
    mappings::Decision,
    metrics,
    poison::Failure,
    progress::Carried,
    route::{self, Handed},
    spans,
    status::{LaneName, Status, shown},
};

/// Why a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WalkEnd {
    /// It was told to stop, or the journal is closing.
    Stopped,
    /// Another claim of the source exists.
    Stale,
    /// A part of it panicked.
    Failed,
}

/// What a step came to.
enum Done {
    Read(Result<Batch, ReadError>),
    Transform(TransformCall, Result<TransformResponse, TransformError>),
    Deliver(DeliverCall, Result<DeliverEnd, RecordError>),
    Route(RouteCall, Result<Vec<Handed>, RecordError>),
    Record(RecordCall, Result<(), RecordError>),
}

/// Everything a walk leans on.
pub(crate) struct Walk {
    pub(crate) name: LaneName,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) claim: Arc<dyn Claim>,
    pub(crate) calls: Calls,
    pub(crate) room: Room,
    pub(crate) status: Status,
    pub(crate) seed: u64,
}

impl Walk {
    /// Walks the lane until `shutdown`; then finishes what is under way and records it.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> WalkEnd {
        let limits = self.room.limits(Use::default());
        let shared = (limits, self.room.evidence(), self.room.ceiling());
        let mut lane = Lane::new(&self.name.1, &self.calls.config, shared, self.seed, Instant::now());
        let mut under_way = JoinSet::new();
        let mut growth: Option<Growth> = None;
        let mut reopened = Some(self.reopened());
        // what is reopened from here on is told, before anything is read
        if let Some(sequences) = reopened.as_mut().and_then(|reopened| reopened.now_or_never()) {
            reopened = sequences.is_some().then(|| self.reopened());
        }
        let mut seen = 0;
        let mut stop_by: Option<Instant> = None;
        let (asks, mut questions) = mpsc::channel(8);
        self.status.answers(&self.name, asks);
        loop {
            let now = now();
            lane.set_limits(self.room.limits(lane.uses()));
            lane.set_watched(self.status.feed().is_read());
            let mut at_once = 0;
            while let Some(step) = lane.next(now) {
                // before these all calls are begun that can be: others are not to take this lane's part meanwhile
                let brings_more = matches!(step, Step::Read { .. } | Step::Transform(..));
                let Some(done) = self.begin(step, &mut under_way) else { continue };
                if let Some(end) = self.done(&mut lane, done, &mut seen) {
                    return end;
                }
                at_once += u32::from(brings_more);
                if at_once == AT_ONCE {
                    break;
                }
            }
            // the others are to know what was taken just now
            self.room.limits(lane.uses());
            self.tell(&mut lane, now);
            if stop_by.is_some() && under_way.is_empty() && lane.is_recorded() {
                return WalkEnd::Stopped;
            }
            if lane.waits_for_growth() && growth.is_none() {
                let (claim, destination) = (self.claim.clone(), self.name.1.clone());
                growth = Some(Box::pin(async move { claim.grown(&destination, seen).await }));
            }
            if at_once == AT_ONCE {
                // there may be more to do, and others are to have their turn
                tokio::task::yield_now().await;
                continue;
            }
            let wake_at = lane.wake_at(now.instant);
            tokio::select! {
                done = under_way.join_next(), if !under_way.is_empty() => {
                    let mut next = done;
                    while let Some(done) = next {
                        let Ok(done) = done else { return WalkEnd::Failed };
                        if let Some(end) = self.done(&mut lane, done, &mut seen) {
                            return end;
                        }
                        next = under_way.try_join_next();
                    }
                }
                grown = async { growth.as_mut()?.await }, if growth.is_some() && lane.waits_for_growth() => {
                    growth = None;
                    if let Some(highest) = grown {
                        // what was read meanwhile may be past that
                        seen = seen.max(highest);
                        lane.grown();
                    } else {
                        stop_by.get_or_insert(now.instant + self.calls.config.grace);
                        lane.stop();
                    }
                }
                sequences = async { reopened.as_mut()?.await }, if reopened.is_some() => {
                    reopened = sequences.is_some().then(|| self.reopened());
                    lane.reopen(sequences.unwrap_or_default());
                }
                () = sleep_until(wake_at.unwrap_or(now.instant)), if wake_at.is_some() => {}
                Some((sequence, answer)) = questions.recv() => {
                    // who asked may have gone
                    let _gone = answer.send(lane.waits(sequence, now));
                }
                () = shutdown.cancelled(), if stop_by.is_none() => {
                    stop_by = Some(Instant::now() + self.calls.config.grace);
                    lane.stop();
                }
                () = sleep_until(stop_by.unwrap_or(now.instant)), if stop_by.is_some() => {
                    if self.calls.cut.is_cancelled() {
                        return WalkEnd::Stopped;
                    }
                    // what is cut off now is recorded as "may have been sent"
                    self.calls.cut.cancel();
                    stop_by = Some(Instant::now() + CUT_GRACE);
                }
            }
        }
    }

    fn reopened(&self) -> Reopening {
        let (claim, destination) = (self.claim.clone(), self.name.1.clone());
        Box::pin(async move { claim.reopened(&destination).await })
    }

    /// Begins a step, and gives what it came to where it has ended at once: nobody else is woken for it then.
    fn begin(&self, step: Step, under_way: &mut JoinSet<Done>) -> Option<Done> {
        let mut step = self.step(step);
        if let Some(done) = (&mut step).now_or_never() {
            return Some(done);
        }
        under_way.spawn(step);
        None
    }

    fn step(&self, step: Step) -> BoxFuture<'static, Done> {
        let (claim, calls) = (self.claim.clone(), self.calls.clone());
        match step {
            Step::Read { from, until, limit } => {
                let destination = self.name.1.clone();
                Box::pin(async move {
                    let read = claim.read(&destination, from, limit).await;
                    Done::Read(read.map(|batch| below(until, batch)))
                })
            }
            Step::Transform(mut call, request) => {
                let span = spans::transform(&request);
                let names = (std::mem::take(&mut call.sequences), call.taken.alone);
                Box::pin(async move {
                    let result = calls.transform(claim, names, request, span).await;
                    Done::Transform(call, result)
                })
            }
            Step::Deliver(call, request) => {
                let span = spans::deliver(&request);
                Box::pin(async move {
                    let end = match note(&*claim, &call.decisions).await {
                        Ok(()) => Ok(calls.deliver(request, span).await),
                        Err(error) => Err(error),
                    };
                    Done::Deliver(call, end)
                })
            }
            Step::Route(call, parcels) => {
                let journal = self.journal.clone();
                Box::pin(async move {
                    let handed = match note(&*claim, &call.decisions).await {
                        Ok(()) => Ok(route::hand_on(journal, parcels).await),
                        Err(error) => Err(error),
                    };
                    Done::Route(call, handed)
                })
            }
            Step::Record(call, records) => Box::pin(async move {
                let entries = records.len();
                let result = claim.record(records).await;
                metrics::record_call(result.is_ok(), entries);
                Done::Record(call, result)
            }),
        }
    }

    /// Tells the lane what a step came to. It ends the walk where the claim is no longer ours.
    fn done(&self, lane: &mut Lane, done: Done, seen: &mut Sequence) -> Option<WalkEnd> {
        let now = now();
        match done {
            Done::Read(Ok(Batch { next, too_large: Some(bytes), .. })) => lane.too_large(next, bytes),
            Done::Read(Ok(batch)) => {
                // what is below `next` is read: only what comes after is news
                let caught_up = batch.entries.is_empty() || batch.next > *seen;
                *seen = (*seen).max(batch.next.saturating_sub(1));
                lane.read(batch.entries.into_iter().map(|entry| self.carry(entry)).collect(), batch.next, caught_up);
            }
            Done::Read(Err(ReadError::Closed)) => return Some(WalkEnd::Stopped),
            Done::Read(Err(error)) => {
                self.warn(&error, "journal cannot be read; tried again");
                lane.read_failed(now);
            }
            Done::Transform(call, Ok(response)) => {
                let mapping = self.calls.mappings.of(&response.mapping_revision);
                lane.transformed(call, response, mapping.as_ref(), |sequence, progress| {
                    self.claim.announce(sequence, progress);
                });
            }
            Done::Transform(call, Err(TransformError::Failed(failure))) => lane.transform_failed(call, failure, now),
            Done::Transform(call, Err(TransformError::NotNoted(error))) => {
                if let Some(end) = ends_walk(&error) {
                    return Some(end);
                }
                self.warn(&error, "journal cannot note a transform call; tried again");
                lane.transform_failed(call, Failure::NeverLeft, now);
            }
            Done::Deliver(call, Ok(end)) => {
                lane.was_noted(&call);
                lane.delivered(&call, end, now);
            }
            Done::Deliver(call, Err(error)) => {
                if let Some(end) = self.was_not_noted(&error) {
                    return Some(end);
                }
                let message = format!("not noted in the journal: {}", chain(&error));
                let why = Reason::new(Blame::Moehog, "not_noted", message);
                lane.delivered(&call, DeliverEnd::NeverLeft { why }, now);
            }
            Done::Route(call, Ok(handed)) => lane.routed(call, &handed, now),
            Done::Route(call, Err(error)) => {
                if let Some(end) = self.was_not_noted(&error) {
                    return Some(end);
                }
                lane.routed(call, &[], now);
            }
            Done::Record(call, Ok(())) => lane.recorded(call, now),
            Done::Record(call, Err(error)) => {
                if let Some(end) = ends_walk(&error) {
                    return Some(end);
                }
                self.warn(&error, "journal cannot store what became of events; tried again");
                lane.record_failed(call, now);
            }
        }
        None
    }

    /// A call was not made, since the journal could not note by which mapping its events were made.
    fn was_not_noted(&self, error: &RecordError) -> Option<WalkEnd> {
        let end = ends_walk(error);
        if end.is_none() {
            self.warn(error, "journal cannot note by which mapping events were made; tried again");
        }
        end
    }

    fn tell(&self, lane: &mut Lane, now: Now) {
        metrics::settled(&lane.take_settled());
        for (sequence, reason, events) in lane.take_died() {
            self.status.died(&self.name, sequence, reason, events, now.epoch_ms);
        }
        for passing in lane.take_passed() {
            self.status.passed(&self.name, passing, now.epoch_ms);
        }
        let (source, destination) = (&self.name.0, || shown(&self.name.1));
        for change in lane.take_changes() {
            match change {
                Change::Held(reason) => warn!(
                    source,
                    destination = destination(),
                    %reason,
                    "destination is held: its webhooks are kept and wait; it is tried again with single events"
                ),
                Change::HoldEnded => info!(source, destination = destination(), "destination works: the hold ended"),
                Change::CircuitOpened(reason) => warn!(
                    source,
                    destination = destination(),
                    %reason,
                    "destination takes nothing: its webhooks are kept and wait; it is tried again with single events"
                ),
                Change::CircuitClosed => info!(source, destination = destination(), "destination takes events again"),
            }
        }
        self.status.update(&self.name, lane, now);
    }

    /// Takes up an entry.
    fn carry(&self, mut entry: Entry) -> Carried {
        if !self.calls.same_process {
            // a transformer elsewhere outlives this process, so what this one died of was not the webhook
            entry.crashed = Crashed::default();
        }
        let trace = spans::receive(&entry);
        let awaited = self.claim.is_awaited(entry.sequence());
        let mut carried = Carried::new(entry, trace);
        carried.awaited = awaited;
        carried
    }

    fn warn(&self, error: &(dyn std::error::Error + 'static), message: &str) {
        warn!(error, source = self.name.0, destination = shown(&self.name.1), "{message}");
    }
}

/// Notes by which mapping the events of a call were made.
async fn note(claim: &dyn Claim, decisions: &[Decision]) -> Result<(), RecordError> {
    for decision in decisions {
        claim.decide(&decision.mapping, &decision.sequences).await?;
    }
    Ok(())
}

/// What was read of entries below `until`.
fn below(until: Sequence, mut batch: Batch) -> Batch {
    if batch.next > until {
        batch.entries.retain(|entry| entry.sequence() < until);
        batch.next = until;
    }
    batch.too_large = batch.too_large.filter(|_| batch.next < until);
    batch
}

/// See [`Claim::grown`].
type Growth = Pin<Box<dyn Future<Output = Option<Sequence>> + Send>>;

/// See [`Claim::reopened`].
type Reopening = Pin<Box<dyn Future<Output = Option<BTreeSet<Sequence>>> + Send>>;

/// Reads and Transform calls that end at once and are taken before others have their turn.
const AT_ONCE: u32 = 16;

/// Time to record what was cut off at the end of the grace.
const CUT_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

fn now() -> Now {
    Now { instant: Instant::now(), epoch_ms: epoch_ms() }
}

fn ends_walk(error: &RecordError) -> Option<WalkEnd> {
    match error {
        RecordError::StaleClaim { .. } => Some(WalkEnd::Stale),
        RecordError::Closed => Some(WalkEnd::Stopped),
        RecordError::Write { .. } => None,
    }
}
