//! Appends: a group of webhooks, one write, one sync.

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use moehog_proto::{Receipt, Sequence, journal::EntryHeader};
use prost::Message;

use super::{
    Log,
    format::FRAMES_AT,
    frame::{self, HEAD},
    index::{Index, LaneId},
    reserve::is_full,
    segment::Segment,
    webhooks::{self, Webhooks},
};
use crate::{AppendError, NewEntry, Ticket, metrics};

/// How far ahead of what is written a segment is allocated.
const ALLOCATE: u64 = 8 * 1024 * 1024;

/// The one decision on an append: durable, or given up at its deadline. Whichever comes first counts.
#[derive(Debug, Clone, Default)]
pub struct Decision(Arc<AtomicU8>);

impl Decision {
    const OPEN: u8 = 0;
    const DURABLE: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// Decides that the entry counts; false where it was given up before.
    #[must_use]
    pub fn durable(&self) -> bool {
        self.decide(Self::DURABLE)
    }

    /// Decides that the entry does not count; false where it was durable before.
    #[must_use]
    pub fn give_up(&self) -> bool {
        self.decide(Self::GIVEN_UP)
    }

    fn decide(&self, what: u8) -> bool {
        self.0.compare_exchange(Self::OPEN, what, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::GIVEN_UP
    }
}

/// A webhook that waits to be written.
#[derive(Debug)]
pub struct Pending {
    /// The webhook.
    pub entry: NewEntry,
    /// Whether it counts.
    pub decision: Decision,
    /// Who waits to be told what becomes of it.
    pub watch: Option<Ticket>,
}

impl Pending {
    fn frame_bytes(&self) -> u64 {
        (HEAD + self.entry.header.encoded_len() + self.entry.body.len()) as u64
    }
}

/// What a group may hold on to of its buffer until the next.
const BUFFER: usize = 4 * 1024 * 1024;

type Results = Vec<Option<Result<Receipt, AppendError>>>;

/// Frames that are encoded and not yet written, all for one segment.
struct Run<'a> {
    group: &'a [Pending],
    segment: Option<(Sequence, Webhooks)>,
    /// Place in the group, sequence and offset of each frame.
    members: Vec<(usize, Sequence, u64)>,
    buffer: Vec<u8>,
    next: Sequence,
}

impl Run<'_> {
    fn end(&self) -> u64 {
        self.segment.as_ref().map_or(0, |(_, webhooks)| webhooks.end) + self.buffer.len() as u64
    }
}

impl Log {
    /// Appends webhooks with one write and one sync (more where they do not fit into one segment), in order. A webhook
    /// that was given up before it is written is left out; one given up later is cancelled.
    ///
    /// The results stand in the order of the group.
    pub fn append_group(&self, group: &[Pending]) -> Vec<Result<Receipt, AppendError>> {
        let mut appender = self.appender.lock();
        self.health.group_begins();
        let buffer = mem::take(&mut *appender);
        let mut run = Run { group, segment: None, members: Vec::with_capacity(group.len()), buffer, next: 0 };
        let mut results: Results = group.iter().map(|_| None).collect();
        for at in 0..group.len() {
            if let Err(error) = self.place(&mut run, at, &mut results) {
                if matches!(error, AppendError::Write { .. }) {
                    self.health.fails(group[at].frame_bytes());
                }
                results[at] = Some(Err(error));
            }
        }
        self.flush(&mut run, &mut results);
        run.buffer.shrink_to(BUFFER);
        *appender = run.buffer;
        self.health.group_ends();
        results.into_iter().map(|result| result.unwrap_or(Err(AppendError::Closed))).collect()
    }

    /// Puts one webhook of the group behind the others.
    fn place(&self, run: &mut Run<'_>, at: usize, results: &mut Results) -> Result<(), AppendError> {
        let Pending { entry, decision, .. } = &run.group[at];
        if decision.is_given_up() {
            self.state.lock().cancelled += 1;
            return Err(AppendError::Deadline);
        }
        let bytes = run.group[at].frame_bytes();
        // of what a source handed on it was asked when it was taken
        if entry.header.routed.is_empty() {
            self.check_source(&entry.header.source, bytes)?;
        }
        let limit = match entry.is_to_be_routed() {
            true => self.config.limit().saturating_sub(self.config.segment()),
            false => self.config.limit(),
        };
        if run.segment.is_none() {
            self.resume(run)?;
        }
        let full = |run: &Run<'_>| run.end() > FRAMES_AT && run.end() + bytes > self.config.segment();
        if run.segment.is_some() && full(run) {
            self.flush(run, results);
            self.finish_active();
            run.segment = None;
        }
        if run.segment.is_none() {
            self.begin(run, bytes, limit)?;
        }
        match self.grow(run, bytes, limit) {
            // This segment may be what holds settled entries: end it, so that they can give way.
            Err(AppendError::Full { .. }) if run.members.is_empty() => {
                self.finish_active();
                run.segment = None;
                self.begin(run, bytes, limit)?;
            }
            other => other?,
        }
        let (end, Some((_, webhooks))) = (run.end(), &run.segment) else { return Err(AppendError::Closed) };
        frame::encode(&mut run.buffer, webhooks.seed, run.next, webhooks.end, |buffer| {
            entry.header.encode(buffer).unwrap_or_else(|_| unreachable!("a vector has room"));
            buffer.extend_from_slice(&entry.body);
            entry.header.encoded_len()
        });
        run.members.push((at, run.next, end));
        run.next += 1;
        Ok(())
    }

