//! What the events of one entry came to.

use moehog_proto::journal::{Book, Progress};

use crate::count;

/// Counts of one entry's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    delivered: u32,
    delivered_degraded: u32,
    filtered: u32,
    duplicate: u32,
    pub(super) dead: u32,
    discarded: u32,
    in_flight: u32,
}

impl Counts {
    pub(super) fn of(progress: &Progress) -> Self {
        let (book, in_flight) = count(progress);
        Self {
            delivered: book.delivered as u32,
            delivered_degraded: book.delivered_degraded as u32,
            filtered: book.filtered as u32,
            duplicate: book.duplicate as u32,
            dead: book.dead as u32,
            discarded: book.discarded as u32,
            in_flight: in_flight as u32,
        }
    }

    pub(super) fn add_to(&self, book: &mut Book, in_flight: &mut u64) {
        self.apply(book, in_flight, |total, part| *total += part);
    }

    pub(super) fn take_from(&self, book: &mut Book, in_flight: &mut u64) {
        self.apply(book, in_flight, |total, part| *total -= part);
    }

    fn apply(&self, book: &mut Book, in_flight: &mut u64, with: impl Fn(&mut u64, u64)) {
        with(&mut book.delivered, self.delivered.into());
        with(&mut book.delivered_degraded, self.delivered_degraded.into());
        with(&mut book.filtered, self.filtered.into());
        with(&mut book.duplicate, self.duplicate.into());
        with(&mut book.dead, self.dead.into());
        with(&mut book.discarded, self.discarded.into());
        with(in_flight, self.in_flight.into());
        let final_ones =
            [self.delivered, self.delivered_degraded, self.filtered, self.duplicate, self.dead, self.discarded];
        let parts = final_ones.into_iter().chain([self.in_flight]);
        with(&mut book.mapped, parts.map(u64::from).sum());
    }
}
