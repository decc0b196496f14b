//! Appends: in a step of their own, and while something else is under way.

use std::{
    io, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use moehog_proto::Receipt;
use parking_lot::Mutex;
use rand::Rng;

use super::{
    draw,
    history::History,
    model::{Fate, Id},
};
use crate::{
    AppendError, Record, RecordError,
    disk::simulated::{Call, SimulatedDisk},
    embedded::{Chain, Decision, Log, Pending},
};

/// Calls during which no lock is held that an append or a record waits for, mostly.
const CALLS: [Call; 3] = [Call::SyncData, Call::Write, Call::Read];

type Appended = Vec<Result<Receipt, AppendError>>;

/// A group to be appended.
#[derive(Default)]
struct Drawn {
    group: Vec<Pending>,
    /// Each with whether it is given up before it is written, and whether it was during its sync.
    webhooks: Vec<(Id, bool, Arc<AtomicBool>)>,
    is_chain: bool,
}

impl Drawn {
    fn ids(&self) -> Vec<Id> {
        self.webhooks.iter().map(|(id, ..)| *id).collect()
    }
}

/// What another thread does, once.
struct Others {
    log: Weak<Log>,
    disk: SimulatedDisk,
    epoch: u64,
    work: Mutex<(Vec<Pending>, Vec<Record>)>,
    results: Mutex<Option<(Appended, Result<(), RecordError>)>>,
}

impl Others {
    /// It comes when `calls` more of this kind are over, or the first after them where it need not wait for a lock: the
    /// thread is the same.
    fn plan(self: Arc<Self>, call: Call, calls: u64) {
        let disk = self.disk.clone();
        disk.during(call, move || match self.log.upgrade() {
            Some(log) if calls == 0 && log.is_free() => *self.results.lock() = Some(self.run(&log)),
            Some(_) => self.plan(call, calls.saturating_sub(1)),
            None => {}
        });
    }

    fn run(&self, log: &Log) -> (Appended, Result<(), RecordError>) {
        let (group, records) = mem::take(&mut *self.work.lock());
        (log.append_group(&group), log.record(self.epoch, records))
    }
}

/// Maintenance comes once, from another thread, while an append of `during` ends a segment and waits for the disk.
fn maintain_while_a_segment_ends(log: Weak<Log>, disk: SimulatedDisk, during: Weak<AtomicBool>) {
    let again = disk.clone();
    disk.during(Call::SyncData, move || {
        let (Some(open), Some(is_done)) = (log.upgrade(), during.upgrade()) else { return };
        if open.is_free_to_maintain() {
            open.maintain();
            is_done.store(true, Ordering::Relaxed);
        } else {
            maintain_while_a_segment_ends(log, again, during);
        }
    });
}

impl History {
    pub(super) fn append(&mut self, step: u64) {
        let mut drawn = self.draw_group(true);
        let maintained = Arc::new(AtomicBool::new(false));
        if self.is_well() && self.random.random_bool(0.5) {
            let log = Arc::downgrade(self.log.as_ref().expect("open between steps"));
            maintain_while_a_segment_ends(log, self.disk.clone(), Arc::downgrade(&maintained));
        }
        let results = self.log().append_group(&mem::take(&mut drawn.group));
        self.say(|_| format!("step {step}: append {:?}: {results:?}", drawn.ids()));
        self.appended(drawn, results);
        if maintained.load(Ordering::Relaxed) {
            self.met("maintenance while a segment ends");
        }
    }

    /// Does `work`, and while it is under way another thread appends and records.
    pub(super) fn meanwhile(&mut self, work: impl FnOnce(&Log)) {
        let mut drawn = self.draw_group(false);
        let records = self.draw_records();
        let others = Others {
            log: Arc::downgrade(self.log.as_ref().expect("open between steps")),
            disk: self.disk.clone(),
            epoch: self.epoch,
            work: Mutex::new((mem::take(&mut drawn.group), records.clone())),
            results: Mutex::default(),
        };
        let (others, call) = (Arc::new(others), CALLS[self.random.random_range(0..CALLS.len())]);
        others.clone().plan(call, self.random.random_range(0..6));
        work(self.log());
        let results = others.results.lock().take();
        let is_met = results.is_some();
        // it was over before they came
        let (appended, recorded) = results.unwrap_or_else(|| others.run(self.log()));
        self.say(|_| format!("meanwhile ({is_met}): append {:?}: {appended:?}", drawn.ids()));
        self.appended(drawn, appended);
        self.recorded(records, &recorded);
        if is_met {
            self.met("appends while something is under way");
        }
    }

    /// Webhooks to be appended, known to the model; some are given up before they are written or during their sync.
    fn draw_group(&mut self, is_given_up: bool) -> Drawn {
        let mut drawn = Drawn::default();
        // as the relay hands events on
        let mut chain = self.random.random_bool(0.3).then(Chain::default);
        drawn.is_chain = chain.is_some();
        for _ in 0..self.random.random_range(1..=6) {
            let (id, now) = (self.model.known.len(), self.now_ms() + self.jumped_ms.load(Ordering::Relaxed));
            let segment = self.config.segment().min(40_960);
            let entry = draw::webhook(&mut self.random, id, self.profile.sources, segment, now);
            if entry.body.len() as u64 > self.config.segment() {
                self.met("oversized body");
            }
            self.model.add(entry.clone(), self.now_ms());
            let decision = Decision::default();
            let before = is_given_up && self.random.random_bool(0.05);
            let during = Arc::new(AtomicBool::new(false));
            if before {
                assert!(decision.give_up());
            } else if is_given_up && self.random.random_bool(0.08) {
                let (decision, during) = (decision.clone(), during.clone());
                self.disk.during(Call::SyncData, move || during.store(decision.give_up(), Ordering::Relaxed));
            }
            drawn.webhooks.push((id, before, during));
            drawn.group.push(Pending { entry, decision, watch: None, chain: chain.as_mut().map(Chain::link) });
        }
        drawn
    }

    /// What became of a group is held against what may become of it.
    fn appended(&mut self, drawn: Drawn, results: Appended) {
        if drawn.is_chain
            && let Some(failed) = results.iter().position(Result::is_err)
        {
            let id = drawn.webhooks[failed].0;
            assert!(results[failed..].iter().all(Result::is_err), "one is ahead of webhook {id}");
            assert!(!matches!(results[failed], Err(AppendError::Behind)), "webhook {id} is behind none");
            if failed + 1 < results.len() {
                self.met("append behind one that failed");
            }
        }
        for ((id, before, during), result) in drawn.webhooks.into_iter().zip(results) {
            let during = during.load(Ordering::Relaxed);
            match result {
                Ok(receipt) => {
                    assert!(!before && !during, "webhook {id} was given up and is acknowledged");
                    self.model.acknowledged(id, receipt);
                    self.met("append acknowledged");
                }
                Err(error) => self.refused(id, before, during, &error),
            }
        }
    }

    pub(super) fn refused(&mut self, id: Id, before: bool, during: bool, error: &AppendError) {
        self.met(match error {
            AppendError::Deadline if before => "append given up before it was written",
            AppendError::Deadline if during => "append given up during its sync",
            AppendError::Full { .. } | AppendError::SourceFull { .. } => "append refused for want of room",
            AppendError::Write { .. } => "append failed",
            AppendError::Behind => "append refused for the one before it",
            other => panic!("webhook {id}: {other:?}"),
        });
        let known = &self.model.known[id];
        let bytes = known.entry.body.len() as u64;
        match error {
            AppendError::Full { .. } => self.check_full(bytes),
            AppendError::SourceFull { .. } => {
                let others = draw::sources().skip(self.profile.sources);
                let configured = others.filter(|source| self.config.sources.iter().any(|name| name == source));
                assert!(self.profile.sources + configured.count() > 1, "one source alone may fill the budget");
                self.check_full(bytes);
            }
            AppendError::Write { source, .. } => {
                let full = source.kind() == io::ErrorKind::StorageFull && self.limited;
                // what is let go is written down before
                let has_room = self.disk.files().iter().any(|(name, bytes)| name == "reserve" && *bytes >= 8192);
                if full && has_room && !self.faulty && !self.disk.crashed() {
                    assert_eq!(self.log().segments_to_drop(), 0, "a webhook is refused for what was delivered");
                }
                assert!(full || self.faulty || self.disk.crashed(), "a disk that works failed: {error:?}");
            }
            _ => {}
        }
        self.model.known[id].fate = match error {
            _ if before => Fate::Absent,
            AppendError::Behind if !during && !self.disk.crashed() => Fate::Refused,
            AppendError::Full { .. } | AppendError::SourceFull { .. } => Fate::Absent,
            _ if self.disk.crashed() => Fate::Unknown,
            _ => Fate::Refused,
        };
    }
}
