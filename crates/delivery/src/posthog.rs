//! PostHog's side: where it is, what is sent to it, what its answers mean.
//!
//! The classic capture API (`POST /batch/`): one request is accepted or refused as a whole, and judged by its status. And v1
//! (`POST /i/v1/analytics/events`), which answers of each event.

mod answer;
mod client;
mod convert;
mod host;
mod judgement;
mod key;
mod object;
mod proxies;
mod request;
mod results;
mod size;
mod v1;

/// Where classic takes batches.
pub(crate) const CLASSIC_PATH: &str = "batch/";
/// Where v1 does. Source: PostHog/posthog, `rust/capture/src/v1/analytics/constants.rs` @02291397 (read 2026-12-01).
pub(crate) const V1_PATH: &str = "i/v1/analytics/events";

pub(crate) use self::{
    answer::{Answer, Failure, Outcome},
    client::{Client, Post},
    convert::convert,
    judgement::{has_no_v1, judge, judge_load, judge_v1},
    key::{Checks, Key, KeyState},
    object::object_faults,
    request::{Envelope, encode},
    results::{ANSWER_BYTES_PER_EVENT, Results, Said},
    size::{MAX_EVENT_BYTES, too_large},
    v1::{Attempt, V1},
};
pub use self::{
    client::ClientError,
    host::{Host, ParseHostError},
    v1::Api,
};
