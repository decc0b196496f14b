//! What became of entries.

use std::{collections::BTreeMap, io, mem, sync::Arc};

use moehog_proto::{
    Sequence,
    journal::{Cancelled, Damaged, TransformEnded, TransformStarted, record_frame::Kind},
};
use moehog_runtime::chain;

use crate::embedded::{
    Log,
    counts::Counts,
    format::Head,
    records::{self, Content, ENDED, Recorded, Records, end_transform},
    segment::Segment,
};
use crate::{Record, RecordError, watch::Known};

/// Most bytes of records that wait for their sync: they are kept in memory until then.
pub(in crate::embedded) const UNSYNCED: usize = 4 * 1024 * 1024;

/// Most files of records that wait for their sync: they are held open until then.
const UNSYNCED_FILES: usize = 48;

/// Frames for the records file of one segment.
pub(in crate::embedded) struct Write {
    pub(in crate::embedded) sequence: Sequence,
    pub(in crate::embedded) content: Content,
    pub(in crate::embedded) then: Then,
}

/// What is known in memory once a frame is written.
pub(in crate::embedded) enum Then {
    Recorded {
        settled: bool,
        counts: Counts,
    },
    Decided {
        sequences: Vec<Sequence>,
    },
    /// What the entry counted to before, the bytes that no longer count, and what it is now.
    Revised {
        before: Counts,
        freed: u64,
        settled: bool,
        counts: Counts,
    },
    Nothing,
}

/// By segment.
pub(in crate::embedded) type Writes = BTreeMap<Sequence, Vec<Write>>;

/// A segment, its records file, where that ends now, and offset and length of each frame.
struct Written {
    first: Sequence,
    records: Records,
    bytes: Vec<u8>,
    then: Vec<(Sequence, (u64, u64), Then)>,
}

impl Log {
    /// Stores what is known of each entry's events, and settles those that are complete. What comes for an entry that
    /// does not wait is passed over.
    ///
    /// # Errors
    ///
    /// The disk failed: nothing of the batch counts.
    pub fn record(&self, epoch: u64, records: Vec<Record>) -> Result<(), RecordError> {
        let mut buffer = self.recorder.lock();
        let mut writes = Writes::new();
        let mut told = Vec::new();
        {
            let state = self.state.lock();
            if state.closed {
                return Err(RecordError::Closed);
            }
            for record in records {
                let Some(segment) = state.segment_of(record.sequence) else { continue };
                if segment.waits_in(record.sequence).is_some() {
                    if self.watchers.watch(record.sequence) {
                        told.push((record.sequence, Known::recorded(&record)));
                    }
                    writes.entry(segment.index.first).or_default().push(write_of(epoch, record));
                }
            }
        }
        self.write(&mut buffer, writes, |segment, sequence, (offset, length), then| {
            if let Then::Recorded { settled, counts } = then {
                apply(segment, sequence, Recorded { offset, length, settled, counts });
            }
        })?;
        for (sequence, known) in told {
            self.watchers.tell(sequence, &known);
        }
        drop(buffer);
        self.bound_unsynced();
        Ok(())
    }

    /// Syncs before the second is over where much waits for it.
    pub(in crate::embedded) fn bound_unsynced(&self) {
        let state = self.state.lock();
        let unsynced = state.segments.values().map(|segment| segment.unsynced.len()).filter(|bytes| *bytes > 0);
        let (files, bytes) = unsynced.fold((0, 0), |(files, sum), bytes| (files + 1, sum + bytes));
        drop(state);
        if (files > UNSYNCED_FILES || bytes > UNSYNCED)
            && let Err(error) = self.sync_records()
        {
            warn_unsynced(&error);
        }
    }

