//! Who waits: a person's events go out in order, one call at a time.
//!
//! Events enter in journal order. Per person (distinct_id) one call is under way; a call may take several events of a
//! person, in their order. The person is freed when what became of the call is recorded, and not before an event that
//! is tried again is due: what is behind it waits. Persons are told apart by a hash; two that share one wait for each
//! other, which costs a little time and nothing else.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher, BuildHasherDefault, RandomState},
    ops::Range,
};

use moehog_proto::{Sequence, event::Event};
use slab::Slab;
use tokio::time::Instant;

use crate::{
    evidence::Refusal,
    slab::{Key, take},
};

mod aside;
mod call;
mod hashed;
mod persons;
mod probes;
mod standing;
mod tried;

use aside::Aside;
use call::{Call, End, Fit};
use hashed::Hashed;
use persons::Persons;
pub(crate) use standing::Standing;
pub(crate) use tried::{TRIED_ALONE, TRIED_WHOLE, Tried};

/// No event.
const NONE: Key = Key::MAX;
/// Most persons set aside while a call is filled because it holds their uuid already.
const MAX_ASIDE: usize = 256;
/// Ready persons are kept by the size of the call that their first event may travel in, by powers of two. The largest is that of what was
/// not tried.
const SIZES: usize = u16::MAX.ilog2() as usize + 1;

/// An event that is not final.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) entry: Key,
    /// Place in the entry's list of events.
    pub(crate) index: u32,
    pub(crate) sequence: Sequence,
    pub(crate) event: Event,
    /// Largest call it may travel in: halved by each retry in which it may be at fault.
    pub(crate) limit: u16,
    /// Tries that count.
    pub(crate) attempts: u32,
    /// When it was last refused alone, in this process or perhaps in a former one.
    pub(crate) refusal: Option<Refusal>,
    /// It waits for evidence: it was refused alone, and nothing else was said of it since.
    suspect: bool,
    /// When a call of it failed last, in this process.
    pub(crate) failed_at: Option<Instant>,
    /// Times it failed alone, in this process.
    pub(crate) failures: u32,
    /// Which of the lane's probes last held it; 0 is none.
    probe: u64,
    /// Its bytes are its own.
    pub(crate) owned: bool,
    /// Somebody waits for what becomes of it, and it was not sent yet.
    awaited: bool,
    person: u64,
    next: Key,
}

impl Waiting {
    fn place(&self) -> (Sequence, u32) {
        (self.sequence, self.index)
    }

    /// It was not sent yet, as far as this process knows, and may travel in a call of any size.
    pub(crate) fn is_untried(&self) -> bool {
        self.limit == u16::MAX
    }

    /// Its last refusal, in this process.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.filter(|refusal| refusal.is_known())
    }
}

/// A person's events.
#[derive(Debug)]
struct Line {
    first: Key,
    last: Key,
    length: u32,
    state: State,
    /// The event that was sent last waited for evidence.
    suspect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In `ready`.
    Ready,
    /// In `later`, until then.
    Later(Instant),
    /// A call holds events of this person, or is not recorded; its open events are due then.
    UnderWay(Option<Instant>),
    /// An earlier event of this person stepped aside.
    Blocked,
}

/// The events of a lane that are not final.
#[derive(Debug)]
pub(crate) struct Barrier {
    events: Slab<Waiting>,
    lines: HashMap<u64, Line, BuildHasherDefault<Hashed>>,
    ready: [VecDeque<u64>; SIZES],
    later: BTreeMap<Instant, Vec<u64>>,
    ready_events: usize,
    /// The next call is of those that may travel in the largest.
    largest_next: bool,
    /// Probes taken.
    probes: u64,
    /// Those of the barriers before it.
    probes_before: u64,
    /// Events that wait for evidence.
    suspects: usize,
    /// Events that somebody waits for and that were not sent yet.
    awaited: usize,
    /// Who came last of those of whom nothing waited.
    newest: Option<u64>,
    aside: Option<Aside>,
    hasher: RandomState,
}

