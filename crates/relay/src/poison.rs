//! Which webhooks go into the next Transform call, and which of them break it.
//!
//! A batch whose call died is repeated one webhook at a time. A death of one alone counts only where it is proven (`proof`); the
//! third makes the webhook a dead letter. A crash of the whole process counts by the journal's word where the transformer
//! lives in it, and the last one only once the process has lived for a while without the webhook: one that dies then dies of
//! something else, and what was counted is void. A call that never reached a transformer counts for nothing.

use std::{collections::BTreeMap, sync::Arc};

use moehog_journal::Crashed;
use moehog_proto::{Sequence, journal::Mapping};
use slab::Slab;
use tokio::time::Instant;

use crate::{
    Config,
    backoff::{Backoff, Retry},
    progress::Carried,
    slab::Key,
    trial::Trial,
    webhook::request_bytes,
};

/// A Transform call to make.
#[derive(Debug, PartialEq)]
pub(crate) struct Taken {
    /// The entries, in journal order.
    pub(crate) entries: Vec<Key>,
    /// Their bodies' bytes.
    pub(crate) bytes: usize,
    pub(crate) alone: Alone,
    /// They must be mapped by this.
    pub(crate) mapping: Option<Arc<Mapping>>,
}

/// What a Transform call is alone with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Alone {
    /// Its one webhook is suspected.
    pub(crate) suspect: bool,
    /// No other call of any lane is to be under way.
    pub(crate) exclusive: bool,
}

/// What is to be done with the entries of a call that failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Entries whose count of deaths grew.
    pub(crate) counted: Vec<Key>,
    /// Entries that are dead letters now.
    pub(crate) dead: Vec<Key>,
}

/// How a Transform call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It never reached a transformer.
    NeverLeft,
    /// It died.
    Died {
        /// Of the webhook, for certain.
        is_proven: bool,
    },
}

/// Entries that wait for a Transform call.
#[derive(Debug)]
pub(crate) struct TransformQueue {
    waiting: BTreeMap<Sequence, (Key, usize)>,
    /// Bytes of their bodies.
    waiting_bytes: usize,
    under_way: usize,
    /// Webhooks of the calls under way.
    called: usize,
    /// Most calls under way.
    most_calls: usize,
    /// The call under way holds a suspect.
    solo: bool,
    retry: Retry,
    /// Until when the process lives without a webhook that one may have died of.
    watches: BTreeMap<Sequence, Instant>,
    /// Until when the first that waits is watched.
    watched_until: Option<Instant>,
}

