//! The way in: a webhook is authenticated, bounded, journaled, and answered 200 when it is durable.
//!
//! It knows the journal alone. Whether a webhook is taken never depends on what the bytes mean or on whether anybody can
//! deliver them; what the answer says of a Connector's may, where the journal is told of it in time (`feedback`).

mod answer;
mod answers;
mod auth;
mod fault;
mod feedback;
mod handler;
mod limits;
mod local;
mod places;
mod refusal;
mod refused;
mod request;
mod route;
mod scan;
mod sender;
mod store;

use std::sync::Arc;

use moehog_journal::Journal;
use moehog_proto::Destination;
use moehog_runtime::Failures;
use parking_lot::Mutex;

pub use self::answer::Answer;
use self::{
    auth::Senders,
    feedback::Feedback,
    limits::BodyLimits,
    places::Bound,
    store::{Inspections, Outage},
};
pub(crate) use self::{
    auth::{key_remedy, shows_one_of, without_key},
    local::straight_from_here,
    refusal::Refusal,
};
use crate::{Config, config::Http, looks::Looks, metrics::Metrics};

/// Takes webhooks into a journal.
#[derive(Debug)]
pub struct Ingest {
    journal: Arc<dyn Journal>,
    senders: Senders,
    failures: Mutex<Failures>,
    http: Http,
    limits: BodyLimits,
    requests: Bound,
    bodies: Bound,
    inspections: Inspections,
    outage: Outage,
    feedback: Feedback,
    looks: Option<Looks>,
    metrics: Metrics,
}

impl Ingest {
    /// Takes into `journal`, which `relay` empties, what the configured senders send.
    pub fn new((journal, relay): (Arc<dyn Journal>, Option<moehog_relay::Status>), config: &Config) -> Self {
        let http = &config.http;
        let taken_before = journal.lanes().into_iter();
        let open_keys =
            taken_before.filter_map(|lane| Destination::of(&lane.destination).key().map(ToString::to_string));
        let senders = Senders::new(config, open_keys);
        let limits = BodyLimits { max_bytes: http.max_body_bytes, idle: http.body_idle, total: http.body_total };
        Self {
            senders,
            failures: Mutex::default(),
            limits,
            requests: Bound::new(http.max_in_flight, 1),
            bodies: Bound::new(http.max_held_bytes, http.max_body_bytes),
            inspections: Inspections::new(),
            outage: Outage::default(),
            feedback: Feedback::new(&config.feedback, relay),
            looks: None,
            metrics: Metrics::new(),
            http: http.clone(),
            journal,
        }
    }

    /// The same, which says in an answer that waited what events say of themselves.
    #[must_use]
    pub(crate) fn with_looks(self, looks: Looks) -> Self {
        Self { looks: Some(looks), ..self }
    }

    /// Names of the sources of `/v1/in/{name}`.
    pub(crate) fn source_names(&self) -> Vec<&str> {
        self.senders.source_names()
    }

    /// Which project keys the capture paths take, in words.
    pub(crate) fn capture_rule(&self) -> &'static str {
        self.senders.capture.rule()
    }
}
