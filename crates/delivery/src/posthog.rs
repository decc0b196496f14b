//! PostHog's side: where it is, what is sent to it, what its answers mean.
//!
//! The classic capture API (`POST /batch/`): one request is accepted or refused as a whole, and judged by its status.

mod answer;
mod client;
mod host;
mod key;
mod object;
mod proxies;
mod request;
mod size;

pub(crate) use self::{
    answer::{Answer, Failure, Outcome, judge, judge_load},
    client::Client,
    key::{Checks, Key, KeyState},
    object::object_faults,
    request::encode,
    size::{MAX_EVENT_BYTES, too_large},
};
pub use self::{
    client::ClientError,
    host::{Host, ParseHostError},
};
