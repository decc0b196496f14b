//! Small neighbours become one segment when a journal is opened: each start leaves a small one behind.
//!
//! The merged files take the names of the first segment, records before webhooks, and only then the others go. A crash in
//! between leaves the others beside a first one that reaches over them: those are passed over and removed.

use std::{collections::BTreeSet, io};

use moehog_proto::Sequence;
use moehog_runtime::chain;

use crate::embedded::{
    Log,
    bits::Bits,
    blocks::{create_over, remove_if_there},
    coding::FRAMES_AT,
    format::{Head, Life, Rewritten},
    index::{Index, UNKNOWN},
    records::{self, Records, Replay},
    runs::Runs,
    segment::Segment,
    snapshot::Snapshot,
    state::{State, add},
    webhooks::{self, Webhooks},
    writer::Writer,
};

/// Neighbours that are merged at once: so many that a webhook is seldom moved.
const AT_ONCE: usize = 4;

/// A segment is small below a sixteenth of what one may have, within these bounds: heads and a little more, and what is read
/// in no time.
const SMALL: [u64; 2] = [4 * FRAMES_AT, 1024 * 1024];

/// Most sequences between two neighbours that belong to neither.
const APART: u64 = 4096;

/// A head has room for so many.
const LIVES: usize = 64;

/// A segment to be merged: what of it is kept, and what its records say.
struct Part {
    segment: Snapshot,
    replay: Replay,
    kept: Bits,
}

impl Part {
    fn keeps(&self, sequence: Sequence) -> bool {
        sequence.checked_sub(self.segment.index.first).is_some_and(|number| self.kept.contains(number))
    }

    fn waits(&self, sequence: Sequence) -> bool {
        self.keeps(sequence) && !self.replay.entries.get(&sequence).is_some_and(|recorded| recorded.settled)
    }
}

/// The new files, complete and under names of their own.
struct Merged {
    webhooks: Webhooks,
    index: Index,
    records: Records,
}

