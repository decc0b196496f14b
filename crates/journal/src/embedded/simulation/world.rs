//! What befalls the disk in a history, and how it becomes well again.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use moehog_proto::journal::{EntryHeader, EventPlace, Progress};
use rand::{Rng, seq::IndexedRandom};

use crate::{
    NewEntry, Record,
    disk::simulated::Call,
    embedded::{Chain, Decision, Pending},
};

use super::{
    draw,
    history::{DAY_MS, HOUR_MS, History},
};

/// Calls that are told to fail.
const CALLS: [Call; 8] = [
    Call::Write,
    Call::SyncData,
    Call::SyncDir,
    Call::Create,
    Call::Rename,
    Call::Remove,
    Call::Truncate,
    Call::Allocate,
];

/// Calls that fail once in a while and work when they are made again.
const READS: [Call; 4] = [Call::Read, Call::Open, Call::Len, Call::List];

/// Passes of maintenance after which nothing is left to do.
const IDLE_PASSES: usize = 4;

/// Rounds of handing on within which a world that is well has nothing left to hand on.
const ROUNDS: usize = 400;

impl History {
    pub(super) fn plan_death(&mut self) {
        let calls = self.random.random_range(0..40);
        self.say(|_| format!("die in {calls} calls"));
        self.disk.crash_after(calls);
    }

    /// One kind of call fails for a while, or several at once.
    pub(super) fn plan_failure(&mut self) {
        if self.random.random_bool(0.2) {
            return self.plan_glitch();
        }
        let kinds = self.random.random_range(1..=3);
        for _ in 0..kinds {
            let call = *CALLS.choose(&mut self.random).expect("some");
            let (after, times) = (self.random.random_range(0..6), self.random.random_range(1..4));
            self.say(|_| format!("fail {call:?} after {after}, {times} times"));
            self.disk.fail(call, after, times);
        }
        (self.faulty, self.crashed) = (true, None);
    }

    /// A read lies once, or one that would look at files fails: nobody is to notice.
    pub(super) fn plan_glitch(&mut self) {
        if self.disk.is_to_fail() {
            // one more might fall on the repetition, and what fails twice is no glitch
            return;
        }
        let after = self.random.random_range(0..40);
        if self.random.random() {
            self.say(|_| format!("a read lies after {after}"));
            self.disk.lie(after);
        } else {
            let call = *READS.choose(&mut self.random).expect("some");
            self.say(|_| format!("{call:?} fails once after {after}"));
            self.disk.fail(call, after, 1);
        }
        self.met("glitch");
    }

    /// A neighbour takes nearly all of the disk, or gives it back.
    pub(super) fn fill_disk(&mut self) {
        if self.limited {
            return self.lift_limit();
        }
        let free = self.random.random_range(0..4 * self.config.segment());
        self.say(|_| format!("the disk has {free} bytes left"));
        self.disk.limit(Some(free));
        self.limited = true;
        self.met("full disk");
    }

    pub(super) fn lift_limit(&mut self) {
        self.disk.limit(None);
        (self.owes, self.limited) = (self.owes || self.limited, false);
    }

    /// The disk becomes well, and the journal has had its seconds to find that out: from then on all promises of one that
    /// was always well hold, whatever was before.
    pub(super) fn become_well(&mut self) {
        // no death comes any more either
        let _no_more = self.disk.postpone_crash();
        self.say(|_| "the disk becomes well".into());
        self.disk.heal();
        self.lift_limit();
        self.jumped_ms.store(0, Ordering::Relaxed);
        for _ in 0..3 {
            self.maintain();
            self.note_failed_syncs();
            self.log().sync_records().expect("a disk that works");
        }
        self.note_failed_syncs();
        self.model.records_are_durable();
        self.model.cancellations_are_durable();
        (self.faulty, self.owes) = (false, false);
        self.met("disk became well");
        self.check_idle();
        self.check_alive();
    }

    /// Nothing is written while nothing comes and no time passes: what is due is done once.
    fn check_idle(&mut self) {
        let changes =
            [Call::Write, Call::Create, Call::Rename, Call::Remove, Call::SyncData, Call::Allocate, Call::Truncate];
        let made = |history: &Self| changes.map(|call| history.disk.calls_of(call));
        for pass in 0.. {
            let before = made(self);
            self.log().maintain();
            self.log().sync_records().expect("a disk that works");
            if made(self) == before {
                break;
            }
            assert!(pass < IDLE_PASSES, "never idle: {:?}", self.disk.files());
        }
    }