impl Barrier {
    pub(crate) fn new() -> Self {
        Self {
            events: Slab::new(),
            lines: HashMap::default(),
            ready: [const { VecDeque::new() }; SIZES],
            later: BTreeMap::new(),
            ready_events: 0,
            largest_next: true,
            probes: 0,
            probes_before: 0,
            suspects: 0,
            awaited: 0,
            newest: None,
            aside: None,
            hasher: RandomState::new(),
        }
    }

    /// Puts an event behind all others of its person.
    pub(crate) fn enter(&mut self, entry: Key, index: u32, (sequence, event): (Sequence, Event), tried: Tried) {
        let Tried { attempts, suspect, pause, awaited, .. } = tried;
        let person = self.hasher.hash_one(event.distinct_id.as_str());
        self.suspects += usize::from(suspect);
        self.awaited += usize::from(awaited);
        let refusal = self.aside.as_mut().and_then(|aside| aside.refusal_of(sequence, index));
        // of what a former process tried nobody knows when
        let due = refusal.map(|refusal| refusal.at() + pause);
        let waiting = Waiting {
            entry,
            index,
            sequence,
            event,
            limit: tried.limit(),
            attempts,
            refusal: refusal.or_else(|| (attempts > 0).then(|| Refusal::unknown(Instant::now()))),
            suspect,
            failed_at: None,
            failures: 0,
            probe: 0,
            owned: attempts > 0,
            awaited,
            person,
            next: NONE,
        };
        let key = self.events.insert(waiting);
        if !self.join_line(person, key) {
            let state = State::UnderWay(None);
            self.lines.insert(person, Line { first: key, last: key, length: 1, state, suspect: false });
            self.newest = Some(person).filter(|_| attempts == 0).or(self.newest);
            match due {
                Some(due) => self.make_ready_at(person, due),
                None => self.make_ready(person),
            }
        }
    }

    /// An event that is not final.
    pub(crate) fn get(&self, key: Key) -> Option<&Waiting> {
        self.events.get(key)
    }

