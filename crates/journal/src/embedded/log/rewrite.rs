//! Files written anew in the place of others: new file, sync, rename, sync of the directory.

use std::io;

use moehog_proto::{Sequence, journal::Book};
use moehog_runtime::chain;

use crate::embedded::{
    Log,
    bits::Bits,
    blocks::{create_over, remove_if_there},
    decisions::Decisions,
    format::{self, RecordsFoot},
    index::{Index, LaneId},
    records::{self, Records, Replay},
    segment::Members,
    snapshot::{Snapshot, Unreadable},
    webhooks::{self, Webhooks},
    writer::Writer,
};

impl Log {
    /// Writes a sealed webhooks file without the settled entries, save those with dead letters that are not of a lane that
    /// `goes`. False where something in the way changed and it is to be tried later.
    ///
    /// Called with `maintainer` held.
    pub(in crate::embedded) fn rewrite_webhooks(
        &self,
        first: Sequence,
        goes: impl Fn(LaneId) -> bool,
    ) -> io::Result<bool> {
        let new = format!("{}.new", webhooks::name(first));
        self.write_webhooks_anew(first, &new, goes).inspect_err(|_| self.clear_away(&new))
    }

    /// Removes a file that was begun and is not finished: it takes room that others want. What stays the next start removes.
    pub(in crate::embedded) fn clear_away(&self, new: &str) {
        if let Err(error) = remove_if_there(&*self.disk, new) {
            tracing::debug!(error = %chain(&error), new, "remove a file that could not be finished");
        }
    }

    fn write_webhooks_anew(&self, first: Sequence, new: &str, goes: impl Fn(LaneId) -> bool) -> io::Result<bool> {
        let Some(old) = self.snapshot(first) else { return Ok(false) };
        let replay = self.replay_of(old.records.as_ref())?;
        let kept = old.kept(goes);
        old.check(&replay, &kept)?;
        let rewritten = old.rewritten(&replay, &kept);
        let head = old.head(self, first, rewritten.clone());
        let name = webhooks::name(first);
        let file = self.reserve.with_room(|| create_over(&*self.disk, new))?;
        let mut writer = Writer { log: self, file: &*file, end: 0, buffer: head.to_bytes() };
        let mut index = Index::new(first);
        if let Some(Unreadable { sequence, block: (from, until) }) =
            old.copy_kept(&kept, &mut writer, head.coding(), &mut index)?
        {
            self.lose(first, sequence, from, until);
            self.disk.remove(new)?;
            return Ok(false);
        }
        writer.flush_at(0)?;
        index.last = rewritten.last;
        index.newest_at_ms = old.index.newest_at_ms;
        let end = writer.end;
        let foot = index.to_foot(&self.state.lock().lanes);
        let webhooks = Webhooks { sealed: true, ..Webhooks::of(file.clone(), head, end) };
        let size = self.reserve.with_room(|| webhooks.seal(&foot))?;
        self.disk.rename(new, &name)?;
        let gone = replay.entries.iter().filter(|(sequence, _)| !index.contains(**sequence));
        let garbage = gone.map(|(_, recorded)| recorded.length).sum();
        self.take_over(first, Webhooks { size, ..webhooks }, index, garbage);
        // Where this fails the old file may come back after a power cut; it holds all that this one does.
        self.disk.sync_dir()?;
        Ok(true)
    }

    /// What a records file says, and what is still to be written to it.
    fn replay_of(&self, records: Option<&Records>) -> io::Result<Replay> {
        let (cancelled, damaged) = {
            let state = self.state.lock();
            (state.uncancelled.clone(), state.undamaged.clone())
        };
        let mut replay = records.map_or(Ok(Replay::default()), Records::replay)?;
        replay.cancelled.extend(cancelled);
        replay.damaged.extend(damaged);
        Ok(replay)
    }

    fn snapshot(&self, first: Sequence) -> Option<Snapshot> {
        let state = self.state.lock();
        let segment = state.segments.get(&first).filter(|segment| segment.webhooks.sealed)?;
        Some(Snapshot::of(segment))
    }

