//! What was mended in a body, and where.

use std::fmt;

use crate::notes::Repair;

/// Most places that are named; a kind beyond them is named once.
const MAX_PLACES: usize = 20;

/// What was mended, by the bytes before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places(Vec<(Repair, usize)>);

impl Places {
    /// Takes a place.
    pub(super) fn add(&mut self, repair: Repair, at: usize) {
        if self.0.len() < MAX_PLACES || !self.has(repair) {
            self.0.push((repair, at));
        }
    }

    /// Takes those of a part of the body that begins at `begin`.
    pub(super) fn add_all(&mut self, of_part: &Self, begin: usize) {
        of_part.0.iter().for_each(|(repair, at)| self.add(*repair, begin + at));
    }

    pub(super) fn has(&self, repair: Repair) -> bool {
        self.0.iter().any(|(known, _)| *known == repair)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each kind once, in the order it was met.
    pub(crate) fn kinds(&self) -> Vec<Repair> {
        let mut kinds = Vec::new();
        for (repair, _) in &self.0 {
            if !kinds.contains(repair) {
                kinds.push(*repair);
            }
        }
        kinds
    }

    /// Line and column of each in the body, as errors of JSON give them.
    pub(crate) fn located(&self, body: &str) -> Vec<Located> {
        let located = |(repair, at): &(Repair, usize)| {
            let before = &body.as_bytes()[..(*at).min(body.len())];
            let begin = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
            let line = memchr::memchr_iter(b'\n', before).count() + 1;
            Located { repair: *repair, line, column: before.len() - begin + 1 }
        };
        self.0.iter().map(located).collect()
    }
}

/// What was mended in a place of a body, printed as `1:27 unescaped_quote`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    repair: Repair,
    line: usize,
    column: usize,
}

impl fmt::Display for Located {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{} {}", self.line, self.column, self.repair.name())
    }
}
