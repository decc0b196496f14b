//! What waits for evidence and fills the memory steps aside: it is forgotten, and what is behind it is read. It comes back in
//! parts, beside what is taken meanwhile: that is the evidence.
//!
//! All that is in memory then is recorded, so nothing but the persons is kept: what comes later of them waits until
//! all is back. Where the mapping of a webhook that was not sent changes meanwhile, and names other persons, later events of
//! these may have gone before.

use std::{collections::BTreeMap, time::Duration};

use moehog_journal::ReadLimit;
use moehog_proto::Sequence;
use slab::Slab;
use tokio::time::Instant;

use super::Lane;
use crate::poison::TransformQueue;

/// How long what came back stays before it steps aside for the next part.
const STAYS: Duration = Duration::from_secs(60);
/// Shortest time between two times that something steps aside.
const PAUSE: Duration = Duration::from_secs(2);
/// Part of what the lane may hold: while it holds less, a part of what stepped aside comes back.
const COMES_BACK_BELOW: usize = 4;
/// Part of what the lane may hold that comes back at once: mapped, a webhook is longer.
const AT_ONCE: usize = 8;

/// Entries in `[from, end)` that are not settled, and most of which are not in memory.
#[derive(Debug)]
pub(super) struct Aside {
    from: Sequence,
    end: Sequence,
    /// What is below came back since the round began.
    next: Sequence,
    /// Some of it stepped aside again since.
    again: bool,
    /// Bytes of the webhook at `next` and of the events that it keeps, where there was no room for these.
    awaits: Option<(usize, usize)>,
    /// The read under way is of these.
    under_way: bool,
    stays_until: Instant,
    webhooks: usize,
    events: usize,
    oldest_ms: i64,
}

impl Aside {
    pub(super) fn holds(&self, sequence: Sequence) -> bool {
        (self.from..self.end).contains(&sequence)
    }

    /// Webhooks that are not in memory, all of them mapped.
    pub(super) fn webhooks(&self) -> usize {
        self.webhooks
    }

    /// Events of these that are not final, about so many.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// When the oldest of them was received, milliseconds since the epoch.
    pub(super) fn oldest_ms(&self) -> i64 {
        self.oldest_ms
    }

    /// The webhook at `sequence` finds no room for its bytes.
    pub(super) fn stops_before(&mut self, sequence: Sequence, bytes: (usize, usize)) {
        (self.next, self.awaits) = (sequence, Some(bytes));
    }

    /// The read under way failed, perhaps of these.
    pub(super) fn read_failed(&mut self) {
        self.under_way = false;
    }

    pub(super) fn awaits_room(&self) -> bool {
        self.awaits.is_some()
    }

    /// An entry came back. How many events it has is known again once it is mapped.
    pub(super) fn came_back(&mut self) {
        self.events -= self.events / self.webhooks.max(1);
        self.webhooks = self.webhooks.saturating_sub(1);
    }
}

impl Lane {
    /// Lets all that is in memory step aside where it waits for evidence, nothing else finds room, and it was looked at; or
    /// where what came back has had its time.
    pub(super) fn step_aside(&mut self, now: Instant) {
        if !self.is_quiet() || self.entries.is_empty() {
            return;
        }
        let has_stayed =
            self.aside.as_ref().is_some_and(|aside| now >= aside.stays_until && !self.has_room_for_aside());
        let begins = self.round_is_over(now);
        if self.steps_aside_from.is_some_and(|from| now < from) || !(begins || has_stayed || self.is_crammed()) {
            return;
        }
        let is_at_rest = self.barrier.ready_events() == 0;
        let waits_for_evidence = match self.gate.refuses_everything() {
            true => (self.barrier.probes() > 0 || is_at_rest) && !self.barrier.has_news(),
            false => is_at_rest && (begins || self.barrier.delayed().next().is_none()),
        };
        if !waits_for_evidence {
            return;
        }
        let old_end = self.aside.as_ref().map_or(0, |aside| aside.end);
        // what is not mapped has persons that nobody knows
        let unmapped = self.order.range(..old_end).next().map(|(first, _)| *first);
        let end = self.order.range(old_end..).next().map_or(self.reader.cursor, |(first, _)| *first);
        let webhooks = self.entries.iter().filter(|(_, entry)| entry.sequence < end).count();
        let events = self.barrier.len();
        let Some(from) = self.entries.iter().map(|(_, entry)| entry.sequence).min().filter(|_| webhooks > 0) else {
            return;
        };
        self.barrier.step_aside(end, begins);
        let oldest_ms = self.entries.iter().map(|(_, entry)| entry.received_at_ms).min().unwrap_or_default();
        let aside = self.aside.take().unwrap_or(Aside {
            from,
            end: from,
            next: from,
            again: false,
            awaits: None,
            under_way: false,
            stays_until: now,
            webhooks: 0,
            events: 0,
            oldest_ms,
        });
        let from_first = aside.from.min(from);
        self.aside = Some(Aside {
            from: from_first,
            end,
            next: if begins { from_first } else { unmapped.unwrap_or(aside.next) },
            again: !begins && (aside.again || from < aside.end),
            awaits: aside.awaits.filter(|_| unmapped.is_none() && !begins),
            stays_until: now + STAYS,
            webhooks: aside.webhooks + webhooks,
            events: aside.events + events,
            oldest_ms: aside.oldest_ms.min(oldest_ms),
            ..aside
        });
        self.steps_aside_from = Some(now + PAUSE);
        self.forget();
        self.reader.read_on(end);
    }