    /// An event that is not final.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Waiting> {
        self.events.get_mut(key)
    }

    /// Events that are not final.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Events of persons that are ready: at most so many could travel now.
    pub(crate) fn ready_events(&self) -> usize {
        self.ready_events
    }

    /// Those of them that need not go alone.
    pub(crate) fn ready_together(&self) -> usize {
        self.ready_events - self.ready[0].len()
    }

    /// When the next person becomes ready.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|(due, _)| *due)
    }

    /// Makes ready what is due.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some(first) = self.later.first_entry().filter(|first| *first.key() <= now) {
            for person in first.remove() {
                self.make_ready(person);
            }
        }
    }

    /// Makes ready all that waits for its time: the destination works again.
    pub(crate) fn hurry(&mut self) {
        for person in std::mem::take(&mut self.later).into_values().flatten() {
            self.make_ready(person);
        }
    }

    /// Takes the events of the next call, in journal order: the person that waits longest first, then all that are
    /// ready and may travel in a call of this size. One uuid is not taken twice. Every second call is of those that may
    /// travel in the largest: what must go alone, however much it is, does not delay them.
    pub(crate) fn take(&mut self, max_events: usize, max_bytes: usize) -> Vec<Key> {
        self.take_of(0..SIZES, max_events, max_bytes)
    }

    /// The same, of those that were tried before.
    pub(crate) fn take_tried(&mut self, max_events: usize, max_bytes: usize) -> Vec<Key> {
        self.take_of(0..SIZES - 1, max_events, max_bytes)
    }

    /// The same, of those that were not.
    pub(crate) fn take_untried(&mut self, max_events: usize, max_bytes: usize) -> Vec<Key> {
        self.take_of(SIZES - 1..SIZES, max_events, max_bytes)
    }

    fn take_of(&mut self, sizes: Range<usize>, max_events: usize, max_bytes: usize) -> Vec<Key> {
        let oldest = |queue: &VecDeque<u64>| Some(self.events.get(self.lines.get(queue.front()?)?.first)?.sequence);
        let sizes = sizes.filter_map(|size| Some((oldest(&self.ready[size])?, size)));
        self.largest_next = !self.largest_next;
        let next = if self.largest_next { sizes.max_by_key(|(_, size)| *size) } else { sizes.min() };
        let Some((_, size)) = next else { return Vec::new() };
        let mut call = Call::new(max_events, max_bytes);
        let mut aside = Vec::new();
        while let Some(person) = self.ready[size].pop_front() {
            let before = call.taken.len();
            let end = self.take_line(person, &mut call);
            if call.taken.len() == before {
                aside.push(person);
            }
            if end == End::Full || aside.len() > MAX_ASIDE {
                break;
            }
        }
        for person in aside.into_iter().rev() {
            self.ready[size].push_front(person);
        }
        let mut taken = call.taken;
        taken.sort_unstable_by_key(|key| self.events.get(*key).map(|waiting| (waiting.sequence, waiting.index)));
        taken
    }

    /// Takes the first events of a ready person as far as they fit, and marks it under way if any did.
    fn take_line(&mut self, person: u64, call: &mut Call) -> End {
        let Some(line) = self.lines.get_mut(&person) else { return End::Line };
        let (length, before) = (line.length, call.taken.len());
        let mut end = End::Line;
        while let Some(waiting) = self.events.get_mut(line.first) {
            if self.aside.as_ref().is_some_and(|aside| aside.blocks(waiting)) {
                break;
            }
            match call.fits(waiting) {
                Fit::Taken => call.taken.push(line.first),
                Fit::Twice => break,
                Fit::Full => {
                    end = End::Full;
                    break;
                }
            }
            self.awaited -= usize::from(std::mem::take(&mut waiting.awaited));
            line.first = std::mem::replace(&mut waiting.next, NONE);
            line.length -= 1;
        }
        if line.length < length {
            let first = call.taken.get(before).and_then(|key| self.events.get(*key));
            line.suspect = first.is_some_and(|first| first.suspect);
            line.state = State::UnderWay(None);
            self.ready_events -= length as usize;
        }
        end
    }

    /// An event is final: it leaves. Its person stays blocked until [`Barrier::release`].
    pub(crate) fn finish(&mut self, key: Key) -> Option<Waiting> {
        let waiting = take(&mut self.events, key)?;
        self.suspects -= usize::from(waiting.suspect);
        self.awaited -= usize::from(waiting.awaited);
        Some(waiting)
    }

    /// An event of a call is tried again, not before `due`: it goes back to the head of its person's line. The events
    /// of a call are put back last first.
    pub(crate) fn put_back(&mut self, key: Key, due: Instant) {
        let Some(waiting) = self.events.get_mut(key) else { return };
        let Some(line) = self.lines.get_mut(&waiting.person) else { return };
        waiting.next = line.first;
        if line.first == NONE {
            line.last = key;
        }
        line.first = key;
        line.length += 1;
        line.state = State::UnderWay(Some(due));
    }

    /// Whose event it is, for [`Barrier::release`].
    pub(crate) fn person(&self, key: Key) -> Option<u64> {
        self.events.get(key).map(|waiting| waiting.person)
    }

    /// What became of the person's call is recorded: its next events may go, or those put back once they are due.
    /// Nothing happens where the person is not under way.
    pub(crate) fn release(&mut self, person: u64, now: Instant) {
        let Some(line) = self.lines.get_mut(&person) else { return };
        let State::UnderWay(due) = line.state else { return };
        if line.first == NONE {
            self.lines.remove(&person);
        } else if let Some(due) = due.filter(|due| *due > now) {
            self.make_ready_at(person, due);
        } else {
            self.make_ready(person);
        }
    }

    fn make_ready_at(&mut self, person: u64, due: Instant) {
        let Some(line) = self.lines.get_mut(&person) else { return };
        line.state = State::Later(due);
        self.later.entry(due).or_default().push(person);
    }

    fn make_ready(&mut self, person: u64) {
        let Some(line) = self.lines.get_mut(&person) else { return };
        let first = self.events.get(line.first);
        if self.aside.as_ref().zip(first).is_some_and(|(aside, first)| aside.blocks(first)) {
            line.state = State::Blocked;
            return;
        }
        line.state = State::Ready;
        self.ready_events += line.length as usize;
        let limit = self.events.get(line.first).map_or(1, |waiting| waiting.limit.max(1));
        self.ready[limit.ilog2() as usize].push_back(person);
    }
}

#[cfg(test)]
mod tests;
