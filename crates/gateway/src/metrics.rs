//! What the gateway counts.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use strum::{EnumCount, VariantArray};

use crate::ingest::Refusal;

/// Which of the two kinds of path a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteLabel {
    Capture,
    In,
    None,
}

impl RouteLabel {
    const ALL: [Self; 3] = [Self::Capture, Self::In, Self::None];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::In => "in",
            Self::None => "none",
        }
    }
}

/// What an answer that may wait came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeedbackOutcome {
    /// The webhook was mapped, and its body is not at fault.
    Mapped,
    /// The sender asked for it, and the webhook was settled in time.
    Settled,
    /// The body is at fault.
    Refused,
    /// Nothing was heard in time.
    Late,
    /// Nothing was waited for: its lane had too much waiting.
    Backlog,
    /// Nothing was waited for: too many waited.
    Crowded,
}

impl FeedbackOutcome {
    const ALL: [Self; 6] = [Self::Mapped, Self::Settled, Self::Refused, Self::Late, Self::Backlog, Self::Crowded];

    fn text(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Settled => "settled",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Backlog => "backlog",
            Self::Crowded => "crowded",
        }
    }
}

/// Counts of answers that may wait, looked up once.
#[derive(Debug)]
pub(crate) struct FeedbackMetrics {
    outcomes: [Counter; FeedbackOutcome::ALL.len()],
    refused_again: Counter,
}

impl FeedbackMetrics {
    pub(crate) fn new() -> Self {
        let counter = |outcome: FeedbackOutcome| counter!("moehog_gateway_feedback_total", "outcome" => outcome.text());
        Self {
            outcomes: FeedbackOutcome::ALL.map(counter),
            refused_again: counter!("moehog_gateway_refused_again_total"),
        }
    }

    /// The answer to a Connector's webhook, or to one whose sender asks to wait, came to this.
    pub(crate) fn count(&self, outcome: FeedbackOutcome) {
        self.outcomes[outcome as usize].increment(1);
    }

    /// A body came again that was refused a moment ago, and was not stored.
    pub(crate) fn refused_again(&self) {
        self.refused_again.increment(1);
    }
}

/// The gateway's metrics, looked up once.
#[derive(Debug)]
pub(crate) struct Metrics {
    routes: [RouteMetrics; RouteLabel::ALL.len()],
}

#[derive(Debug)]
struct RouteMetrics {
    taken: Counter,
    refused: [Counter; Refusal::COUNT],
    unprocessable: Counter,
    hung_up: Counter,
    bytes: Counter,
    seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self { routes: RouteLabel::ALL.map(RouteMetrics::new) }
    }

    /// A webhook of `bytes` was answered 200.
    pub(crate) fn taken(&self, route: RouteLabel, bytes: usize) {
        let metrics = &self.routes[route as usize];
        metrics.taken.increment(1);
        metrics.bytes.increment(bytes as u64);
    }

    /// A webhook was answered 422: nothing can be made of its body.
    pub(crate) fn unprocessable(&self, route: RouteLabel) {
        self.routes[route as usize].unprocessable.increment(1);
    }

    /// A request was refused.
    pub(crate) fn refused(&self, route: RouteLabel, refusal: Refusal) {
        self.routes[route as usize].refused[refusal as usize].increment(1);
    }

    /// A sender hung up before its answer.
    pub(crate) fn hung_up(&self, route: RouteLabel) {
        self.routes[route as usize].hung_up.increment(1);
    }

    /// A webhook was answered this long after its last byte.
    pub(crate) fn answered(&self, route: RouteLabel, after: Duration) {
        self.routes[route as usize].seconds.record(after);
    }
}

impl RouteMetrics {
    fn new(route: RouteLabel) -> Self {
        let route = route.text();
        let requests =
            |outcome: &'static str| counter!("moehog_gateway_requests_total", "route" => route, "outcome" => outcome);
        Self {
            taken: requests("taken"),
            refused: std::array::from_fn(|index| requests(Refusal::VARIANTS[index].code())),
            unprocessable: requests("unprocessable"),
            hung_up: requests("hung_up"),
            bytes: counter!("moehog_gateway_body_bytes_total", "route" => route),
            seconds: histogram!("moehog_gateway_answer_seconds", "route" => route),
        }
    }
}
