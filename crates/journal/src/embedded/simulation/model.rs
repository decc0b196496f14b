//! What the journal must know: independent book-keeping, written from the promises and not from the code.

use std::collections::{BTreeMap, BTreeSet};

use moehog_proto::{
    Receipt, Sequence,
    journal::{EventState, Progress},
};

use crate::{Entry, Ledger, NewEntry, count, disk::simulated::Death};

/// Number of a webhook in a history; it stands in the header, so that an empty body has it too.
pub(super) type Id = usize;

/// The revision of what is open again: none was decided on.
pub(super) const UNDECIDED: u32 = u32::MAX;

/// What is promised of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was answered 200, or was there after a restart.
    Taken,
    /// The process died during its append: it may be there, or not.
    Unknown,
    /// It was refused: nobody sees it while this process lives. After a death it may be there.
    Refused,
    /// It was refused and nothing can bring it back: it is absent from the disk, or its cancellation is durable.
    Absent,
    /// It was taken, and the disk lost it.
    Lost,
}

/// What was recorded of a webhook at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Recorded {
    pub(super) progress: Option<Progress>,
    pub(super) settled: bool,
}

/// A webhook and all that is promised of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) entry: NewEntry,
    /// When it was appended, whatever the clock showed.
    appended_at_ms: i64,
    pub(super) fate: Fate,
    /// It was answered 200.
    pub(super) acknowledged: bool,
    /// A mark says so.
    pub(super) marked: bool,
    pub(super) sequence: Option<Sequence>,
    /// What was recorded, oldest first; the first is nothing.
    pub(super) history: Vec<Recorded>,
    /// All before this one in `history` is certainly on the disk, and this one is the last of them.
    pub(super) durable: usize,
    /// A sync failed when `history` was this long: what is behind `durable` may be gone, and no later sync says so. Only a
    /// newer record, synced, is certain again.
    pub(super) shaky: Option<usize>,
    /// Records whose call failed or died: they may be there after a restart.
    pub(super) attempted: Vec<Recorded>,
    /// Its bytes are gone, which is allowed once it is settled.
    pub(super) dropped: bool,
    /// Damage took it when it was settled, and was not counted: it is where damage takes the record of that too.
    pub(super) is_uncounted: bool,
}

impl Known {
    pub(super) fn now(&self) -> &Recorded {
        self.history.last().expect("never empty")
    }

    pub(super) fn lane(&self) -> (&str, &str) {
        (&self.entry.header.source, &self.entry.header.destination)
    }

    pub(super) fn waits(&self) -> bool {
        self.fate == Fate::Taken && !self.now().settled
    }

    pub(super) fn has_dead_letters(&self) -> bool {
        self.now().progress.as_ref().is_some_and(|progress| count(progress).0.dead > 0)
    }

    /// Everything that may be recorded of it after `death`; a clean stop where there is none.
    fn allowed(&self, death: Option<Death>) -> Vec<Recorded> {
        let last = self.history.len() - 1;
        let from = if death == Some(Death::PowerCut) || self.shaky.is_some() { self.durable } else { last };
        let attempted = if death.is_some() { &self.attempted[..] } else { &[] };
        self.history[from..].iter().chain(attempted).cloned().collect()
    }

    /// Whether `progress` may be what readers get while the process lives.
    pub(super) fn may_read(&self, progress: &Option<Progress>) -> bool {
        let from = if self.shaky.is_some() { self.durable } else { self.history.len() - 1 };
        self.history[from..].iter().any(|recorded| recorded.progress == *progress)
    }

    /// Takes over what was found after `death`.
    fn adopt(&mut self, found: Recorded, death: Option<Death>) {
        self.shaky = self.shaky.filter(|_| death == Some(Death::Kill));
        if *self.now() != found {
            // Either older than the last one (a power cut) or attempted and now there.
            self.history.push(found);
        }
        if death != Some(Death::Kill) {
            self.history = self.history.split_off(self.history.len() - 1);
            self.durable = 0;
        }
        self.attempted.clear();
    }
}

