//! Maps MoEngage webhooks to PostHog events: a pure function, served over gRPC.
//!
//! PostHog refuses a whole batch for one bad event, takes an unfilled placeholder for a person, and stores a resend as a
//! new event unless it carries the same id and time. What MoEngage sends is made so that none of this happens.
//!
//! It promises: any bytes give events or a rejection, never a panic, and cost memory in proportion to their size; one bad
//! event costs itself; the same webhook gives the same events, and a resend of what has an id the same PostHog key; no
//! placeholder and no id that the vendors refuse becomes a person; a value that no rule touches is copied as it stands.
//!
//! It recognises a body by its shape: a Streams batch (`events`), one event of a file export (`event` as an object), a flat
//! event (`event_name`), and PostHog's own forms (one event, an array, a `batch`). A body passes three steps: read in place
//! (`item`), planned by rules over slices of it (`mapping`), written once (`output`).
//!
//! It leaves to others: durability and order (the relay), retries (the relay), and what PostHog says (delivery). It
//! marks what its sender calls `historical_migration`. By `sent_at` it corrects a clock that is wrong by a minute or
//! more, and sends none.

use moehog_transport::Worker;
use tonic::service::Routes;

mod body;
mod builtin;
mod config;
mod costly;
mod fault;
mod follow;
mod former;
#[cfg(test)]
mod fuzz;
mod item;
mod json;
mod mapping;
mod metrics;
mod moengage;
mod notes;
mod output;
mod rules;
mod service;
mod transformer;
mod value;
mod webhook;

pub use self::{
    body::unpacked,
    config::{Config, DEFAULTS, Mapping},
    fault::REASONS,
    follow::{complaint, looks, open},
    notes::{Healed, Note, Notes},
    rules::{Attributes, Named, Problem, ReadHeader, Rules},
    transformer::Transformer,
    value::{time::Unread, types::Type},
};

/// Takes the ports of a transformer process. Call it inside the runtime.
///
/// # Errors
///
/// An address that cannot be listened on; certificates that cannot be used, callers without certificates.
pub fn bind(config: &Config, transformer: Transformer) -> anyhow::Result<Worker> {
    let routes = Routes::new(moehog_proto::transformer::server(transformer));
    Worker::bind(
        "moehog.transformer.v1.TransformerService",
        routes,
        (&config.grpc, &config.admin, &config.shutdown),
        (&config.tls, &config.transformer.callers),
    )
}
