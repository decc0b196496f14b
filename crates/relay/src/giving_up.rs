//! What a held lane keeps becomes dead letters, because somebody asked for that: mapped anew they may be taken, and where they
//! are they never are.

use std::{num::NonZeroUsize, sync::Arc};

use futures::FutureExt as _;
use moehog_journal::{Claim, Entry, Journal, ReadError, ReadLimit, Record, RecordError, count};
use moehog_proto::{
    Blame, Reason, Sequence,
    journal::{Book, EventOutcome, EventState, Progress},
};
use moehog_runtime::chain;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    give_up::{GiveUpError, GivenUp},
    metrics,
    progress::is_final,
    settled::add_settled,
    status::{LaneName, Status},
    walk::WalkEnd,
};

/// Entries of one read, and about their bytes.
const AT_ONCE: ReadLimit = ReadLimit { max_entries: NonZeroUsize::MIN.saturating_add(255), max_bytes: 8 * 1024 * 1024 };

/// What it leans on.
pub(crate) struct Work {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) claim: Arc<dyn Claim>,
    pub(crate) status: Status,
    pub(crate) name: LaneName,
}

impl Work {
    /// Settles all that the lane has now. Nobody walks it meanwhile.
    pub(crate) async fn run(
        self,
        answer: oneshot::Sender<Result<GivenUp, GiveUpError>>,
        shutdown: CancellationToken,
    ) -> WalkEnd {
        let (mut given_up, mut end) = (GivenUp::default(), WalkEnd::Stopped);
        // what comes later is not meant
        let last = self.journal.grown(0).now_or_never().flatten().unwrap_or(0);
        let result = match self.settle(last, &mut given_up, &shutdown).await {
            Ok(()) => Ok(given_up),
            Err(Ended { is_stale, why }) => {
                end = if is_stale { WalkEnd::Stale } else { end };
                Err(GiveUpError::Failed(why))
            }
        };
        let (source, destination) = (&self.name.0, crate::status::shown(&self.name.1));
        let GivenUp { webhooks, events } = given_up;
        tracing::warn!(
            source,
            destination,
            webhooks,
            events,
            "a held lane is given up, as somebody asked for: dead letters"
        );
        // who asked may have gone
        let _gone = answer.send(result);
        end
    }

    async fn settle(&self, last: Sequence, given_up: &mut GivenUp, shutdown: &CancellationToken) -> Result<(), Ended> {
        let (mut from, mut limit) = (0, AT_ONCE);
        while from <= last {
            if shutdown.is_cancelled() {
                return Err(Ended { is_stale: false, why: "the relay stops".into() });
            }
            let batch = self.claim.read(&self.name.1, from, limit).await?;
            if let Some(bytes) = batch.too_large {
                limit = ReadLimit { max_entries: NonZeroUsize::MIN, max_bytes: bytes };
                continue;
            }
            (from, limit) = (batch.next, AT_ONCE);
            let (mut records, mut book) = (Vec::new(), Book::default());
            for entry in batch.entries.into_iter().filter(|entry| entry.sequence() <= last) {
                let (record, events) = self.give_up(entry, &mut book);
                given_up.webhooks += 1;
                given_up.events += events;
                records.push(record);
            }
            if !records.is_empty() {
                self.claim.record(records).await?;
                metrics::settled(&book);
            }
        }
        Ok(())
    }

    /// The record that settles an entry; `book` is added what it came to and was not counted before.
    fn give_up(&self, entry: Entry, book: &mut Book) -> (Record, u64) {
        let sequence = entry.sequence();
        let before = entry.progress.unwrap_or_default();
        let counted = (before.retries > 0).then(|| count(&before).0);
        let (progress, events) = dead(before);
        add_settled(book, &count(&progress).0, counted.as_ref());
        self.status.died(&self.name, sequence, reason(), events, moehog_runtime::epoch_ms());
        (Record { sequence, progress: progress.into(), settled: true }, events)
    }
}

fn reason() -> Reason {
    let message = "the destination was held, and what waited for it was given up";
    Reason::new(Blame::Destination, "given_up", message)
}

/// Every event that is not final is dead; of a webhook of which none is known one event says so.
fn dead(mut progress: Progress) -> (Progress, u64) {
    if progress.events.is_empty() {
        progress.events.push(EventOutcome::default());
    }
    let mut events = 0;
    for event in progress.events.iter_mut().filter(|event| !is_final(event)) {
        event.set_state(EventState::Dead);
        event.explain(reason());
        event.mapped = None;
        events += 1;
    }
    (progress, events)
}

/// Why it was not finished.
struct Ended {
    is_stale: bool,
    why: String,
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        Self { is_stale: false, why: chain(&error).to_string() }
    }
}

impl From<RecordError> for Ended {
    fn from(error: RecordError) -> Self {
        Self { is_stale: matches!(error, RecordError::StaleClaim { .. }), why: chain(&error).to_string() }
    }
}
