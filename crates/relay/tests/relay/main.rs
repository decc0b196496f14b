//! The relay over a journal in memory, with a transformer and a delivery service that do as a test tells them.
//!
//! Both are real tonic services reached through real clients; time is paused. Whatever a test does, the delivery double
//! checks at every call what must hold at all times: see `sink`.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod faults;
mod histories;
mod holds;
mod limits;
mod mapper;
mod mood;
mod order;
mod pacing;
mod poison;
mod refusals;
mod retried;
mod rig;
mod routes;
mod scale;
mod sink;
mod stops;
mod waits;
mod watched;
