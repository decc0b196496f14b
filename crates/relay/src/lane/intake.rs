//! What a lane takes in: entries from the journal, and their events from the transformer.

use std::{collections::HashSet, num::NonZeroUsize, sync::Arc};

use moehog_journal::ReadLimit;
use moehog_proto::{
    Blame, Reason, Sequence,
    journal::{Mapping, Progress},
    transformer::{self, TransformRequest, TransformResponse, TransformedWebhook, mapped_event, transformed_webhook},
};

use super::{
    Lane, Now, Step, TransformCall,
    budget::{MIN_ROOM_BYTES, SMALL},
};
use crate::{
    poison::{Failure, TransformQueue},
    progress::{Carried, event_cost},
    webhook::request_bytes,
};

/// Most entries of one read.
const READ_ENTRIES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
/// Full calls that wait, from which on a lane reads no further: more would only lie in memory.
const READ_AHEAD_CALLS: usize = 4;

/// What a read was of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// What comes next in the lane.
    On,
    /// What stepped aside.
    Back,
    /// What was reopened, before this one.
    Reopened { until: Sequence },
}

impl Lane {
    pub(super) fn next_read(&mut self, now: Now) -> Option<Step> {
        // what came back may have been settled since
        self.end_round();
        let idle = self.entries.is_empty();
        let overdrawn = !idle && self.budget.overdraft > 0;
        if self.reader.under_way || overdrawn || self.reader.waits(now.instant) || self.round_is_over(now.instant) {
            return None;
        }
        if let Some((from, until, limit)) = self.next_back() {
            self.reader.under_way = true;
            self.budget.reading = limit.max_bytes;
            return Some(Step::Read { from, until, limit });
        }
        let parked = !idle && self.budget.mapped_room(&self.gate) == 0;
        // behind what its destination refuses may be what it takes
        let ahead = !self.gate.refuses_everything()
            && self.barrier.ready_together() >= READ_AHEAD_CALLS * self.config.deliver_max_events;
        let full = !idle && self.budget.received > self.budget.received_limit() / 2;
        if !(parked || full || ahead)
            && let Some((from, until, limit)) = self.next_reopened()
        {
            self.reader.under_way = true;
            self.budget.reading = limit.max_bytes;
            return Some(Step::Read { from, until, limit });
        }
        // while it keeps up, what comes during a Transform call is one read and one call after it
        let gathers = self.reader.keeps_up && self.queue.calls() > 0;
        self.budget.wants_more |= self.gate.is_open() && !self.reader.caught_up && !ahead && (parked || full);
        if gathers || parked || full || ahead || self.reader.caught_up {
            return None;
        }
        let room = self.budget.received_limit().saturating_sub(self.budget.received);
        let limit = self.limit_of_read(self.large_next(), room)?;
        self.reader.under_way = true;
        self.budget.reading = limit.max_bytes;
        Some(Step::Read { from: self.reader.cursor, until: Sequence::MAX, limit })
    }

    /// What the next webhook needs, where that finds no room.
    pub(super) fn large_next(&self) -> Option<(usize, usize)> {
        self.reader.awaits.filter(|costs| !self.budget.fits(*costs, &self.gate))
    }

    /// How much is read: at most `max_bytes`, or the `large` webhook that comes next. That goes alone, and a lane that has too
    /// little for it asks for more; none while it waits for that.
    pub(super) fn limit_of_read(&mut self, large: Option<(usize, usize)>, max_bytes: usize) -> Option<ReadLimit> {
        let Some((body, events)) = large else { return Some(ReadLimit { max_entries: READ_ENTRIES, max_bytes }) };
        let has_room = self.entries.is_empty() && self.budget.overdraw(body + expected(body, 1) + events);
        has_room.then_some(ReadLimit { max_entries: NonZeroUsize::MIN, max_bytes: body + events })
    }

    /// A read ended at `next`. Says of what it was.
    fn has_read(&mut self, next: Sequence, caught_up: bool) -> Read {
        self.budget.reading = 0;
        if let Some(until) = self.has_read_reopened(next) {
            Read::Reopened { until }
        } else if self.has_come_back(next) {
            Read::Back
        } else {
            self.reader.has_read(next, caught_up);
            Read::On
        }
    }