impl TransformQueue {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            under_way: 0,
            called: 0,
            most_calls: config.transform_calls,
            solo: false,
            retry: Retry::new(Backoff::new(config.retry_first / 5, config.transform_deadline)),
            watches: BTreeMap::new(),
            watched_until: None,
        }
    }

    /// Adds an entry whose body has so many bytes.
    pub(crate) fn push(&mut self, sequence: Sequence, key: Key, bytes: usize) {
        if self.waiting.insert(sequence, (key, bytes)).is_none() {
            self.waiting_bytes += bytes;
        }
    }

    /// When the next call may begin, where that is what it waits for.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.retry.at().max(self.watched_until).filter(|_| !self.waiting.is_empty())
    }

    /// Says how many calls may be under way.
    pub(crate) fn set_most_calls(&mut self, calls: usize) {
        self.most_calls = calls;
    }

    pub(crate) fn calls(&self) -> usize {
        self.under_way
    }

    /// Webhooks that are not mapped.
    pub(crate) fn webhooks(&self) -> usize {
        self.waiting.len() + self.called
    }

    /// A call could begin now: the only one, or a full one beside others. So calls fill while one is under way, and
    /// nobody waits for it in vain: what is behind a call enters the barrier after it anyway.
    pub(crate) fn ready(&self, config: &Config, now: Instant) -> bool {
        let full =
            self.waiting.len() >= config.transform_max_webhooks || self.waiting_bytes >= config.transform_max_bytes;
        let calls = if full { self.most_calls.max(1) } else { 1 };
        let waits = self.retry.waits(now) || self.watched_until.is_some_and(|until| now < until);
        !(waits || self.solo || self.waiting.is_empty() || self.under_way >= calls)
    }

    /// Takes the webhooks of the next call: all that are ready, or one suspect once no other call is under way.
    pub(crate) fn take(&mut self, entries: &Slab<Carried>, config: &Config, now: Instant) -> Option<Taken> {
        if !self.ready(config, now) {
            return None;
        }
        let mut taken = Taken { entries: Vec::new(), bytes: 0, alone: Alone::default(), mapping: None };
        while let Some((sequence, (key, bytes))) = self.waiting.first_key_value().map(|(at, entry)| (*at, *entry)) {
            let Some(entry) = entries.get(key) else {
                self.remove(sequence);
                continue;
            };
            let alone = entry.trial.suspect;
            let wants = entry.wants().map(|mapping| mapping.revision.as_str());
            let first = taken.entries.is_empty();
            let fits = taken.entries.len() < config.transform_max_webhooks.max(1)
                && taken.bytes + bytes <= config.transform_max_bytes;
            // a call maps by one mapping
            let agrees = taken.mapping.as_ref().map(|mapping| mapping.revision.as_str()) == wants;
            if (alone && self.under_way > 0) || (!first && (alone || !fits || !agrees)) {
                break;
            }
            // the last crash that it takes: those before may be chance, and cost no time
            if entry.trial.crashes() > 0 && entry.trial.counted() + 1 >= config.transform_deaths {
                let until = *self.watches.entry(sequence).or_insert(now + config.crash_watch);
                if now < until {
                    self.watched_until = Some(until).filter(|_| first);
                    break;
                }
            }
            self.remove(sequence);
            taken.mapping = entry.wants().cloned();
            taken.entries.push(key);
            taken.bytes += bytes;
            if alone {
                self.solo = true;
                taken.alone = Alone { suspect: true, exclusive: entry.trial.crashed != Crashed::default() };
                break;
            }
        }
        if taken.entries.is_empty() {
            return None;
        }
        self.under_way += 1;
        self.called += taken.entries.len();
        Some(taken)
    }

    /// Takes note of a call that was answered for its first `answered` entries; the rest are asked again.
    pub(crate) fn answered(&mut self, taken: &Taken, answered: usize, entries: &Slab<Carried>) {
        self.ended(taken);
        self.retry.worked();
        self.push_back(&taken.entries[answered.min(taken.entries.len())..], entries);
    }

    /// Takes note of a call that failed.
    pub(crate) fn failed(
        &mut self,
        taken: &Taken,
        failure: Failure,
        entries: &mut Slab<Carried>,
        config: &Config,
        (now, jitter): (Instant, f64),
    ) -> Failed {
        self.ended(taken);
        let mut failed = Failed::default();
        let alone = taken.entries.len() == 1;
        if failure != Failure::NeverLeft {
            for key in &taken.entries {
                let Some(entry) = entries.get_mut(*key) else { continue };
                entry.trial.suspect = true;
                if alone && failure == (Failure::Died { is_proven: true }) {
                    entry.trial.deaths += 1;
                    let dead = entry.trial.counted() >= config.transform_deaths;
                    if dead { &mut failed.dead } else { &mut failed.counted }.push(*key);
                }
            }
        }
        // a batch that died is repeated at once, one webhook at a time; all else waits
        if alone || failure == Failure::NeverLeft {
            self.retry.failed(now, jitter);
        }
        let again: Vec<_> = taken.entries.iter().copied().filter(|key| !failed.dead.contains(key)).collect();
        self.push_back(&again, entries);
        failed
    }

    /// The journal counted enough crashes of this webhook alone: it gets no further call.
    pub(crate) fn crashed_too_often(trial: &Trial, config: &Config) -> bool {
        trial.counted() >= config.transform_deaths
    }

    fn remove(&mut self, sequence: Sequence) {
        if let Some((_, bytes)) = self.waiting.remove(&sequence) {
            self.waiting_bytes -= bytes;
        }
    }

    fn ended(&mut self, taken: &Taken) {
        self.called -= taken.entries.len();
        self.under_way = self.under_way.saturating_sub(1);
        self.solo = false;
    }

    fn push_back(&mut self, keys: &[Key], entries: &Slab<Carried>) {
        for key in keys {
            if let Some(entry) = entries.get(*key) {
                let bytes = entry.webhook.as_ref().map_or(0, request_bytes);
                self.push(entry.sequence, *key, bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests;
