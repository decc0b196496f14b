//! What an answer says beyond "taken", and how long it waits for that.
//!
//! A marketer whose body is at fault sees a status code and nothing else, so a 200 for a dead letter tells her that all is
//! well. The answer to a Connector's webhook therefore waits a moment, after the webhook is durable, for what the journal is
//! told of it. It asks nobody, and no webhook waits where others wait already.
//!
//! **Who waits.** A Connector sends one event a request, Streams sends lists and repeats a whole list that is not answered
//! 2XX. So a body waits only where it is small, without its compression too, and does not look like a list by its first byte or by
//! the keys `"events"` and `"batch"`, if it can be unpacked: a Streams batch is always 200 once it is durable, readable or not. Should a list come
//! through all the same, no fault of one of its events beyond the first is held against it (see [`BodyFault::of`]). A
//! Connector whose body has such a key waits for nothing and is 200 as well. Who asks to wait (`Prefer: wait`) waits with any body, and
//! is told what its events came to; a list is 200 there as well.
//!
//! **How many.** An answer that waits keeps its connection from sending the next webhook, so under a full load the calls to the
//! transformer would carry few webhooks each, and each webhook cost a third more. So only some wait at once; at the pace that
//! MoEngage sends with, nearly all of them do.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderName};
use memchr::memmem::Finder;
use moehog_journal::{Journal, Until, Watch};
use moehog_proto::{
    Receipt,
    journal::{Book, EntryHeader, Progress},
};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    fault::BodyFault,
    refused::{Digest, Refused, RefusedBodies},
};
use crate::{
    config,
    looks::Note,
    metrics::{FeedbackMetrics, FeedbackOutcome as Outcome},
};

/// Larger bodies are lists.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;
/// Beyond so many webhooks of a lane that wait to be mapped, or so old a one, no answer of that lane waits: it would wait in vain.
const MOST_WAITING: u64 = 256;
const OLDEST_WAITING: Duration = Duration::from_millis(100);
/// How long a look at a lane is good for.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// An answer is under way this long after the last byte, so that it is there within 2 s, or 3.5 s where the sender asks for it.
const IN_TIME: Duration = Duration::from_millis(1900);
pub(super) const IN_TIME_PREFERRED: Duration = Duration::from_millis(3400);

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Longest wait that a sender may ask for, in seconds.
const MOST_PREFERRED: u64 = 3;

/// What is said of a webhook that the journal holds.
#[derive(Debug)]
pub(super) enum Said {
    /// It is durable; nothing else was waited for, or nothing spoke against it.
    Taken,
    /// The sender asked to wait so many seconds until it is settled: what it came to, or none where that takes longer; and what
    /// its events say of themselves.
    Waited { seconds: u64, settled: Option<Book>, notes: Vec<Note> },
    /// Nothing can be made of the body: it is a dead letter.
    Refused(Refused),
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// That the webhook is mapped.
    Mapped,
    /// That it is settled, because the sender asks so: `Prefer: wait=SECONDS`.
    Settled { seconds: u64 },
}

/// What is looked at before the append.
#[derive(Debug)]
pub(super) enum Plan {
    /// The answer waits for this, if for anything.
    Append(Option<Wait>),
    /// The same body was refused a moment ago: it is not stored again.
    Again(Refused),
}

/// An answer's wait.
#[derive(Debug)]
pub(super) struct Wait {
    wanted: Wanted,
    /// The body by which a refusal is remembered; none where it is a list, which is not refused.
    digest: Option<Digest>,
    /// One of the few that may wait at once; none where the sender asked for it.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Wait {
    pub(super) fn until(&self) -> Until {
        match self.wanted {
            Wanted::Mapped => Until::Mapped,
            Wanted::Settled { .. } => Until::Settled,
        }
    }
}

/// A webhook that is durable and whose answer waits for more.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) wait: Wait,
    /// None where too many watch.
    pub(super) watch: Option<Watch>,
}

