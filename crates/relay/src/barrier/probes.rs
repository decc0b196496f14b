//! Which events are sent to see whether a destination works.

use std::collections::HashSet;

use super::{Barrier, Call, State};
use crate::slab::Key;

impl Barrier {
    /// Takes up to `count` events, each of its own person. A third of them, or of successive probes of one, is what was sent
    /// for that the longest time ago, a third the newest, the rest any, as `draw` (0 to 1) says: events at fault, however
    /// many, do not hide a good one.
    pub(crate) fn take_probe(&mut self, count: usize, mut draw: impl FnMut() -> f64) -> Vec<Key> {
        let first = |person: &u64| self.events.get(self.lines.get(person)?.first);
        let ready = self.ready.iter().flatten();
        let mut ready: Vec<_> =
            ready.filter_map(|person| first(person).map(|it| (it.probe, it.sequence, *person))).collect();
        ready.sort_unstable();
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count && !ready.is_empty() {
            let at = match ((self.probes_before + self.probes) as usize + chosen.len()) % 3 {
                0 => 0,
                1 => (0..ready.len()).max_by_key(|at| ready[*at].1).unwrap_or(0),
                _ => (draw() * ready.len() as f64) as usize,
            };
            chosen.push(ready.remove(at.min(ready.len() - 1)).2);
        }
        self.take_firsts(&chosen)
    }

    /// An empty one in place of another, whose events are read again: it goes on with what is probed next, or the same event at fault
    /// would be all that a destination is ever tried with.
    pub(crate) fn after(before: &Self) -> Self {
        Self { probes_before: before.probes_before + before.probes, ..Self::new() }
    }

    /// Whether the event that came last waits and was never sent.
    pub(crate) fn has_news(&self) -> bool {
        let line = self.newest.and_then(|person| self.lines.get(&person)).filter(|line| line.state == State::Ready);
        let first = line.and_then(|line| self.events.get(line.first));
        first.is_some_and(|waiting| waiting.attempts == 0 && waiting.probe == 0)
    }

    /// Probes taken since the first event entered.
    pub(crate) fn probes(&self) -> u64 {
        self.probes
    }

    /// Takes the event that came last, alone.
    pub(crate) fn take_news(&mut self) -> Vec<Key> {
        let newest: Vec<_> = self.newest.take().into_iter().collect();
        self.take_firsts(&newest)
    }

    /// The first event of each of these ready persons; one uuid is not taken twice.
    fn take_firsts(&mut self, persons: &[u64]) -> Vec<Key> {
        let (mut taken, mut uuids) = (Vec::with_capacity(persons.len()), HashSet::new());
        for person in persons {
            let Some(waiting) = self.lines.get(person).and_then(|line| self.events.get(line.first)) else { continue };
            let size = waiting.limit.max(1).ilog2() as usize;
            if !uuids.insert(waiting.event.uuid.clone()) {
                continue;
            }
            self.ready[size].retain(|ready| ready != person);
            let mut call = Call::new(1, usize::MAX);
            self.take_line(*person, &mut call);
            taken.extend(call.taken);
        }
        self.probes += 1;
        for key in &taken {
            if let Some(waiting) = self.events.get_mut(*key) {
                waiting.probe = self.probes;
            }
        }
        taken.sort_unstable_by_key(|key| self.events.get(*key).map(|waiting| (waiting.sequence, waiting.index)));
        taken
    }
}
