//! The durable log between MoEngage and PostHog.
//!
//! A webhook is answered 200 when [`Journal::append`] returns, and from then on it is read by lane until it is settled.
//! This crate promises that nothing appended is lost, whatever dies; it knows nothing of what the bytes mean.

#[cfg(test)]
mod conformance;
pub mod disk;
pub mod embedded;
mod entry;
mod growth;
mod journal;
#[cfg(any(test, feature = "test-util"))]
pub mod memory;
mod metrics;
mod reopened;
mod revision;
mod watch;

pub use entry::{
    AppendError, Batch, ClaimError, Crashed, DeadLetter, Entry, NewEntry, ReadError, ReadLimit, Record, RecordError,
};
pub use journal::{Claim, DeadLetterQuery, Journal, LaneStats, Ledger, Stats, count};
pub use revision::{Letters, Revised, Revision};
pub use watch::{Known, Ticket, Until, Watch};
