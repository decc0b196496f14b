//! What happens to files behind the log's back, and what must be said of it.

use std::collections::BTreeMap;

use moehog_proto::{Receipt, Sequence};
use rand::{
    Rng,
    seq::{IndexedRandom, IteratorRandom},
};

use crate::{
    Ledger,
    disk::simulated::{Death, Files},
    embedded::Log,
};

use super::{draw, history::History, lost::Found};

/// Copies of the directory that are kept to be put back.
const COPIES: usize = 3;

/// What may happen to one file.
const KINDS: [Kind; 5] = [Kind::Flip, Kind::Zero, Kind::Cut, Kind::Remove, Kind::Older];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Flip,
    /// A sector, or a page.
    Zero,
    Cut,
    Remove,
    /// A copy made before is put back.
    Older,
}

impl History {
    /// The process ends, and something happens to its files before the next one begins. All of one file is bad at most, or
    /// any number of files are.
    pub(super) fn damage(&mut self) {
        let before = self.log().stats().ledger;
        let death = self.end();
        let count = if self.random.random_bool(0.7) { 1 } else { self.random.random_range(2..5) };
        let spoiled: Vec<_> = (0..count).filter_map(|_| self.spoil()).collect();
        self.damaged = true;
        let death = self.start(death);
        let log = self.log.take().expect("started");
        let only = if let [(kind, name)] = &spoiled[..] { Some((*kind, &**name, &before)) } else { None };
        self.compare_damaged(&log, death, only);
        self.log = Some(log);
        drop(self.lines.take());
        spoiled.into_iter().for_each(|(kind, _)| self.met(kind));
        self.check_alive();
    }

    /// Keeps a copy of the files as they are while no process has them open.
    pub(super) fn copy_files(&mut self) {
        if self.profile.damage && self.random.random_bool(0.3) {
            self.copies.push(self.disk.copy());
            if self.copies.len() > COPIES {
                self.copies.swap_remove(self.random.random_range(0..COPIES));
            }
        }
    }

    /// Something happens to one file; what, where there is any it can happen to.
    fn spoil(&mut self) -> Option<(&'static str, String)> {
        let kind = *KINDS.choose(&mut self.random).expect("some");
        let files = self.disk.copy();
        let is_told = |name: &&String| !name.ends_with(".new") && *name != "reserve";
        // a small file is hit as often as all segments together
        let of_segments = self.random.random_bool(0.7);
        let names = files.keys().filter(is_told).filter(|name| name.contains('.') == of_segments);
        let name = names.choose(&mut self.random)?.clone();
        let mut bytes = files[&name].clone();
        let met = match kind {
            Kind::Flip if !bytes.is_empty() => {
                let at = self.place_in(&bytes);
                bytes[at] ^= 1 << self.random.random_range(0..8);
                "flipped bit"
            }
            Kind::Zero if !bytes.is_empty() => {
                let size = if self.random.random() { 512 } else { 4096 };
                let from = self.place_in(&bytes) / size * size;
                let until = (from + size).min(bytes.len());
                if bytes[from..until].iter().all(|byte| *byte == 0) {
                    return None;
                }
                bytes[from..until].fill(0);
                "zeroed sector"
            }
            Kind::Cut if !bytes.is_empty() => {
                bytes.truncate(self.random.random_range(0..bytes.len()));
                "file cut"
            }
            Kind::Remove => "file removed",
            Kind::Older => {
                let copies: Vec<&Files> = self.copies.iter().filter(|copy| copy.contains_key(&name)).collect();
                bytes = copies.choose(&mut self.random)?[&name].clone();
                if bytes == files[&name] {
                    return None;
                }
                "older copy of a file"
            }
            _ => return None,
        };
        self.say(|_| format!("{met}: {name}, {} bytes, now {}", files[&name].len(), bytes.len()));
        self.disk.put(&name, (met != "file removed").then_some(bytes));
        Some((met, name))
    }

    /// A place in a file; half the time one that holds something.
    fn place_in(&mut self, bytes: &[u8]) -> usize {
        let at = self.random.random_range(0..bytes.len());
        match self.random.random() {
            true => at,
            false => bytes[at..].iter().position(|byte| *byte != 0).map_or(at, |more| at + more),
        }
    }

    /// The whole directory is put back to what it was, or a copy of it runs beside.
    pub(super) fn copy_directory(&mut self) {
        let Some(copy) = self.copies.choose(&mut self.random).cloned() else { return };
        let death = self.end();
        if self.random.random() {
            self.say(|_| "a copy runs beside".into());
            self.run_beside(&copy);
            // what the copy has to say is of its own past
            drop(self.lines.take());
            let death = self.start(death);
            self.compare(death);
            self.met("copy ran beside");
        } else {
            self.say(|_| "the directory is put back to what it was".into());
            self.disk.put_all(&copy);
            // a file of what came after it is of another journal's life
            self.copies = vec![copy];
            self.damaged = true;
            let death = self.start(death);
            let log = self.log.take().expect("started");
            self.compare_damaged(&log, death, None);
            self.log = Some(log);
            drop(self.lines.take());
            self.met("directory put back");
            self.check_alive();
        }
    }

