//! What a Deliver call's end says of each of its events, and of its destination.

use std::time::Duration;

use moehog_proto::{
    Blame, Reason,
    delivery::{Answer, DeliverResponse, EventVerdict, Verdict},
    journal::EventState,
};

use crate::gate::Ended;

/// How a Deliver call ended.
#[derive(Debug)]
pub(crate) enum DeliverEnd {
    /// Delivery answered.
    Answered {
        /// What it said.
        response: DeliverResponse,
        /// How long the call took.
        took: Duration,
    },
    /// The call never reached delivery.
    NeverLeft {
        /// Why not.
        why: Reason,
    },
    /// The call failed on its way or while it was worked on: its events may have been sent.
    Died {
        /// How.
        why: Reason,
        /// When it began, milliseconds since the epoch.
        started_at_ms: i64,
    },
}

/// Code of an event that was given back: it is not tried in one call with what was not tried yet.
pub(super) const GIVEN_BACK: &str = "given_back";
/// Of an event that an answer says nothing of.
pub(super) const NO_VERDICT: &str = "no_verdict";

/// What becomes of one event.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    Final {
        state: EventState,
        reason: Reason,
    },
    /// PostHog refused it alone.
    Refused {
        reason: Reason,
    },
    Again {
        reason: Reason,
        why: Why,
        least: Duration,
        sent: bool,
    },
}

/// Why an event is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It was refused alone, and nothing says yet whose fault that is.
    Suspect,
    /// It was tried alone and failed, and may be the reason: this counts as an attempt.
    Failed,
    /// It was tried and not taken, or nobody knows, for what the destination does: this counts as an attempt.
    Away,
    /// The same, and one of those that it was tried with may be the reason.
    InDoubt,
    /// Delivery had no room.
    Overloaded,
    /// The destination is held.
    Held,
    /// It was not tried.
    Untried,
    /// The call never left.
    NeverLeft,
}

/// Reads a verdict.
fn judge(mut verdict: EventVerdict) -> Fate {
    let (sent, reason) = (verdict.sent, verdict.take_why());
    let again = |reason, why, least_ms| Fate::Again { reason, why, least: Duration::from_millis(least_ms), sent };
    match verdict.verdict {
        Some(Verdict::Delivered(_)) => Fate::Final { state: EventState::Delivered, reason },
        Some(Verdict::Degraded(_)) => Fate::Final { state: EventState::DeliveredDegraded, reason },
        Some(Verdict::Rejected(_)) => Fate::Final { state: EventState::Dead, reason },
        Some(Verdict::Refused(_)) => Fate::Refused { reason },
        Some(Verdict::Retry(retry)) if retry.overloaded => again(reason, Why::Overloaded, retry.after_ms),
        Some(Verdict::Retry(retry)) if retry.by_event => again(reason, Why::Failed, retry.after_ms),
        Some(Verdict::Retry(retry)) if retry.in_doubt => again(reason, Why::InDoubt, retry.after_ms),
        Some(Verdict::Retry(retry)) => again(reason, Why::Away, retry.after_ms),
        Some(Verdict::Hold(_)) => again(reason, Why::Held, 0),
        None if sent => again(Reason::new(Blame::Moehog, NO_VERDICT, ""), Why::Away, 0),
        None => again(reason, Why::Untried, 0),
    }
}

/// A fate an event, and the requests that were made.
pub(super) fn judge_all(end: DeliverEnd, events: usize) -> (Vec<Fate>, Vec<(u32, bool)>, Vec<Answer>) {
    let all = |reason: &Reason, why, sent| {
        let fate = || Fate::Again { reason: reason.clone(), why, least: Duration::ZERO, sent };
        std::iter::repeat_with(fate).take(events).collect()
    };
    match end {
        DeliverEnd::Answered { response, took: _ } => {
            let mut verdicts = response.verdicts;
            // an event that the answer says nothing of may have been sent
            verdicts.resize_with(events, || EventVerdict { sent: true, ..EventVerdict::default() });
            let requests = verdicts.iter().map(|verdict| (verdict.answer, verdict.sent)).collect();
            (verdicts.into_iter().map(judge).collect(), requests, response.answers)
        }
        DeliverEnd::NeverLeft { why } => (all(&why, Why::NeverLeft, false), vec![(0, false); events], Vec::new()),
        DeliverEnd::Died { why, started_at_ms } => {
            let body = format!("deliver call died: {}", why.message);
            let answer = Answer { started_at_ms, body, events: events as u32, ..Answer::default() };
            (all(&why, Why::InDoubt, true), vec![(1, true); events], vec![answer])
        }
    }
}

/// What the call says of its destination.
pub(super) fn summarize(fates: &[Fate], probe: bool) -> Ended {
    let says_nothing = fates.iter().all(|fate| matches!(fate, Fate::Final { state: EventState::Dead, .. }));
    let mut ended = Ended { probe, says_nothing, overloaded: true, ..Ended::default() };
    for fate in fates {
        match fate {
            Fate::Final { state, .. } => {
                ended.taken += usize::from(*state != EventState::Dead);
                ended.overloaded = false;
            }
            Fate::Refused { reason } => {
                (ended.refused, ended.overloaded) = (ended.refused + 1, false);
                ended.reason.clone_from(reason);
            }
            Fate::Again { reason, why, least, .. } => {
                ended.overloaded &= matches!(why, Why::Overloaded | Why::Untried);
                ended.is_by_event |= *why == Why::Failed;
                ended.least = ended.least.max(*least);
                if *why == Why::Held {
                    ended.hold.get_or_insert_with(|| reason.clone());
                }
                if ended.reason == Reason::default() {
                    ended.reason.clone_from(reason);
                }
            }
        }
    }
    ended.overloaded &= fates.iter().any(|fate| matches!(fate, Fate::Again { why: Why::Overloaded, .. }));
    ended
}
