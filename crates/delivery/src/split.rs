//! Which events go into which request, and what an answer means for each of them.

mod cut;

use std::collections::{BTreeMap, HashSet};

use moehog_proto::{
    Blame, Reason,
    delivery::{Degraded, EventVerdict, Hold, Refused, Rejected, Retry, Verdict},
    event::Event,
};

use self::cut::{Cut, Kind};
use crate::posthog::{self, Outcome, Results, Said};

/// Events refused alone, with none taken, after which nothing more is tried: it is not these events that are at fault.
const MOST_REFUSED: usize = 8;

/// One call's events on their way to a verdict each. Pure: asks for a request at a time and is told what came of it.
///
/// A request holds no uuid twice, unless it is one event at most so many bytes, and either history or what is live. A
/// refused one is halved until the guilty event stands alone: at most 2·log2(n)+1 requests for one guilty event among
/// n. Events stay in their order, and nothing of a person is sent behind an event of that person which is to be tried
/// again. Where everything is refused, no more than the first few are tried alone, and the rest gets no verdict.
#[derive(Debug)]
pub(crate) struct Split<'a> {
    events: &'a [Event],
    /// What an accepted event gets, and why.
    taken: (Verdict, Reason),
    /// Which events v1 takes as they are; none where classic alone is spoken.
    fits_v1: Vec<bool>,
    verdicts: Vec<EventVerdict>,
    /// Requests still to be made; the next one is the last.
    parts: Vec<Part>,
    /// Persons one of whose events is to be tried again.
    waiting: HashSet<&'a str>,
    /// Events that were refused alone while none was taken; none once one was.
    refused: Option<usize>,
}

#[derive(Debug)]
struct Part {
    /// Indexes into `events`, ascending.
    events: Vec<usize>,
    /// It is the first half of something refused; the second half is the part below it.
    first_half: bool,
    /// It must hold a guilty event, since what it is half of does and the other half does not.
    guilty: bool,
}

/// Events that go to PostHog together.
#[derive(Debug)]
pub(crate) struct Request {
    /// Indexes into the call's events, ascending.
    pub(crate) events: Vec<usize>,
    /// They are history.
    pub(crate) historical: bool,
    /// It is one of v1.
    pub(crate) v1: bool,
    first_half: bool,
}

impl<'a> Split<'a> {
    /// Cuts `events` into requests. Events that PostHog can never take are rejected at once; `faults` says of each that is not
    /// one JSON object what it is, by its index.
    /// `fits_v1` says which events v1 takes as they are, and is empty where classic alone is spoken.
    pub(crate) fn new(
        events: &'a [Event],
        faults: &BTreeMap<usize, String>,
        fits_v1: Vec<bool>,
        max_request_bytes: usize,
        taken: (Verdict, Reason),
    ) -> Self {
        let mut split = Self {
            events,
            taken,
            fits_v1,
            verdicts: vec![EventVerdict::default(); events.len()],
            parts: Vec::new(),
            waiting: HashSet::new(),
            refused: Some(0),
        };
        let kind =
            |split: &Self, index: usize| Kind { historical: events[index].historical, fits_v1: split.fits_v1(index) };
        let is_mixed = (1..events.len()).any(|index| kind(&split, index) != kind(&split, 0));
        let mut cut = Cut::new(events, is_mixed, max_request_bytes);
        for (index, event) in events.iter().enumerate() {
            if let Some(size) = posthog::too_large(&event.json) {
                let most = posthog::MAX_EVENT_BYTES;
                let message = format!(
                    "PostHog would store the event as {size} bytes; {most} are sent at most, since it takes 1000000 with what it adds"
                );
                let why = Reason::new(Blame::Body, "too_large", message).remedied("make it smaller");
                split.give(&[index], &Verdict::Rejected(Rejected::default()), &why);
                continue;
            }
            if let Some(fault) = faults.get(&index) {
                let message = format!("PostHog takes an event as one JSON object, and this one {fault}");
                let why = Reason::new(Blame::Moehog, "not_one_object", message);
                split.give(&[index], &Verdict::Rejected(Rejected::default()), &why);
                continue;
            }
            cut.take(index, kind(&split, index));
        }
        split.parts = cut.into_requests().into_iter().rev().map(Part::whole).collect();
        split
    }

    /// Gives back a request of which nothing was taken, since there is no v1: it and all that follow are classic ones.
    pub(crate) fn fall_back(&mut self, request: Request) {
        let Request { events, first_half, .. } = request;
        self.fits_v1.clear();
        self.parts.push(Part { events, first_half, guilty: false });
    }

    fn fits_v1(&self, index: usize) -> bool {
        self.fits_v1.get(index).copied().unwrap_or_default()
    }

    /// The next request to make; none once nothing is left to try.
    pub(crate) fn next(&mut self) -> Option<Request> {
        while let Some(mut part) = self.parts.pop() {
            part.events.retain(|index| !self.waiting.contains(self.events[*index].distinct_id.as_str()));
            if part.guilty && part.events.len() > 1 {
                let middle = part.events.len() / 2;
                self.halve(part.events, middle);
            } else if !part.events.is_empty() {
                let first = part.events[0];
                let (historical, v1) = (self.events[first].historical, self.fits_v1(first));
                return Some(Request { events: part.events, historical, v1, first_half: part.first_half });
            }
        }
        None
    }

