//! A file written from front to back, mostly with what others hold.

use std::io;

use moehog_proto::{
    Sequence,
    journal::{Cancelled, Damaged, EntryHeader, TransformStarted, record_frame::Kind},
};
use prost::Message;

use super::{
    Log,
    coding::Coding,
    frame::{self, Frame},
    records::{self, Records, Replay},
    webhooks::AHEAD,
};
use crate::disk::File;

/// Bytes that are gathered before they are written.
const WRITE: usize = 1024 * 1024;

/// Writes a file from front to back.
pub(super) struct Writer<'a> {
    pub(super) log: &'a Log,
    pub(super) file: &'a dyn File,
    pub(super) end: u64,
    pub(super) buffer: Vec<u8>,
}

impl Writer<'_> {
    pub(super) fn offset(&self) -> u64 {
        self.end + self.buffer.len() as u64
    }

    /// Writes what has gathered, where it is more than `least`.
    pub(super) fn flush_at(&mut self, least: usize) -> io::Result<()> {
        if self.buffer.len() > least {
            self.log.reserve.with_much_room(|| self.file.write_at(&self.buffer, self.end))?;
            self.end += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes a webhook's frame as one by itself.
    pub(super) fn copy(
        &mut self,
        frame: &Frame,
        coding: Coding,
        push: impl FnOnce(u64, EntryHeader),
    ) -> io::Result<()> {
        let offset = self.offset();
        push(offset, EntryHeader::decode(frame.header.clone()).unwrap_or_default());
        frame::encode(&mut self.buffer, coding, frame.sequence, offset, |buffer| {
            buffer.extend_from_slice(&frame.header);
            buffer.extend_from_slice(&frame.body);
            frame.header.len()
        });
        self.flush_at(WRITE)
    }

    /// Writes the records that count, and what else a records file says; returns where each record is now.
    pub(super) fn copy_records(
        &mut self,
        old: &Records,
        replay: &Replay,
        coding: Coding,
    ) -> io::Result<Vec<(Sequence, u64)>> {
        let mut offsets: Vec<_> = replay.entries.iter().map(|(sequence, known)| (known.offset, *sequence)).collect();
        offsets.sort_unstable();
        let mut moved = Vec::new();
        let mut window = old.window(AHEAD);
        for (offset, sequence) in offsets {
            let Some(frame) = frame::read(&mut window, old.coding, offset)? else { continue };
            let at = self.offset();
            frame::encode(&mut self.buffer, coding, sequence, at, |buffer| {
                buffer.extend_from_slice(&frame.header);
                frame.header.len()
            });
            moved.push((sequence, at));
            self.flush_at(WRITE)?;
        }
        Ok(moved)
    }

    /// Writes what a records file says beside the records of entries.
    pub(super) fn copy_notes(&mut self, replay: &Replay, coding: Coding, first: Sequence) {
        for kind in others(replay) {
            let at = self.offset();
            records::encode(&mut self.buffer, coding, at, first, &kind.into());
        }
    }
}

/// What a records file says beside the records of entries.
fn others(replay: &Replay) -> impl Iterator<Item = Kind> {
    let cancelled = Cancelled { sequences: replay.cancelled.iter().copied().collect() };
    let damaged = Damaged { sequences: replay.damaged.iter().copied().collect() };
    let started = replay.started.iter().flat_map(|(sequences, calls)| {
        let started = TransformStarted { sequences: sequences.to_vec() };
        (0..*calls).map(move |_| Kind::TransformStarted(started.clone()))
    });
    [Kind::Cancelled(cancelled), Kind::Damaged(damaged)].into_iter().chain(started).chain(replay.decisions.notes())
}
