//! A webhook that is all here: into the journal, and what its answer says.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use moehog_coding::outermost;
use moehog_journal::{AppendError, NewEntry};
use moehog_proto::{Receipt, event::TraceContext, journal::EntryHeader};
use moehog_runtime::{Cores, chain};
use moehog_telemetry::trace::{self, Operation};
use tokio::time::{Instant, timeout_at};

use super::{
    Ingest, Refusal,
    feedback::{self, IN_TIME_PREFERRED, Listening, Plan, Said},
    limits::{self, Inspected},
    places::{Bound, Share, Standing},
    refused::Refused,
};
use crate::{config::CAPTURE, looks::Note, metrics::RouteLabel};

/// A compressed body up to this size is decompressed at once, where that makes at most [`GROWTH`] times as much of it.
const MAX_INFLATED_AT_ONCE: usize = 4 * 1024;
/// The same of one whose sender has shown no secret.
const MAX_INFLATED_OF_STRANGERS: usize = 512;
/// What gzip makes of a byte at most; br and zstd make more.
const GROWTH: usize = 1024;
/// What events say of themselves is not told of larger bodies: they would be mapped a second time for it.
const MAX_NOTED_BYTES: usize = 1024 * 1024;
/// Compressed bodies that wait for a core, or have one: of strangers a quarter.
const MAX_INFLATING: usize = 256;

/// Where bodies are decompressed: senders of small ones keep a core.
#[derive(Debug)]
pub(super) struct Inspections {
    places: Bound,
    of_secrets: Cores,
    of_others: Cores,
}

impl Inspections {
    pub(super) fn new() -> Self {
        Self { places: Bound::new(MAX_INFLATING, 1), of_secrets: Cores::half(), of_others: Cores::half() }
    }
}

/// A webhook that is all here, on its way into the journal.
pub(super) struct Received {
    pub(super) header: EntryHeader,
    pub(super) body: Bytes,
    /// The project key of a capture body, as far as it can be read as it came.
    pub(super) key: Option<String>,
    /// What a compressed body decompresses to, where that is little.
    pub(super) plain: Option<Vec<u8>>,
    /// When the last byte came.
    pub(super) at: Instant,
    pub(super) held: Share,
    /// Seconds that the sender asks to wait until it is settled.
    pub(super) prefers: Option<u64>,
}

impl Received {
    /// With what was found in its compressed body.
    fn inspected(self, found: Inspected) -> Self {
        let Inspected { key, plain } = found;
        Self { key, plain, ..self }
    }
}

/// A webhook that the journal holds.
pub(super) struct Taken {
    pub(super) receipt: Receipt,
    pub(super) trace: TraceContext,
    pub(super) said: Said,
}

impl Taken {
    /// Nothing can be made of it, and its sender is told so.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.said, Said::Refused(_))
    }
}

/// What came of an append.
enum Appended {
    /// It is durable, and its answer may wait.
    Now(Receipt, Option<Listening>),
    /// The same body was refused a moment ago.
    Before(Refused),
}

impl Ingest {
    pub(super) async fn store(self: &Arc<Self>, label: RouteLabel, received: Received) -> Result<Taken, Refusal> {
        let (at, bytes) = (received.at, received.body.len());
        let trace = received.header.trace.clone().unwrap_or_default();
        let is_known = received.held.standing() == Standing::Secret;
        let at_once = if is_known { MAX_INFLATED_AT_ONCE } else { MAX_INFLATED_OF_STRANGERS };
        // nothing is waited for between the last byte and the append of what need not be inspected at length: a sender that
        // hangs up cancels nothing
        let coding = outermost(&received.header.content_encoding, &received.body);
        let little = (bytes <= at_once).then(|| self.inspect(&received, self.limits.max_bytes.min(at_once * GROWTH)));
        let outcome = match (coding, little) {
            (None, _) => self.append(received, false).await,
            (Some(_), Some(Ok(inspected))) => self.append(received.inspected(inspected), true).await,
            (Some(_), Some(Err(refusal))) if refusal != Refusal::TooLarge => Err(refusal),
            _ => {
                let appended = tokio::spawn(self.clone().append_inspected(received));
                appended.await.unwrap_or(Err(Refusal::Internal))
            }
        };
        let outcome = match outcome {
            Ok(Appended::Now(receipt, listening)) => {
                Ok((receipt, self.feedback.said(&*self.journal, at, receipt, listening).await))
            }
            Ok(Appended::Before(refused)) => Ok((refused.receipt, Said::Refused(refused))),
            Err(refusal) => Err(refusal),
        };
        self.metrics.answered(label, at.elapsed());
        let (receipt, mut said) = outcome?;
        if let Said::Waited { settled: Some(_), notes, .. } = &mut said
            && bytes <= MAX_NOTED_BYTES
        {
            *notes = timeout_at(at + IN_TIME_PREFERRED, self.notes(receipt)).await.unwrap_or_default();
        }
        match said {
            Said::Refused(_) => self.metrics.unprocessable(label),
            Said::Taken | Said::Waited { .. } => self.metrics.taken(label, bytes),
        }
        Ok(Taken { receipt, trace, said })
    }

