//! What keeps the journal within its budget: sealing, retention, rewrites.

use std::io;

use moehog_proto::Sequence;
use moehog_runtime::chain;
use tokio::time::Instant;

use crate::embedded::{
    Log, blocks::remove_if_there, format::Carried, index::LaneId, records, segment::Segment, state::add, webhooks,
};
use crate::metrics;

/// A records file is written anew when this much of it (and half of it) no longer counts.
const GARBAGE: u64 = 4 * 1024 * 1024;

impl Log {
    /// Does what is due: seals what is complete, lets go what is past its time, and keeps a segment's worth of room.
    /// What fails is logged and done again the next time.
    pub fn maintain(&self) {
        self.state.lock().learn_ages(self.age.known_ms());
        self.finish_expired();
        let mut dropped = self.maintainer.lock();
        if self.state.lock().closed {
            return;
        }
        self.fill_reserve();
        self.try_failed_disk();
        if self.owes() {
            self.note_losses();
        }
        self.seal_left_behind();
        let segment_bytes = self.config.segment();
        let wasteful = |segment: &Segment| {
            let size = segment.records.as_ref().map_or(0, |records| records.size);
            segment.garbage > GARBAGE.min(segment_bytes / 4) && segment.garbage > size / 2
        };
        let broken = |segment: &Segment| segment.records.as_ref().is_some_and(|records| records.broken);
        for first in self.those(|_, segment, _| broken(segment) || wasteful(segment)) {
            self.tell("write a records file anew", self.compact_records(first));
        }
        for first in self.those(|_, it, _| it.foot.is_none() && it.waiting() == 0) {
            let sealed = self.seal_records(first);
            self.tell("seal a records file", sealed);
        }
        let before = self.stats().dead_letters_dropped;
        self.expire();
        let source = self.limit_dead_letters();
        dropped.add(self.stats().dead_letters_dropped - before);
        if let Some(dropped) = dropped.take_due(Instant::now()) {
            tracing::warn!(
                dropped,
                source,
                "dead letters past journal.dead_letter_retention, or above their share of the budget, are gone"
            );
        }
        self.free(segment_bytes.min(self.config.limit() / 16), self.config.limit(), Freeing::of_good_parts(self));
        self.state.lock().count_unsettled();
        metrics::space(&self.stats(), self.config.clock.now_ms(), &self.lanes());
    }

    /// Seals the segments that could not be when they were left; one that the appender leaves right now is its own to seal.
    fn seal_left_behind(&self) {
        let Some(_appender) = self.appender.try_lock() else { return };
        for first in self.those(|first, segment, active| active != Some(first) && !segment.webhooks.sealed) {
            self.seal_webhooks(first);
        }
    }

    /// Sets room aside; where the disk has none, settled entries give way: records have only this to go on with.
    fn fill_reserve(&self) {
        let mut freeing = Freeing::of_good_parts(self);
        loop {
            let filled = self.reserve.fill(&*self.disk);
            let failed = filled.is_err();
            self.tell("set room aside", filled);
            if failed || self.reserve.is_whole() || !freeing.frees() {
                return;
            }
        }
    }

    /// Lets settled entries go until `bytes` more fit within `limit`. Called with `appender` held.
    pub(in crate::embedded) fn make_room(&self, bytes: u64, limit: u64) -> bool {
        let _maintainer = self.maintainer.lock();
        self.free(bytes, limit, Freeing::down_to_all(self))
    }

    fn free(&self, bytes: u64, limit: u64, mut freeing: Freeing<'_>) -> bool {
        let fits = || self.state.lock().used() + bytes <= limit;
        while !fits() {
            if !freeing.frees() {
                return false;
            }
        }
        true
    }

    /// Ends the segment that is appended to when nothing in it is younger than the retention, or when a good part of the
    /// retention has passed since its first webhook: a segment goes as a whole, and a quiet source would fill it for years.
    fn finish_expired(&self) {
        let (before, began_before) = (self.before(self.config.retention), self.before(self.config.retention / 8));
        let expired = || {
            let state = self.state.lock();
            let active = state.active.and_then(|first| state.segments.get(&first));
            active.is_some_and(|it| {
                let began_ms = it.index.received_at_ms.first().copied().unwrap_or(i64::MAX);
                it.index.frames() > 0 && (it.index.newest_at_ms < before || began_ms < began_before)
            })
        };
        if expired() {
            let _appender = self.appender.lock();
            if expired() {
                self.finish_active();
            }
        }
    }

