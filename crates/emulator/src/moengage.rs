//! A MoEngage that sends, by MoEngage's rules, and remembers what it sent and what came back.
//!
//! Two of its products post to a customer's endpoint. A **Connector campaign** makes one request a user, waits 5 s, and
//! counts a status of exactly 200 as sent; in most workspaces it never tries again. **Streams** post batches of 100
//! events, take any 2xx, and send a refused batch again after 30, 60 and 120 s; then it is lost. Source:
//! moengage/moengage-documentation, connector-error-reference @1d5336a5 and moengage-streams @02d140bd (read 2026-08).
//!
//! [`Sender`] sends by those [`Rules`], at the rate a [`Ramp`] says: an open loop, which does not slow down because the
//! receiver does, with latencies counted from the moment at which a request was due. [`load`] is the closed loop: as fast as so many
//! connections go. Both send bodies made from a [`Draft`]; every event carries a [`Mark`] that can be found again in
//! whatever it becomes, so that the sender's [`Journal`] and a receiver's books can be compared event by event.

mod bodies;
mod filler;
mod histogram;
mod journal;
pub mod load;
mod ramp;
mod rules;
mod sender;
mod target;
mod wire;

pub use bodies::{Body, Draft, Mark, Template};
pub use histogram::Histogram;
pub use journal::{Attempt, Fate, Journal, Outcome, SentRequest};
pub use ramp::Ramp;
pub use rules::{Rules, Success};
pub use sender::{Report, Sender};
pub use target::{Target, TargetError};
