//! The segments of a directory as they are found, and the account of what is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use moehog_proto::Sequence;
use moehog_runtime::chain;

use super::{
    Log, OpenError,
    files::{CARRIED, What, copy_over, first_of},
    format::{Carried, Head, Identity, Life, Mark, incarnation_of},
    index::Index,
    log::marks::MARKS,
    records::{self, Replay},
    recover::{self, Evidence},
    runs::Runs,
    segment::Segment,
    slots::Slots,
    state::State,
    webhooks::{self, Webhooks},
};
use crate::{
    disk::{Disk, File},
    metrics,
};

/// What the small files say.
pub(super) struct Books {
    pub(super) carried: Carried,
    pub(super) carried_file: Slots<Carried>,
    /// The book is not there, or older than another file says.
    pub(super) is_carried_lost: bool,
    pub(super) mark: Mark,
    pub(super) marks_file: Slots<Mark>,
}

impl Books {
    pub(super) fn read(disk: &dyn Disk, names: &BTreeSet<String>) -> Result<Self, OpenError> {
        let (mut carried_file, mut marks_file) = (Slots::new(CARRIED), Slots::new(MARKS));
        let (mut carried, mut mark) = (None, None);
        if names.contains(CARRIED) {
            (carried_file, carried) = Slots::open(disk, CARRIED).what("read carried")?;
            if carried.is_none() {
                // as version 1 wrote it
                carried = super::blocks::read_small(disk, CARRIED).what("read carried")?;
            }
        }
        if names.contains(MARKS) {
            (marks_file, mark) = Slots::open(disk, MARKS).what("read marks")?;
        }
        let mark: Mark = mark.unwrap_or_default();
        let is_carried_lost = carried.is_none() && names.contains(CARRIED);
        Ok(Self { carried: carried.unwrap_or_default(), carried_file, is_carried_lost, mark, marks_file })
    }

    /// Looks whether others know of a newer book of what was let go than is there.
    pub(super) fn compare_with(&mut self, heads: &Heads) {
        let known = heads.all().map(|head| head.carried_turn).max().unwrap_or(0).max(self.mark.carried_turn);
        self.is_carried_lost |= self.carried_file.turn() < known;
        if self.is_carried_lost {
            tracing::error!(
                "the book of webhooks that were let go is lost or an older one: those are counted anew as settled"
            );
        }
        self.carried_file.follow(known);
    }

    /// Which journal they are of.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.carried.identity.clone().or_else(|| self.mark.identity.clone())
    }
}

/// Heads of all files of frames; none where it cannot be read.
pub(super) struct Heads {
    webhooks: BTreeMap<Sequence, (Arc<dyn File>, Option<Head>)>,
    pub(super) records: BTreeMap<Sequence, Option<Head>>,
}

impl Heads {
    pub(super) fn read(disk: &dyn Disk, names: &BTreeSet<String>) -> Result<Self, OpenError> {
        let mut heads = Self { webhooks: BTreeMap::new(), records: BTreeMap::new() };
        let read = |name: &str, first: Sequence| {
            let file = disk.open(name)?;
            let head = Head::read(&*file)?.filter(|head| head.first == first);
            Ok::<_, io::Error>((file, head))
        };
        for name in names {
            if let Some(first) = first_of(name, ".webhooks") {
                heads.webhooks.insert(first, read(name, first).what(format!("read {name}"))?);
            } else if let Some(first) = first_of(name, ".records") {
                heads.records.insert(first, read(name, first).what(format!("read {name}"))?.1);
            }
        }
        Ok(heads)
    }

    fn all(&self) -> impl Iterator<Item = &Head> {
        self.webhooks.values().filter_map(|(_, head)| head.as_ref()).chain(self.records.values().flatten())
    }

    /// Which journal they are of.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.all().find_map(|head| head.identity.clone())
    }
}

/// Segments being opened.
pub(super) struct Segments {
    pub(super) heads: Heads,
    pub(super) mark: Mark,
    /// Sequences of appends that failed.
    pub(super) refused: Runs,
    /// Sequences that were let go.
    pub(super) dropped: Runs,
    pub(super) is_carried_lost: bool,
    /// Webhooks files whose head is gone.
    pub(super) unreadable: BTreeSet<Sequence>,
}

impl Segments {
    /// Those of the journal `identity`; a mark of another says nothing of them.
    pub(super) fn new(
        heads: Heads,
        identity: &Identity,
        mark: &Mark,
        carried: &Carried,
        is_carried_lost: bool,
    ) -> Self {
        let mut refused = Runs::default();
        heads.all().for_each(|head| refused.extend(&head.skipped()));
        let is_ours = mark.identity.as_ref().is_some_and(|marked| marked.journal == identity.journal);
        let mark = if is_ours { mark.clone() } else { Mark::default() };
        Self { heads, mark, refused, dropped: carried.runs(), is_carried_lost, unreadable: BTreeSet::new() }
    }

