//! Appends: a group of webhooks, one write, one sync.

use std::{io, mem, time::Instant};

use moehog_proto::{Incarnation, Receipt, Sequence, journal::EntryHeader};
use moehog_runtime::chain;
use prost::Message;

use crate::embedded::{
    Log, Pending,
    coding::FRAMES_AT,
    format::{Head, Life},
    frame,
    index::{Index, LaneId, UNKNOWN},
    log::maintain::Freeing,
    reserve::is_full,
    runs::Runs,
    segment::{Place, Segment},
    webhooks::Webhooks,
};
use crate::{AppendError, NewEntry, metrics};

/// How far ahead of what is written a segment is allocated.
const ALLOCATE: u64 = 8 * 1024 * 1024;

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

/// What an entry may take.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// Most bytes that the journal uses with it.
    limit: u64,
    /// It passes the limit where it must, and may take of the reserve.
    is_handed_on: bool,
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
                group[at].fails();
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
        if run.group[at].is_behind_a_failure() {
            return Err(AppendError::Behind);
        }
        let bytes = run.group[at].frame_bytes();
        // of what a source handed on it was asked when it was taken
        if entry.header.routed.is_empty() {
            self.check_source(&entry.header.source, bytes)?;
        }
        let room = self.room_for(entry);
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
            self.begin(run, bytes, room)?;
        }
        match self.grow(run, bytes, room) {
            // This segment may be what holds settled entries: end it, so that they can give way.
            Err(error) if is_for_want_of_room(&error) && run.members.is_empty() => {
                self.finish_active();
                run.segment = None;
                self.begin(run, bytes, room)?;
            }
            other => other?,
        }
        let (end, Some((_, webhooks))) = (run.end(), &run.segment) else { return Err(AppendError::Closed) };
        frame::begin(&mut run.buffer, webhooks.coding, (run.next, webhooks.end), |buffer| {
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
    fn begin(&self, run: &mut Run<'_>, bytes: u64, room: Room) -> Result<(), AppendError> {
        let head = self.head_of_new();
        let first = head.first;
        run.next = first;
        let webhooks =
            self.allocate(first, (0, FRAMES_AT + bytes), room, |size| Webhooks::create(&*self.disk, &head, size))?;
        let segment = Segment::new(Index::new(first), webhooks.clone());
        let mut state = self.state.lock();
        state.segments.insert(first, segment);
        state.active = Some(first);
        drop(state);
        run.segment = Some((first, webhooks));
        Ok(())
    }

    /// Head of a segment that begins with the next sequence.
    fn head_of_new(&self) -> Head {
        let state = self.state.lock();
        let first = state.next;
        let lives = vec![Life { from: first, incarnation: self.incarnation }];
        let mut skipped = Runs::default();
        skipped.insert(state.accounted + 1, first - 1);
        drop(state);
        Head { skipped: skipped.to_pairs(), ..self.head(first, lives) }
    }

    /// Head of a file that is begun now.
    pub(in crate::embedded) fn head(&self, first: Sequence, lives: Vec<Life>) -> Head {
        Head { carried_turn: self.carried.lock().turn(), ..Head::new(first, &self.identity, lives) }
    }

    /// What is to be handed on leaves a segment free. What is handed on passes the limit where nothing gives way, and takes of
    /// the reserve: its original goes in its stead, so that this is little and soon over. Else a journal full of what is to be
    /// handed on could never be emptied, nor one whose budget has become smaller than what waits.
    fn room_for(&self, entry: &NewEntry) -> Room {
        let limit = self.config.limit();
        match entry.is_to_be_routed() {
            true => Room { limit: limit.saturating_sub(self.config.segment()), is_handed_on: false },
            false => Room { limit, is_handed_on: !entry.header.routed.is_empty() },
        }
    }

    /// Makes room in the segment for an entry of `bytes`.
    fn grow(&self, run: &mut Run<'_>, bytes: u64, room: Room) -> Result<(), AppendError> {
        let needed = run.end() + bytes;
        let Some((first, webhooks)) = &mut run.segment else { return Err(AppendError::Closed) };
        if needed <= webhooks.size {
            return Ok(());
        }
        let file = webhooks.file.clone();
        webhooks.size =
            self.allocate(*first, (webhooks.size, needed), room, |size| file.allocate(size).map(|()| size))?;
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
        Room { limit, is_handed_on }: Room,
        allocate: impl Fn(u64) -> io::Result<T>,
    ) -> Result<T, AppendError> {
        let ahead = needed.max((size + ALLOCATE).min(self.config.segment()));
        let has_room = |bytes: u64| self.state.lock().used() + bytes <= limit;
        let wanted = if has_room(ahead - size) { ahead } else { needed };
        if !has_room(wanted - size) && !self.make_room(wanted - size, limit) && !is_handed_on {
            let used = self.state.lock().kept_bytes();
            return Err(AppendError::Full { used, limit });
        }
        let failed = |source| AppendError::Write { segment, source };
        if !is_handed_on && self.reserve.fill_for_appends(&*self.disk).is_err() {
            self.allocate_on_full_disk(|| self.reserve.fill_for_appends(&*self.disk)).map_err(failed)?;
        }
        match allocate(wanted) {
            Err(error) if is_full(&error) => self.allocate_on_full_disk(|| allocate(needed)),
            other => other,
        }
        .or_else(|error| match is_handed_on && is_full(&error) {
            true => self.reserve.with_much_room(|| allocate(needed)),
            false => Err(error),
        })
        .map_err(failed)
    }

    /// What is settled gives way to a neighbour that fills the disk as it does to a full budget.
    fn allocate_on_full_disk<T>(&self, allocate: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let _maintainer = self.maintainer.lock();
        let mut freeing = Freeing::down_to_all(self);
        loop {
            match allocate() {
                Err(error) if is_full(&error) && freeing.frees() => {}
                other => return other,
            }
        }
    }

    /// Of several sources none fills more than half.
    fn check_source(&self, source: &str, bytes: u64) -> Result<(), AppendError> {
        let limit = self.config.limit() / 2;
        let mut state = self.state.lock();
        let used = |state: &crate::embedded::state::State| state.unsettled.get(source).copied().unwrap_or(0);
        if used(&state) + bytes <= limit || state.lanes.sources(&self.config.sources) < 2 {
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
        finish_frames(&mut run.buffer, webhooks, &run.members);
        let written = webhooks.file.write_at(&run.buffer, webhooks.end).and_then(|()| webhooks.file.sync_data());
        let written = written.and_then(|()| self.is_there(&*webhooks.file));
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
                    run.group[*at].fails();
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
        let now_ms = self.age.known_ms().unwrap_or(UNKNOWN);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(segment) = state.segments.get_mut(&first) else { return };
        let mut cancelled = Vec::new();
        // Most groups are of one lane: it is looked up when it changes.
        let mut previous: Option<(&EntryHeader, LaneId)> = None;
        for (at, sequence, offset) in members {
            let Pending { entry: NewEntry { header, .. }, decision, watch, .. } = &group[*at];
            let lane = match previous {
                Some((before, lane)) if is_same_lane(before, header) => lane,
                _ => state.lanes.id(&header.source, &header.destination),
            };
            previous = Some((header, lane));
            segment.index.push(*sequence, *offset, lane, header.received_at_ms);
            let base = segment.index.received_at_ms.first().copied().unwrap_or(0);
            let age_ms = u32::try_from(header.received_at_ms.saturating_sub(base)).unwrap_or(0);
            segment.places.resize((*sequence - first) as usize + 1, Place { age_ms, offset: *offset });
            // what it must not be ahead of was given up meanwhile
            let is_behind = group[*at].is_behind_a_failure() && decision.give_up();
            results[*at] = Some(if !is_behind && decision.durable() {
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
                Ok(self.mint.receipt(Incarnation(segment.webhooks.incarnation_of(*sequence)), *sequence))
            } else {
                group[*at].fails();
                segment.cancelled.insert(*sequence);
                cancelled.push(*sequence);
                Err(if is_behind { AppendError::Behind } else { AppendError::Deadline })
            });
        }
        segment.webhooks.end = end;
        // a clock that is wrong for a moment makes no webhook older, nor younger
        segment.index.newest_at_ms = now_ms;
        (state.durable, state.accounted) = (segment.index.last, segment.index.last);
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
        tracing::error!(error = %chain(error), "append failed; the next one begins a segment");
        if !self.finish_active() {
            let mut state = self.state.lock();
            state.uncancelled.extend(failed);
            drop(state);
            self.note_losses();
        }
    }
}

/// Lets each frame say which number of how many it is.
fn finish_frames(buffer: &mut [u8], webhooks: &Webhooks, members: &[(usize, Sequence, u64)]) {
    let starts = members.iter().map(|(_, _, offset)| (offset - webhooks.end) as usize);
    let ends = starts.clone().skip(1).chain([buffer.len()]);
    for (place, (start, end)) in starts.zip(ends).enumerate() {
        frame::finish(&mut buffer[start..end], webhooks.coding, (place as u16, members.len() as u16));
    }
}

/// What settled entries that give way could end.
fn is_for_want_of_room(error: &AppendError) -> bool {
    match error {
        AppendError::Full { .. } => true,
        AppendError::Write { source, .. } => is_full(source),
        _ => false,
    }
}

pub(in crate::embedded) fn is_same_lane(one: &EntryHeader, other: &EntryHeader) -> bool {
    one.source == other.source && one.destination == other.destination
}

/// The same error for one more receiver.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}
