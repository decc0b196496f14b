//! What was sent and what came back.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

use crate::moengage::Mark;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered {
        /// The status.
        status: u16,
        /// The answer's body, at most its first 4 KiB.
        body: String,
    },
    /// No answer came in time.
    TimedOut,
    /// The connection broke after the request was begun: the receiver may have it.
    Broken(String),
    /// There was no connection: the receiver cannot have it.
    Refused(String),
}

impl Outcome {
    /// The receipt in an answer, where it has one.
    #[must_use]
    pub fn receipt(&self) -> Option<String> {
        let Self::Answered { body, .. } = self else { return None };
        let answer: serde_json::Value = serde_json::from_str(body).ok()?;
        Some(answer.get("receipt")?.as_str()?.to_owned())
    }
}

/// One attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When it was begun.
    pub begun_at: SystemTime,
    /// When its outcome was known.
    pub ended_at: SystemTime,
    /// What came of it.
    pub outcome: Outcome,
}

/// A request with all its attempts.
#[derive(Debug, Clone)]
pub struct SentRequest {
    /// Its events.
    pub marks: Vec<Mark>,
    /// Its attempts so far, in order.
    pub attempts: Vec<Attempt>,
    /// Whether MoEngage counts it as sent.
    pub is_sent: bool,
}

/// What a receiver owes an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was answered with a status that counts as sent: it must be there.
    Promised {
        /// The receipt, where the answer had one.
        receipt: Option<String>,
    },
    /// Every attempt was refused, or found no connection: it must not be there, if the receiver lived on after the last refusal.
    Refused {
        /// The last status; `None` when no attempt found a connection.
        status: Option<u16>,
        /// When the last refusal came.
        at: SystemTime,
    },
    /// An attempt got no answer and none got a good one: it may be there or not.
    Open,
}

/// What a sender sent and what came back; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<SentRequest>>>);

/// A request's place in the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(usize);

impl Journal {
    /// Every request so far, in the order in which they were begun.
    #[must_use]
    pub fn requests(&self) -> Vec<SentRequest> {
        self.0.lock().clone()
    }

    /// What a receiver owes each event. An event sent in several requests is promised when one of them was.
    #[must_use]
    pub fn fates(&self) -> BTreeMap<Mark, Fate> {
        let mut fates = BTreeMap::new();
        for request in self.0.lock().iter() {
            let fate = request.fate();
            for mark in &request.marks {
                let known = fates.entry(*mark).or_insert_with(|| fate.clone());
                if rank(&fate) > rank(known) {
                    *known = fate.clone();
                }
            }
        }
        fates
    }

    pub(crate) fn begin(&self, marks: Vec<Mark>) -> Place {
        let mut requests = self.0.lock();
        requests.push(SentRequest { marks, attempts: Vec::new(), is_sent: false });
        Place(requests.len() - 1)
    }

    pub(crate) fn attempted(&self, place: Place, attempt: Attempt, is_sent: bool) {
        let mut requests = self.0.lock();
        let request = &mut requests[place.0];
        request.attempts.push(attempt);
        request.is_sent |= is_sent;
    }
}

fn rank(fate: &Fate) -> u8 {
    match fate {
        Fate::Promised { .. } => 2,
        Fate::Open => 1,
        Fate::Refused { .. } => 0,
    }
}

impl SentRequest {
    /// What a receiver owes its events.
    #[must_use]
    pub fn fate(&self) -> Fate {
        if self.is_sent {
            return Fate::Promised { receipt: self.attempts.last().and_then(|attempt| attempt.outcome.receipt()) };
        }
        let mut refusal = None;
        for attempt in &self.attempts {
            match attempt.outcome {
                Outcome::Answered { status, .. } => refusal = Some((Some(status), attempt.ended_at)),
                Outcome::Refused(_) => refusal = Some((refusal.and_then(|(status, _)| status), attempt.ended_at)),
                Outcome::TimedOut | Outcome::Broken(_) => return Fate::Open,
            }
        }
        match refusal {
            Some((status, at)) => Fate::Refused { status, at },
            None => Fate::Open,
        }
    }

    /// From the first attempt's beginning to the last one's end.
    #[must_use]
    pub fn took(&self) -> Duration {
        match (self.attempts.first(), self.attempts.last()) {
            (Some(first), Some(last)) => last.ended_at.duration_since(first.begun_at).unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}
