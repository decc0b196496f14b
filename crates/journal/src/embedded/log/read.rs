//! Reading: lanes in order, single entries, dead letters.

use std::{collections::HashMap, io};

use moehog_proto::{
    Receipt, Sequence,
    journal::{EntryHeader, EventState, Progress},
};
use prost::Message;

use crate::embedded::{
    Log,
    frame::Frame,
    plan::{Plan, Planned, Target},
    records,
    run::Run,
    segment::Segment,
    webhooks::{self, Located},
    window::Window,
};
use crate::{
    Batch, DeadLetter, DeadLetterQuery, Entry, ReadError, ReadLimit, Until, Watch, disk::File, metrics, watch::Known,
};

/// Dead letters in a page where the query names no limit.
const PAGE: usize = 100;

impl Log {
    /// Reads unsettled entries of a lane from sequence `from` on, in order, each with the progress stored so far.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn read(&self, source: &str, destination: &str, from: Sequence, limit: ReadLimit) -> Result<Batch, ReadError> {
        self.read_planned(self.plan(source, destination, from, limit)?, limit)
    }

    pub(in crate::embedded) fn read_planned(&self, planned: Planned, limit: ReadLimit) -> Result<Batch, ReadError> {
        let Planned { plans, mut next, .. } = planned;
        let mut entries = Vec::with_capacity(plans.iter().map(|plan| plan.targets.len()).sum());
        let (mut bytes, mut too_large) = (0, None);
        'plans: for mut plan in plans {
            let targets = std::mem::take(&mut plan.targets);
            let mut window = Window::new(plan.file.clone(), plan.end, 0);
            let (mut behind, mut run) = (0, Run::default());
            for (at, target) in targets.iter().enumerate() {
                let within = limit.max_bytes.saturating_sub(bytes);
                if at == run.end {
                    run = Run::of(targets.iter().map(|target| target.extent), at, within);
                    window.read_ahead(run.ahead);
                }
                let found = plan.locate(&mut window, target, behind, within);
                let frame = match found.map_err(|source| plan.failed(source))? {
                    Located::Frame(frame) => frame,
                    Located::TooLarge(size) => {
                        (next, too_large) = (target.sequence, entries.is_empty().then_some(size));
                        break 'plans;
                    }
                    Located::Damaged => {
                        self.damage(&*plan.file, plan.first, target.sequence, target.block);
                        continue;
                    }
                };
                let frame = if run.shares { frame } else { frame.alone() };
                let entry = self.entry(&mut plan, target, &frame)?;
                if entry.bytes() > within {
                    (next, too_large) = (target.sequence, entries.is_empty().then(|| entry.bytes()));
                    break 'plans;
                }
                bytes += entry.bytes();
                behind = frame.end;
                entries.push(entry);
            }
        }
        Ok(Batch { entries, next, too_large })
    }

    /// What a read is to read.
    pub(in crate::embedded) fn plan(
        &self,
        source: &str,
        destination: &str,
        from: Sequence,
        limit: ReadLimit,
    ) -> Result<Planned, ReadError> {
        let state = self.state.lock();
        if state.closed {
            return Err(ReadError::Closed);
        }
        let active = state.active;
        let end = from.max(state.durable + 1);
        let Some(lane) = state.lanes.find(source, destination) else {
            return Ok(Planned { plans: Vec::new(), next: end, active });
        };
        let mut left = limit.max_entries.get();
        let mut plans = Vec::new();
        let start = state.segments.range(..=from).next_back().map_or(0, |(first, _)| *first);
        for (first, segment) in state.segments.range(start..) {
            let Some(index) = segment.index.lane(lane).filter(|index| !index.waiting.is_empty()) else { continue };
            let mut plan = Plan::of(segment);
            for number in index.waiting.from(from.saturating_sub(*first)) {
                if left == 0 {
                    plans.push(plan);
                    return Ok(Planned { plans, next: first + number, active });
                }
                plan.add(segment, first + number);
                left -= 1;
            }
            plans.push(plan);
        }
        Ok(Planned { plans, next: end, active })
    }

    fn entry(&self, plan: &mut Plan, target: &Target, frame: &Frame) -> Result<Entry, ReadError> {
        Ok(Entry {
            receipt: self.mint.receipt(target.incarnation, target.sequence),
            header: EntryHeader::decode(frame.header.clone()).unwrap_or_default(),
            body: frame.body.clone(),
            progress: progress(plan, target).map_err(|source| plan.failed(source))?,
            settled: target.settled,
            crashed: target.crashed,
            decided: target.decided.clone(),
        })
    }

    /// An entry cannot be read any more: it is counted, its block kept aside, and it is passed over from now on.
    pub(in crate::embedded) fn damage(&self, file: &dyn File, first: Sequence, sequence: Sequence, block: (u64, u64)) {
        let mut state = self.state.lock();
        let Some(segment) = state.segments.get_mut(&first) else { return };
        if !segment.stop_waiting(sequence) {
            return; // settled meanwhile, or known
        }
        segment.damaged.insert(sequence);
        segment.open.remove(&sequence);
        segment.note_dead(sequence, false);
        segment.book.damaged += 1;
        state.undamaged.push(sequence);
        drop(state);
        metrics::damaged(1);
        tracing::error!(segment = %webhooks::name(first), sequence, "a webhook that waited cannot be read");
        let kept = self.quarantine(file, first, block.0, block.1);
        self.state.lock().quarantined_bytes += kept;
        self.note_losses();
    }

    /// Finds an entry by its receipt; none where it was never taken, was cancelled, or its bytes are gone.
    ///
    /// # Errors
    ///
    /// The receipt is of another journal, or the disk failed.
    pub fn get(&self, receipt: Receipt) -> Result<Option<Entry>, ReadError> {
        if receipt.journal != self.id {
            return Err(ReadError::OtherJournal { receipt });
        }
        let sequence = receipt.sequence;
        let plan = {
            let state = self.state.lock();
            if state.closed {
                return Err(ReadError::Closed);
            }
            let segment = state.segment_of(sequence).filter(|segment| segment.index.contains(sequence));
            let is_of = |segment: &Segment| segment.webhooks.incarnation_of(sequence) == receipt.incarnation.0;
            if segment.is_some_and(|segment| !is_of(segment)) {
                return Err(ReadError::OtherLife { receipt });
            }
            segment.filter(|segment| !segment.cancelled.contains(&sequence)).map(|segment| {
                let mut plan = Plan::of(segment);
                plan.add(segment, sequence);
                let foot = segment.foot.as_ref().map(|foot| (foot.table_at, sequence - segment.index.first));
                (plan, foot)
            })
        };
        let Some((mut plan, table)) = plan else { return Ok(None) };
        let Some(mut target) = plan.targets.pop() else { return Ok(None) };
        if target.record.is_none() {
            target.record = self.find_record(&mut plan, sequence, table).map_err(|source| plan.failed(source))?;
        }
        self.fetch(&mut plan, &target)
    }

    /// Watches an entry, beginning with what is stored of it.
    ///
    /// # Errors
    ///
    /// As [`Log::get`].
    pub fn watch(&self, receipt: Receipt) -> Result<Option<Watch>, ReadError> {
        // a record under way is either told or found below
        let recorder = self.recorder.lock();
        let Some(watch) = self.watchers.begin(Until::Settled) else { return Ok(None) };
        self.watchers.place(watch.ticket(), receipt.sequence);
        drop(recorder);
        let Some(entry) = self.get(receipt)? else { return Ok(None) };
        if let Some(progress) = entry.progress {
            let known = Known { progress: progress.into(), settled: entry.settled };
            self.watchers.tell_new(receipt.sequence, &known);
        }
        Ok(Some(watch))
    }

    fn fetch(&self, plan: &mut Plan, target: &Target) -> Result<Option<Entry>, ReadError> {
        let mut window = Window::new(plan.file.clone(), plan.end, 0);
        let found = plan.locate(&mut window, target, 0, usize::MAX);
        match found.map_err(|source| plan.failed(source))? {
            Located::Frame(frame) => self.entry(plan, target, &frame).map(Some),
            Located::TooLarge(_) | Located::Damaged => {
                self.damage(&*plan.file, plan.first, target.sequence, target.block);
                Ok(None)
            }
        }
    }

    /// Where the record of a settled entry is: by the table of a sealed file, else by reading all of it.
    fn find_record(&self, plan: &mut Plan, sequence: Sequence, table: Option<(u64, u64)>) -> io::Result<Option<u64>> {
        let segment = self.state.lock().segments.get(&plan.first).and_then(|segment| segment.records.clone());
        let (Some(records), Some(_)) = (segment, &plan.records) else { return Ok(None) };
        plan.records = Some((records.window(0), records.coding));
        if let Some((table_at, number)) = table {
            let mut offset = [0; 4];
            let filled = records.file.read_at(&mut offset, table_at + 4 * number)?;
            let offset = u64::from(u32::from_le_bytes(offset));
            if filled == 4 && records::read(&mut records.window(0), records.coding, offset, sequence)?.is_some() {
                return Ok(Some(offset));
            }
        }
        Ok(records.replay()?.entries.get(&sequence).map(|recorded| recorded.offset))
    }

    /// Dead letters, newest first.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, ReadError> {
        let limit = if query.limit == 0 { PAGE } else { query.limit };
        let before = if query.before == 0 { Sequence::MAX } else { query.before };
        let mut letters = Vec::new();
        let mut replays: HashMap<Sequence, HashMap<Sequence, u64>> = HashMap::new();
        let mut cursor = before;
        while letters.len() < limit {
            let Some((mut plan, foot)) = self.next_dead(cursor)? else { break };
            let Some(mut target) = plan.targets.pop() else { break };
            cursor = target.sequence;
            if foot.is_some() {
                target.record = self.find_record(&mut plan, cursor, foot).map_err(|source| plan.failed(source))?;
            } else {
                let known = match replays.remove(&plan.first) {
                    Some(known) => known,
                    None => self.offsets(&mut plan).map_err(|source| plan.failed(source))?,
                };
                target.record = known.get(&cursor).copied();
                replays.insert(plan.first, known);
            }
            let Some(entry) = self.fetch(&mut plan, &target)? else { continue };
            if query.source.as_ref().is_none_or(|source| *source == entry.header.source) {
                letters.extend(letters_of(entry));
            }
        }
        Ok(letters)
    }

    /// The entries that have an event with this uuid, newest first.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn find(&self, uuid: &[u8; 16]) -> Result<Vec<Sequence>, ReadError> {
        let files: Vec<_> = {
            let state = self.state.lock();
            if state.closed {
                return Err(ReadError::Closed);
            }
            let segments = state.segments.iter().rev();
            segments.filter_map(|(first, segment)| Some((*first, segment.records.clone()?))).collect()
        };
        let mut found = Vec::new();
        for (segment, records) in files {
            let of_segment = records.find(uuid).map_err(|source| ReadError::Disk { segment, source })?;
            found.extend(of_segment.into_iter().map(|sequence| sequence.0));
        }
        Ok(found)
    }

    #[expect(clippy::type_complexity, reason = "a plan and where its table is")]
    fn next_dead(&self, before: Sequence) -> Result<Option<(Plan, Option<(u64, u64)>)>, ReadError> {
        let state = self.state.lock();
        if state.closed {
            return Err(ReadError::Closed);
        }
        Ok(state.segments.range(..before).rev().find_map(|(first, segment)| {
            let number = segment.dead.below(before - first).next()?;
            let mut plan = Plan::of(segment);
            plan.add(segment, first + number);
            Some((plan, segment.foot.as_ref().map(|foot| (foot.table_at, number))))
        }))
    }

    /// Where each entry's record is, in a file that is still written to.
    fn offsets(&self, plan: &mut Plan) -> io::Result<HashMap<Sequence, u64>> {
        let records = self.state.lock().segments.get(&plan.first).and_then(|segment| segment.records.clone());
        let Some(records) = records else { return Ok(HashMap::new()) };
        plan.records = Some((records.window(0), records.coding));
        let entries = records.replay()?.entries.into_iter();
        Ok(entries.map(|(sequence, recorded)| (sequence, recorded.offset)).collect())
    }
}

fn progress(plan: &mut Plan, target: &Target) -> io::Result<Option<Progress>> {
    let (Some((window, coding)), Some(offset)) = (&mut plan.records, target.record) else { return Ok(None) };
    let record = records::read(window, *coding, offset, target.sequence)?;
    Ok(record.and_then(|record| record.progress))
}

fn letters_of(entry: Entry) -> impl Iterator<Item = DeadLetter> {
    let Entry { receipt, header, progress, .. } = entry;
    let Progress { events, attempts, .. } = progress.unwrap_or_default();
    let dead = events.into_iter().filter(|event| event.state() == EventState::Dead);
    dead.map(move |event| {
        let answer = (event.attempt as usize).checked_sub(1).and_then(|at| attempts.get(at).cloned());
        DeadLetter { receipt, header: header.clone(), event, answer }
    })
}