    /// Something waits for room that is not there, or others do.
    fn is_crammed(&self) -> bool {
        let wants = self.queue.webhooks() > 0 || !self.reader.caught_up;
        let room = self.budget.mapped_room(&self.gate);
        let has_none = room < self.budget.least_room(&self.gate);
        // what is read and not mapped may only be in its way for a moment
        let awaits = self.queue.webhooks() == 0 && self.large_next().is_some();
        let is_over = self.gate.refuses_everything() && self.budget.held() > self.budget.limits.equal_bytes;
        is_over || wants && (has_none || awaits || self.budget.overdraft > 0)
    }

    fn has_room_for_aside(&self) -> bool {
        // where little is refused there is no need to keep room for what is behind
        let below =
            if self.gate.is_open() && 4 * self.barrier.suspects() <= self.barrier.len() { 2 } else { COMES_BACK_BELOW };
        self.budget.held() < self.budget.mapped_limit(&self.gate) / below
    }

    /// What is to be read next of what stepped aside: from where, up to where, and how much of it.
    pub(super) fn next_back(&mut self) -> Option<(Sequence, Sequence, ReadLimit)> {
        let aside = self.aside.as_ref().filter(|aside| aside.next < aside.end)?;
        let (next, end, awaits) = (aside.next, aside.end, aside.awaits);
        // a large webhook has the room that it waits for before it is taken again
        if self.large_next().is_some() || !self.has_room_for_aside() {
            return None;
        }
        let room = self.budget.received_limit().saturating_sub(self.budget.received);
        let max_bytes = room.min(self.budget.mapped_limit(&self.gate) / AT_ONCE);
        let large = awaits.filter(|costs| costs.0 + costs.1 > max_bytes || !self.budget.fits(*costs, &self.gate));
        let limit = self.limit_of_read(large, max_bytes)?;
        self.aside.as_mut()?.under_way = true;
        Some((next, end, limit))
    }

    /// What was read next is of what stepped aside, up to `next`. Says whether it is.
    pub(super) fn has_come_back(&mut self, next: Sequence) -> bool {
        let Some(aside) = self.aside.as_mut().filter(|aside| aside.under_way) else { return false };
        (aside.under_way, aside.awaits, aside.next) = (false, None, next);
        self.reader.under_way = false;
        self.reader.retry.worked();
        true
    }

    /// Some that came back stepped aside again, all others are back and had their time.
    pub(super) fn round_is_over(&self, now: Instant) -> bool {
        let is_over = |aside: &Aside| aside.next >= aside.end && aside.again && now >= aside.stays_until;
        self.aside.as_ref().is_some_and(is_over)
    }

    /// Where all is back and mapped, nobody waits for it any more. Where some stepped aside again, and nothing else of it is
    /// here, it comes back from the first on.
    pub(super) fn end_round(&mut self) {
        let Some(aside) = self.aside.as_mut().filter(|aside| aside.next >= aside.end) else { return };
        if !aside.again {
            if self.order.range(..aside.end).next().is_none() {
                self.aside = None;
                self.barrier.all_are_back();
            }
        } else if self.entries.iter().all(|(_, entry)| entry.sequence >= aside.end) {
            (aside.next, aside.again) = (aside.from, false);
            self.barrier.begin_round();
        }
    }

    /// Events of this lane that wait, but for those that are not read or mapped.
    pub(super) fn waiting_events(&self) -> usize {
        self.barrier.len() + self.aside.as_ref().map_or(0, Aside::events)
    }

    /// When something may step aside again, and when what came back does.
    pub(super) fn steps_aside_at(&self) -> [Option<Instant>; 2] {
        [self.steps_aside_from, self.aside.as_ref().map(|aside| aside.stays_until)]
    }

    /// Nothing is under way, and all that is known is recorded.
    pub(super) fn is_quiet(&self) -> bool {
        let calls = !self.sending.is_idle() || self.queue.calls() > 0 || !self.outlet.is_idle();
        !calls && !self.reader.under_way && self.is_recorded()
    }

    /// Forgets all that is in memory: it is recorded, and in the journal.
    pub(super) fn forget(&mut self) {
        (self.entries, self.order) = (Slab::new(), BTreeMap::new());
        self.queue = TransformQueue::new(&self.config);
        self.queue.set_most_calls(self.budget.limits.transform_calls);
        self.recorder.forget();
        (self.budget.received, self.budget.mapped, self.budget.overdraft) = (0, 0, 0);
        self.budget.answer = None;
    }
}