    /// Opens those that were not let go.
    pub(super) fn open_all(&mut self, log: &Log, state: &mut State) -> Result<(), OpenError> {
        let firsts: Vec<_> = self.heads.webhooks.keys().copied().collect();
        for first in firsts {
            // let go, or merged with those before it
            if state.carried.segments.contains(&first) || is_covered(state, first) {
                continue;
            }
            self.open(log, first, state)?;
        }
        let highest = self.refused.last().unwrap_or(0).max(self.mark.synced).max(self.dropped.last().unwrap_or(0));
        state.next = state.next.max(highest + 1);
        Ok(())
    }

    /// Up to where others say that the segment was synced, and where it ends at the latest: a segment is begun when the
    /// one before it has ended.
    fn synced_up_to(&self, first: Sequence) -> (Sequence, Sequence) {
        let behind = first + 1;
        // one of version 1 names no refused sequences
        let begins = |(first, head): (&Sequence, Option<&Head>)| head?.identity.is_some().then_some(*first);
        let next = [
            self.heads.webhooks.range(behind..).map(|(first, (_, head))| (first, head.as_ref())).find_map(begins),
            self.heads.records.range(behind..).map(|(first, head)| (first, head.as_ref())).find_map(begins),
            self.dropped.next_from(behind),
        ];
        match next.into_iter().flatten().min() {
            Some(next) => (next - 1, next - 1),
            None if self.mark.segment > first => (self.mark.synced.min(self.mark.segment - 1), self.mark.segment - 1),
            None => (self.mark.synced, Sequence::MAX),
        }
    }

    fn open(&mut self, log: &Log, first: Sequence, state: &mut State) -> Result<(), OpenError> {
        let Some((file, head)) = self.heads.webhooks.get(&first).cloned() else { return Ok(()) };
        let read_webhooks = || format!("read {}", webhooks::name(first));
        let Some(head) = head else {
            if !file.len().and_then(|size| webhooks::is_blank(&*file, size)).what(read_webhooks())? {
                self.unreadable.insert(first);
            }
            return Ok(());
        };
        let records = match self.heads.records.contains_key(&first) {
            true => Some(self.open_records(log, &head, state).what(format!("read {}", records::name(first)))?),
            false => None,
        };
        let found = self.open_webhooks(log, (file, head), records.as_ref(), state).what(read_webhooks())?;
        let Some((webhooks, index)) = found else {
            let said = if let Some(records::Found::Open(_, replay)) = &records { replay.highest() } else { 0 };
            state.next = state.next.max(said + 1).max(first);
            return Ok(());
        };
        // where nothing says how many there were, no other segment gets its name
        state.next = state.next.max(index.last + 1).max(first + 1);
        let segment = match records {
            None | Some(records::Found::Unreadable) => Segment::replayed(index, webhooks, None, Replay::default()),
            Some(records::Found::Sealed(records, foot)) => {
                state.epoch = state.epoch.max(foot.epoch);
                Segment::sealed(index, webhooks, records, foot)
            }
            Some(records::Found::Open(records, replay)) => {
                state.next = state.next.max(replay.highest() + 1);
                state.epoch = state.epoch.max(replay.epoch);
                Segment::replayed(index, webhooks, Some(records), replay)
            }
        };
        state.segments.insert(first, segment);
        Ok(())
    }

    /// The webhooks of a segment, sealed; none where it never held any.
    fn open_webhooks(
        &self,
        log: &Log,
        (file, head): (Arc<dyn File>, Head),
        records: Option<&records::Found>,
        state: &mut State,
    ) -> io::Result<Option<(Webhooks, Index)>> {
        let first = head.first;
        let replay = if let Some(records::Found::Open(_, replay)) = records { Some(replay) } else { None };
        let (synced, most) = self.synced_up_to(first);
        let synced = synced.max(replay.map_or(0, Replay::read_up_to)).min(most);
        let evidence = Evidence { synced, most, refused: &self.refused };
        let (mut webhooks, mut index, bad, unsynced_from) =
            match recover::open(file, head, &evidence, &mut state.lanes)? {
                recover::Found::Empty => return Ok(None),
                recover::Found::Whole(webhooks, index) => {
                    if index.tells_of_losses() {
                        // nothing else does, and the process that wrote its end may have died before that was synced
                        copy_over(&*webhooks.file, webhooks.end, webhooks.size)?;
                        webhooks.file.sync_data()?;
                    }
                    return Ok(Some((webhooks, index)));
                }
                recover::Found::Recovered { webhooks, index, bad, unsynced_from } => {
                    (webhooks, index, bad, unsynced_from)
                }
            };
        for (from, until) in bad {
            state.quarantined_bytes += log.quarantine(&*webhooks.file, first, from, until);
        }
        // What was not synced may be in the cache of the operating system alone, marked as written.
        copy_over(&*webhooks.file, unsynced_from, webhooks.end)?;
        // The foot tells of them, so they are there before it.
        webhooks.file.sync_data()?;
        // of those behind the mark it does not say when they came
        if self.mark.segment == first && self.mark.at_ms != 0 && self.mark.synced >= index.last {
            index.newest_at_ms = self.mark.at_ms;
        }
        webhooks.size = webhooks.seal(&index.to_foot(&state.lanes))?;
        webhooks.sealed = true;
        tell(&index, |sequence| match records {
            Some(records::Found::Sealed(..)) => true,
            _ => replay.is_some_and(|replay| replay.entries.get(&sequence).is_some_and(|known| known.settled)),
        });
        Ok(Some((webhooks, index)))
    }
}

