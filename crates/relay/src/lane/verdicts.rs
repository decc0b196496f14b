//! What becomes of the events of a Deliver call.

use std::time::Duration;

use moehog_proto::{Blame, Reason, delivery::Answer, journal::EventState};
use tokio::time::Instant;

use super::{
    DeliverCall, DeliverEnd, Lane, Now,
    fate::{Fate, GIVEN_BACK, NO_VERDICT, Why, judge_all, summarize},
    passing::Passing,
};
use crate::{
    barrier::{TRIED_ALONE, TRIED_WHOLE, Waiting},
    evidence::Judgement,
    gate::Change,
    progress::{Carried, event_cost, owned},
    slab::Key,
};

/// So many events may wait for a destination that refuses all of them: they are retried, each for itself, and it is not held.
const FEW: usize = 20;
/// Refusals in [`crate::Config::refused_for`] of an event that is dead of them.
const REFUSED_ALONE: u32 = 20;
/// Lone failures in this process of an event that is dead of them.
const EXPIRED: u32 = 3;

impl Lane {
    /// Takes what came of a Deliver call.
    pub(crate) fn delivered(&mut self, call: &DeliverCall, end: DeliverEnd, now: Now) {
        let events = &call.events;
        self.sending.hear(call, &end);
        let (fates, requests, answers) = judge_all(end, events.len());
        self.note_attempts(events, &requests, &answers, now);
        let mut ended = summarize(&fates, call.probe);
        let fates = self.judge_refusals(events, fates, &requests, now);
        // of a few nobody can tell
        ended.is_by_event = ended.is_by_event && !self.evidence.is_failing();
        ended.refuses_everything = self.evidence.is_crowded() && self.waiting_events() > FEW;
        self.pace.overloads = if ended.overloaded { self.pace.overloads + 1 } else { 0 };
        let jitter = self.chance.draw();
        // the last first: an event goes back before those of its person that follow it
        for (key, fate) in events.iter().zip(fates).rev() {
            let Some(person) = self.barrier.person(*key) else { continue };
            self.recorder.frees(person);
            match self.expire(*key, fate, now) {
                Fate::Final { state, reason } => {
                    self.finish(*key, state, reason);
                }
                Fate::Refused { reason } => {
                    self.again(*key, (&reason, Why::Suspect, Duration::ZERO, true), call, (now, jitter));
                }
                Fate::Again { reason, why, least, sent } => {
                    self.again(*key, (&reason, why, least, sent), call, (now, jitter));
                }
            }
        }
        self.sending.ended(ended.overloaded, ended.taken > 0, self.full_waits());
        let change = self.gate.ended(&ended, now.instant, self.chance.draw());
        if matches!(change, Some(Change::CircuitClosed | Change::HoldEnded)) {
            self.barrier.hurry();
        }
        self.changes.extend(change);
    }

    /// Tells what the destination took and refused, in the order in which it did, and what of that is the events' own fault.
    fn judge_refusals(
        &mut self,
        events: &[Key],
        mut fates: Vec<Fate>,
        requests: &[(u32, bool)],
        now: Now,
    ) -> Vec<Fate> {
        let mut order: Vec<usize> = (0..fates.len().min(requests.len())).collect();
        order.sort_by_key(|at| requests[*at].0);
        let took = |fate: &Fate| {
            matches!(fate, Fate::Final { state: EventState::Delivered | EventState::DeliveredDegraded, .. })
        };
        let gives_back = fates.iter().any(|fate| matches!(fate, Fate::Refused { .. })) && !fates.iter().any(took);
        let refusal = |event: &Key| self.barrier.get(*event).and_then(Waiting::refusal);
        let taken = events.iter().zip(&fates).filter(|(_, fate)| took(fate));
        let acquits = taken.filter_map(|(event, _)| refusal(event)).max_by_key(|refusal| refusal.crowds());
        let mut taken_in = 0;
        for at in order {
            let request = requests[at].0;
            match &fates[at] {
                fate if took(fate) && request != taken_in => {
                    taken_in = request;
                    self.evidence.took(acquits, now.instant);
                }
                Fate::Again { why: Why::Away, reason, .. } if gives_back && reason.code == NO_VERDICT => {
                    let message = "others of its call were refused and none was taken";
                    let reason = Reason::new(Blame::Destination, GIVEN_BACK, message);
                    fates[at] = Fate::Again { reason, why: Why::Untried, least: Duration::ZERO, sent: true };
                }
                Fate::Refused { reason } => {
                    let Some(waiting) = self.barrier.get_mut(events[at]) else { continue };
                    match self.evidence.refused(&waiting.event.distinct_id, waiting.refusal, now.instant) {
                        Judgement::Suspect(refusal) => {
                            waiting.refusal = Some(refusal);
                            let (key, tries) = (waiting.entry, waiting.attempts);
                            if let Some(reason) = self.refused_alone(key, tries, reason, now) {
                                fates[at] = Fate::Final { state: EventState::Dead, reason };
                            }
                        }
                        Judgement::Guilty => {
                            fates[at] = Fate::Final { state: EventState::Dead, reason: reason.clone() };
                        }
                    }
                }
                Fate::Again { why: Why::Failed, .. } => {
                    let Some(waiting) = self.barrier.get_mut(events[at]) else { continue };
                    // what is at fault fails again and again where all is well
                    waiting.failures += 1;
                    if waiting.failures == 1 {
                        self.evidence.failed(&waiting.event.distinct_id);
                    }
                }
                _ => {}
            }
        }
        fates
    }

