//! One history: what is done to the log, step by step.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use moehog_proto::Sequence;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    Record, RecordError,
    disk::simulated::{Call, Files, SimulatedDisk},
    embedded::{Clock, Config, Log},
};

use super::{
    Coverage, draw,
    lines::{Lines, failure},
    model::Model,
};

pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// What a history is like; drawn once.
#[derive(Debug)]
pub(super) struct Profile {
    /// The disk fails, fills and dies.
    pub(super) faults: bool,
    /// Bytes are changed behind the log's back.
    pub(super) damage: bool,
    /// The budget is larger than all that is appended.
    pub(super) roomy: bool,
    /// Everything is settled soon, and nothing is a dead letter: the budget is never full.
    pub(super) settles: bool,
    pub(super) sources: usize,
}

/// One history under way.
pub(super) struct History {
    pub(super) random: StdRng,
    pub(super) disk: SimulatedDisk,
    pub(super) log: Option<Arc<Log>>,
    pub(super) model: Model,
    pub(super) config: Config,
    pub(super) shortest_retention: Duration,
    pub(super) profile: Profile,
    pub(super) coverage: Coverage,
    pub(super) epoch: u64,
    /// What has passed, and how much more than that the clock shows.
    pub(super) now_ms: Arc<AtomicI64>,
    pub(super) jumped_ms: Arc<AtomicI64>,
    /// Something failed since everything was last known to be durable.
    pub(super) faulty: bool,
    failed_syncs: u64,
    /// Space is short on the disk.
    pub(super) limited: bool,
    /// Space was short, and maintenance has not yet done what could not be done then.
    pub(super) owes: bool,
    pub(super) lines: Lines,
    /// Transform calls under way, and what crashed ones add up to while nothing but kills happens.
    pub(super) transforms: Vec<Vec<Sequence>>,
    pub(super) crashed: Option<BTreeMap<Sequence, crate::Crashed>>,
    /// Copies of the directory, made while no process had it.
    pub(super) copies: Vec<Files>,
    /// Something has happened to files, and what the books have been above those of the model since.
    pub(super) damaged: bool,
    pub(super) above: BTreeMap<&'static str, i64>,
    pub(super) power_cuts: u64,
    verbose: bool,
}

