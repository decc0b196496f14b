//! Notes by which mapping entries are mapped; see [`Decisions`](super::super::decisions::Decisions).

use std::collections::BTreeMap;

use moehog_proto::{
    Sequence,
    journal::{Decided, Mapping, record_frame::Kind},
};

use super::record::{Then, Write, Writes, note};
use crate::{
    RecordError,
    embedded::{Log, segment::Segment},
};

impl Log {
    /// Notes by which mapping the events of these entries were made that a call sends.
    ///
    /// # Errors
    ///
    /// The disk failed: nothing of it counts.
    pub fn decide(&self, mapping: &Mapping, sequences: Vec<Sequence>) -> Result<(), RecordError> {
        let mut buffer = self.recorder.lock();
        let mut writes = Writes::new();
        {
            let state = self.state.lock();
            if state.closed {
                return Err(RecordError::Closed);
            }
            let mut by_segment: BTreeMap<Sequence, (bool, Vec<Sequence>)> = BTreeMap::new();
            let mut segment: Option<&Segment> = None;
            for sequence in sequences {
                segment = segment
                    .filter(|it| (it.index.first..=it.index.last).contains(&sequence))
                    .or_else(|| state.segment_of(sequence));
                if let Some(segment) = segment.filter(|it| it.foot.is_none()) {
                    let is_known = segment.decisions.mappings.contains_key(&*mapping.revision);
                    by_segment.entry(segment.index.first).or_insert((is_known, Vec::new())).1.push(sequence);
                }
            }
            for (first, (is_known, sequences)) in by_segment {
                let at = sequences[0];
                let decided = Decided { revision: mapping.revision.clone(), sequences: sequences.clone() };
                let decided =
                    Write { sequence: at, content: Kind::Decided(decided).into(), then: Then::Decided { sequences } };
                let given = (!is_known).then(|| note(at, Kind::Mapping(mapping.clone())));
                writes.insert(first, given.into_iter().chain([decided]).collect());
            }
        }
        self.write(&mut buffer, writes, |segment, _, (_, length), then| {
            if let Then::Decided { sequences } = then {
                let decisions = &mut segment.decisions;
                decisions.mappings.entry(mapping.revision.as_str().into()).or_insert_with(|| mapping.text.clone());
                decisions.decide(&mapping.revision, &sequences);
                segment.garbage += length;
            }
        })?;
        drop(buffer);
        self.bound_unsynced();
        Ok(())
    }
}