    /// Takes what came of a request. `answer` is 1 + the index of the request among those of the call.
    pub(crate) fn record(&mut self, request: Request, outcome: Outcome, answer: u32) {
        let Request { events, first_half, .. } = request;
        for index in &events {
            let verdict = &mut self.verdicts[*index];
            verdict.answer = answer;
            verdict.sent |= outcome.may_have_been_read();
        }
        match outcome {
            Outcome::Taken => {
                self.refused = None;
                let (verdict, why) = self.taken.clone();
                self.give(&events, &verdict, &why);
                self.is_guiltless(first_half);
            }
            Outcome::Judged(results) => {
                self.refused = None;
                self.judged(&events, &results);
                self.is_guiltless(first_half);
            }
            Outcome::Refused { why } if events.len() == 1 => {
                self.give(&events, &Verdict::Refused(Refused::default()), &why);
                self.refused = self.refused.map(|refused| refused + 1);
                if self.refused >= Some(MOST_REFUSED) {
                    self.parts.clear();
                }
            }
            Outcome::Refused { .. } => {
                // the smaller half first: the other may then be known guilty without a request
                let middle = events.len() / 2;
                self.halve(events, middle);
            }
            // PostHog's own limit was asked before: this one is a proxy's, and may be mended
            Outcome::TooLarge { why } if events.len() == 1 => {
                let verdict = Verdict::Retry(Retry { by_event: true, ..Retry::default() });
                self.retry_later(&events, &verdict, &why);
            }
            Outcome::TooLarge { .. } => {
                let middle = self.middle_by_bytes(&events);
                self.halve(events, middle);
            }
            Outcome::Retry { after_ms, why, others, in_doubt, .. } => {
                let alone = events.len() == 1;
                let (by_event, in_doubt) = (others && alone, in_doubt && !alone);
                let retry = Retry { after_ms, by_event, in_doubt, ..Retry::default() };
                self.retry_later(&events, &Verdict::Retry(retry), &why);
                if !others {
                    self.parts.clear();
                }
            }
            Outcome::Hold { why } => {
                let hold = Verdict::Hold(Hold::default());
                self.give(&events, &hold, &why);
                for part in std::mem::take(&mut self.parts) {
                    self.give(&part.events, &hold, &why);
                }
            }
        }
    }

    /// One verdict an event, in the order of the events.
    pub(crate) fn into_verdicts(self) -> Vec<EventVerdict> {
        self.verdicts
    }

    fn give(&mut self, events: &[usize], verdict: &Verdict, why: &Reason) {
        for index in events {
            self.verdicts[*index].give(verdict.clone(), why);
        }
    }

    fn retry_later(&mut self, events: &[usize], verdict: &Verdict, why: &Reason) {
        self.give(events, verdict, why);
        self.waiting.extend(events.iter().map(|index| self.events[*index].distinct_id.as_str()));
    }

    /// Gives each event of a request the verdict that PostHog's answer says.
    fn judged(&mut self, events: &[usize], results: &Results) {
        for index in events {
            let (verdict, why) = match results.of(&self.events[*index].uuid) {
                Said::Taken => self.taken.clone(),
                Said::Reserved(why) => (Verdict::Degraded(Degraded::default()), why),
                Said::Dropped(why) => (Verdict::Rejected(Rejected::default()), why),
                Said::Again { after_ms, why } => {
                    let verdict = Verdict::Retry(Retry { after_ms, ..Retry::default() });
                    self.retry_later(&[*index], &verdict, &why);
                    continue;
                }
                // what was not sent yet is given back: it would be dropped too
                Said::Held(why) => {
                    self.parts.clear();
                    (Verdict::Hold(Hold::default()), why)
                }
            };
            self.give(&[*index], &verdict, &why);
        }
    }

    /// A request was not refused: of two halves of a refused one it is the other that is guilty.
    fn is_guiltless(&mut self, first_half: bool) {
        if let (true, Some(second_half)) = (first_half, self.parts.last_mut()) {
            second_half.guilty = true;
        }
    }

    fn halve(&mut self, mut events: Vec<usize>, middle: usize) {
        let second = events.split_off(middle);
        self.parts.push(Part::whole(second));
        self.parts.push(Part { events, first_half: true, guilty: false });
    }

    /// Where to cut two or more events so that both sides have about the same bytes and at least one event.
    fn middle_by_bytes(&self, events: &[usize]) -> usize {
        let size = |index: &usize| self.events[*index].json.len();
        let half = events.iter().map(size).sum::<usize>() / 2;
        let mut bytes = 0;
        let cut = events.iter().take_while(|index| {
            bytes += size(index);
            bytes <= half
        });
        cut.count().clamp(1, events.len() - 1)
    }
}

/// The events of a request that are to be sent again after this outcome.
pub(crate) fn to_be_sent_again<'e>(
    request: &Request,
    outcome: &Outcome,
    events: &'e [Event],
) -> impl Iterator<Item = &'e Event> {
    let is_again = |event: &&Event| match outcome {
        Outcome::Retry { .. } => true,
        Outcome::Judged(results) => matches!(results.of(&event.uuid), Said::Again { .. }),
        Outcome::Taken | Outcome::Refused { .. } | Outcome::TooLarge { .. } | Outcome::Hold { .. } => false,
    };
    request.events.iter().map(|index| &events[*index]).filter(is_again)
}

impl Part {
    fn whole(events: Vec<usize>) -> Self {
        Self { events, first_half: false, guilty: false }
    }
}

#[cfg(test)]
mod tests;