/// Decides which answers wait, and what they say.
#[derive(Debug)]
pub(super) struct Feedback {
    wait: Duration,
    turns: Arc<Semaphore>,
    list_keys: [Finder<'static>; 2],
    lanes: Mutex<Lanes>,
    refused: RefusedBodies,
    relay: Option<moehog_relay::Status>,
    metrics: FeedbackMetrics,
}

/// The lanes as each was a moment ago, by source and destination.
#[derive(Debug, Default)]
struct Lanes(HashMap<String, HashMap<String, Lane>>);

/// What of a lane waits to be mapped. What is mapped may wait for its destination, or for evidence, as long as it takes: that
/// puts nobody's answer off.
#[derive(Debug)]
struct Lane {
    looked_at: Instant,
    webhooks: u64,
    /// When the oldest was received, milliseconds since the epoch.
    since_ms: Option<i64>,
}

impl Lane {
    fn look(journal: &dyn Journal, relay: Option<&moehog_relay::Status>, (source, destination): (&str, &str)) -> Self {
        let looked_at = Instant::now();
        let Some(lane) = journal.lane(source, destination) else {
            return Self { looked_at, webhooks: 0, since_ms: None };
        };
        let unmapped = relay.and_then(|relay| relay.unmapped(source, destination));
        let (mapped, since_ms) = match unmapped {
            Some(unmapped) => (unmapped.mapped, unmapped.since_ms),
            None => (0, Some(lane.oldest_received_at_ms)),
        };
        Self { looked_at, webhooks: lane.unsettled.saturating_sub(mapped), since_ms }
    }
}

impl Feedback {
    /// `relay` says what is mapped; without it all that waits counts as not mapped.
    pub(super) fn new(config: &config::Feedback, relay: Option<moehog_relay::Status>) -> Self {
        Self {
            wait: config.wait,
            turns: Arc::new(Semaphore::new(config.at_once)),
            list_keys: ["\"events\"", "\"batch\""].map(Finder::new),
            lanes: Mutex::default(),
            refused: RefusedBodies::default(),
            relay,
            metrics: FeedbackMetrics::new(),
        }
    }

    /// Decides what the answer to a webhook waits for. `plain` is its body without compression, none of a large one that has it; `prefers`
    /// is what its sender asks for.
    pub(super) fn plan(
        &self,
        journal: &dyn Journal,
        header: &EntryHeader,
        plain: Option<&[u8]>,
        prefers: Option<u64>,
    ) -> Plan {
        let Some(body) = plain.filter(|plain| self.looks_like_one_event(plain)) else {
            let wanted = prefers.map(|seconds| Wanted::Settled { seconds });
            return Plan::Append(wanted.map(|wanted| Wait { wanted, digest: None, _turn: None }));
        };
        let mut digest = None;
        if !self.refused.is_empty() {
            let of_body = Digest::of(header, body);
            if let Some(refused) = self.refused.again(of_body) {
                self.metrics.refused_again();
                return Plan::Again(refused);
            }
            digest = Some(of_body);
        }
        let (wanted, turn) = match prefers {
            Some(seconds) => (Wanted::Settled { seconds }, None),
            None => match self.turn(journal, header) {
                Some(turn) => (Wanted::Mapped, Some(turn)),
                None => return Plan::Append(None),
            },
        };
        let digest = digest.or_else(|| Some(Digest::of(header, body)));
        Plan::Append(Some(Wait { wanted, digest, _turn: turn }))
    }

    /// Waits for what is wanted, at most until the answer to a body whose last byte came `at` is due.
    pub(super) async fn said(
        &self,
        journal: &dyn Journal,
        at: Instant,
        receipt: Receipt,
        listening: Option<Listening>,
    ) -> Said {
        let Some(Listening { wait: Wait { wanted, digest, _turn }, watch }) = listening else { return Said::Taken };
        let Some(mut watch) = watch else {
            self.metrics.count(Outcome::Crowded);
            return unsaid(wanted);
        };
        let now = Instant::now();
        let until = match wanted {
            Wanted::Mapped => (now + self.wait.min(IN_TIME)).min(at + IN_TIME),
            Wanted::Settled { seconds } => {
                (now + Duration::from_secs(seconds).min(IN_TIME_PREFERRED)).min(at + IN_TIME_PREFERRED)
            }
        };
        let known = match wanted {
            Wanted::Mapped => timeout_at(until, watch.mapped()).await,
            Wanted::Settled { .. } => timeout_at(until, watch.settled()).await,
        };
        let Ok(known) = known else {
            self.metrics.count(Outcome::Late);
            return unsaid(wanted);
        };
        if let Some(digest) = digest
            && let Some(fault) = BodyFault::of(&known.progress)
        {
            self.metrics.count(Outcome::Refused);
            return Said::Refused(self.refused.add(digest, receipt, Arc::new(fault)));
        }
        match wanted {
            Wanted::Mapped => {
                self.metrics.count(Outcome::Mapped);
                Said::Taken
            }
            Wanted::Settled { seconds } => {
                let settled = timeout_at(until, followed(journal, &known.progress)).await.ok().flatten();
                self.metrics.count(if settled.is_some() { Outcome::Settled } else { Outcome::Late });
                Said::Waited { seconds, settled, notes: Vec::new() }
            }
        }
    }

