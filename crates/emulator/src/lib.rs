//! Both ends of the pipe, to test what stands between them: a PostHog that judges and fails on demand, and a
//! MoEngage that sends.
//!
//! A forwarder can only be judged by servers that keep the vendors' real rules, and the real ones can be neither
//! killed, slowed down nor asked what they got. [`posthog`] is a small real HTTP server with the rules of PostHog's
//! capture API: the shapes it takes, the whole batch it refuses for one bad event, the 200 it gives to a key nobody
//! owns, the key by which it de-duplicates, the order in which it applies person properties. It fails as told and keeps
//! books of all that reached it. [`moengage`] sends as MoEngage does: which status counts as sent, how long it waits,
//! how often it tries again, and what is then lost. It keeps a journal of what was sent and what came back, so that
//! an oracle can compare both books.
//!
//! [`mutated`] damages what was right, for those who want to know what happens then.
//!
//! It promises that its books are complete: each event that was answered 200 is in them, as stored or as dropped with a
//! reason. It leaves to others what happens behind capture (plugins, cohorts, merges of ClickHouse parts), and it
//! depends on no crate that it judges.

pub mod moengage;
mod mutate;
pub mod posthog;
pub mod terminal;

pub use mutate::mutated;
