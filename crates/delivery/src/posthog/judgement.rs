//! What a request's end means for the events in it, and for how much PostHog bears.

use super::{
    answer::{Answer, Failure, LARGE_BODY_BYTES, Outcome},
    results::unclear,
};
use crate::concurrency::Ended;

/// What a request's end means for the events in it.
pub(crate) fn judge(ended: &Result<Answer, Failure>) -> Outcome {
    match ended {
        Ok(answer) => answer.outcome(),
        Err(failure @ Failure::Broken { bytes, .. }) if *bytes >= LARGE_BODY_BYTES => {
            Outcome::TooLarge { why: failure.why() }
        }
        Err(failure) => {
            let sent = !matches!(failure, Failure::Connect(_));
            Outcome::Retry { after_ms: 0, why: failure.why(), sent, others: false, in_doubt: sent }
        }
    }
}

/// What a request's end says of how much PostHog bears. `full_time`: it had as long as `posthog.timeout`.
///
/// Refusals are 429, 503, 529, and no answer in time, be it ours or that of a proxy before PostHog (504): PostHog says 503
/// when its own queue does not take events, after up to 20 s, and is silent when it cannot keep up. A connection that is
/// not made or breaks is a restart or the network, and 500 and 502 are a fault, not a lack of room. Answers about the
/// events, the key or the host come quickly and without the work.
pub(crate) fn judge_load(ended: &Result<Answer, Failure>, full_time: bool) -> Ended {
    match ended {
        Ok(answer) => match answer.status.as_u16() {
            _ if answer.results().is_some_and(|results| results.is_refusal()) => Ended::Refused,
            _ if matches!(answer.outcome(), Outcome::Taken) => Ended::Taken,
            429 | 503 | 504 | 529 => Ended::Refused,
            _ => Ended::Other,
        },
        Err(Failure::Timeout) if full_time => Ended::Refused,
        Err(Failure::Timeout | Failure::Connect(_) | Failure::Broken { .. }) => Ended::Other,
    }
}

/// What a v1 request's end means for the events in it.
pub(crate) fn judge_v1(ended: &Result<Answer, Failure>) -> Outcome {
    match (ended, judge(ended)) {
        (Ok(answer), Outcome::Taken) => match answer.results() {
            Some(results) => Outcome::Judged(results),
            None => {
                let message = format!("status {} without an answer for each event", answer.status.as_u16());
                let why = unclear(message).remedied("see what stands before PostHog, or set api = \"classic\"");
                Outcome::Retry { after_ms: answer.after_ms(), why, sent: true, others: false, in_doubt: false }
            }
        },
        (Ok(answer), Outcome::Hold { why }) if matches!(answer.status.as_u16(), 404 | 405) => Outcome::Hold {
            why: why.remedied("set api = \"auto\" or \"classic\" for the destination: not every PostHog has v1"),
        },
        (_, outcome) => outcome,
    }
}

/// Whether the answer is that of a PostHog, or of what stands before it, which has no v1. `is_known`: it had before.
pub(crate) fn has_no_v1(ended: &Result<Answer, Failure>, is_known: bool) -> bool {
    let Ok(answer) = ended else { return false };
    match answer.status.as_u16() {
        404 | 405 => true,
        // a page, or what else answers to any path
        200..=299 | 400 if answer.is_page() => true,
        200..=299 => !is_known && answer.whole.is_some() && answer.results().is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
