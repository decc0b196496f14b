//! Where an event stands, and what waits for evidence.

use moehog_proto::Sequence;
use tokio::time::Instant;

use super::{Barrier, NONE, State, Waiting};
use crate::slab::Key;

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It can be sent.
    Ready,
    /// A call holds it, or what became of that is not recorded.
    UnderWay,
    /// It is sent again then; where it was refused alone, that waits for evidence.
    Later(Instant, bool),
    /// An earlier event of its person goes first, of the entry with this sequence.
    Behind(Sequence),
    /// The same, and that one stepped aside.
    Blocked,
}

impl Barrier {
    pub(crate) fn standing(&self, key: Key) -> Standing {
        let Some((waiting, line)) = self.events.get(key).and_then(|it| Some((it, self.lines.get(&it.person)?))) else {
            return Standing::UnderWay;
        };
        let (is_first, is_in_line) = (line.first == key, self.is_in_line(key, line.first));
        match line.state {
            // the events of a call are not in the line until they are put back
            State::UnderWay(_) if !is_in_line => Standing::UnderWay,
            State::UnderWay(Some(due)) | State::Later(due) if is_first => Standing::Later(due, waiting.suspect),
            State::UnderWay(None) if is_first => Standing::UnderWay,
            State::Ready if is_first => Standing::Ready,
            State::Blocked if is_first => Standing::Blocked,
            _ => Standing::Behind(self.events.get(line.first).map_or(waiting.sequence, |first| first.sequence)),
        }
    }

    fn is_in_line(&self, key: Key, mut at: Key) -> bool {
        while let Some(waiting) = self.events.get(at).filter(|_| at != NONE) {
            if at == key {
                return true;
            }
            at = waiting.next;
        }
        false
    }

    /// The events of an entry, with their place in it.
    pub(crate) fn of_entry(&self, entry: Key) -> impl Iterator<Item = (Key, u32)> {
        self.events.iter().filter(move |(_, waiting)| waiting.entry == entry).map(|(key, waiting)| (key, waiting.index))
    }

    /// When the next person becomes ready, and whether its first event waits for evidence.
    pub(crate) fn next_due(&self) -> Option<(Instant, bool)> {
        let (due, persons) = self.later.first_key_value()?;
        let first = |person| self.events.get(self.lines.get(person)?.first);
        Some((*due, persons.iter().filter_map(first).any(|waiting| waiting.suspect)))
    }

    /// Events that wait for evidence.
    pub(crate) fn suspects(&self) -> usize {
        self.suspects
    }

    /// Whether somebody waits for an event that was not sent yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited > 0
    }

    /// Says whether an event waits for evidence.
    pub(crate) fn suspect(&mut self, key: Key, is_suspect: bool) {
        let Some(waiting) = self.events.get_mut(key) else { return };
        self.suspects -= usize::from(std::mem::replace(&mut waiting.suspect, is_suspect));
        self.suspects += usize::from(is_suspect);
    }

    /// Entries with an event that waits for evidence; one may come twice.
    pub(crate) fn suspected(&self) -> impl Iterator<Item = Key> {
        self.events.iter().filter(|(_, waiting)| waiting.suspect).map(|(_, waiting)| waiting.entry)
    }

    /// Entries with an event that waits neither for evidence nor behind one of its person that does; one may come twice.
    pub(crate) fn delayed(&self) -> impl Iterator<Item = Key> {
        let stands_behind = |waiting: &Waiting| {
            let Some(line) = self.lines.get(&waiting.person) else { return false };
            match line.state {
                State::UnderWay(_) => line.suspect,
                State::Blocked => true,
                _ => self.events.get(line.first).is_some_and(|first| first.suspect),
            }
        };
        let waiting = self.events.iter().map(|(_, waiting)| waiting);
        waiting.filter(move |waiting| !waiting.suspect && !stands_behind(waiting)).map(|waiting| waiting.entry)
    }
}