    /// Whether the body may be a Connector's; see the module.
    fn looks_like_one_event(&self, body: &[u8]) -> bool {
        let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
        body.len() <= MAX_BODY_BYTES
            && !text.starts_with(b"[")
            && !self.list_keys.iter().any(|word| holds_key(body, word))
    }

    /// The right to wait, while few do and next to nothing of the webhook's lane waits to be mapped.
    fn turn(&self, journal: &dyn Journal, header: &EntryHeader) -> Option<OwnedSemaphorePermit> {
        if !self.catches_up(journal, header) {
            return None;
        }
        let turn = self.turns.clone().try_acquire_owned().ok();
        if turn.is_none() {
            self.metrics.count(Outcome::Crowded);
        }
        turn
    }

    /// Whether next to nothing of the webhook's lane waits to be mapped, so that this one is mapped at once.
    fn catches_up(&self, journal: &dyn Journal, header: &EntryHeader) -> bool {
        if self.wait.is_zero() {
            return false;
        }
        let catches_up =
            self.lanes.lock().catches_up(journal, self.relay.as_ref(), (&header.source, &header.destination));
        if !catches_up {
            self.metrics.count(Outcome::Backlog);
        }
        catches_up
    }
}

impl Lanes {
    fn catches_up(
        &mut self,
        journal: &dyn Journal,
        relay: Option<&moehog_relay::Status>,
        (source, destination): (&str, &str),
    ) -> bool {
        let look = || Lane::look(journal, relay, (source, destination));
        let known = self.0.get_mut(source).and_then(|lanes| lanes.get_mut(destination));
        let lane = match known {
            Some(lane) => {
                if lane.looked_at.elapsed() >= LOOK_EVERY {
                    *lane = look();
                }
                lane
            }
            None => {
                let lanes = self.0.entry(source.to_string()).or_default();
                lanes.entry(destination.to_string()).or_insert_with(look)
            }
        };
        let now_ms = moehog_runtime::epoch_ms();
        let is_old = |since_ms| now_ms - since_ms >= OLDEST_WAITING.as_millis() as i64;
        let catches_up = lane.webhooks < MOST_WAITING && !(lane.webhooks > 0 && lane.since_ms.is_some_and(is_old));
        // the answers that begin to wait until the next look
        lane.webhooks += u64::from(catches_up);
        catches_up
    }
}

/// Whether `word`, with its quotes, stands before a colon, or is the last that came.
fn holds_key(body: &[u8], word: &Finder<'_>) -> bool {
    word.find_iter(body).any(|at| {
        let after = body[at + word.needle().len()..].trim_ascii_start();
        after.is_empty() || after.starts_with(b":")
    })
}

/// What the events of a settled webhook came to, those that were handed to the lanes of other destinations included once they are
/// final there. None where that cannot be watched.
async fn followed(journal: &dyn Journal, settled: &Progress) -> Option<Book> {
    let (here, handed): (Vec<_>, Vec<_>) = settled.events.iter().cloned().partition(|event| event.routed_to.is_empty());
    let receipts: BTreeSet<_> = handed.into_iter().map(|event| event.routed_to).collect();
    let mut all = Progress { events: here, ..Progress::default() };
    for receipt in receipts {
        let mut watch = journal.watch(journal.receipt(&receipt).ok()?).await.ok()??;
        all.events.extend_from_slice(&watch.settled().await.progress.events);
    }
    Some(moehog_journal::count(&all).0)
}

/// What is said where nothing was heard.
fn unsaid(wanted: Wanted) -> Said {
    match wanted {
        Wanted::Mapped => Said::Taken,
        Wanted::Settled { seconds } => Said::Waited { seconds, settled: None, notes: Vec::new() },
    }
}

/// How many seconds the sender asks to wait until its webhook is settled. Source: RFC 7240, section 4.3.
pub(super) fn preferred_seconds(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(','));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u64>().ok())
    });
    seconds.flatten().map(|seconds| seconds.min(MOST_PREFERRED)).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests;
