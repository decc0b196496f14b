//! Appends that wait, and the decision on each.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use prost::Message;

use super::coding::HEAD;
use crate::{NewEntry, Ticket};

/// The one decision on an append: durable, or given up at its deadline. Whichever comes first counts.
#[derive(Debug, Clone, Default)]
pub struct Decision(Arc<AtomicU8>);

impl Decision {
    const OPEN: u8 = 0;
    const DURABLE: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// Decides that the entry counts; false where it was given up before.
    #[must_use]
    pub fn durable(&self) -> bool {
        self.decide(Self::DURABLE)
    }

    /// Decides that the entry does not count; false where it was durable before.
    #[must_use]
    pub fn give_up(&self) -> bool {
        self.decide(Self::GIVEN_UP)
    }

    fn decide(&self, what: u8) -> bool {
        self.0.compare_exchange(Self::OPEN, what, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::GIVEN_UP
    }
}

/// Appends of which none counts after one that failed.
#[derive(Debug, Default)]
pub struct Chain {
    /// Place of the first that failed, counted down from the last number there is.
    failed: Arc<AtomicU64>,
    next: u64,
}

/// The place of one append in its chain.
#[derive(Debug)]
pub struct Link {
    failed: Arc<AtomicU64>,
    place: u64,
}

impl Chain {
    /// The next place.
    pub fn link(&mut self) -> Link {
        self.next += 1;
        Link { failed: self.failed.clone(), place: u64::MAX - self.next }
    }
}

impl Link {
    /// What is behind it does not count.
    pub(super) fn fails(&self) {
        self.failed.fetch_max(self.place, Ordering::AcqRel);
    }

    fn is_behind_a_failure(&self) -> bool {
        self.failed.load(Ordering::Acquire) > self.place
    }
}

/// A webhook that waits to be written.
#[derive(Debug)]
pub struct Pending {
    /// The webhook.
    pub entry: NewEntry,
    /// Whether it counts.
    pub decision: Decision,
    /// Who waits to be told what becomes of it.
    pub watch: Option<Ticket>,
    /// What it must not be ahead of.
    pub chain: Option<Link>,
}

impl Pending {
    /// What is behind it in its chain does not count either.
    pub(super) fn fails(&self) {
        if let Some(link) = &self.chain {
            link.fails();
        }
    }

    pub(super) fn is_behind_a_failure(&self) -> bool {
        self.chain.as_ref().is_some_and(Link::is_behind_a_failure)
    }

    pub(super) fn frame_bytes(&self) -> u64 {
        (HEAD + self.entry.header.encoded_len() + self.entry.body.len()) as u64
    }
}
