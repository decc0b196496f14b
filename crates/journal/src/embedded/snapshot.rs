//! A segment as it is at one moment, to be written anew or merged.

use std::io;

use moehog_proto::{Sequence, journal::Book};

use super::{
    Log,
    bits::Bits,
    coding::Coding,
    format::{Head, RecordsFoot, Rewritten},
    index::{Index, LaneId},
    records::{Records, Replay},
    segment::{Members, Segment},
    state::subtract,
    webhooks::{self, AHEAD, Webhooks},
    writer::Writer,
};

/// A webhook that cannot be read, and where its block is.
pub(super) struct Unreadable {
    pub(super) sequence: Sequence,
    pub(super) block: (u64, u64),
}

/// A sealed segment as it is at one moment.
pub(super) struct Snapshot {
    pub(super) webhooks: Webhooks,
    pub(super) index: Index,
    pub(super) records: Option<Records>,
    dead: Bits,
    pub(super) foot: Option<RecordsFoot>,
    book: Book,
    in_flight: u64,
}

impl Snapshot {
    pub(super) fn of(segment: &Segment) -> Self {
        Self {
            webhooks: segment.webhooks.clone(),
            index: segment.index.clone(),
            records: segment.records.clone(),
            dead: segment.dead.clone(),
            foot: segment.foot.clone(),
            book: segment.book,
            in_flight: segment.in_flight,
        }
    }

    /// Whether its records say all that is known of it.
    pub(super) fn agrees_with(&self, replay: &Replay) -> bool {
        let Members { book, in_flight } = Members::count(&self.index, &self.webhooks, replay);
        (book, in_flight) == (self.book, self.in_flight)
    }

    /// Writes the webhooks that are `kept` behind what `writer` has, and notes them in `index`; the first that cannot be read
    /// ends it.
    pub(super) fn copy_kept(
        &self,
        kept: &Bits,
        writer: &mut Writer<'_>,
        coding: Coding,
        index: &mut Index,
    ) -> io::Result<Option<Unreadable>> {
        let mut window = self.webhooks.window(AHEAD);
        for number in kept.from(0) {
            let sequence = self.index.first + number;
            let place = self.index.block_of(sequence, self.webhooks.end);
            let lane = self.index.lanes.iter().find(|lane| lane.present.contains(number));
            let (Some(block), Some(lane)) = (place, lane) else { continue };
            let found = webhooks::locate(&mut window, self.webhooks.coding, sequence, block.0, block.1)?;
            let Some(frame) = found else { return Ok(Some(Unreadable { sequence, block })) };
            writer.copy(&frame, coding, |offset, header| {
                index.push(sequence, offset, lane.lane, header.received_at_ms);
            })?;
        }
        Ok(None)
    }

    /// Head of the file that is written in place of this one.
    pub(super) fn head(&self, log: &Log, first: Sequence, rewritten: Rewritten) -> Head {
        let Webhooks { lives, skipped, apart, .. } = &self.webhooks;
        let (skipped, apart) = (skipped.to_pairs(), apart.to_pairs());
        Head { rewritten: Some(rewritten), skipped, apart, ..log.head(first, lives.clone()) }
    }

    /// Whether the records file says that every entry is settled which is not `kept`: memory alone is not enough to let
    /// it go.
    pub(super) fn check(&self, replay: &Replay, kept: &Bits) -> io::Result<()> {
        if self.foot.is_some() {
            // the foot says it of all of them
            return Ok(());
        }
        let lanes = self.index.lanes.iter();
        let settled = |sequence: Sequence| {
            replay.entries.get(&sequence).is_some_and(|known| known.settled)
                || replay.cancelled.contains(&sequence)
                || replay.damaged.contains(&sequence)
        };
        let missing = lanes
            .flat_map(|lane| lane.present.from(0))
            .filter(|number| !kept.contains(*number))
            .find(|number| !settled(self.index.first + number));
        missing.map_or(Ok(()), |number| {
            let sequence = self.index.first + number;
            Err(io::Error::other(format!("entry {sequence} is settled, and its records file does not say so")))
        })
    }

    /// Entries that wait, and dead letters that do not go.
    pub(super) fn kept(&self, goes: impl Fn(LaneId) -> bool) -> Bits {
        let lanes = self.index.lanes.iter();
        let of_lane = lanes.flat_map(|lane| {
            let stays = !goes(lane.lane);
            let dead = self.dead.from(0).filter(move |number| stays && lane.present.contains(*number));
            lane.waiting.from(0).chain(dead)
        });
        of_lane.collect()
    }

    /// What those that are not kept came to: all, less what the kept ones came to.
    pub(super) fn rewritten(&self, replay: &Replay, kept: &Bits) -> Rewritten {
        // a record that is damaged since takes nothing from what the foot says of all: it is settled
        let (mut removed, mut in_flight, settled) = match &self.foot {
            Some(foot) => (foot.book.unwrap_or_default(), foot.in_flight, kept.count()),
            None => {
                let Members { book, in_flight } = Members::count(&self.index, &self.webhooks, replay);
                let is_kept =
                    |sequence: &Sequence| sequence.checked_sub(self.index.first).is_some_and(|it| kept.contains(it));
                let settled = replay.entries.iter().filter(|(sequence, known)| known.settled && is_kept(sequence));
                (book, in_flight, settled.count() as u64)
            }
        };
        let mut dropped = 0;
        let mut stay = Book { taken: kept.count(), settled, ..Book::default() };
        let mut stay_in_flight = 0;
        for (sequence, recorded) in &replay.entries {
            let Some(number) = sequence.checked_sub(self.index.first) else { continue };
            if kept.contains(number) {
                recorded.counts.add_to(&mut stay, &mut stay_in_flight);
            } else if self.dead.contains(number) {
                dropped += u64::from(recorded.counts.dead);
            }
        }
        let is_told = |number: &u64| replay.entries.contains_key(&(self.index.first + number));
        // of one whose record is damaged at least one event
        dropped += self.dead.from(0).filter(|number| !kept.contains(*number) && !is_told(number)).count() as u64;
        subtract(&mut removed, &stay);
        in_flight = in_flight.saturating_sub(stay_in_flight);
        let before = self.webhooks.rewritten.as_ref().map_or(0, |rewritten| rewritten.dead_letters_dropped);
        Rewritten {
            last: self.index.last,
            kept: kept.count(),
            removed: Some(removed),
            dead_letters_dropped: before + dropped,
            in_flight,
        }
    }
}