    /// Where nothing else is sent that could decide, what was refused again and again for long enough is dead.
    fn refused_alone(&self, entry: Key, tries: u32, said: &Reason, now: Now) -> Option<Reason> {
        let entry = self.entries.get(entry)?;
        let trying = entry.trying(self.gate.clock(now.instant));
        let is_ripe = trying >= self.config.refused_for && tries >= REFUSED_ALONE && self.waiting_events() <= FEW;
        is_ripe.then(|| {
            let hours = trying.as_secs() / 3600;
            let message = format!(
                "refused {tries} times in {hours} hours, in which nothing else was taken; the last answer was {said}"
            );
            Reason::new(Blame::Destination, "refused_alone", message)
        })
    }

    /// Past the horizon of trying, what failed again and again, and may itself be the reason, is dead.
    fn expire(&self, key: Key, fate: Fate, now: Now) -> Fate {
        let Fate::Again { reason, why: Why::Failed, .. } = &fate else { return fate };
        // it may have been tried for another cause until now, as one that was refused
        let again_and_again = |waiting: &&Waiting| waiting.failures >= EXPIRED && !self.evidence.is_failing();
        let entry = self.barrier.get(key).filter(again_and_again);
        let entry = entry.and_then(|waiting| self.entries.get(waiting.entry));
        if entry.is_none_or(|entry| entry.trying(self.gate.clock(now.instant)) < self.config.horizon) {
            return fate;
        }
        let hours = self.config.horizon.as_secs() / 3600;
        let message = format!("not taken in {hours} hours of trying; the last answer was {reason}");
        Fate::Final { state: EventState::Dead, reason: Reason::new(Blame::Destination, "expired", message) }
    }

    fn finish(&mut self, key: Key, state: EventState, reason: Reason) {
        let Some(waiting) = self.barrier.finish(key) else { return };
        self.recorder.frees_bytes(event_cost(&waiting.event));
        self.passings.tell(|| Passing::of(waiting.sequence, &waiting.event, state, reason.clone()));
        if let Some(entry) = self.entries.get_mut(waiting.entry) {
            entry.finish(waiting.index, state, reason);
        }
        self.note(waiting.entry);
    }

