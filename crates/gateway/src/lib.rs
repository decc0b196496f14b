//! The edge: takes webhooks in over HTTP, journals them, answers 200 when they are durable, and hosts the relay.
//!
//! MoEngage waits 5 seconds, counts 200 alone as sent, and mostly does not try again. So an authenticated body within
//! the limit is always journaled, whatever its syntax, and answered within 2 seconds of its last byte whatever PostHog, the
//! workers or a neighbour's body are doing. What it means is the transformer's business, what becomes of it the relay's:
//! [`Ingest`] knows the journal, and of the relay only how far it has mapped; the relay cannot answer a request.

mod addresses;
mod admin;
mod config;
mod gateway;
mod ingest;
mod listener;
mod looks;
mod metrics;
mod probes;

pub use self::{
    addresses::{AddressError, Addresses, Block},
    config::{Api, Basic, Capture, Config, Destination, Feedback, Http, Signature, Source, Worker},
    gateway::Gateway,
    ingest::{Answer, Ingest},
};
pub use moehog_relay::{Feed, FeedReader, Passed, Told};