    /// Goes on in the segment that is appended to, where there is one.
    fn resume(&self, run: &mut Run<'_>) -> Result<(), AppendError> {
        let state = self.state.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        run.next = state.next;
        run.segment = state.active.and_then(|first| Some((first, state.segments.get(&first)?.webhooks.clone())));
        Ok(())
    }

    /// Begins a segment for an entry of `bytes`.
    fn begin(&self, run: &mut Run<'_>, bytes: u64, limit: u64) -> Result<(), AppendError> {
        run.next = self.state.lock().next;
        let first = run.next;
        let webhooks =
            self.allocate(first, (0, FRAMES_AT + bytes), limit, |size| Webhooks::create(&*self.disk, first, size))?;
        let segment = Segment::new(Index::new(first), webhooks.clone());
        let mut state = self.state.lock();
        state.segments.insert(first, segment);
        state.active = Some(first);
        drop(state);
        run.segment = Some((first, webhooks));
        Ok(())
    }

    /// Makes room in the segment for an entry of `bytes`.
    fn grow(&self, run: &mut Run<'_>, bytes: u64, limit: u64) -> Result<(), AppendError> {
        let needed = run.end() + bytes;
        let Some((first, webhooks)) = &mut run.segment else { return Err(AppendError::Closed) };
        if needed <= webhooks.size {
            return Ok(());
        }
        let file = webhooks.file.clone();
        webhooks.size =
            self.allocate(*first, (webhooks.size, needed), limit, |size| file.allocate(size).map(|()| size))?;
        if let Some(segment) = self.state.lock().segments.get_mut(first) {
            segment.webhooks.size = webhooks.size;
        }
        Ok(())
    }

    /// Allocates a file of `size` up to `needed` and, where there is room within `limit`, well ahead.
    fn allocate<T>(
        &self,
        segment: Sequence,
        (size, needed): (u64, u64),
        limit: u64,
        allocate: impl Fn(u64) -> io::Result<T>,
    ) -> Result<T, AppendError> {
        let ahead = needed.max((size + ALLOCATE).min(self.config.segment()));
        let has_room = |bytes: u64| self.state.lock().used() + bytes <= limit;
        let wanted = if has_room(ahead - size) { ahead } else { needed };
        if !has_room(wanted - size) && !self.make_room(wanted - size, limit) {
            let used = self.state.lock().kept_bytes();
            return Err(AppendError::Full { used, limit });
        }
        match allocate(wanted) {
            Err(error) if is_full(&error) && wanted > needed => allocate(needed),
            other => other,
        }
        .map_err(|source| AppendError::Write { segment, source })
    }

    /// Of several sources none fills more than half.
    fn check_source(&self, source: &str, bytes: u64) -> Result<(), AppendError> {
        let limit = self.config.limit() / 2;
        let mut state = self.state.lock();
        let used = |state: &super::state::State| state.unsettled.get(source).copied().unwrap_or(0);
        if state.lanes.sources() < 2 || used(&state) + bytes <= limit {
            return Ok(());
        }
        state.count_unsettled();
        let used = used(&state);
        match used + bytes <= limit {
            true => Ok(()),
            false => Err(AppendError::SourceFull { source_name: source.into(), used, limit }),
        }
    }

