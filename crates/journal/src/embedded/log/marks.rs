//! What is known to be synced, said durably: the last group of a file has no group behind it that says so.

use std::io;

use crate::embedded::{Log, format::Mark, index::UNKNOWN, slots::Slots};

/// The name of the file.
pub(in crate::embedded) const MARKS: &str = "marks";

/// The file, and what it says.
#[derive(Debug)]
pub(in crate::embedded) struct Marks {
    pub(in crate::embedded) file: Slots<Mark>,
    pub(in crate::embedded) last: Mark,
}

impl Log {
    /// Says what was synced since the last time; nothing where nothing was.
    pub(in crate::embedded) fn mark(&self) -> io::Result<()> {
        let mut marks = self.marks.lock();
        let carried_turn = self.carried.lock().turn();
        let mark = {
            let state = self.state.lock();
            let newest = state.segments.last_key_value();
            let at_ms = newest.map_or(UNKNOWN, |(_, segment)| segment.index.newest_at_ms);
            Mark {
                identity: Some(self.identity.clone()),
                segment: newest.map_or(0, |(first, _)| *first),
                synced: state.accounted,
                at_ms: if at_ms == UNKNOWN { 0 } else { at_ms },
                carried_turn,
            }
        };
        let said = |mark: &Mark| (mark.synced, mark.carried_turn);
        if said(&mark) == said(&marks.last) {
            return Ok(());
        }
        self.reserve.with_room(|| marks.file.write(&*self.disk, &mark))?;
        marks.last = mark;
        Ok(())
    }
}
