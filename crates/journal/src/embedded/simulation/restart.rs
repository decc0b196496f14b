//! How the process ends in a history, and what must be there when the next one begins.

use moehog_proto::Sequence;
use rand::Rng;

use crate::{
    Crashed, Entry,
    disk::simulated::Death,
    embedded::{Log, OpenError},
};

use super::history::History;

impl History {
    /// A clean stop and a start.
    pub(super) fn stop(&mut self) {
        if (self.faulty || self.limited || self.owes) && self.random.random_bool(0.5) {
            self.become_well();
            self.met("clean stop after a fault");
        }
        self.log().close();
        if self.disk.crashed() {
            return self.die();
        }
        let clean = !self.faulty && !self.limited;
        self.say(|_| format!("stop (clean: {clean})"));
        if clean {
            self.met("clean stop");
            self.model.records_are_durable();
            self.model.cancellations_are_durable();
            self.model.is_marked();
            self.note_crashes();
            // After a clean stop even a power cut takes nothing.
            let cut = self.random.random_bool(0.5);
            self.disk.reboot(if cut { Death::PowerCut } else { Death::Kill });
            self.reopen(None);
        } else {
            self.die();
        }
    }

    /// The process dies, or has died; sometimes the power goes with it.
    pub(super) fn die(&mut self) {
        let death = if self.random.random_bool(0.5) { Death::PowerCut } else { Death::Kill };
        self.say(|_| format!("{death:?}"));
        self.note_failed_syncs();
        self.met(if death == Death::Kill { "kill" } else { "power cut" });
        if death == Death::Kill {
            self.note_crashes();
        } else {
            self.crashed = None;
        }
        self.disk.reboot(death);
        self.reopen(Some(death));
        // what a start says of a death is true
        drop(self.lines.take());
    }

    /// The process ends in some way; none is a clean stop.
    pub(super) fn end(&mut self) -> Option<Death> {
        self.crashed = None;
        if self.random.random() && !self.faulty && !self.limited && !self.owes {
            self.log().close();
            if !self.disk.crashed() {
                self.model.records_are_durable();
                self.model.cancellations_are_durable();
                self.model.is_marked();
                self.disk.reboot(Death::Kill);
                return None;
            }
        }
        let death = if self.random.random_bool(0.5) { Death::PowerCut } else { Death::Kill };
        self.say(|_| format!("{death:?}"));
        self.note_failed_syncs();
        self.disk.reboot(death);
        Some(death)
    }

    /// What the Transform calls under way add to what is told of their webhooks.
    fn note_crashes(&mut self) {
        let transforms = std::mem::take(&mut self.transforms);
        let Some(crashed) = &mut self.crashed else { return };
        for sequences in transforms {
            for sequence in &sequences {
                let Crashed { alone, together } = crashed.entry(*sequence).or_default();
                *if sequences.len() == 1 { alone } else { together } += 1;
            }
        }
    }

    fn reopen(&mut self, death: Option<Death>) {
        self.copy_files();
        let death = self.start(death);
        self.compare(death);
    }

    /// The next process begins; how the one before ended, deaths while opening included.
    pub(super) fn start(&mut self, death: Option<Death>) -> Option<Death> {
        self.power_cuts += u64::from(death == Some(Death::PowerCut));
        // Only now, that its disk calls are refused, does the old process's memory go.
        self.log = None;
        self.transforms.clear();
        let mut death = death;
        let log = loop {
            if self.profile.faults && self.random.random_bool(0.15) {
                self.disk.crash_after(self.random.random_range(0..80));
            }
            if self.profile.faults && self.random.random_bool(0.1) {
                self.plan_glitch();
            }
            self.change_config();
            match Log::open(std::sync::Arc::new(self.disk.clone()), self.config.clone()) {
                Ok(log) if !self.disk.crashed() => break log,
                Ok(_) | Err(_) if self.disk.crashed() => {
                    self.met("death during open");
                    let again = if self.random.random_bool(0.5) { Death::PowerCut } else { Death::Kill };
                    self.say(|_| format!("{again:?} while opening"));
                    if again == Death::PowerCut {
                        self.power_cuts += 1;
                        self.crashed = None;
                    }
                    self.disk.reboot(again);
                    death = match (death, again) {
                        (Some(Death::PowerCut), _) | (_, Death::PowerCut) => Some(Death::PowerCut),
                        _ => Some(Death::Kill),
                    };
                }
                Ok(_) => unreachable!("matched above"),
                Err(error) => {
                    assert!(self.limited && is_full(&error), "the journal does not open: {error:?}");
                    self.met("open refused by a full disk");
                    self.lift_limit();
                }
            }
        };
        self.disk.heal();
        self.faulty = false;
        self.log = Some(std::sync::Arc::new(log));
        self.epoch += 1;
        death
    }

    /// Holds what is there against what must be.
    pub(super) fn compare(&mut self, death: Option<Death>) {
        let log = self.log.take().expect("opened");
        let waiting = self.read_everything(&log).expect("no death is planned");
        self.say(|history| {
            let read: Vec<_> = waiting.iter().map(|entry| (entry.sequence(), &entry.header.idempotency_key)).collect();
            format!("after {death:?}: {read:?}, files {:?}", history.disk.files())
        });
        let get = |sequence: Sequence| log.get(log.receipt(sequence)).expect("readable");
        // a full disk takes what is settled sooner
        self.model.keeps_from_ms = match self.profile.roomy && !self.coverage.contains_key("full disk") {
            true => self.now_ms() - i64::try_from(self.shortest_retention.as_millis()).expect("small"),
            false => i64::MAX,
        };
        let before = (self.model.resurfaced, self.model.undone, self.model.dropped);
        self.model.restarted(death, &waiting, get);
        let after = (self.model.resurfaced, self.model.undone, self.model.dropped);
        for (what, more) in [
            ("refused webhook came back", after.0 > before.0),
            ("power cut undid a record", after.1 > before.1),
            ("raw of a settled webhook dropped", after.2 > before.2),
        ] {
            if more {
                self.met(what);
            }
        }
        self.compare_crashes(&waiting);
        if log.holds_merged() {
            self.met("segments merged");
        }
        self.log = Some(log);
        self.check_alive();
    }

    fn compare_crashes(&self, waiting: &[Entry]) {
        let Some(crashed) = &self.crashed else { return };
        // calls of before an entry was reopened may count, or not
        for entry in waiting.iter().filter(|entry| !self.model.was_revised(entry.sequence())) {
            let expected = crashed.get(&entry.sequence()).copied().unwrap_or_default();
            assert_eq!(entry.crashed, expected, "Transform calls that died with entry {}", entry.sequence());
        }
    }

    pub(super) fn open_log(&self) -> Log {
        Log::open(std::sync::Arc::new(self.disk.clone()), self.config.clone()).expect("an empty disk")
    }
}

fn is_full(error: &OpenError) -> bool {
    matches!(error, OpenError::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
}
