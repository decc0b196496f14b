//! The relay's metrics. They move once a call, never once an event.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use moehog_proto::journal::Book;

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Answered,
    Died,
    NeverLeft,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Died => "died",
            Self::NeverLeft => "never_left",
        }
    }
}

/// A Transform call ended.
pub(crate) fn transform_call(outcome: Outcome, webhooks: usize, took: Duration) {
    counter!("moehog_relay_transform_calls_total", "outcome" => outcome.label()).increment(1);
    histogram!("moehog_relay_transform_webhooks").record(webhooks as f64);
    histogram!("moehog_relay_transform_seconds").record(took.as_secs_f64());
}

/// A Deliver call ended.
pub(crate) fn deliver_call(outcome: Outcome, events: usize, took: Duration) {
    counter!("moehog_relay_deliver_calls_total", "outcome" => outcome.label()).increment(1);
    histogram!("moehog_relay_deliver_events").record(events as f64);
    histogram!("moehog_relay_deliver_seconds").record(took.as_secs_f64());
}

/// A record call ended.
pub(crate) fn record_call(worked: bool, entries: usize) {
    let outcome = if worked { "stored" } else { "failed" };
    counter!("moehog_relay_record_calls_total", "outcome" => outcome).increment(1);
    histogram!("moehog_relay_record_entries").record(entries as f64);
}

/// Entries were settled; `book` is what they came to.
pub(crate) fn settled(book: &Book) {
    if book.settled == 0 {
        return;
    }
    counter!("moehog_relay_settled_total").increment(book.settled);
    for (outcome, count) in [
        ("delivered", book.delivered),
        ("delivered_degraded", book.delivered_degraded),
        ("filtered", book.filtered),
        ("duplicate", book.duplicate),
        ("dead", book.dead),
    ] {
        if count > 0 {
            counter!("moehog_relay_events_total", "outcome" => outcome).increment(count);
        }
    }
}

/// What a lane is doing, at `now_ms` since the epoch.
pub(crate) fn lane(lane: &crate::LaneStatus, now_ms: i64) {
    let labels = [("source", lane.source.clone()), ("destination", lane.destination.clone())];
    let state = match lane.state {
        crate::GateState::Open => 0.0,
        crate::GateState::CircuitOpen { .. } => 1.0,
        crate::GateState::Held { .. } => 2.0,
    };
    gauge!("moehog_relay_lane_state", &labels).set(state);
    gauge!("moehog_relay_lane_waiting", &labels).set(lane.unsettled as f64);
    gauge!("moehog_relay_lane_in_flight_bytes", &labels).set(lane.in_flight_bytes as f64);
    gauge!("moehog_relay_lane_deliver_window", &labels).set(lane.window as f64);
    gauge!("moehog_relay_lane_full_calls", &labels).set(lane.full_calls);
    gauge!("moehog_relay_lane_backlog", &labels).set(lane.backlog as f64);
    gauge!("moehog_relay_lane_suspects", &labels).set(lane.suspects as f64);
    let seconds = |ms: i64| ms.max(0) as f64 / 1000.0;
    let since = |at: Option<i64>| seconds(at.filter(|_| lane.unsettled > 0).map_or(0, |at| now_ms - at));
    gauge!("moehog_relay_lane_delayed_seconds", &labels).set(since(lane.delayed_since_ms));
    gauge!("moehog_relay_lane_suspected_seconds", &labels).set(since(lane.suspected_since_ms));
    for waits_for in crate::WaitsFor::OF_LANES {
        let next = lane.next_try.filter(|next| next.waits_for == waits_for).map_or(0, |next| next.at_ms - now_ms);
        let labels = [labels.as_slice(), &[("waits_for", waits_for.word().to_string())]].concat();
        gauge!("moehog_relay_lane_next_try_seconds", &labels).set(seconds(next));
    }
    let waited_ms = lane.backlog_since_ms.map_or(0, |since| now_ms - since);
    gauge!("moehog_relay_lane_backlog_seconds", &labels).set(seconds(waited_ms));
}
