//! What the lane and its entries wait for.

use std::time::Duration;

use moehog_proto::Sequence;
use tokio::time::Instant;

use super::{Aside, Lane, Now};
use crate::{
    barrier::Standing,
    gate::Permit,
    slab::Key,
    waits::{NextTry, Wait, WaitsFor},
};

impl Lane {
    /// What the webhook with this sequence waits for, and each of its events that is not final.
    pub(crate) fn waits(&self, sequence: Sequence, now: Now) -> Vec<Wait> {
        let of_webhook = |waits_for, at: Option<Instant>| {
            vec![Wait { event: None, waits_for, next_try_ms: at.map(|at| epoch_ms(at, now)) }]
        };
        let Some((key, entry)) = self.entries.iter().find(|(_, entry)| entry.sequence == sequence) else {
            if self.aside.as_ref().is_some_and(|aside| aside.holds(sequence)) {
                return of_webhook(WaitsFor::Evidence, self.probe_at(now.instant));
            }
            if sequence < self.reader.cursor {
                return Vec::new();
            }
            return of_webhook(WaitsFor::Room, self.probe_at(now.instant));
        };
        if entry.webhook.is_some() {
            return of_webhook(WaitsFor::Transformer, self.queue.due());
        }
        if self.order.contains_key(&sequence) {
            return of_webhook(WaitsFor::Mapping, None);
        }
        let in_barrier = self.barrier.of_entry(key).map(|(event, index)| (index, self.waits_in_barrier(event, now)));
        let routed = self.outlet.of_entry(key).map(|index| (index, (WaitsFor::Routing, self.outlet.wake_at())));
        let mut waits: Vec<_> = in_barrier
            .chain(routed)
            .map(|(index, (waits_for, at))| {
                let place = entry.place(index);
                let next_try_ms = at.map(|at| epoch_ms(at, now));
                Wait { event: Some((place.position, place.ordinal)), waits_for, next_try_ms }
            })
            .collect();
        waits.sort_unstable_by_key(|wait| wait.event);
        waits
    }

    fn waits_in_barrier(&self, event: Key, now: Now) -> (WaitsFor, Option<Instant>) {
        let probe_at = self.probe_at(now.instant);
        match self.barrier.standing(event) {
            Standing::Behind(sequence) => (WaitsFor::Person(sequence), None),
            Standing::Blocked => (WaitsFor::Evidence, None),
            Standing::UnderWay => (WaitsFor::Delivery, None),
            Standing::Later(due, true) => (WaitsFor::Evidence, Some(due).max(probe_at)),
            Standing::Later(due, false) => (WaitsFor::Retry, Some(due).max(probe_at)),
            Standing::Ready if self.gate.is_open() => match self.sending.paced_until(now.instant) {
                Some(at) => (WaitsFor::Ceiling, Some(at)),
                None => (WaitsFor::Delivery, None),
            },
            Standing::Ready => (WaitsFor::Destination, probe_at),
        }
    }

    /// When the destination is tried next, while the gate is shut.
    pub(super) fn probe_at(&self, now: Instant) -> Option<Instant> {
        match self.gate.permit(now, false) {
            Permit::Nothing(at) => at,
            _ => None,
        }
    }

    /// When something is tried again, and what, as far as that waits for a time; the destination's probe where the gate is shut.
    pub(crate) fn next_try(&self, now: Now) -> Option<NextTry> {
        if self.entries.is_empty() {
            return None;
        }
        let told = |(at, waits_for)| NextTry { at_ms: epoch_ms(at, now), waits_for };
        if !self.gate.is_open() {
            return self.probe_at(now.instant).map(|at| told((at, WaitsFor::Destination)));
        }
        let event = self
            .barrier
            .next_due()
            .map(|(at, is_suspect)| (at, if is_suspect { WaitsFor::Evidence } else { WaitsFor::Retry }));
        let tries = [
            event,
            self.sending.paced_until(now.instant).map(|at| (at, WaitsFor::Ceiling)),
            self.queue.due().map(|at| (at, WaitsFor::Transformer)),
            self.outlet.wake_at().map(|at| (at, WaitsFor::Routing)),
            self.reader.wake_at().map(|at| (at, WaitsFor::Journal)),
            self.recorder.wake_at().map(|at| (at, WaitsFor::Journal)),
        ];
        tries.into_iter().flatten().filter(|(at, _)| *at > now.instant).min_by_key(|(at, _)| *at).map(told)
    }

    /// Events that wait for evidence.
    pub(crate) fn suspects(&self) -> usize {
        self.barrier.suspects() + self.aside.as_ref().map_or(0, Aside::events)
    }

    /// Webhooks in memory that are mapped, and when the oldest was received that is not, milliseconds since the epoch.
    pub(crate) fn mapped(&self) -> (usize, Option<i64>) {
        let first = self.order.first_key_value().and_then(|(_, key)| self.entries.get(*key));
        let has_begun = self.reader.cursor > 0 || self.reader.not_before.is_some();
        let unread = (!self.reader.caught_up && has_begun).then_some(self.reader.cursor_at_ms);
        let aside = self.aside.as_ref().map_or(0, Aside::webhooks);
        (self.entries.len() - self.queue.webhooks() + aside, first.map(|entry| entry.received_at_ms).or(unread))
    }

    /// When the oldest entry in memory was received that does not wait for evidence alone, milliseconds since the epoch.
    pub(crate) fn delayed_since_ms(&self) -> Option<i64> {
        let delayed = self.barrier.delayed().chain(self.order.values().copied()).chain(self.outlet.entries());
        self.oldest_of(delayed).or(self.mapped().1)
    }

    /// When the oldest entry was received that has an event which waits for evidence, milliseconds since the epoch.
    pub(crate) fn suspected_since_ms(&self) -> Option<i64> {
        let aside = self.aside.as_ref().map(Aside::oldest_ms);
        self.oldest_of(self.barrier.suspected()).into_iter().chain(aside).min()
    }

    fn oldest_of(&self, entries: impl Iterator<Item = Key>) -> Option<i64> {
        entries.filter_map(|key| self.entries.get(key)).map(|entry| entry.received_at_ms).min()
    }
}

fn epoch_ms(at: Instant, now: Now) -> i64 {
    let after = at.saturating_duration_since(now.instant);
    let before = now.instant.saturating_duration_since(at);
    let ms = |time: Duration| time.as_millis() as i64;
    now.epoch_ms + ms(after) - ms(before)
}
