//! The service's metrics. The handles are made once, since finding one costs more than moving it.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use moehog_proto::delivery::{EventVerdict, Verdict};

use crate::posthog::{Answer, Failure, Results};

/// Handles of all metrics of this crate. Make it after the recorder is installed.
#[derive(Debug)]
pub(crate) struct Metrics {
    delivered: Counter,
    degraded: Counter,
    rejected: Counter,
    refused: Counter,
    retry: Counter,
    overloaded: Counter,
    hold: Counter,
    none: Counter,
    answers: [Counter; 5],
    failures: Counter,
    request_seconds: Histogram,
    request_events: Histogram,
    json_bytes: Counter,
    wire_bytes: Counter,
    results: [(&'static str, Counter); 5],
    pub(crate) fallbacks: Counter,
    pub(crate) calls: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            delivered: events("delivered"),
            degraded: events("degraded"),
            rejected: events("rejected"),
            refused: events("refused"),
            retry: events("retry"),
            overloaded: events("overloaded"),
            hold: events("hold"),
            none: events("none"),
            answers: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(requests),
            failures: requests("no_answer"),
            request_seconds: request_seconds(),
            request_events: request_events(),
            json_bytes: request_bytes("json"),
            wire_bytes: request_bytes("wire"),
            results: ["ok", "warning", "drop", "quota", "retry"].map(|result| (result, results(result))),
            fallbacks: fallbacks(),
            calls: calls_in_flight(),
        }
    }

    /// Counts a call's verdicts.
    pub(crate) fn verdicts(&self, verdicts: &[EventVerdict]) {
        let mut counts = [0_u64; 8];
        let counters = [
            &self.delivered,
            &self.degraded,
            &self.rejected,
            &self.retry,
            &self.overloaded,
            &self.hold,
            &self.none,
            &self.refused,
        ];
        for verdict in verdicts {
            counts[match &verdict.verdict {
                Some(Verdict::Delivered(_)) => 0,
                Some(Verdict::Degraded(_)) => 1,
                Some(Verdict::Rejected(_)) => 2,
                Some(Verdict::Retry(retry)) if !retry.overloaded => 3,
                Some(Verdict::Retry(_)) => 4,
                Some(Verdict::Hold(_)) => 5,
                None => 6,
                Some(Verdict::Refused(_)) => 7,
            }] += 1;
        }
        for (counter, count) in counters.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
            counter.increment(count);
        }
    }

    /// Counts what v1 answered of the events of a request.
    pub(crate) fn results(&self, said: &Results) {
        for name in said.names() {
            if let Some((_, counter)) = self.results.iter().find(|(result, _)| *result == name) {
                counter.increment(1);
            }
        }
    }

    /// Counts a request.
    pub(crate) fn request(
        &self,
        ended: &Result<Answer, Failure>,
        took: Duration,
        events: usize,
        json: usize,
        wire: usize,
    ) {
        match ended {
            Ok(answer) => self.answers[usize::from(answer.status.as_u16() / 100).clamp(1, 5) - 1].increment(1),
            Err(_) => self.failures.increment(1),
        }
        self.request_seconds.record(took);
        self.request_events.record(events as f64);
        self.json_bytes.increment(json as u64);
        self.wire_bytes.increment(wire as u64);
    }
}

/// The gauges of one destination's turns. Several that are called the same are shown as their sum: the keys that come
/// in webhooks are all `key:***`.
#[derive(Debug)]
pub(crate) struct ConcurrencyGauges {
    concurrency: Gauge,
    max: Gauge,
}

impl ConcurrencyGauges {
    /// Adds a destination that makes `max` requests at a time.
    pub(crate) fn new(destination: &str, max: usize) -> Self {
        let gauges = Self { concurrency: concurrency(destination), max: concurrency_max(destination) };
        gauges.concurrency.increment(max as f64);
        gauges.max.increment(max as f64);
        gauges
    }

    /// It makes `now` requests at a time instead of `before`.
    pub(crate) fn changed(&self, before: usize, now: usize) {
        self.concurrency.increment(now as f64 - before as f64);
    }

    /// The destination is gone, which made `now` requests at a time and `max` at most.
    pub(crate) fn gone(&self, now: usize, max: usize) {
        self.concurrency.decrement(now as f64);
        self.max.decrement(max as f64);
    }
}

/// Events by what the call's answer said of them.
fn events(verdict: &'static str) -> Counter {
    counter!("moehog_delivery_events_total", "verdict" => verdict)
}

/// Requests to PostHog by the class of the answer's status.
fn requests(answer: &'static str) -> Counter {
    counter!("moehog_delivery_requests_total", "answer" => answer)
}

/// Time from a request's start to its answer.
fn request_seconds() -> Histogram {
    histogram!("moehog_delivery_request_seconds")
}

/// Events in a request.
fn request_events() -> Histogram {
    histogram!("moehog_delivery_request_events")
}

/// Events by what v1 answered of each: `quota` is what was dropped for a billing limit.
fn results(result: &'static str) -> Counter {
    counter!("moehog_delivery_results_total", "result" => result)
}

/// Times that `auto` asked for v1 and found none.
fn fallbacks() -> Counter {
    counter!("moehog_delivery_fallbacks_total")
}

/// Bytes of requests before gzip (`json`) and after (`wire`).
fn request_bytes(form: &'static str) -> Counter {
    counter!("moehog_delivery_request_bytes_total", "form" => form)
}

/// Calls that are worked on or wait for their turn.
fn calls_in_flight() -> Gauge {
    gauge!("moehog_delivery_calls_in_flight")
}

/// Requests to a destination that are made at a time now; during a trial the number that is tried.
fn concurrency(destination: &str) -> Gauge {
    gauge!("moehog_delivery_concurrency", "destination" => destination.to_string())
}

/// And at most.
fn concurrency_max(destination: &str) -> Gauge {
    gauge!("moehog_delivery_concurrency_max", "destination" => destination.to_string())
}