    pub(super) fn pass(&mut self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The clock shows something else, by hours or by years, until it is set right.
    pub(super) fn jump(&mut self) {
        let far = [HOUR_MS, 31 * DAY_MS, 3650 * DAY_MS][self.random.random_range(0..3)];
        let jump = if self.random.random() { far } else { -far };
        self.say(|_| format!("the clock jumps by {jump} ms"));
        self.jumped_ms.store(jump, Ordering::Relaxed);
        self.met("clock jumped");
        self.maintain();
    }

    pub(super) fn pass_days(&mut self) {
        self.jumped_ms.store(0, Ordering::Relaxed);
        // the clock has stood for an hour before more of it passes
        for _ in 0..2 {
            self.maintain();
            self.pass(HOUR_MS + 1);
        }
        self.now_ms.fetch_add(self.random.random_range(1..9) * DAY_MS, Ordering::Relaxed);
        self.maintain();
    }

    /// Nothing that is settled is kept for ever, whatever the clock has shown.
    pub(super) fn expire_all(&mut self) {
        self.become_well();
        for _ in 0..2 {
            self.pass_days();
            self.pass(31 * DAY_MS);
            self.maintain();
        }
        if !self.disk.crashed() && self.model.waiting().count() == 0 && !self.damaged {
            let since = self.log().stats().retained_since_ms;
            assert_eq!(since, None, "settled webhooks are kept for ever: {:?}", self.disk.files());
            self.met("all that was settled expired");
        }
    }

    /// Hands on all that waits to be, as the relay would: in a world that is well nothing waits for room for ever.
    pub(super) fn hand_all_on(&mut self) {
        if self.has_reserve() {
            let _no_more = self.disk.postpone_crash();
            self.met("handed on while the disk was full");
        } else {
            self.become_well();
        }
        if self.disk.crashed() || self.damaged {
            return;
        }
        for round in 0.. {
            let waiting = self.model.waiting().filter(|(_, known)| known.entry.is_to_be_routed());
            let some: Vec<_> = waiting.take(6).map(|(sequence, known)| (sequence, known.entry.clone())).collect();
            if some.is_empty() {
                break;
            }
            assert!(round < ROUNDS, "what is to be handed on waits for room for ever: {:?}", self.disk.files());
            let mut chain = Chain::default();
            let mut ids = Vec::new();
            let group: Vec<_> = some
                .iter()
                .map(|(_, entry)| {
                    let entry = routed(entry, self.model.known.len());
                    ids.push(self.model.add(entry.clone(), self.now_ms()));
                    Pending { entry, decision: Decision::default(), watch: None, chain: Some(chain.link()) }
                })
                .collect();
            let results = self.log().append_group(&group);
            self.say(|_| {
                format!(
                    "hand on {some:?} as {ids:?}: {results:?}",
                    some = some.iter().map(|it| it.0).collect::<Vec<_>>()
                )
            });
            for ((id, (sequence, _)), result) in ids.into_iter().zip(some).zip(results) {
                match result {
                    Ok(receipt) => {
                        self.model.acknowledged(id, receipt);
                        self.settle(sequence);
                        self.met("handed on");
                        // its destination takes it at once
                        self.settle(receipt.sequence);
                    }
                    Err(error) => self.refused(id, false, false, &error),
                }
            }
            self.maintain();
        }
    }

    /// Nothing but room is short, and what is set aside is enough for any entry.
    fn has_reserve(&self) -> bool {
        let reserve = self.disk.files().into_iter().find(|(name, _)| name == "reserve").map_or(0, |(_, bytes)| bytes);
        let waiting = self.model.waiting().map(|(_, known)| known.entry.body.len() as u64);
        // each segment concerned may want a file of records: heads of 8 KiB
        let is_roomy = reserve >= self.config.reserve().max(64 * 1024);
        self.limited && !self.faulty && is_roomy && waiting.max().unwrap_or(0) < reserve / 4
    }

    /// The first group of a new segment fails, and so does what tidies up after it; then the disk is well, the process ends as
    /// it should or the power fails, and what was refused stays refused.
    pub(super) fn fail_first_group(&mut self, step: u64) {
        self.become_well();
        self.stop();
        self.disk.fail(Call::SyncData, 1, self.random.random_range(1..3));
        let tidying = [Call::Remove, Call::SyncDir, Call::Truncate, Call::Write, Call::Create];
        for call in tidying.choose_multiple(&mut self.random, 2) {
            let after = u64::from(*call == Call::SyncDir || *call == Call::Create || *call == Call::Write);
            self.disk.fail(*call, after, self.random.random_range(0..3));
        }
        (self.faulty, self.crashed) = (true, None);
        self.append(step);
        self.note_failed_syncs();
        self.become_well();
        drop(self.lines.take());
        self.met("first group of a segment failed");
        if self.random.random() { self.stop() } else { self.die() }
    }

    fn settle(&mut self, sequence: u64) {
        let record = Record { sequence, progress: Progress::default().into(), settled: true };
        self.log().record(self.epoch, vec![record]).expect("a disk that works");
        self.model.recorded(sequence, Progress::default(), true);
    }

    /// Somebody changes the configuration before the next start.
    pub(super) fn change_config(&mut self) {
        if self.random.random_bool(0.2) {
            let days = [1, 7, 14][self.random.random_range(0..3)];
            self.config.retention = Duration::from_secs(days * 86_400);
            self.shortest_retention = self.shortest_retention.min(self.config.retention);
            self.config.sources = draw::sources().filter(|_| self.random.random()).map(str::to_owned).collect();
            self.say(|history| format!("{days} days, sources {:?}", history.config.sources));
            self.met("retention and sources changed");
        }
        if self.profile.roomy || !self.random.random_bool(0.3) {
            return;
        }
        self.config.segment_bytes = [16_384, 24_576, 40_960, 262_144][self.random.random_range(0..4)];
        self.config.budget_bytes = self.config.segment_bytes * self.random.random_range(8..40);
        self.say(|history| {
            format!("{} bytes in segments of {}", history.config.budget_bytes, history.config.segment_bytes)
        });
        self.met("budget changed");
    }
}

/// The entry by which `entry` is handed on.
fn routed(entry: &NewEntry, id: usize) -> NewEntry {
    let header = EntryHeader {
        destination: "eu".into(),
        routed: vec![EventPlace::default()],
        idempotency_key: id.to_string(),
        ..entry.header.clone()
    };
    NewEntry { header, body: Bytes::clone(&entry.body) }
}