impl Segments {
    /// Records of the segment with this head.
    fn open_records(&self, log: &Log, webhooks: &Head, state: &mut State) -> io::Result<records::Found> {
        let first = webhooks.first;
        let mut found = records::open(&*log.disk, first)?;
        let lives = self.heads.records.get(&first).and_then(|head| head.as_ref().map(|head| &head.lives[..]));
        if lives.is_some_and(|lives| !are_of(&found, lives, &webhooks.lives)) {
            found = records::Found::Unreadable;
        }
        match &mut found {
            records::Found::Open(records, replay) => {
                // the merged records of webhooks that are not merged: they are written anew as those of the first
                records.broken |= lives.is_some_and(|lives| lives != webhooks.lives);
                // As with webhooks: what the process before did not sync may be in the cache alone, marked as written.
                let synced =
                    copy_over(&*records.file, replay.synced, records.end).and_then(|()| records.file.sync_data());
                match synced {
                    Ok(()) => records.synced = records.end,
                    // What the process before did not sync is as if the power had failed: what is there now counts.
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "records of the last second may be gone");
                        found = records::open(&*log.disk, first)?;
                        if let records::Found::Open(records, _) = &mut found {
                            records.broken = true;
                        }
                    }
                }
            }
            records::Found::Unreadable => {
                let (name, file) = (records::name(first), log.disk.open(&records::name(first))?);
                // where it is blank, no record was synced
                if !webhooks::is_blank(&*file, file.len()?)? {
                    tracing::error!(
                        records = %name,
                        "records cannot be read, or are an older copy, of other webhooks: what they settled is done again"
                    );
                    log.keep_aside(&name, state)?;
                    log.disk.sync_dir()?;
                }
            }
            records::Found::Sealed(..) => {}
        }
        if let records::Found::Open(_, replay) = &found
            && !replay.bad.is_empty()
        {
            tracing::error!(records = %records::name(first), bad = ?replay.bad,
                "records are damaged: what they told is done again");
        }
        Ok(found)
    }
}

/// Whether records of these `lives` speak of webhooks of those: an older copy may speak of those of another opening, which had
/// the same sequences and are gone.
fn are_of(found: &records::Found, lives: &[Life], of: &[Life]) -> bool {
    match found {
        records::Found::Sealed(..) => lives == of,
        // merged records are there before the merged webhooks
        records::Found::Open(_, replay) => {
            let is_same_life = |sequence| incarnation_of(lives, sequence) == incarnation_of(of, sequence);
            lives.starts_with(of) || replay.sequences().all(is_same_life)
        }
        records::Found::Unreadable => true,
    }
}

/// Says what was found in a file that was not sealed, and what was not. Nothing is lost of a webhook that is settled.
fn tell(index: &Index, is_settled: impl Fn(Sequence) -> bool) {
    let segment = webhooks::name(index.first);
    let mut sequences = Runs::default();
    index.damaged.sequences().filter(|it| !is_settled(*it)).for_each(|sequence| sequences.insert(sequence, sequence));
    let damaged = index.lost + sequences.count();
    let unconfirmed = index.unconfirmed.count();
    if damaged > 0 {
        metrics::damaged(damaged);
        tracing::error!(%segment, damaged, ?sequences, "webhooks of this segment cannot be read");
    }
    if unconfirmed > 0 {
        tracing::warn!(
            %segment,
            unconfirmed,
            sequences = ?index.unconfirmed,
            "webhooks that were being written at the end are not whole: nothing says that they were taken"
        );
    }
    tracing::info!(%segment, entries = index.frames(), "recovered");
}

/// Whether a segment before it reaches over it: it was merged with that one.
pub(super) fn is_covered(state: &State, first: Sequence) -> bool {
    let before = state.segments.range(..first).next_back();
    let rewritten = before.and_then(|(_, segment)| segment.webhooks.rewritten.as_ref());
    rewritten.is_some_and(|rewritten| rewritten.last >= first)
}