/// All webhooks of a history.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) known: Vec<Known>,
    pub(super) by_sequence: BTreeMap<Sequence, Id>,
    /// Refused webhooks that a restart brought back, and records that a power cut undid.
    pub(super) resurfaced: u64,
    pub(super) undone: u64,
    /// Settled webhooks whose bytes are gone.
    pub(super) dropped: u64,
    /// Settled webhooks received from then on must still be there.
    pub(super) keeps_from_ms: i64,
    /// Revisions that each entry was decided to be mapped by, and whether that was stored.
    pub(super) decisions: BTreeMap<Sequence, Vec<(u32, bool)>>,
    /// Receipts that were given out, by this journal and by copies of it.
    receipts: BTreeSet<String>,
}

impl Model {
    /// Notes a webhook that is about to be appended.
    pub(super) fn add(&mut self, entry: NewEntry, now_ms: i64) -> Id {
        self.known.push(Known {
            entry,
            appended_at_ms: now_ms,
            fate: Fate::Unknown,
            acknowledged: false,
            marked: false,
            sequence: None,
            history: vec![Recorded::default()],
            durable: 0,
            shaky: None,
            attempted: Vec::new(),
            dropped: false,
            is_uncounted: false,
        });
        self.known.len() - 1
    }

    pub(super) fn acknowledged(&mut self, id: Id, receipt: Receipt) {
        self.known[id].acknowledged = true;
        self.give_out(receipt);
        self.present(id, receipt.sequence);
    }

    /// A receipt is given out once in the world.
    pub(super) fn give_out(&mut self, receipt: Receipt) {
        assert!(self.receipts.insert(receipt.to_string()), "receipt {receipt} was given out before");
        assert!(self.receipts.insert(receipt.address()), "address {} was given out before", receipt.address());
    }

    /// All that was acknowledged is marked as synced.
    pub(super) fn is_marked(&mut self) {
        self.known.iter_mut().filter(|known| known.fate == Fate::Taken).for_each(|known| known.marked = true);
    }

    fn present(&mut self, id: Id, sequence: Sequence) {
        let other = self.by_sequence.insert(sequence, id);
        assert!(other.is_none_or(|other| other == id), "sequence {sequence} was given to {other:?}, then to {id}");
        let known = &mut self.known[id];
        assert!(
            known.sequence.is_none_or(|old| old == sequence),
            "webhook {id} moved from {:?} to {sequence}",
            known.sequence
        );
        (known.fate, known.sequence) = (Fate::Taken, Some(sequence));
    }

    /// Every cancellation made so far is durable.
    pub(super) fn cancellations_are_durable(&mut self) {
        for known in self.known.iter_mut().filter(|known| known.fate == Fate::Refused) {
            known.fate = Fate::Absent;
        }
    }

    /// A record was stored.
    pub(super) fn recorded(&mut self, sequence: Sequence, progress: Progress, settled: bool) {
        let known = &mut self.known[self.by_sequence[&sequence]];
        assert!(!known.now().settled || settled, "the history itself unsettles {sequence}");
        known.attempted.clear();
        known.history.push(Recorded { progress: Some(progress), settled });
    }

    /// Dead letters of a settled entry were revised.
    pub(super) fn revised(&mut self, sequence: Sequence, progress: Progress, settled: bool) {
        let known = &mut self.known[self.by_sequence[&sequence]];
        assert!(known.now().settled, "entry {sequence} was under way and was revised");
        known.attempted.clear();
        known.history.push(Recorded { progress: Some(progress), settled });
        // it is decided anew by which mapping it is mapped
        self.decisions.entry(sequence).or_default().push((UNDECIDED, true));
    }

    pub(super) fn was_revised(&self, sequence: Sequence) -> bool {
        let decisions = self.decisions.get(&sequence).into_iter().flatten();
        decisions.into_iter().any(|(revision, _)| *revision == UNDECIDED)
    }

