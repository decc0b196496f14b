//! Sends PostHog events to PostHog and says what became of each.
//!
//! PostHog's classic capture API accepts or refuses a batch as a whole, may have stored a part of what it then refuses,
//! answers 200 to a key that no project owns, and says nothing of single events. This crate turns that into one verdict
//! an event: `delivered`, `degraded`, `rejected`, `retry`, `hold`, or none where it was not tried or not learnt of. Where a
//! destination is to be spoken to in v1, PostHog's answer for each event is its verdict (`posthog::results`).
//!
//! It promises
//! - one bad event costs itself: a refused batch is halved until the guilty event stands alone, an oversized one is cut by size;
//! - a PostHog that refuses everything is asked for eight events alone a call, and not for each: the rest is given back;
//! - a wrong key, host or quota rejects nothing: its events are held with the remedy;
//! - an event goes out only as one JSON object, so that none of it becomes part of the request around it;
//! - what is sent again is byte-identical: events are read and never written anew, and nothing of a request shifts their times; in v1's
//!   form each event is the same bytes each time, and what v1 would drop or read otherwise than classic goes the classic way;
//! - what PostHog did not answer for was not taken: an answer that cannot be read is a `retry`;
//! - history (`historical_migration`) and live events never stand in one request;
//! - a person's events go in their order: behind one that is to be tried again nothing of that person is sent;
//! - a key is `delivered` to only once PostHog knows it;
//! - a destination has as many requests under way as it bears, and never more than configured: see `concurrency`.
//!
//! It leaves to others: every retry and all waiting (the relay), the making of events (the transformer), which destination
//! an event goes to (the gateway). Hosts come from the configuration alone.
//!
//! A verdict says why as a [`moehog_proto::Reason`], made where it is known.

use anyhow::Context;
use moehog_transport::Worker;
use tonic::service::Routes;

mod concurrency;
mod config;
mod destination;
mod metrics;
mod posthog;
mod service;
mod spans;
mod split;
mod turns;

pub use self::{
    config::{Config, Destination, Limits, PostHog},
    posthog::{Api, ClientError, Host, ParseHostError},
    service::Delivery,
};

/// Takes the ports of a delivery process. Call it inside the runtime, after telemetry is set up.
///
/// # Errors
///
/// A port is taken, certificates cannot be used, callers are named without certificates, or the HTTP client cannot be made.
pub fn bind(config: &Config) -> anyhow::Result<Worker> {
    let delivery = Delivery::new(config).context(moehog_runtime::Exit::Configuration)?;
    let routes = Routes::new(moehog_proto::delivery::server(delivery));
    Worker::bind(
        "moehog.delivery.v1.DeliveryService",
        routes,
        (&config.grpc, &config.admin, &config.shutdown),
        (&config.tls, &config.delivery.callers),
    )
}