    fn take_over(&self, first: Sequence, webhooks: Webhooks, mut index: Index, garbage: u64) {
        let mut state = self.state.lock();
        let Some(segment) = state.segments.get_mut(&first) else { return };
        for lane in &segment.index.lanes {
            // what was settled meanwhile stays settled
            index.lane_mut(lane.lane).waiting = lane.waiting.clone();
        }
        index.newest_at_ms = segment.index.newest_at_ms;
        (segment.index, segment.webhooks) = (index, webhooks);
        segment.cancelled.clear();
        segment.damaged.clear();
        segment.garbage = garbage;
        let dead = std::mem::take(&mut segment.dead);
        segment.dead = dead.from(0).filter(|number| segment.index.contains(first + number)).collect();
    }

    /// An entry that a rewrite meant to keep cannot be read.
    fn lose(&self, first: Sequence, sequence: Sequence, from: u64, until: u64) {
        let mut state = self.state.lock();
        let Some(segment) = state.segments.get_mut(&first) else { return };
        if segment.waits_in(sequence).is_none() {
            segment.note_dead(sequence, false);
            tracing::error!(sequence, "a dead letter cannot be read");
            return;
        }
        let file = segment.webhooks.file.clone();
        drop(state);
        self.damage(&*file, first, sequence, (from, until));
    }

    /// Writes a records file anew, sealed again where it was. Of one that is sealed and damaged the foot knows more than what is
    /// left: it stays. Called with `maintainer` held.
    pub(in crate::embedded) fn compact_records(&self, first: Sequence) -> io::Result<()> {
        let recorder = self.recorder.lock();
        if self.foot_knows_more(first)? {
            if let Some(segment) = self.state.lock().segments.get_mut(&first) {
                segment.garbage = 0;
            }
            return Ok(());
        }
        self.rewrite_records(first)?;
        drop(recorder);
        self.seal_records(first)
    }

    /// Whether records of a sealed file were damaged: its foot says more than what is left.
    fn foot_knows_more(&self, first: Sequence) -> io::Result<bool> {
        let sealed = self.snapshot(first).filter(|it| it.foot.is_some());
        sealed.map_or(Ok(false), |sealed| Ok(!sealed.agrees_with(&self.replay_of(sealed.records.as_ref())?)))
    }

    /// Opens a sealed records file to be appended to again; one that is not sealed stays as it is. False where its foot knows
    /// more than what is left of it. Called with `maintainer` and `recorder` held.
    pub(in crate::embedded) fn unseal_records(&self, first: Sequence) -> io::Result<bool> {
        let is_sealed = self.state.lock().segments.get(&first).is_some_and(|segment| segment.foot.is_some());
        if is_sealed {
            if self.foot_knows_more(first)? {
                return Ok(false);
            }
            self.rewrite_records(first)?;
        }
        Ok(true)
    }

    /// Writes a records file with only what counts: the last record of each entry that the webhooks file holds. Called
    /// with `recorder` held.
    pub(in crate::embedded) fn rewrite_records(&self, first: Sequence) -> io::Result<Records> {
        let new = format!("{}.new", records::name(first));
        self.write_records_anew(first, &new).inspect_err(|_| self.clear_away(&new))
    }

    fn write_records_anew(&self, first: Sequence, new: &str) -> io::Result<Records> {
        let (old, index, sealed) = {
            let state = self.state.lock();
            let segment = state.segments.get(&first).ok_or(io::ErrorKind::NotFound)?;
            let records = segment.records.clone().ok_or(io::ErrorKind::NotFound)?;
            (records, segment.index.clone(), segment.webhooks.sealed)
        };
        let mut replay = self.replay_of(Some(&old))?;
        if sealed {
            // Nothing else can come back, once the name of the file is durable.
            self.disk.sync_dir()?;
            let member = |sequence: &Sequence| index.contains(*sequence) || index.is_missing(*sequence);
            replay.entries.retain(|sequence, _| member(sequence));
            replay.cancelled.retain(member);
            replay.damaged.retain(member);
            replay.started.retain(|sequences, _| sequences.iter().any(member));
        }
        // of what is settled it is of no interest by which mapping that was
        let mut decisions = Decisions::default();
        let settled = |sequence| replay.entries.get(&sequence).is_some_and(|known| known.settled);
        decisions.merge(&replay.decisions, |sequence| !settled(sequence));
        replay.decisions = decisions;
        let head = self.head_of_records(first);
        let mut records = self.reserve.with_room(|| Records::create(&*self.disk, new, &head))?;
        let file = records.file.clone();
        let mut writer = Writer { log: self, file: &*file, end: records.end, buffer: Vec::new() };
        let moved = writer.copy_records(&old, &replay, records.coding)?;
        writer.copy_notes(&replay, records.coding, first);
        writer.flush_at(0)?;
        (records.end, records.size, records.synced, records.new) = (writer.end, writer.end, writer.end, true);
        file.sync_data()?;
        self.disk.rename(new, &records::name(first))?;
        let mut state = self.state.lock();
        if let Some(segment) = state.segments.get_mut(&first) {
            for (sequence, offset) in moved {
                if let Some(recorded) = segment.open.get_mut(&sequence) {
                    recorded.offset = offset;
                }
            }
            (segment.records, segment.garbage, segment.unsynced) = (Some(records.clone()), 0, Vec::new());
            segment.decisions = replay.decisions;
            segment.foot = None;
        }
        drop(state);
        self.disk.sync_dir()?;
        if let Some(records) = self.state.lock().segments.get_mut(&first).and_then(|it| it.records.as_mut()) {
            records.new = false;
        }
        Ok(records)
    }