    fn again(
        &mut self,
        key: Key,
        (reason, why, least, sent): (&Reason, Why, Duration, bool),
        call: &DeliverCall,
        (now, jitter): (Now, f64),
    ) {
        let delivering = self.gate.is_open() && !call.probe;
        let Some(waiting) = self.barrier.get_mut(key) else { return };
        if !waiting.owned {
            (waiting.event, waiting.owned) = (owned(&waiting.event), true);
        }
        let counts = matches!(why, Why::Failed | Why::Away | Why::InDoubt | Why::Suspect);
        waiting.attempts += u32::from(counts);
        if why == Why::Suspect {
            waiting.limit = 1;
        }
        if why == Why::Untried && sent {
            waiting.limit = waiting.limit.min(TRIED_ALONE);
        }
        if delivering && matches!(why, Why::Failed | Why::Away | Why::InDoubt | Why::Held) {
            waiting.limit = waiting.limit.min(TRIED_WHOLE);
        }
        // what fails for all is nobody's doing, and goes again in calls as large
        let went_well = |since: Option<Instant>| since.is_some_and(|since| self.evidence.took_since(since));
        let may_be_at_fault = match why {
            Why::InDoubt => waiting.attempts > 1 || went_well(Some(call.began)),
            Why::Away => went_well(waiting.failed_at),
            _ => false,
        };
        waiting.failed_at = Some(now.instant);
        let mut tries = waiting.attempts;
        if delivering && may_be_at_fault && call.events.len() > 1 {
            waiting.limit = waiting.limit.min(u16::try_from(call.events.len() / 2).unwrap_or(u16::MAX));
            // which half it is in is soon found out
            tries = 1;
        }
        let delay = match why {
            Why::Failed | Why::Away | Why::InDoubt => self.pace.retry.delay(tries, least, jitter),
            Why::Suspect => self.pace.suspects.delay(waiting.attempts, least, jitter),
            Why::Overloaded => self.pace.short.delay(self.pace.overloads, least, jitter),
            Why::Untried | Why::NeverLeft => self.pace.short.delay(self.gate.failures() + 1, least, jitter),
            Why::Held => Duration::ZERO,
        };
        if let Some(entry) = self.entries.get_mut(waiting.entry)
            && !matches!(why, Why::Untried | Why::NeverLeft | Why::Overloaded)
        {
            if entry.outcome(waiting.index).is_some_and(|known| known.attempts == 0 && known.reason.is_empty()) {
                let (sequence, event) = (waiting.sequence, &waiting.event);
                self.passings.tell(|| Passing::of(sequence, event, EventState::Pending, reason.clone()));
            }
            entry.keep_open(waiting.index, reason, counts, sent.then_some(&waiting.event));
        } else if sent && let Some(entry) = self.entries.get_mut(waiting.entry) {
            entry.keep_open(waiting.index, reason, false, Some(&waiting.event));
        }
        let entry = waiting.entry;
        if !matches!(why, Why::Untried | Why::NeverLeft | Why::Overloaded | Why::Held) {
            self.barrier.suspect(key, why == Why::Suspect);
        }
        self.barrier.put_back(key, now.instant + delay);
        self.note(entry);
    }

    /// Adds the requests that were made to the entries whose events they held.
    fn note_attempts(&mut self, events: &[Key], requests: &[(u32, bool)], answers: &[Answer], now: Now) {
        let mut made: Vec<(u32, u32)> = Vec::new();
        let mut from = 0;
        while from < events.len() {
            let Some(key) = self.barrier.get(events[from]).map(|waiting| waiting.entry) else {
                from += 1;
                continue;
            };
            let of_entry = |event: &&Key| self.barrier.get(**event).is_some_and(|waiting| waiting.entry == key);
            let to = from + events[from..].iter().take_while(of_entry).count();
            let Some(entry) = self.entries.get_mut(key) else { break };
            made.clear();
            made.extend(requests[from..to].iter().filter(|(answer, _)| *answer > 0).map(|(answer, _)| (*answer, 0)));
            made.sort_unstable();
            made.dedup();
            made.retain_mut(|(answer, attempt)| match answers.get(*answer as usize - 1) {
                Some(answer) => {
                    *attempt = entry.add_attempt(answer);
                    true
                }
                None => false,
            });
            for (event, (answer, sent)) in events[from..to].iter().zip(&requests[from..to]) {
                let Some(waiting) = self.barrier.get(*event) else { continue };
                match made.iter().find(|(made, _)| made == answer) {
                    Some((_, attempt)) => {
                        let at_ms =
                            answers.get(*answer as usize - 1).map_or(now.epoch_ms, |answer| answer.started_at_ms);
                        entry.tried(waiting.index, at_ms, *attempt);
                    }
                    None if *sent => entry.tried(waiting.index, now.epoch_ms, 0),
                    None => {}
                }
            }
            Carried::prune_attempts(entry);
            from = to;
        }
    }
}