impl History {
    pub(super) fn new(seed: u64, lines: Lines, verbose: bool) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let profile = Profile {
            faults: random.random_bool(0.75),
            damage: random.random_bool(0.4),
            roomy: random.random_bool(0.5),
            settles: random.random_bool(0.3),
            sources: random.random_range(1..=3),
        };
        let now_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
        let jumped_ms = Arc::new(AtomicI64::new(0));
        let clock = Clock::set_by_hand(
            {
                let (now_ms, jumped_ms) = (now_ms.clone(), jumped_ms.clone());
                move || now_ms.load(Ordering::Relaxed) + jumped_ms.load(Ordering::Relaxed)
            },
            {
                let now_ms = now_ms.clone();
                move || Duration::from_millis(now_ms.load(Ordering::Relaxed).unsigned_abs())
            },
        );
        let segment_bytes = [16_384, 24_576, 40_960, 262_144][random.random_range(0..4)];
        let config = Config {
            segment_bytes,
            budget_bytes: segment_bytes * if profile.roomy { 4000 } else { random.random_range(12..40) },
            retention: Duration::from_secs(7 * 86_400),
            dead_letter_retention: Duration::from_secs(30 * 86_400),
            clock,
            ..Config::default()
        };
        let mut history = Self {
            disk: SimulatedDisk::new(random.random()),
            random,
            log: None,
            model: Model::default(),
            shortest_retention: config.retention,
            config,
            profile,
            coverage: Coverage::new(),
            epoch: 0,
            now_ms,
            jumped_ms,
            faulty: false,
            failed_syncs: 0,
            limited: false,
            owes: false,
            lines,
            transforms: Vec::new(),
            crashed: Some(BTreeMap::new()),
            copies: Vec::new(),
            damaged: false,
            power_cuts: 0,
            above: BTreeMap::new(),
            verbose,
        };
        history.disk.limit_open_files(200);
        history.say(|history| format!("{:?}, segments of {segment_bytes}", history.profile));
        history.log = Some(Arc::new(history.open_log()));
        history
    }

    pub(super) fn run(mut self, steps: u64) -> Coverage {
        for step in 0..steps {
            self.step(step);
        }
        self.lift_limit();
        self.stop();
        self.expire_all();
        let log = self.log();
        if log.stats().segments >= 4 || log.durable() > 4 * 16 {
            self.met("segment of 4 or more");
        }
        self.coverage
    }

    fn step(&mut self, step: u64) {
        self.now_ms.fetch_add(self.random.random_range(1..400), Ordering::Relaxed);
        let waiting = self.model.waiting().count();
        let was_well = self.is_well();
        drop(self.lines.take());
        match self.random.random_range(0..1000) {
            0..400 if !(self.profile.settles && waiting > 12) => self.append(step),
            0..650 => self.record(),
            650..690 => self.transform(),
            690..750 => self.sync(),
            750..830 => self.maintain(),
            830..870 => self.check_alive(),
            870..880 => self.pass_days(),
            880..888 => self.revise(),
            888..890 => self.jump(),
            890..900 => self.stop(),
            900..915 => self.die(),
            915..945 if self.profile.faults => self.plan_death(),
            945..975 if self.profile.faults => self.plan_failure(),
            975..985 if self.profile.faults => self.fill_disk(),
            985..990 => self.become_well(),
            990..992 => self.hand_all_on(),
            992..994 if self.profile.faults => self.fail_first_group(step),
            994..998 if self.profile.damage => self.damage(),
            998..1000 if self.profile.damage => self.copy_directory(),
            _ => self.sync(),
        }
        self.note_failed_syncs();
        if was_well && self.is_well() {
            let said = self.lines.take();
            assert_eq!(failure(&said), None, "nothing has failed");
            self.met("step without a warning");
        }
        if self.disk.crashed() {
            self.die();
        }
    }

    /// Nothing has failed in this process, and nothing will.
    pub(super) fn is_well(&self) -> bool {
        let troubles = [self.faulty, self.limited, self.owes, self.damaged, self.disk.crashed()];
        troubles == [false; 5]
    }

    pub(super) fn note_failed_syncs(&mut self) {
        let failed = self.disk.failures_of(Call::SyncData);
        if failed > std::mem::replace(&mut self.failed_syncs, failed) {
            self.model.sync_failed();
        }
    }

    pub(super) fn log(&self) -> &Log {
        self.log.as_ref().expect("open between steps")
    }

    pub(super) fn met(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    pub(super) fn say(&self, what: impl FnOnce(&Self) -> String) {
        if self.verbose {
            println!("[call {}] {}", self.disk.calls(), what(self));
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn record(&mut self) {
        let records = self.draw_records();
        if records.is_empty() {
            return;
        }
        let result = self.log().record(self.epoch, records.clone());
        self.say(|_| {
            let what: Vec<_> = records.iter().map(|record| (record.sequence, record.settled)).collect();
            format!("record {what:?}: {result:?}")
        });
        self.recorded(records, &result);
    }

    pub(super) fn draw_records(&mut self) -> Vec<Record> {
        let mut waiting: Vec<Sequence> = self.model.waiting().map(|(sequence, _)| sequence).collect();
        // Old ones first, mostly, as a relay would.
        if self.random.random_bool(0.3) {
            waiting.shuffle(&mut self.random);
        }
        let count = self.random.random_range(1..=if self.profile.settles { 12 } else { 8 });
        let mut records = Vec::new();
        for sequence in waiting.into_iter().take(count) {
            let settled = self.random.random_bool(if self.profile.settles { 0.9 } else { 0.6 });
            let drawn = (draw::progress(&mut self.random, settled, !self.profile.settles), settled);
            let (progress, settled) = self.model.to_repeat(sequence).unwrap_or(drawn);
            records.push(Record { sequence, progress: progress.into(), settled });
        }
        records
    }

    pub(super) fn recorded(&mut self, records: Vec<Record>, result: &Result<(), RecordError>) {
        if let Err(error) = result {
            assert!(self.faulty || self.limited || self.disk.crashed(), "a disk that works failed: {error:?}");
        }
        let stored = result.is_ok();
        self.met(if stored { "record stored" } else { "record failed" });
        for Record { sequence, progress, settled } in records {
            let progress = Arc::unwrap_or_clone(progress);
            match stored {
                true => self.model.recorded(sequence, progress, settled),
                false => self.model.record_failed(sequence, progress, settled),
            }
        }
    }

    fn transform(&mut self) {
        if self.random.random_bool(0.3) {
            return self.decide();
        }
        if !self.transforms.is_empty() && self.random.random_bool(0.5) {
            let ended = self.transforms.swap_remove(0);
            if self.log().transform_ended(&ended).is_err() {
                self.crashed = None;
            }
            return;
        }
        let count = self.random.random_range(1..4);
        let sequences: Vec<_> = self.model.waiting().map(|(sequence, _)| sequence).take(count).collect();
        if sequences.is_empty() {
            return;
        }
        self.met("transform began");
        match self.log().transform_started(&sequences) {
            Ok(()) => self.transforms.push(sequences),
            Err(_) => self.crashed = None,
        }
    }

    /// A second passes, and what the journal does each second.
    fn sync(&mut self) {
        self.now_ms.fetch_add(1000, Ordering::Relaxed);
        let result = self.log().sync_records();
        self.say(|_| format!("sync: {result:?}"));
        match result {
            Ok(()) => {
                self.note_failed_syncs();
                self.model.records_are_durable();
                self.model.is_marked();
                if !self.faulty && !self.limited && !self.owes {
                    self.model.cancellations_are_durable();
                }
            }
            Err(error) => {
                assert!(self.faulty || self.limited || self.disk.crashed(), "a disk that works failed: {error:?}");
            }
        }
    }

    pub(super) fn maintain(&mut self) {
        let meanwhile = self.is_well() && self.profile.roomy && self.random.random_bool(0.5);
        match meanwhile {
            true => self.meanwhile(Log::maintain),
            false => self.log().maintain(),
        }
        self.owes &= self.limited || self.faulty;
        self.say(|_| "maintain".into());
        if self.disk.crashed() {
            self.met("death during maintenance");
        }
    }
}