    /// What the events of a webhook say of themselves.
    async fn notes(&self, receipt: Receipt) -> Vec<Note> {
        let Some(looks) = &self.looks else { return Vec::new() };
        match self.journal.get(receipt).await {
            Ok(Some(entry)) => looks.notes(&entry).await,
            Ok(None) | Err(_) => Vec::new(),
        }
    }

    /// Inspects a large compressed body on a thread of its own, then appends it. On a task of its own, so that it ends whether or
    /// not the sender waits for it. Those who showed a secret have cores that nobody else takes.
    async fn append_inspected(self: Arc<Self>, received: Received) -> Result<Appended, Refusal> {
        let deadline = received.at + self.http.append_deadline;
        let Inspections { places, of_secrets, of_others } = &self.inspections;
        let cores = if received.held.standing() == Standing::Secret { of_secrets } else { of_others };
        let mut place = places.share(received.held.standing(), received.held.address());
        place.grow(1)?;
        let ingest = self.clone();
        let inspected = cores.run(move || {
            let inspected = ingest.inspect(&received, ingest.limits.max_bytes)?;
            Ok(received.inspected(inspected))
        });
        let inspected = timeout_at(deadline, inspected).await.unwrap_or(Ok(Err(Refusal::Overloaded)));
        drop(place);
        self.append(inspected.unwrap_or(Err(Refusal::Internal))?, true).await
    }

    /// Looks into a compressed body, which may decompress to so many bytes.
    fn inspect(&self, received: &Received, max_bytes: usize) -> Result<Inspected, Refusal> {
        let Received { header, body, at, .. } = received;
        let wanted = (header.source == CAPTURE, feedback::MAX_BODY_BYTES);
        limits::inspect((&header.content_encoding, body), max_bytes, wanted, *at + self.http.append_deadline)
    }

    async fn append(&self, received: Received, is_coded: bool) -> Result<Appended, Refusal> {
        let Received { mut header, body, key, plain, at, held, prefers } = received;
        if header.source == CAPTURE {
            if header.destination.is_empty() {
                header.destination = self.senders.capture.destination(key.as_deref())?;
            }
            header.api_key = key.unwrap_or_default();
        }
        let plain = if is_coded { plain.as_deref() } else { Some(&*body) };
        let wanted = match self.feedback.plan(&*self.journal, &header, plain, prefers) {
            Plan::Append(wanted) => wanted,
            Plan::Again(refused) => return Ok(Appended::Before(refused)),
        };
        let operation = Operation::Append { bytes: body.len() as i64 };
        let mut appending = trace::message(header.trace.as_ref(), operation, &header.source, None);
        // whatever comes of the webhook later, in this process or the next, continues the append
        if let Some(context) = appending.context() {
            header.trace = Some(context);
        }
        let (entry, deadline) = (NewEntry { header, body }, at + self.http.append_deadline);
        let (appended, listening) = match wanted {
            None => (self.journal.append(entry, deadline).await, None),
            Some(wait) => match self.journal.append_watched(entry, deadline, wait.until()).await {
                Ok((receipt, watch)) => (Ok(receipt), Some(Listening { wait, watch })),
                Err(error) => (Err(error), None),
            },
        };
        drop(held);
        self.outage.note(&appended);
        let appended = appended.map_err(|error| Refusal::from(&error));
        match &appended {
            Ok(receipt) if !appending.is_none() => appending.set("messaging.message.id", receipt.to_string()),
            Ok(_) => {}
            Err(refusal) => {
                appending.set("error.type", refusal.code());
                appending.fail();
            }
        }
        Ok(Appended::Now(appended?, listening))
    }
}

/// Whether appends fail: said once when it begins and once when it ends, whatever the number of webhooks.
#[derive(Debug, Default)]
pub(super) struct Outage(AtomicBool);

impl Outage {
    fn note(&self, appended: &Result<Receipt, AppendError>) {
        match appended {
            Ok(_) if self.0.load(Ordering::Relaxed) => {
                if self.0.swap(false, Ordering::Relaxed) {
                    tracing::info!("webhooks are taken again");
                }
            }
            Ok(_) | Err(AppendError::Closed) => {}
            Err(error) => {
                if !self.0.swap(true, Ordering::Relaxed) {
                    tracing::warn!(error = %chain(error), "webhooks are refused with 503");
                }
            }
        }
    }
}
