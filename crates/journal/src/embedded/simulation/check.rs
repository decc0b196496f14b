//! What must be true while the process lives.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
};

use moehog_proto::Sequence;
use prost::Message;
use rand::Rng;

use crate::{
    Batch, DeadLetterQuery, Entry, ReadLimit,
    embedded::{Log, webhooks},
};

use super::{damage::counts, draw, history::History, model::Known};

/// About what an entry takes beside header and body: its frame, and what is recorded of it while it waits.
const BESIDE: u64 = 400;

/// About what a segment takes beside frames.
const SEGMENT: u64 = 18 * 1024;

impl History {
    /// Reads every lane in pages of some size; none where the process dies over it.
    pub(super) fn read_everything(&mut self, log: &Log) -> Option<Vec<Entry>> {
        let max_entries = NonZeroUsize::new(self.random.random_range(1..40)).expect("above 0");
        let limit = ReadLimit { max_entries, max_bytes: self.random.random_range(0..40_000) };
        let mut entries = Vec::new();
        for (source, destination) in draw::lanes() {
            let (mut from, mut last, mut most) = (0, 0, limit.max_bytes);
            loop {
                let page = log.read(source, destination, from, ReadLimit { max_bytes: most, ..limit });
                if self.disk.crashed() {
                    return None;
                }
                let Batch { entries: page, next, too_large } = page.expect("readable");
                let before = std::mem::replace(&mut most, too_large.unwrap_or(limit.max_bytes));
                assert!(too_large.is_none_or(|bytes| bytes > before && page.is_empty()), "{too_large:?} of {before}");
                assert!(next > from || page.is_empty(), "a read that does not get on");
                for entry in &page {
                    assert_eq!((&*entry.header.source, &*entry.header.destination), (source, destination));
                    assert!(entry.sequence() > last && (from..next).contains(&entry.sequence()), "out of order");
                    last = entry.sequence();
                }
                let done = page.is_empty() && too_large.is_none() && next > log.durable();
                entries.extend(page);
                if done {
                    break;
                }
                from = next;
            }
        }
        Some(entries)
    }

    /// Readers, lanes and books say what the model says.
    pub(super) fn check_alive(&mut self) {
        let log = self.log.take().expect("open");
        if let Some(mut entries) = self.read_everything(&log) {
            // What dies is tried elsewhere; the books are compared in peace.
            let death = self.disk.postpone_crash();
            entries.sort_by_key(Entry::sequence);
            self.check_whole(&log, &entries);
            death.into_iter().for_each(|calls| self.disk.crash_after(calls));
        }
        self.log = Some(log);
    }

    fn check_whole(&self, log: &Log, entries: &[Entry]) {
        let read: Vec<Sequence> = entries.iter().map(Entry::sequence).collect();
        let expected: Vec<Sequence> = self.model.waiting().map(|(sequence, _)| sequence).collect();
        assert_eq!(read, expected, "what waits");
        for (entry, (sequence, known)) in entries.iter().zip(self.model.waiting()) {
            assert_eq!(self.model.by_sequence[&sequence], self.model.identify(entry));
            assert!(known.may_read(&entry.progress), "progress of entry {sequence}: {:?}", entry.progress);
        }
        self.compare_decisions(entries);
        let ledger = log.stats().ledger;
        // nobody was told that they were taken, and bytes were left of them; or of a foot, without its begin
        let unconfirmed = ledger.book.unconfirmed;
        let most = self.model.never_acknowledged() + self.power_cuts;
        assert!(self.damaged || unconfirmed <= most, "{unconfirmed} unconfirmed, {most} may be");
        let mut expected = counts(&self.model.ledger());
        expected.iter_mut().for_each(|(name, count)| *count += self.above.get(name).copied().unwrap_or(0));
        assert_eq!(counts(&ledger), expected, "the books as kept");
        if self.faulty && log.recount().expect("readable") != ledger {
            // A sync dropped what was recorded, and putting it back failed too: maintenance does it when the disk works.
            self.disk.heal();
            log.maintain();
        }
        assert_eq!(log.recount().expect("readable"), ledger, "the books counted anew");
        self.check_lanes(log);
        self.check_dead_letters(log);
        if self.is_well() {
            self.check_sizes(log);
        }
    }

