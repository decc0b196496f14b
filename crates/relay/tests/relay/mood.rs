//! What delivery says by how its destination is.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

use moehog_proto::{
    delivery::{DeliverRequest, EventVerdict},
    event::Event,
};
use rand::{Rng, rngs::StdRng};

use crate::sink::{At, Plan, at, delivered, failed, given_back, hold, in_doubt, refused, retry};

/// Lone refusals after which delivery tries no more.
const MOST_REFUSED: usize = 8;
/// Requests that a call of many events costs of which all are refused: halved down to [`MOST_REFUSED`] of them.
const REFUSED_REQUESTS: u64 = 24;

/// How a destination is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Well,
    /// 400 to every request.
    Refuses,
    /// 400 to one event in three, the first time that it comes.
    RefusesOnce,
    /// 500 to every request.
    Fails,
    /// 503, with so many milliseconds of `Retry-After`.
    Busy(u64),
    /// A page for browsers.
    Page,
    /// It takes what it is sent, and the connection breaks before it says so.
    LosesAnswers,
}

/// What delivery says where its destination is so.
pub(crate) fn answer(
    mood: Mood,
    request: &DeliverRequest,
    in_vain: &AtomicU64,
    (chance, seen): (&mut StdRng, &mut HashSet<At>),
) -> Plan {
    let plan = match mood {
        Mood::Well => return well(request, |_| false),
        Mood::RefusesOnce => return well(request, |event| seen.insert(at(event)) && chance.random_bool(0.3)),
        Mood::Refuses => {
            seen.extend(request.events.iter().map(at));
            let requests = (2 * request.events.len() as u64 - 1).min(REFUSED_REQUESTS);
            in_vain.fetch_add(requests, Ordering::Relaxed);
            return Plan::refusing(request);
        }
        Mood::Fails if request.events.len() == 1 => Plan::all(request, failed),
        Mood::Fails => Plan::all(request, in_doubt),
        Mood::Busy(after_ms) => {
            let mut plan = Plan::all(request, || retry(0));
            plan.verdicts.fill(retry(after_ms));
            plan
        }
        Mood::Page => Plan::all(request, hold),
        Mood::LosesAnswers => Plan::all(request, delivered).dying(),
    };
    in_vain.fetch_add(1, Ordering::Relaxed);
    plan
}

/// All are taken but the bad ones, and those that are refused this time.
fn well(request: &DeliverRequest, mut is_refused: impl FnMut(&Event) -> bool) -> Plan {
    let (mut taken, mut lone_refusals) = (false, 0);
    let mut verdict = |event: &Event| -> EventVerdict {
        if !taken && lone_refusals >= MOST_REFUSED {
            return given_back();
        }
        if event.distinct_id.starts_with("refused") || is_refused(event) {
            lone_refusals += 1;
            return refused();
        }
        if event.distinct_id.starts_with("expired") {
            return failed();
        }
        taken = true;
        delivered()
    };
    let mut plan = Plan::each(request, &mut verdict);
    // requests in the order of the events: what is taken between two refusals is known to be
    for (at, verdict) in plan.verdicts.iter_mut().enumerate() {
        verdict.answer = at as u32 + 1;
    }
    plan
}