    /// Takes what was read. `next` is where to read on; `caught_up` says that all that was durable is read.
    pub(crate) fn read(&mut self, batch: Vec<Carried>, next: Sequence, caught_up: bool) {
        let read = self.has_read(next, caught_up);
        // what was reopened may be here already
        let held: HashSet<_> = match read {
            Read::Back => self.entries.iter().map(|(_, entry)| entry.sequence).collect(),
            _ => HashSet::new(),
        };
        for mut entry in batch {
            if held.contains(&entry.sequence) {
                continue;
            }
            let costs = (entry.received_cost(), entry.mapped_cost());
            if !self.entries.is_empty() && !self.budget.fits(costs, &self.gate) {
                self.stops_before(entry.sequence, costs, read);
                break;
            }
            match (read, &mut self.aside) {
                (Read::Back, Some(aside)) => aside.came_back(),
                (Read::On, _) => self.reader.cursor_at_ms = entry.received_at_ms,
                _ => {}
            }
            self.reopened.has_read(entry.sequence);
            if entry.webhook.is_some() && TransformQueue::crashed_too_often(&entry.trial, &self.config) {
                let known = self.passings.known(&entry.progress);
                entry.reject(&transform_failed());
                self.passings.tell_final(entry.sequence, &entry.progress, &known);
            }
            self.budget.received += entry.received_cost();
            self.budget.mapped += entry.mapped_cost();
            let sequence = entry.sequence;
            let waits = entry.webhook.as_ref().map(request_bytes);
            let key = self.entries.insert(entry);
            self.order.insert(sequence, key);
            if let Some(bytes) = waits {
                self.queue.push(sequence, key, bytes);
            }
            self.note(key);
        }
        self.enter();
    }

    /// The next webhook, at `next`, has so many bytes, which is more than was asked for.
    pub(crate) fn too_large(&mut self, next: Sequence, bytes: usize) {
        let read = self.has_read(next, false);
        self.stops_before(next, (bytes, 0), read);
    }

    /// The entry at `sequence` finds no room for its bytes: it stays in the journal and is read again.
    fn stops_before(&mut self, sequence: Sequence, bytes: (usize, usize), read: Read) {
        match (read, &mut self.aside) {
            (Read::Reopened { until }, _) => self.reopened.stops_before(sequence, until, bytes),
            (Read::Back, Some(aside)) => aside.stops_before(sequence, bytes),
            _ => self.reader.stops_before(sequence, bytes),
        }
    }

    /// A read failed.
    pub(crate) fn read_failed(&mut self, now: Now) {
        (self.reader.under_way, self.budget.reading) = (false, 0);
        self.reopened.read_failed();
        if let Some(aside) = &mut self.aside {
            aside.read_failed();
        }
        self.reader.retry.failed(now.instant, self.chance.draw());
    }

    pub(super) fn next_transform(&mut self, now: Now) -> Option<Step> {
        if !self.queue.ready(&self.config, now.instant) {
            return None;
        }
        let room = self.budget.mapped_room(&self.gate);
        // one webhook of any size is taken when nothing else can move: all that is mapped may wait behind it
        let stuck = self.barrier.len() == 0 && self.outlet.is_idle() && self.queue.calls() == 0;
        if room < self.budget.least_room(&self.gate) && !stuck {
            self.budget.wants_more = self.gate.is_open();
            return None;
        }
        if let Some(bytes) = self.budget.answer
            && (!stuck || !self.budget.overdraw(self.budget.held() + bytes))
        {
            return None;
        }
        let taken = self.queue.take(&self.entries, &self.config, now.instant)?;
        let expected = self.budget.answer.take().unwrap_or_else(|| expected(taken.bytes, taken.entries.len()));
        let reserved = expected.max(MIN_ROOM_BYTES).min(room).max(1);
        self.budget.reserved += reserved;
        let entries = taken.entries.iter().filter_map(|key| self.entries.get(*key));
        let (sequences, webhooks) = entries.filter_map(|entry| Some((entry.sequence, entry.webhook.clone()?))).unzip();
        let mapping = taken
            .mapping
            .as_deref()
            .map(|mapping| transformer::Mapping { revision: mapping.revision.clone(), text: mapping.text.clone() });
        let max_response_bytes = reserved as u64;
        let request = TransformRequest { webhooks, max_response_bytes, mapping, ..TransformRequest::default() };
        Some(Step::Transform(TransformCall { taken, sequences, reserved }, request))
    }