    /// Writes and syncs what is encoded, and decides on each entry.
    fn flush(&self, run: &mut Run<'_>, results: &mut Results) {
        let Some((first, webhooks)) = run.segment.as_mut().filter(|_| !run.members.is_empty()) else { return };
        // Given out from now on, whatever comes of the write.
        self.state.lock().next = run.next;
        let started = Instant::now();
        let written = webhooks.file.write_at(&run.buffer, webhooks.end).and_then(|()| webhooks.file.sync_data());
        metrics::synced(run.members.len(), started.elapsed());
        match written {
            Ok(()) => {
                self.health.works();
                webhooks.end += run.buffer.len() as u64;
                self.publish(*first, webhooks.end, run.group, &run.members, results);
            }
            Err(error) => {
                self.health.fails(run.buffer.len() as u64);
                for (at, ..) in &run.members {
                    results[*at] = Some(Err(AppendError::Write { segment: *first, source: again(&error) }));
                }
                let failed = run.members.iter().map(|(_, sequence, _)| *sequence);
                self.abandon(failed, &error);
                run.segment = None;
            }
        }
        run.members.clear();
        run.buffer.clear();
    }

    /// Lets readers see what is durable and was not given up.
    fn publish(
        &self,
        first: Sequence,
        end: u64,
        group: &[Pending],
        members: &[(usize, Sequence, u64)],
        results: &mut Results,
    ) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(segment) = state.segments.get_mut(&first) else { return };
        let mut cancelled = Vec::new();
        // Most groups are of one lane: it is looked up when it changes.
        let mut previous: Option<(&EntryHeader, LaneId)> = None;
        for (at, sequence, offset) in members {
            let Pending { entry: NewEntry { header, .. }, decision, watch } = &group[*at];
            let lane = match previous {
                Some((before, lane)) if is_same_lane(before, header) => lane,
                _ => state.lanes.id(&header.source, &header.destination),
            };
            previous = Some((header, lane));
            segment.index.push(*sequence, *offset, lane, header.received_at_ms);
            let base = segment.index.received_at_ms.first().copied().unwrap_or(0);
            segment.ages.push(u32::try_from(header.received_at_ms.saturating_sub(base)).unwrap_or(0));
            results[*at] = Some(if decision.durable() {
                if let Some(ticket) = watch {
                    self.watchers.place(*ticket, *sequence);
                }
                segment.index.lane_mut(lane).waiting.insert(*sequence - first);
                segment.book.taken += 1;
                let bytes = group[*at].frame_bytes();
                match state.unsettled.get_mut(&header.source) {
                    Some(unsettled) => *unsettled += bytes,
                    None => drop(state.unsettled.insert(header.source.clone(), bytes)),
                }
                Ok(self.receipt(*sequence))
            } else {
                segment.cancelled.insert(*sequence);
                cancelled.push(*sequence);
                Err(AppendError::Deadline)
            });
        }
        segment.webhooks.end = end;
        state.durable = segment.index.last;
        state.cancelled += cancelled.len() as u64;
        let any = !cancelled.is_empty();
        state.uncancelled.append(&mut cancelled);
        drop(guard);
        if any {
            self.note_losses();
        }
    }

    /// Leaves the segment behind at its last good frame: nothing is appended behind a failure.
    fn abandon(&self, failed: impl Iterator<Item = Sequence>, error: &io::Error) {
        tracing::error!(error = error as &dyn std::error::Error, "append failed; the next one begins a segment");
        if !self.finish_active() {
            let mut state = self.state.lock();
            state.uncancelled.extend(failed);
            drop(state);
            self.note_losses();
        }
    }

    /// Seals the segment that is appended to. False where the disk failed: maintenance tries again.
    pub(super) fn finish_active(&self) -> bool {
        let mut state = self.state.lock();
        let Some(first) = state.active.take() else { return true };
        let empty = state.segments.get(&first).is_some_and(|segment| segment.index.frames() == 0);
        if !empty {
            drop(state);
            return self.seal_webhooks(first);
        }
        state.segments.remove(&first);
        drop(state);
        self.disk.remove(&webhooks::name(first)).is_ok()
    }

    /// Seals a webhooks file that is no longer appended to.
    pub(super) fn seal_webhooks(&self, first: Sequence) -> bool {
        let state = self.state.lock();
        let Some(segment) = state.segments.get(&first) else { return true };
        let (webhooks, foot) = (segment.webhooks.clone(), segment.index.to_foot(&state.lanes));
        drop(state);
        match self.reserve.with_room(|| webhooks.seal(&foot)) {
            Ok(size) => {
                if let Some(segment) = self.state.lock().segments.get_mut(&first) {
                    (segment.webhooks.size, segment.webhooks.sealed) = (size, true);
                    segment.ages = Vec::new();
                }
                true
            }
            Err(error) => {
                let segment = webhooks::name(first);
                tracing::warn!(error = &error as &dyn std::error::Error, segment, "segment is sealed later");
                false
            }
        }
    }
}

fn is_same_lane(one: &EntryHeader, other: &EntryHeader) -> bool {
    one.source == other.source && one.destination == other.destination
}

/// The same error for one more receiver.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}
