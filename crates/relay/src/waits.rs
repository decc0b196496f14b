//! What the webhooks and events of a lane wait for, and until when.

use moehog_proto::Sequence;
use tokio::sync::{mpsc, oneshot};

/// What something waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// That the lane reads so far: it is held, or its part of memory is full.
    Room,
    /// The transformer: it is called, or will be.
    Transformer,
    /// The mapping of an earlier webhook: events go out in journal order.
    Mapping,
    /// An earlier event of the same person, in the entry with this sequence.
    Person(Sequence),
    /// Evidence: PostHog refused it alone, and nothing says yet whether that was its own fault.
    Evidence,
    /// Its next try: it was not taken.
    Retry,
    /// That its destination works: it is held, or its circuit is open, and a few events try it.
    Destination,
    /// That its destination may be sent more: `max_events_per_second`.
    Ceiling,
    /// Its turn, or the answer to the call that it is in.
    Delivery,
    /// The lanes of the destinations that the mapping rules name.
    Routing,
    /// The journal, which cannot be read or written.
    Journal,
}

impl WaitsFor {
    /// One word, for metrics and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Transformer => "transformer",
            Self::Mapping => "mapping",
            Self::Person(_) => "person",
            Self::Evidence => "evidence",
            Self::Retry => "retry",
            Self::Destination => "destination",
            Self::Ceiling => "ceiling",
            Self::Delivery => "delivery",
            Self::Routing => "routing",
            Self::Journal => "journal",
        }
    }

    /// The words of what a lane as a whole can wait for.
    pub(crate) const OF_LANES: [Self; 7] = [
        Self::Transformer,
        Self::Evidence,
        Self::Retry,
        Self::Destination,
        Self::Ceiling,
        Self::Routing,
        Self::Journal,
    ];
}

/// What a webhook, or an event of it, waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Position and ordinal of the event; none where the webhook is not mapped.
    pub event: Option<(u32, u32)>,
    /// What for.
    pub waits_for: WaitsFor,
    /// When it is tried next, milliseconds since the epoch; none where that depends on something else.
    pub next_try_ms: Option<i64>,
}

/// When a lane tries again, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextTry {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// What it waits for until then.
    pub waits_for: WaitsFor,
}

/// A question to the walk of a lane: what does this entry wait for?
pub(crate) type Question = (Sequence, oneshot::Sender<Vec<Wait>>);
/// Where questions to a lane go.
pub(crate) type Questions = mpsc::Sender<Question>;