impl Log {
    /// Merges small neighbours of a journal that is being opened. What fails before the first name has changed is left for
    /// the next start.
    ///
    /// # Errors
    ///
    /// The disk failed when names were changed.
    pub(in crate::embedded) fn merge_small(&self, state: &mut State) -> io::Result<()> {
        let small = (self.config.segment() / 16).clamp(SMALL[0], SMALL[1]);
        let most = self.config.segment();
        let apart_ms = i64::try_from(self.config.retention.as_millis() / 8).unwrap_or(i64::MAX);
        let mut stay = BTreeSet::new();
        while let Some(firsts) = small_neighbours(state, &stay, (small, most), apart_ms) {
            let segment = webhooks::name(firsts[0]);
            match self.write_merged(&firsts, state) {
                Ok(Some(merged)) => {
                    self.put_in_place(&firsts, merged, state)?;
                    tracing::info!(%segment, segments = firsts.len(), "small segments are one now");
                    continue;
                }
                Ok(None) => tracing::debug!(%segment, segments = firsts.len(), "small segments stay as they are"),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), %segment, "small segments are merged at a later start");
                }
            }
            for name in [records::name(firsts[0]), webhooks::name(firsts[0])] {
                self.clear_away(&format!("{name}.new"));
            }
            stay.extend(firsts);
        }
        Ok(())
    }

    /// Writes what the segments hold into two new files; none where one of them does not say what it is.
    fn write_merged(&self, firsts: &[Sequence], state: &State) -> io::Result<Option<Merged>> {
        let mut parts = Vec::new();
        for segment in firsts.iter().filter_map(|first| state.segments.get(first)) {
            let snapshot = Snapshot::of(segment);
            let replay = snapshot.records.as_ref().map_or(Ok(Replay::default()), Records::replay)?;
            if !snapshot.agrees_with(&replay) {
                return Ok(None);
            }
            let is_kept = |number: &u64| {
                let sequence = snapshot.index.first + number;
                !replay.cancelled.contains(&sequence) && !replay.damaged.contains(&sequence)
            };
            let present = snapshot.index.lanes.iter().flat_map(|lane| lane.present.from(0));
            let kept = present.filter(is_kept).collect();
            parts.push(Part { segment: snapshot, replay, kept });
        }
        let head = self.merged_head(&parts);
        let Some((index, webhooks)) = self.write_merged_webhooks(&parts, &head, state)? else { return Ok(None) };
        let records = self.write_merged_records(&parts, &head)?;
        Ok(Some(Merged { webhooks, index, records }))
    }

    /// Whether some segment holds what several openings took.
    #[cfg(test)]
    pub(in crate::embedded) fn holds_merged(&self) -> bool {
        self.state.lock().segments.values().any(|segment| segment.webhooks.lives.len() > 1)
    }

    fn merged_head(&self, parts: &[Part]) -> Head {
        let (mut lives, mut skipped, mut members) = (Vec::new(), Runs::default(), Runs::default());
        let mut all = Rewritten::default();
        for Part { segment, replay, kept } in parts {
            match &segment.webhooks.lives[..] {
                [] => lives.push(Life { from: segment.index.first, incarnation: 0 }),
                known => lives.extend_from_slice(known),
            }
            skipped.extend(&segment.webhooks.skipped);
            members.extend(&segment.webhooks.apart.missing(segment.index.first, segment.index.last));
            let Rewritten { last, kept, removed, dead_letters_dropped, in_flight } = segment.rewritten(replay, kept);
            add(all.removed.get_or_insert_default(), &removed.unwrap_or_default());
            all.last = last;
            all.kept += kept;
            all.dead_letters_dropped += dead_letters_dropped;
            all.in_flight += in_flight;
        }
        let first = parts.first().map_or(0, |part| part.segment.index.first);
        members.extend(&skipped);
        let apart = members.missing(first, all.last).to_pairs();
        Head { rewritten: Some(all), skipped: skipped.to_pairs(), apart, ..self.head(first, lives) }
    }

    fn write_merged_webhooks(
        &self,
        parts: &[Part],
        head: &Head,
        state: &State,
    ) -> io::Result<Option<(Index, Webhooks)>> {
        let file = create_over(&*self.disk, &format!("{}.new", webhooks::name(head.first)))?;
        let mut writer = Writer { log: self, file: &*file, end: 0, buffer: head.to_bytes() };
        let mut index = Index::new(head.first);
        for Part { segment, kept, .. } in parts {
            if segment.copy_kept(kept, &mut writer, head.coding(), &mut index)?.is_some() {
                return Ok(None);
            }
        }
        writer.flush_at(0)?;
        let Some(Rewritten { kept, last, .. }) = &head.rewritten else { return Ok(None) };
        if index.frames() != *kept {
            return Ok(None);
        }
        index.last = *last;
        index.newest_at_ms = parts.iter().map(|part| part.segment.index.newest_at_ms).max().unwrap_or(UNKNOWN);
        let end = writer.end;
        let webhooks = Webhooks { sealed: true, ..Webhooks::of(file.clone(), head.clone(), end) };
        let size = webhooks.seal(&index.to_foot(&state.lanes))?;
        Ok(Some((index, Webhooks { size, ..webhooks })))
    }

    fn write_merged_records(&self, parts: &[Part], head: &Head) -> io::Result<Records> {
        let skipped = head.skipped.clone();
        let head = Head { skipped, ..self.head(head.first, head.lives.clone()) };
        let mut records = Records::create(&*self.disk, &format!("{}.new", records::name(head.first)), &head)?;
        let file = records.file.clone();
        let mut writer = Writer { log: self, file: &*file, end: records.end, buffer: Vec::new() };
        let mut notes = Replay::default();
        for part in parts {
            let Part { segment, replay, .. } = part;
            for (sequences, calls) in &replay.started {
                if !sequences.iter().any(|sequence| part.waits(*sequence)) {
                    // its end is not noted in records that were sealed before
                    continue;
                }
                // a call that held entries of several segments is noted in each
                let noted = notes.started.entry(sequences.clone()).or_default();
                *noted = (*noted).max(*calls);
            }
            notes.decisions.merge(&replay.decisions, |sequence| part.waits(sequence));
            let Some(old) = &segment.records else { continue };
            let entries = replay.entries.iter().filter(|(sequence, _)| part.keeps(**sequence));
            let entries = entries.map(|(sequence, recorded)| (*sequence, *recorded)).collect();
            writer.copy_records(old, &Replay { entries, ..Replay::default() }, records.coding)?;
        }
        writer.copy_notes(&notes, records.coding, head.first);
        writer.flush_at(0)?;
        (records.end, records.size, records.synced, records.new) = (writer.end, writer.end, writer.end, false);
        file.sync_data()?;
        Ok(records)
    }

    /// Gives the new files the names of the first segment, and removes the others.
    fn put_in_place(&self, firsts: &[Sequence], merged: Merged, state: &mut State) -> io::Result<()> {
        let (first, Merged { webhooks, index, records }) = (firsts[0], merged);
        for name in [records::name(first), webhooks::name(first)] {
            self.disk.rename(&format!("{name}.new"), &name)?;
            self.disk.sync_dir()?;
        }
        for first in &firsts[1..] {
            remove_if_there(&*self.disk, &webhooks::name(*first))?;
            remove_if_there(&*self.disk, &records::name(*first))?;
        }
        self.disk.sync_dir()?;
        let replay = records.replay()?;
        state.segments.retain(|other, _| !firsts.contains(other));
        state.segments.insert(first, Segment::replayed(index, webhooks, Some(records), replay));
        Ok(())
    }
}

/// Some small neighbours that together make a small file, but for those that are to stay.
fn small_neighbours(
    state: &State,
    stay: &BTreeSet<Sequence>,
    (small, most): (u64, u64),
    apart_ms: i64,
) -> Option<Vec<Sequence>> {
    let mut run: Vec<(Sequence, &Segment)> = Vec::new();
    for (first, segment) in &state.segments {
        let fits = run.last().is_none_or(|(_, before)| {
            let times = [before.index.newest_at_ms, segment.index.newest_at_ms];
            let is_near = times.contains(&UNKNOWN) || times[1].abs_diff(times[0]) <= apart_ms.unsigned_abs();
            let lives: usize = run.iter().map(|(_, it)| it.webhooks.lives.len().max(1)).sum();
            let bytes: u64 = run.iter().map(|(_, it)| it.size()).sum();
            is_near
                && first - before.index.last <= APART
                && bytes + segment.size() <= most
                && lives + segment.webhooks.lives.len().max(1) <= LIVES
        });
        let is_small = segment.size() <= small && segment.webhooks.sealed && !stay.contains(first);
        if !fits || !is_small {
            run.clear();
        }
        if is_small {
            run.push((*first, segment));
        }
        if run.len() == AT_ONCE {
            return Some(run.into_iter().map(|(first, _)| first).collect());
        }
    }
    None
}