    /// A record of the entry that failed and is to be tried again.
    pub(super) fn to_repeat(&self, sequence: Sequence) -> Option<(Progress, bool)> {
        let last = self.known[self.by_sequence[&sequence]].attempted.last()?;
        Some((last.progress.clone()?, last.settled))
    }

    /// Storing a record failed: nothing of it counts while this process lives.
    pub(super) fn record_failed(&mut self, sequence: Sequence, progress: Progress, settled: bool) {
        self.known[self.by_sequence[&sequence]].attempted.push(Recorded { progress: Some(progress), settled });
    }

    /// All that was recorded so far is durable.
    pub(super) fn records_are_durable(&mut self) {
        for known in &mut self.known {
            if known.shaky.is_none_or(|length| known.history.len() > length) {
                (known.durable, known.shaky) = (known.history.len() - 1, None);
            }
        }
    }

    /// A sync failed: what was recorded since the last one that worked may be gone.
    pub(super) fn sync_failed(&mut self) {
        for known in &mut self.known {
            if known.durable < known.history.len() - 1 {
                known.shaky = Some(known.history.len());
            }
        }
    }

    /// Those that wait, in journal order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Sequence, &Known)> {
        self.by_sequence.iter().map(|(sequence, id)| (*sequence, &self.known[*id])).filter(|(_, known)| known.waits())
    }

    /// Webhooks that were answered 200, whatever became of them.
    pub(super) fn acknowledged_ever(&self) -> u64 {
        self.known.iter().filter(|known| known.acknowledged).count() as u64
    }

    /// Settled webhooks whose bytes are gone, alone or with their segment.
    pub(super) fn let_go(&self) -> u64 {
        self.known.iter().filter(|known| known.dropped).count() as u64
    }

    /// Webhooks that were not answered 200.
    pub(super) fn never_acknowledged(&self) -> u64 {
        self.known.len() as u64 - self.acknowledged_ever()
    }

    pub(super) fn number_of(&self, entry: &Entry) -> Id {
        entry.header.idempotency_key.parse().expect("a header that no history wrote")
    }

    /// Whose webhook an entry is; its bytes and header must be what was appended.
    pub(super) fn identify(&self, entry: &Entry) -> Id {
        let id = self.number_of(entry);
        let known = &self.known[id];
        assert_eq!(entry.header, known.entry.header, "the header of webhook {id} changed");
        assert!(entry.body == known.entry.body, "the body of webhook {id} changed");
        id
    }

    /// Takes over what is there after a restart, and refuses what may not be: `waiting` are all entries read, and
    /// `settled` finds one that is not among them.
    pub(super) fn restarted(
        &mut self,
        death: Option<Death>,
        waiting: &[Entry],
        settled: impl Fn(Sequence) -> Option<Entry>,
    ) {
        let mut seen = BTreeSet::new();
        for entry in waiting {
            assert!(!entry.settled, "entry {} is settled and was read", entry.sequence());
            let id = self.identify(entry);
            assert!(seen.insert(id), "webhook {id} was read twice");
            self.found(id, entry, death);
        }
        for id in 0..self.known.len() {
            if !seen.contains(&id) {
                self.not_waiting(id, death, &settled);
            }
        }
    }

    fn found(&mut self, id: Id, entry: &Entry, death: Option<Death>) {
        let known = &self.known[id];
        match known.fate {
            Fate::Taken => {}
            Fate::Lost => panic!("webhook {id} was lost and is back"),
            Fate::Absent => panic!("webhook {id} was refused for good and came back as {}", entry.sequence()),
            Fate::Unknown | Fate::Refused => {
                assert!(death.is_some(), "webhook {id} was refused and came back after a clean stop");
                self.resurfaced += 1;
            }
        }
        let found = Recorded { progress: entry.progress.clone(), settled: false };
        let allowed = known.allowed(death);
        assert!(
            allowed.contains(&found),
            "of webhook {id} ({}) something is recorded that was not, or what was recorded is gone: {found:?}, not one of {allowed:?}",
            entry.sequence(),
        );
        self.undone += u64::from(*known.now() != found);
        self.present(id, entry.sequence());
        self.known[id].adopt(found, death);
    }

    fn not_waiting(&mut self, id: Id, death: Option<Death>, settled: &impl Fn(Sequence) -> Option<Entry>) {
        let known = &mut self.known[id];
        if known.fate != Fate::Taken {
            // After a kill, what hides it may be a cancellation in the cache, which the power can still take.
            if known.fate != Fate::Lost && (known.fate != Fate::Refused || death != Some(Death::Kill)) {
                known.fate = Fate::Absent;
            }
            return;
        }
        let sequence = known.sequence.expect("taken, so it has one");
        let mut allowed = known.allowed(death);
        allowed.retain(|recorded| recorded.settled);
        match settled(sequence) {
            Some(entry) if allowed.is_empty() => {
                panic!("webhook {id} ({sequence}) is there and not read (settled: {})", entry.settled)
            }
            Some(entry) => {
                assert_eq!(self.identify(&entry), id, "sequence {sequence} is another webhook now");
                assert!(entry.settled, "webhook {id} ({sequence}) is not settled and not read");
                let counts = entry.progress.as_ref().map(count);
                let found = allowed.into_iter().find(|recorded| recorded.progress.as_ref().map(count) == counts);
                let found =
                    found.unwrap_or_else(|| panic!("webhook {id} was recorded otherwise: {:?}", entry.progress));
                self.known[id].adopt(found, death);
            }
            None => match allowed.pop() {
                // Settled, its bytes may have been dropped.
                Some(found) => {
                    assert!(
                        known.appended_at_ms < self.keeps_from_ms,
                        "settled webhook {id} ({sequence}) is gone too early"
                    );
                    known.adopt(found, death);
                    self.dropped += u64::from(!known.dropped);
                    known.dropped = true;
                }
                // Nobody was told that it was taken.
                None if !known.acknowledged && death == Some(Death::PowerCut) => {
                    known.fate = Fate::Absent;
                    self.by_sequence.remove(&sequence);
                }
                None => panic!("webhook {id} ({sequence}) was acknowledged and is lost after {death:?}"),
            },
        }
    }

    /// What the books must say.
    pub(super) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for known in self.known.iter().filter(|known| known.fate == Fate::Taken) {
            ledger.book.taken += 1;
            match known.now().settled {
                true => ledger.book.settled += 1,
                false => ledger.waiting += 1,
            }
            for event in known.now().progress.iter().flat_map(|progress| &progress.events) {
                let book = &mut ledger.book;
                book.mapped += 1;
                *match event.state() {
                    EventState::Delivered => &mut book.delivered,
                    EventState::DeliveredDegraded => &mut book.delivered_degraded,
                    EventState::Filtered => &mut book.filtered,
                    EventState::Duplicate => &mut book.duplicate,
                    EventState::Dead => &mut book.dead,
                    EventState::Discarded => &mut book.discarded,
                    EventState::Pending | EventState::Unspecified => &mut ledger.in_flight,
                } += 1;
            }
        }
        ledger
    }

    /// Dead letters that are to be found, the newest first, as sequence and position.
    pub(super) fn dead_letters(&self) -> Vec<(Sequence, u32)> {
        let of = |(sequence, id): (&Sequence, &Id)| {
            let known = &self.known[*id];
            let progress = known.now().progress.as_ref().filter(|_| known.fate == Fate::Taken);
            let events = progress.into_iter().flat_map(|progress| &progress.events);
            let dead = events.filter(|event| event.state() == EventState::Dead);
            dead.map(|event| (*sequence, event.position)).collect::<Vec<_>>()
        };
        self.by_sequence.iter().rev().flat_map(of).collect()
    }
}