    /// Takes the transformer's answer: whole webhooks from the first on, and the mapping that made it, where that is known. What
    /// is known of each is handed to `announce`.
    pub(crate) fn transformed(
        &mut self,
        call: TransformCall,
        response: TransformResponse,
        mapping: Option<&Arc<Mapping>>,
        mut announce: impl FnMut(Sequence, &Arc<Progress>),
    ) {
        self.budget.reserved -= call.reserved;
        let mut answers = response.webhooks;
        if let [answer] = answers.as_slice() {
            let bytes = answer_bytes(answer);
            if bytes > self.budget.mapped_room(&self.gate).max(call.reserved).max(SMALL) {
                // the transformer answers for one webhook whatever its events need: it is asked again once there is room
                self.budget.answer = Some(bytes);
                answers.clear();
            }
        }
        self.queue.answered(&call.taken, answers.len(), &self.entries);
        for (key, answer) in call.taken.entries.iter().zip(answers) {
            let Some(entry) = self.entries.get_mut(*key) else { continue };
            self.budget.received -= entry.received_cost();
            entry.mapped_by(&response.mapping_revision, mapping.cloned());
            let known = self.passings.known(&entry.progress);
            entry.map(answer, &response.mapping_revision, &self.config);
            self.passings.tell_final(entry.sequence, &entry.progress, &known);
            announce(entry.sequence, &entry.progress);
            self.budget.mapped += entry.mapped_cost();
            self.note(*key);
        }
        self.enter();
    }

    /// A Transform call failed.
    pub(crate) fn transform_failed(&mut self, call: TransformCall, failure: Failure, now: Now) {
        self.budget.reserved -= call.reserved;
        let when = (now.instant, self.chance.draw());
        let failed = self.queue.failed(&call.taken, failure, &mut self.entries, &self.config, when);
        for key in &failed.counted {
            if let Some(entry) = self.entries.get_mut(*key) {
                entry.dirty = true;
            }
            self.note(*key);
        }
        for key in failed.dead {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            self.budget.received -= entry.received_cost();
            let known = self.passings.known(&entry.progress);
            entry.reject(&transform_failed());
            self.passings.tell_final(entry.sequence, &entry.progress, &known);
            self.budget.mapped += entry.mapped_cost();
            self.note(key);
        }
        self.enter();
    }

    /// Lets events out, in journal order, up to the first entry that is not mapped.
    fn enter(&mut self) {
        while let Some(first) = self.order.first_entry() {
            let key = *first.get();
            let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.webhook.is_none()) else { break };
            first.remove();
            let (sequence, events) = (entry.sequence, std::mem::take(&mut entry.events));
            self.let_out(key, sequence, events);
        }
        self.end_round();
    }
}

/// Bytes that the events of so many webhooks may need, whose bodies have so many: they are longer.
fn expected(bytes: usize, webhooks: usize) -> usize {
    4 * bytes + 1024 * webhooks
}

/// Bytes that the events of an answer need.
fn answer_bytes(answer: &TransformedWebhook) -> usize {
    let Some(transformed_webhook::Result::Mapped(mapped)) = &answer.result else { return 0 };
    let events = mapped.events.iter().filter_map(|event| match &event.outcome {
        Some(mapped_event::Outcome::Event(event)) => Some(event_cost(event)),
        _ => None,
    });
    events.sum()
}

fn transform_failed() -> Reason {
    Reason::new(Blame::Moehog, "transform_failed", "the transformer died each time it was given this webhook alone")
}