    fn expire(&self) {
        let before = self.before(self.config.retention);
        let letters_before = self.before(self.config.dead_letter_retention);
        let old = |segment: &Segment, before| segment.webhooks.sealed && segment.index.newest_at_ms < before;
        let dropped = self.those(|_, segment, _| {
            let letters = segment.dead.is_empty() || old(segment, letters_before);
            old(segment, before) && segment.waiting() == 0 && letters
        });
        if !dropped.is_empty() {
            let result = self.drop_segments(&dropped);
            self.tell("let old webhooks go", result);
        }
        let letters = self.those(|_, it, _| old(it, letters_before) && it.dead_bytes(|_| true) > 0 && it.waiting() > 0);
        for first in letters {
            self.tell("let old dead letters go", self.rewrite_webhooks(first, |_| true).map(drop));
        }
        let mostly_settled = |segment: &Segment| {
            let frames = segment.index.frames();
            (segment.waiting() + segment.dead.count()) * 2 <= frames && frames > 0
        };
        for first in self.those(|_, segment, _| old(segment, before) && mostly_settled(segment)) {
            self.tell("let old webhooks go", self.rewrite_webhooks(first, |_| false).map(drop));
        }
    }

    /// Dead letters fill at most a quarter of the budget: beyond, the oldest go of the source that has most of them, so that
    /// one that sends nothing else pushes out its own. Returns the one that went beyond last.
    fn limit_dead_letters(&self) -> Option<String> {
        let limit = self.config.budget_bytes / 4;
        let (mut tried, mut last) = (Vec::new(), None);
        loop {
            let Some((source, bytes)) = self.state.lock().source_of_most_dead_letters(limit) else { return last };
            let oldest = {
                let state = self.state.lock();
                let is_of = |lane: LaneId| state.lanes.names(lane).0 == source;
                let mut sealed = state.segments.iter().filter(|(_, segment)| segment.webhooks.sealed);
                let oldest = sealed.find(|(first, it)| it.dead_bytes(is_of) > 0 && !tried.contains(*first));
                oldest.map(|(first, it)| (*first, it.waiting() == 0 && it.dead_bytes(|lane| !is_of(lane)) == 0))
            };
            let Some((first, is_all)) = oldest else { return last };
            tried.push(first);
            let segment = webhooks::name(first);
            tracing::debug!(bytes, limit, %source, %segment, "dead letters fill their share; the oldest go");
            let names: Vec<_> = {
                let state = self.state.lock();
                let lanes = state.segments.get(&first).map(|it| it.index.lanes.iter().map(|lane| lane.lane));
                lanes.into_iter().flatten().filter(|lane| state.lanes.names(*lane).0 == source).collect()
            };
            let gone = match is_all {
                true => self.drop_segments(&[first]),
                false => self.rewrite_webhooks(first, |lane| names.contains(&lane)).map(drop),
            };
            self.tell("let the oldest dead letters go", gone);
            last = Some(source);
        }
    }

    /// Removes segments; what they came to is first added to the carried book.
    fn drop_segments(&self, firsts: &[Sequence]) -> io::Result<()> {
        let carried = {
            let state = self.state.lock();
            // Those of before whose removal is not durable stay named: they may come back after a power cut.
            let mut carried = Carried { next: state.next, ..state.carried.clone() };
            let (mut book, mut sequences) = (carried.book.unwrap_or_default(), carried.runs());
            for (first, segment) in firsts.iter().filter_map(|first| state.segments.get_key_value(first)) {
                carried.segments.push(*first);
                sequences.extend(&segment.webhooks.skipped);
                sequences.insert(*first, segment.index.last);
                add(&mut book, &segment.book);
                carried.in_flight += segment.in_flight;
                // those it keeps, and those it let go before
                carried.dead_letters_dropped += segment.book.dead;
            }
            (carried.book, carried.sequences) = (Some(book), sequences.to_pairs());
            carried
        };
        let (carried, bytes) = self.store_carried(carried)?;
        let records: Vec<_> = {
            let mut state = self.state.lock();
            (state.carried, state.carried_bytes) = (carried, bytes);
            let gone = firsts.iter().filter_map(|first| state.segments.remove(first));
            gone.map(|segment| segment.records.is_some()).collect()
        };
        // the book before this one would say that they are lost
        self.tell("mark what is let go", self.mark());
        for (first, has_records) in firsts.iter().zip(records) {
            remove_if_there(&*self.disk, &webhooks::name(*first))?;
            if has_records {
                remove_if_there(&*self.disk, &records::name(*first))?;
            }
        }
        self.disk.sync_dir()?;
        self.state.lock().carried.segments.retain(|first| !firsts.contains(first));
        Ok(())
    }