    /// Another process takes webhooks over a copy: none of its receipts is one of this journal's.
    fn run_beside(&mut self, copy: &Files) {
        let disk = crate::disk::simulated::SimulatedDisk::new(self.random.random());
        disk.put_all(copy);
        let beside = Log::open(std::sync::Arc::new(disk), self.config.clone()).expect("a copy opens");
        for _ in 0..self.random.random_range(1..4) {
            let number = self.random.random_range(0..1000);
            let now_ms = self.now_ms();
            let entry = draw::webhook(&mut self.random, number, 1, self.config.segment().min(40_960), now_ms);
            let pending = crate::embedded::Pending {
                entry,
                decision: crate::embedded::Decision::default(),
                watch: None,
                chain: None,
            };
            if let Ok(receipt) = beside.append_group(&[pending]).remove(0) {
                self.model.give_out(receipt);
            }
        }
    }

    /// What is there is right; where one file was damaged, what is not there is counted: all of it, and nothing else.
    fn compare_damaged(&mut self, log: &Log, death: Option<Death>, only: Option<(&str, &str, &Ledger)>) {
        let waiting = self.read_everything(log).expect("no death is planned");
        let ledger = log.stats().ledger;
        self.say(|history| {
            let read: Vec<_> = waiting.iter().map(|entry| (entry.sequence(), &entry.header.idempotency_key)).collect();
            format!("after damage and {death:?}: {ledger:?}, {read:?}, files {:?}", history.disk.files())
        });
        let get = |receipt: Receipt| log.get(receipt).expect("readable");
        let Found { missing, marked, unmarked, unreadable } =
            self.model.resynchronise(&waiting, |sequence: Sequence| get(log.receipt(sequence)));
        let ledger_now = log.stats().ledger;
        let book = ledger_now.book;
        assert_eq!(book.taken, book.settled + ledger_now.waiting + book.damaged, "{ledger_now:?}");
        assert_eq!(log.recount().expect("readable"), ledger_now, "the books counted anew");
        if let Some((kind, name, before)) = only {
            let damaged = book.damaged - before.book.damaged.min(book.damaged);
            let unconfirmed = book.unconfirmed - before.book.unconfirmed.min(book.unconfirmed);
            // of a book that is lost nobody knows what was damaged in it, and a copy may hold what was damaged since
            let stays = book.damaged >= before.book.damaged || name == "carried" || kind == "older copy of a file";
            assert!(stays, "what was damaged stays so: {before:?}, {ledger_now:?}");
            let (lost, known) = (missing.len() as u64, marked.len() as u64);
            let is_flip = kind == "flipped bit";
            // of what nothing is left, and nothing was marked of, nobody can tell
            let told = if is_flip { lost } else { known };
            assert!(
                told <= damaged + unconfirmed,
                "{missing:?} are missing: {damaged} damaged, {unconfirmed} unconfirmed"
            );
            assert!(known <= damaged, "{marked:?} were known to be synced and are missing: {damaged} damaged");
            // the bit may have stood in the number of a group's members
            assert!(is_flip || unconfirmed <= unreadable, "{unconfirmed} unconfirmed of {unreadable}");
            // the file that told of what was unconfirmed may be the one that is gone
            let forgotten = before.book.unconfirmed - book.unconfirmed.min(before.book.unconfirmed);
            // and the head that told what was let go of its segment before
            let head_is_gone = name.ends_with(".webhooks") && ["file removed", "file cut"].contains(&kind);
            let let_go = if head_is_gone { self.model.let_go() } else { 0 };
            let most = unreadable + forgotten + let_go;
            assert!(damaged <= most, "{damaged} damaged of {unreadable}, {forgotten} unconfirmed and {let_go} let go");
            // after a clean stop all that was taken is marked, and nothing was being written
            let since = if before.book.unconfirmed == 0 { unconfirmed } else { 0 };
            assert!(death.is_some() || since == 0, "{since} unconfirmed after a clean stop");
            // a book that was lost before counted refused webhooks too, which an older copy of it names again
            let taken = match name {
                "carried" => before.book.taken.min(self.model.acknowledged_ever()),
                _ => before.book.taken,
            };
            assert!(book.taken + unmarked >= taken, "fewer were taken than before: {before:?}, {ledger_now:?}");
            if lost > 0 {
                self.met("webhook damaged");
            }
        }
        self.rebase(log);
    }
}

/// The counts of a ledger.
pub(super) fn counts(ledger: &Ledger) -> BTreeMap<&'static str, i64> {
    let Ledger { book, waiting, in_flight } = ledger;
    let counts = [
        ("taken", book.taken),
        ("settled", book.settled),
        ("damaged", book.damaged),
        ("mapped", book.mapped),
        ("delivered", book.delivered),
        ("delivered_degraded", book.delivered_degraded),
        ("filtered", book.filtered),
        ("duplicate", book.duplicate),
        ("dead", book.dead),
        ("waiting", *waiting),
        ("in_flight", *in_flight),
    ];
    counts.into_iter().map(|(name, count)| (name, i64::try_from(count).expect("small"))).collect()
}
