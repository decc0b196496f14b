//! Dead letters of settled entries that are tried again or discarded.
//!
//! A record that revises is the one that may come behind the record that settles an entry. A sealed records file is opened
//! for it: it is written anew without its foot, and sealed again when all is settled.

use std::{collections::BTreeMap, io, mem, sync::atomic::Ordering};

use moehog_proto::{
    Sequence,
    journal::{EntryRecord, Progress, RecordFrame, Records as Recording, record_frame::Kind},
};
use prost::Message;

use super::record::{Then, Write, Writes};
use crate::{
    Letters, ReadError, RecordError, Revised, Revision,
    embedded::{
        Log,
        coding::REVISED,
        counts::Counts,
        identity::write_format,
        records::{Content, Recorded},
        segment::Segment,
    },
    revision::revise,
};

/// Entries that are revised at once: others record in between.
const AT_ONCE: usize = 256;

/// A source and a destination.
type Names = (String, String);

/// An entry as it is once it is revised.
struct Revising {
    sequence: Sequence,
    progress: Progress,
    before: Counts,
    /// Bytes of the record that no longer counts, about.
    freed: u64,
}

impl Log {
    /// Revises dead letters, and puts into `results` what became of each, in their order. `tell` is told of entries of a
    /// lane that readers see again.
    ///
    /// # Errors
    ///
    /// A receipt is of another journal or of another life of this one, or the disk failed: what was revised before counts.
    pub fn revise(
        &self,
        letters: &[Letters],
        to: Revision,
        results: &mut Vec<Revised>,
        tell: impl Fn(&str, &str, Vec<Sequence>),
    ) -> Result<(), ReadError> {
        results.resize(letters.len(), Revised::Gone);
        let mut by_segment: BTreeMap<Sequence, Vec<usize>> = BTreeMap::new();
        {
            let state = self.state.lock();
            for (at, letters) in letters.iter().enumerate() {
                if let Some(segment) = state.segment_of(letters.receipt.sequence) {
                    by_segment.entry(segment.index.first).or_default().push(at);
                }
            }
        }
        for (first, all) in by_segment {
            for some in all.chunks(AT_ONCE) {
                let (revised, reopened) = self.revise_some(first, some.iter().map(|at| &letters[*at]), to)?;
                some.iter().zip(revised).for_each(|(at, revised)| results[*at] = revised);
                for ((source, destination), sequences) in reopened {
                    tell(&source, &destination, sequences);
                }
            }
        }
        self.bound_unsynced();
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "what became of each, and what each lane has again")]
    fn revise_some<'a>(
        &self,
        first: Sequence,
        letters: impl Iterator<Item = &'a Letters>,
        to: Revision,
    ) -> Result<(Vec<Revised>, BTreeMap<Names, Vec<Sequence>>), ReadError> {
        // what is settled is not let go meanwhile, and no file is sealed
        let _maintainer = self.maintainer.lock();
        let (mut revised, mut revising) = (Vec::new(), Vec::new());
        let mut reopened: BTreeMap<Names, Vec<Sequence>> = BTreeMap::new();
        for letters in letters {
            let Some(entry) = self.get(letters.receipt)? else {
                revised.push(Revised::Gone);
                continue;
            };
            let (sequence, is_routed) = (entry.sequence(), !entry.header.routed.is_empty());
            revised.push(match &entry.progress {
                _ if !entry.settled => Revised::UnderWay,
                None => Revised::Gone,
                // named twice
                Some(_) if revising.iter().any(|other: &Revising| other.sequence == sequence) => Revised::UnderWay,
                Some(known) => match revise(known, &letters.places, to, is_routed) {
                    None => Revised::Events(0),
                    Some((progress, events)) => {
                        let (before, freed) = (Counts::of(known), known.encoded_len() as u64);
                        revising.push(Revising { sequence, progress, before, freed });
                        if to == Revision::Retry {
                            let lane = (entry.header.source, entry.header.destination);
                            reopened.entry(lane).or_default().push(sequence);
                        }
                        Revised::Events(events)
                    }
                },
            });
        }
        if revising.is_empty() {
            return Ok((revised, BTreeMap::new()));
        }
        let failed = |source: io::Error| ReadError::Disk { segment: first, source };
        self.begin_to_revise().map_err(failed)?;
        let mut buffer = self.recorder.lock();
        if !self.unseal_records(first).map_err(failed)? {
            // what its foot says of damaged records would be lost with it
            let is_meant = |revised: &Revised| matches!(revised, Revised::Events(1..));
            revised.iter_mut().filter(|revised| is_meant(revised)).for_each(|revised| *revised = Revised::Gone);
            return Ok((revised, BTreeMap::new()));
        }
        let settled = to == Revision::Discard;
        let writes = Writes::from([(first, revising.into_iter().map(|it| write_of(it, settled)).collect())]);
        match self.write(&mut buffer, writes, apply) {
            Ok(()) => Ok((revised, mem::take(&mut reopened))),
            Err(RecordError::Write { segment, source }) => Err(ReadError::Disk { segment, source }),
            Err(RecordError::Closed | RecordError::StaleClaim { .. }) => Err(ReadError::Closed),
        }
    }

    /// Says durably that records revise, before the first that does: no binary that would misread it opens the directory
    /// any more. Called with `maintainer` held.
    fn begin_to_revise(&self) -> io::Result<()> {
        if !self.is_revised.load(Ordering::Relaxed) {
            self.reserve.with_last_room(|| write_format(&*self.disk, &self.identity, REVISED))?;
            self.is_revised.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn write_of(Revising { sequence, progress, before, freed }: Revising, settled: bool) -> Write {
    let counts = Counts::of(&progress);
    let record = EntryRecord { sequence, progress: Some(progress), settled, revises: true };
    let kind = Kind::Records(Recording { records: vec![record], epoch: 0 });
    let then = Then::Revised { before, freed, settled, counts };
    Write { sequence, content: Content::Note(RecordFrame { kind: Some(kind) }), then }
}

fn apply(segment: &mut Segment, sequence: Sequence, (offset, length): (u64, u64), then: Then) {
    let Then::Revised { before, freed, settled, counts } = then else { return };
    before.take_from(&mut segment.book, &mut segment.in_flight);
    counts.add_to(&mut segment.book, &mut segment.in_flight);
    segment.garbage += freed;
    segment.note_dead(sequence, counts.dead > 0);
    if !settled {
        segment.book.settled -= 1;
        segment.wait_again(sequence);
        segment.open.insert(sequence, Recorded { offset, length, settled, counts });
        segment.decisions.undecide(sequence);
    }
}