    /// Writes the book of what was let go; returns it, and what its file takes.
    pub(in crate::embedded) fn store_carried(&self, mut carried: Carried) -> io::Result<(Carried, u64)> {
        carried.identity = Some(self.identity.clone());
        let mut file = self.carried.lock();
        self.reserve.with_last_room(|| file.write(&*self.disk, &carried))?;
        Ok((carried, file.size()))
    }

    /// Segments of which nothing is waited for or kept.
    #[cfg(test)]
    pub(in crate::embedded) fn segments_to_drop(&self) -> usize {
        self.those(|_, segment, _| matches!(step(segment, u64::MAX), Some(Step::Drop))).len()
    }

    /// First sequences of the segments that `which` takes.
    pub(in crate::embedded) fn those(
        &self,
        which: impl Fn(Sequence, &Segment, Option<Sequence>) -> bool,
    ) -> Vec<Sequence> {
        let state = self.state.lock();
        let segments = state.segments.iter();
        segments.filter(|(first, segment)| which(**first, segment, state.active)).map(|(first, _)| *first).collect()
    }

    fn owes(&self) -> bool {
        let state = self.state.lock();
        !state.uncancelled.is_empty() || !state.undamaged.is_empty()
    }

    fn tell(&self, what: &str, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::warn!(error = %chain(&error), journal = %self.id, what, "maintenance is tried again later");
        }
    }
}

/// Lets settled entries go a step at a time, the oldest first. Used with `maintainer` held.
pub(in crate::embedded) struct Freeing<'a> {
    log: &'a Log,
    /// They take at least one part in this many of a file that is written anew without them; a share after the other.
    shares: &'static [u64],
    tried: Vec<(Sequence, Step)>,
    /// That one did not go was said, or is left to maintenance to say.
    is_told: bool,
}

impl<'a> Freeing<'a> {
    /// From files of which they are a good part.
    fn of_good_parts(log: &'a Log) -> Self {
        Self { log, shares: &[8], tried: Vec::new(), is_told: false }
    }

    /// From these first, and then from any.
    pub(in crate::embedded) fn down_to_all(log: &'a Log) -> Self {
        Self { log, shares: &[8, u64::MAX], tried: Vec::new(), is_told: true }
    }

    /// Frees something; false where nothing is left that could give way.
    pub(in crate::embedded) fn frees(&mut self) -> bool {
        while let Some((first, step)) = self.next() {
            self.tried.push((first, step));
            let freed = match step {
                Step::Drop => self.log.drop_segments(&[first]).map(|()| true),
                Step::Webhooks => self.log.rewrite_webhooks(first, |_| false),
                Step::Records => self.log.compact_records(first).map(|()| true),
            };
            match freed {
                Ok(true) => return true,
                Ok(false) => {}
                // one line a pass: what fails does for each of them, and appends are many
                Err(error) if self.is_told => {
                    tracing::debug!(error = %chain(&error), segment = first, "it does not go")
                }
                Err(error) => {
                    self.is_told = true;
                    self.log.tell("let settled webhooks go", Err(error));
                }
            }
        }
        false
    }

    fn next(&mut self) -> Option<(Sequence, Step)> {
        while let Some(share) = self.shares.first() {
            let state = self.log.state.lock();
            let mut steps = state.segments.iter().filter_map(|(first, it)| Some((*first, step(it, *share)?)));
            if let Some(next) = steps.find(|step| !self.tried.contains(step)) {
                return Some(next);
            }
            self.shares = &self.shares[1..];
        }
        None
    }
}

/// What frees room in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing in it is waited for or kept.
    Drop,
    /// Its webhooks file holds settled entries.
    Webhooks,
    /// Its records file holds what no longer counts.
    Records,
}

/// What frees at least one part in `share` of a file of the segment; none where nothing does.
fn step(segment: &Segment, share: u64) -> Option<Step> {
    let frames = segment.webhooks.end - segment.webhooks.coding.frames_at();
    let settled = frames.saturating_sub(segment.kept_bytes());
    let some_settled = segment.index.frames() > segment.waiting() + segment.dead.count();
    let records = segment.records.as_ref().map_or(0, |records| records.size);
    if !segment.webhooks.sealed {
        None
    } else if segment.waiting() == 0 && segment.dead.is_empty() {
        Some(Step::Drop)
    } else if some_settled && settled >= frames / share {
        Some(Step::Webhooks)
    } else {
        (segment.garbage > 0 && segment.garbage >= records / share).then_some(Step::Records)
    }
}