    /// Seals the records file of a segment whose entries are all settled. Called with `maintainer` held.
    pub(in crate::embedded) fn seal_records(&self, first: Sequence) -> io::Result<()> {
        // it may have been appended to since it was chosen: what waits is no error
        let is_due = |it: &Snapshot| it.foot.is_none() && it.index.waiting() == 0;
        let Some(snapshot) = self.snapshot(first).filter(is_due) else { return Ok(()) };
        let Some(records) = snapshot.records.clone() else { return Ok(()) };
        let replay = self.replay_of(Some(&records))?;
        snapshot.check(&replay, &Bits::default())?;
        let Snapshot { webhooks, index, .. } = snapshot;
        let Members { book, in_flight } = Members::count(&index, &webhooks, &replay);
        let mut table = vec![0; 4 * (index.last + 1 - first) as usize];
        let mut dead = Bits::default();
        for (sequence, recorded) in replay.entries.iter().filter(|(sequence, _)| index.contains(**sequence)) {
            let number = sequence - first;
            let place = u32::try_from(recorded.offset).unwrap_or(0).to_le_bytes();
            table[4 * number as usize..][..4].copy_from_slice(&place);
            if recorded.settled && recorded.counts.dead > 0 {
                dead.insert(number);
            }
        }
        let foot = RecordsFoot {
            book: Some(book),
            table_at: records.end,
            dead: dead.to_bytes(),
            cancelled: replay.cancelled.iter().copied().collect(),
            damaged: replay.damaged.iter().copied().collect(),
            in_flight,
            epoch: replay.epoch,
        };
        let foot_at = records.end + table.len() as u64;
        let trailer = format::foot_bytes(records.coding.seed, records.end, &foot);
        let size = foot_at + trailer.len() as u64;
        if !self.begin_seal(first, &records, book, foot) {
            return Ok(());
        }
        // From here on nobody appends to the file.
        let file = &records.file;
        let sealed = self
            .reserve
            .with_room(|| file.truncate(records.end).and_then(|()| file.write_at(&table, records.end)))
            // The foot tells of frames and table, so they are there before it.
            .and_then(|()| file.sync_data())
            .and_then(|()| self.reserve.with_room(|| file.write_at(&trailer, foot_at)))
            .and_then(|()| file.sync_data());
        let mut state = self.state.lock();
        let Some(segment) = state.segments.get_mut(&first) else { return sealed };
        if sealed.is_ok()
            && let Some(records) = &mut segment.records
        {
            (records.size, records.synced, segment.unsynced) = (size, records.end, Vec::new());
        } else {
            segment.foot = None;
            segment.break_records();
            drop(state);
            self.restore(first);
        }
        sealed
    }

    /// Takes the foot over, unless something was recorded meanwhile.
    fn begin_seal(&self, first: Sequence, records: &Records, book: Book, foot: RecordsFoot) -> bool {
        let _recorder = self.recorder.lock();
        let mut state = self.state.lock();
        let still = |now: &Records| now.coding == records.coding && now.end == records.end && !now.broken;
        let Some(segment) = state.segments.get_mut(&first) else { return false };
        if segment.waiting() > 0 || !segment.records.as_ref().is_some_and(still) {
            return false;
        }
        if segment.book != book {
            tracing::error!(kept = ?segment.book, counted = ?book, "the ledger differs from the journal");
        }
        segment.seal_records(foot);
        true
    }
}