    /// What a file is known to take is what it takes: the budget is kept by it.
    fn check_sizes(&self, log: &Log) {
        let files: BTreeMap<_, _> = self.disk.files().into_iter().collect();
        for (first, segment) in &log.state.lock().segments {
            let name = webhooks::name(*first);
            if segment.index.frames() == 0 && !files.contains_key(&name) {
                // its removal was not durable, and it is kept in mind until it is
                continue;
            }
            assert_eq!(files.get(&name), Some(&segment.webhooks.size), "size of {name}");
        }
    }

    fn check_lanes(&self, log: &Log) {
        let mut lanes = log.lanes();
        for (source, destination) in draw::lanes() {
            let waits: Vec<_> =
                self.model.waiting().filter(|(_, known)| known.lane() == (source, destination)).collect();
            let at = lanes.iter().position(|lane| lane.source == source && lane.destination == destination);
            match (at.map(|at| lanes.swap_remove(at)), waits.first()) {
                (None, None) => {}
                (Some(lane), Some((oldest, _))) => {
                    assert_eq!(lane.unsettled, waits.len() as u64, "{source} {destination}");
                    assert!(lane.oldest <= *oldest, "{lane:?} does not reach back to {oldest}");
                }
                (told, there) => panic!("lane {source} {destination} is told as {told:?} and is {there:?}"),
            }
        }
        assert!(lanes.is_empty(), "lanes that nobody used: {lanes:?}");
    }

    fn check_dead_letters(&self, log: &Log) {
        let query = DeadLetterQuery { limit: usize::MAX, ..DeadLetterQuery::default() };
        let letters = log.dead_letters(&query).expect("readable");
        let listed: Vec<_> = letters.iter().map(|letter| (letter.receipt.sequence, letter.event.position)).collect();
        let expected = self.model.dead_letters();
        if self.damaged {
            // what was recorded of some may be gone
            return;
        }
        let (stats, dropped) = (log.stats().dead_letters, log.stats().dead_letters_dropped);
        assert_eq!(
            stats,
            listed.len() as u64,
            "dead letters as counted: {listed:?} of {expected:?}, {dropped} dropped"
        );
        if dropped == 0 {
            assert_eq!(listed, expected, "dead letters");
        } else {
            let all: BTreeSet<_> = expected.iter().collect();
            assert!(listed.iter().all(|letter| all.contains(letter)), "{listed:?} are not all among {expected:?}");
            assert_eq!(stats + dropped, expected.len() as u64, "{dropped} dead letters dropped");
        }
    }

    /// From now on the books are as far above those of the model as they are now.
    pub(super) fn rebase(&mut self, log: &Log) {
        let model = counts(&self.model.ledger());
        let kept = counts(&log.stats().ledger);
        self.above = kept.into_iter().map(|(name, count)| (name, count - model[name])).collect();
    }

    /// A refusal for want of room is right only when what cannot give way takes a good part of it.
    pub(super) fn check_full(&mut self, more: u64) {
        let bytes = |known: &Known| (known.entry.header.encoded_len() + known.entry.body.len()) as u64 + BESIDE;
        let known = self.model.known.iter().filter(|known| known.waits() || known.has_dead_letters());
        let kept: Vec<u64> = known.filter(|known| !known.dropped).map(bytes).collect();
        let segments = self.log().stats().segments.min(kept.len() as u64);
        let kept = kept.iter().sum::<u64>() + segments * SEGMENT;
        let limit = self.config.limit();
        assert!(
            self.damaged || self.faulty || self.limited || self.disk.crashed() || kept + more >= limit / 4,
            "refused for want of room: {kept} of {limit} bytes cannot give way, {more} are wanted; {:?}",
            self.disk.files(),
        );
    }
}