    /// Notes that a Transform call begins with these entries.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn transform_started(&self, sequences: &[Sequence]) -> Result<(), RecordError> {
        let note = TransformStarted { sequences: sequences.to_vec() };
        self.note_transform(sequences, &Kind::TransformStarted(note), |segment, _| {
            *segment.started.entry(sequences.into()).or_default() += 1;
        })
    }

    /// Notes that the call has ended.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn transform_ended(&self, sequences: &[Sequence]) -> Result<(), RecordError> {
        let note = TransformEnded { sequences: sequences.to_vec() };
        self.note_transform(sequences, &Kind::TransformEnded(note), |segment, length| {
            end_transform(&mut segment.started, sequences);
            segment.garbage += ENDED * length;
        })
    }

    fn note_transform(
        &self,
        sequences: &[Sequence],
        kind: &Kind,
        apply: impl Fn(&mut Segment, u64),
    ) -> Result<(), RecordError> {
        let mut buffer = self.recorder.lock();
        let mut writes = Writes::new();
        {
            let state = self.state.lock();
            if state.closed {
                return Err(RecordError::Closed);
            }
            for sequence in sequences {
                let Some(segment) = state.segment_of(*sequence).filter(|segment| segment.foot.is_none()) else {
                    continue;
                };
                writes.entry(segment.index.first).or_insert_with(|| vec![note(*sequence, kind.clone())]);
            }
        }
        self.write(&mut buffer, writes, |segment, _, (_, length), _| apply(segment, length))?;
        drop(buffer);
        self.bound_unsynced();
        Ok(())
    }

    /// Writes down which entries were cancelled or found damaged since the last time. What cannot be written now is kept.
    pub(in crate::embedded) fn note_losses(&self) {
        let mut buffer = self.recorder.lock();
        let mut writes = Writes::new();
        let (cancelled, damaged) = {
            let mut state = self.state.lock();
            let losses = (mem::take(&mut state.uncancelled), mem::take(&mut state.undamaged));
            let mut note_all = |sequences: &[Sequence], kind: fn(Vec<Sequence>) -> Kind| {
                for sequence in sequences {
                    if let Some((first, segment)) = state.segments.range(..=*sequence).next_back()
                        && segment.foot.is_none()
                    {
                        writes.entry(*first).or_default().push(note(*sequence, kind(vec![*sequence])));
                    }
                }
            };
            note_all(&losses.0, |sequences| Kind::Cancelled(Cancelled { sequences }));
            note_all(&losses.1, |sequences| Kind::Damaged(Damaged { sequences }));
            losses
        };
        if let Err(error) = self.write(&mut buffer, writes, |_, _, _, _| {}) {
            tracing::warn!(error = %chain(&error), "cancelled entries are written down later");
            let mut state = self.state.lock();
            state.uncancelled.extend(cancelled);
            state.undamaged.extend(damaged);
        }
    }

    /// Writes frames to the records files of some segments: all, or nothing counts.
    pub(in crate::embedded) fn write(
        &self,
        buffer: &mut Vec<u8>,
        writes: Writes,
        apply: impl Fn(&mut Segment, Sequence, (u64, u64), Then),
    ) -> Result<(), RecordError> {
        let mut written: Vec<Written> = Vec::new();
        for (first, writes) in writes {
            let result = self.records_of(first).and_then(|records| {
                buffer.clear();
                let mut then = Vec::with_capacity(writes.len());
                for write in writes {
                    let start = buffer.len() as u64;
                    records::encode(buffer, records.coding, records.synced, write.sequence, &write.content);
                    let place = (records.end + start, buffer.len() as u64 - start);
                    then.push((write.sequence, place, write.then));
                }
                match self.reserve.with_room(|| records.file.write_at(buffer, records.end)) {
                    Ok(()) => Ok(Written { first, records, bytes: buffer.clone(), then }),
                    Err(error) => {
                        self.undo(first, &records);
                        Err(error)
                    }
                }
            });
            match result {
                Ok(done) => written.push(done),
                Err(source) => {
                    for Written { first, records, .. } in &written {
                        self.undo(*first, records);
                    }
                    return Err(RecordError::Write { segment: first, source });
                }
            }
        }
        buffer.clear();
        buffer.shrink_to(1024 * 1024);
        let mut state = self.state.lock();
        for Written { first, records, bytes, then } in written {
            let Some(segment) = state.segments.get_mut(&first) else { continue };
            let end = records.end + bytes.len() as u64;
            if let Some(records) = &mut segment.records {
                (records.end, records.size) = (end, records.size.max(end));
            }
            segment.unsynced.extend_from_slice(&bytes);
            for (sequence, place, then) in then {
                apply(segment, sequence, place, then);
            }
        }
        Ok(())
    }

    /// Cuts off what was written behind the end of the file that counts.
    fn undo(&self, first: Sequence, records: &Records) {
        if records.file.truncate(records.end).is_err()
            && let Some(records) = self.state.lock().segments.get_mut(&first).and_then(|it| it.records.as_mut())
        {
            records.broken = true;
        }
    }

    /// The records file of a segment, ready to be appended to.
    fn records_of(&self, first: Sequence) -> io::Result<Records> {
        let records = self.state.lock().segments.get(&first).and_then(|segment| segment.records.clone());
        match records {
            Some(records) if !records.broken => Ok(records),
            Some(_) => self.rewrite_records(first),
            None => {
                let name = records::name(first);
                let head = self.head_of_records(first);
                let records = self.reserve.with_room(|| Records::create(&*self.disk, &name, &head))?;
                if let Some(segment) = self.state.lock().segments.get_mut(&first) {
                    segment.records = Some(records.clone());
                }
                Ok(records)
            }
        }
    }

    /// Head of a new records file of the segment.
    pub(in crate::embedded) fn head_of_records(&self, first: Sequence) -> Head {
        let state = self.state.lock();
        let segment = state.segments.get(&first);
        let lives = segment.map(|segment| segment.webhooks.lives.clone()).unwrap_or_default();
        let skipped = segment.map(|segment| segment.webhooks.skipped.to_pairs()).unwrap_or_default();
        drop(state);
        Head { skipped, ..self.head(first, lives) }
    }

    /// Puts back what a failed sync may have dropped from the file, so that a kill takes nothing.
    pub(in crate::embedded) fn restore(&self, first: Sequence) {
        let _recorder = self.recorder.lock();
        let state = self.state.lock();
        let Some(segment) = state.segments.get(&first) else { return };
        let (Some(records), unsynced) = (segment.records.clone(), segment.unsynced.clone()) else { return };
        drop(state);
        if let Err(error) = records.file.write_at(&unsynced, records.end - unsynced.len() as u64) {
            let records = records::name(first);
            tracing::warn!(error = %chain(&error), records, "records of the last second may be gone");
        }
    }

    /// Makes all records durable.
    ///
    /// # Errors
    ///
    /// The disk failed; the files concerned are written anew before they are next appended to.
    pub fn sync_records(&self) -> io::Result<()> {
        let dirty: Vec<_> = {
            let state = self.state.lock();
            // of one that is broken a sync that works says nothing: what was dropped from it is in memory alone
            let dirty = |records: &&Records| (records.synced < records.end || records.new) && !records.broken;
            let all = state.segments.iter();
            all.filter_map(|(first, segment)| Some((*first, segment.records.as_ref().filter(dirty)?.clone()))).collect()
        };
        let mut failed = self.mend_records().err();
        failed = self.mark().err().or(failed);
        if dirty.iter().any(|(_, records)| records.new) {
            self.disk.sync_dir()?;
        }
        for (first, records) in dirty {
            let result = records.file.sync_data();
            let mut state = self.state.lock();
            let Some(segment) = state.segments.get_mut(&first) else { continue };
            // it may have been written anew meanwhile
            let Some(now) = segment.records.as_mut().filter(|now| now.coding == records.coding) else { continue };
            match result {
                Ok(()) => {
                    (now.synced, now.new) = (now.synced.max(records.end), false);
                    let covered = segment.unsynced.len().saturating_sub((now.end - now.synced) as usize);
                    segment.unsynced.drain(..covered);
                    segment.unsynced.shrink_to(1024 * 1024);
                }
                Err(error) => {
                    segment.break_records();
                    failed = Some(error);
                    drop(state);
                    self.restore(first);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes anew, durably, the files that failed.
    fn mend_records(&self) -> io::Result<()> {
        let is_broken = |segment: &Segment| segment.records.as_ref().is_some_and(|records| records.broken);
        for first in self.those(|_, segment, _| is_broken(segment)) {
            let _recorder = self.recorder.lock();
            self.rewrite_records(first)?;
        }
        Ok(())
    }
}

/// Records that were written could not be synced.
pub(in crate::embedded) fn warn_unsynced(error: &io::Error) {
    tracing::warn!(error = %chain(error), "records are synced later");
}

fn write_of(epoch: u64, mut record: Record) -> Write {
    let Record { sequence, settled, .. } = record;
    if settled && record.progress.events.iter().any(|event| event.mapped.is_some()) {
        for event in &mut Arc::make_mut(&mut record.progress).events {
            event.mapped = None;
        }
    }
    let counts = Counts::of(&record.progress);
    Write { sequence, content: Content::Entry(record, epoch), then: Then::Recorded { settled, counts } }
}

/// A frame that is known by being in the file and nothing else.
pub(in crate::embedded) fn note(sequence: Sequence, kind: Kind) -> Write {
    Write { sequence, content: kind.into(), then: Then::Nothing }
}

/// Takes a record over into memory. An entry that has stopped waiting stays as it is.
fn apply(segment: &mut Segment, sequence: Sequence, recorded: Recorded) {
    if segment.waits_in(sequence).is_none() {
        return;
    }
    if let Some(before) = segment.open.remove(&sequence) {
        before.counts.take_from(&mut segment.book, &mut segment.in_flight);
        segment.garbage += before.length;
    }
    recorded.counts.add_to(&mut segment.book, &mut segment.in_flight);
    segment.note_dead(sequence, recorded.counts.dead > 0);
    if !recorded.settled {
        segment.open.insert(sequence, recorded);
        return;
    }
    segment.book.settled += 1;
    segment.stop_waiting(sequence);
    segment.crashed.remove(&sequence);
}
