//! What the gateway counts.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

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

/// The gateway's metrics, looked up once.
#[derive(Debug)]
pub(crate) struct Metrics {
    routes: [RouteMetrics; RouteLabel::ALL.len()],
}

#[derive(Debug)]
struct RouteMetrics {
    taken: Counter,
    refused: [Counter; Refusal::ALL.len()],
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
            refused: Refusal::ALL.map(|refusal| requests(refusal.code())),
            hung_up: requests("hung_up"),
            bytes: counter!("moehog_gateway_body_bytes_total", "route" => route),
            seconds: histogram!("moehog_gateway_answer_seconds", "route" => route),
        }
    }
}
