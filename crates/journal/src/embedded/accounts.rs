//! The account of every sequence that was given out, made when a journal is opened: what is in no segment, was not let go
//! and not refused is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use moehog_proto::{Sequence, journal::Book};

use super::{
    Log, OpenError,
    files::{What, first_of},
    opening::{Segments, is_covered},
    records::{self, Replay},
    runs::Runs,
    state::{State, add},
};
use crate::metrics;

impl Segments {
    /// Counts what is missing, keeps aside what is left of it, and removes the files of which nothing counts.
    pub(super) fn close_the_books(self, log: &Log, state: &mut State) -> Result<(), OpenError> {
        let mut known = self.dropped.clone();
        for (first, segment) in &state.segments {
            known.extend(&segment.webhooks.apart.missing(*first, segment.index.last));
        }
        let orphans = self.orphans(log, state).what("read records without webhooks")?;
        let read_up_to = orphans.values().map(Replay::read_up_to).max().unwrap_or(0);
        // what was refused behind it is named in the next head
        let through = self.mark.synced.max(known.last().unwrap_or(0)).max(read_up_to);
        known.extend(&self.refused);
        let mut missing = known.missing(log.identity.gapless_from.max(1), through);
        orphans.iter().for_each(|(first, replay)| missing.extend(&known.missing(*first, replay.read_up_to())));
        // who knows how many it held: one at least
        self.unreadable.iter().for_each(|first| missing.extend(&known.missing(*first, *first)));
        if !missing.is_empty() || self.is_carried_lost {
            self.count(&missing, &orphans, log, state).what("write carried")?;
        }
        state.accounted = through.max(missing.last().unwrap_or(0));
        state.next = state.next.max(state.accounted + 1);
        self.tidy_up(&missing, &orphans, log, state)
    }

    /// Records of webhooks files that are gone and were not let go.
    fn orphans(&self, log: &Log, state: &State) -> io::Result<BTreeMap<Sequence, Replay>> {
        let mut orphans = BTreeMap::new();
        for first in self.heads.records.keys() {
            let is_live = state.segments.contains_key(first) || is_covered(state, *first);
            if is_live || state.carried.segments.contains(first) {
                continue;
            }
            match records::open(&*log.disk, *first) {
                Ok(records::Found::Open(_, replay)) => drop(orphans.insert(*first, replay)),
                Ok(records::Found::Sealed(records, _)) => drop(orphans.insert(*first, records.replay()?)),
                Ok(records::Found::Unreadable) => {}
                // kept aside before
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(orphans)
    }

    /// Counts the missing ones as damaged, but for those that were settled; where the book of what was let go is lost,
    /// it is begun anew with them as settled.
    fn count(
        &self,
        missing: &Runs,
        orphans: &BTreeMap<Sequence, Replay>,
        log: &Log,
        state: &mut State,
    ) -> io::Result<()> {
        let mut carried = state.carried.clone();
        let mut book = Book::default();
        let cancelled = |sequence: &Sequence| orphans.values().any(|replay| replay.cancelled.contains(sequence));
        let all_cancelled = orphans.values().flat_map(|replay| &replay.cancelled).filter(|it| missing.contains(**it));
        let gone = all_cancelled.collect::<BTreeSet<_>>().len() as u64;
        book.taken = missing.count() - gone;
        for (sequence, recorded) in orphans.values().flat_map(|replay| &replay.entries) {
            if missing.contains(*sequence) && !cancelled(sequence) {
                recorded.counts.add_to(&mut book, &mut carried.in_flight);
                book.settled += u64::from(recorded.settled);
            }
        }
        match self.is_carried_lost {
            true => book.settled = book.taken,
            false => book.damaged = book.taken - book.settled,
        }
        if book.damaged > 0 {
            let damaged = book.damaged;
            metrics::damaged(damaged);
            tracing::error!(damaged, sequences = ?missing, "webhooks are lost: no file holds them any more");
        }
        carried.dead_letters_dropped += book.dead;
        let mut sequences = self.dropped.clone();
        sequences.extend(missing);
        // they may be named in what is kept aside from now on
        sequences.extend(&self.refused);
        carried.sequences = sequences.to_pairs();
        carried.next = carried.next.max(state.next).max(missing.last().unwrap_or(0) + 1);
        add(carried.book.get_or_insert_default(), &book);
        (state.carried, state.carried_bytes) = log.store_carried(carried)?;
        Ok(())
    }

    /// Removes files of segments that were let go or never held anything, and keeps those that show a loss.
    fn tidy_up(
        &self,
        missing: &Runs,
        orphans: &BTreeMap<Sequence, Replay>,
        log: &Log,
        state: &mut State,
    ) -> Result<(), OpenError> {
        for name in log.disk.list().what("list the directory")? {
            let (webhooks, records) = (first_of(&name, ".webhooks"), first_of(&name, ".records"));
            let Some(first) = webhooks.or(records).filter(|first| !state.segments.contains_key(first)) else {
                continue;
            };
            let shows_a_loss = match webhooks {
                Some(_) => self.unreadable.contains(&first) || missing.contains(first),
                None => orphans.get(&first).is_some_and(|replay| replay.read_up_to() > 0),
            };
            if !shows_a_loss || state.carried.segments.contains(&first) {
                log.disk.remove(&name).what(format!("remove {name}"))?;
                continue;
            }
            log.keep_aside(&name, state).what(format!("keep {name} aside"))?;
        }
        log.disk.sync_dir().what("sync the directory")?;
        state.carried.segments.clear();
        Ok(())
    }
}
