//! States and waits in words.

use moehog_proto::journal::EventState;
use moehog_relay::WaitsFor;

pub(super) fn meaning(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::Room => "webhooks before it wait, and it is read once there is room in memory",
        WaitsFor::Transformer => "the transformer maps it, or is asked again",
        WaitsFor::Mapping => "an earlier webhook is not mapped yet, and events go out in their order",
        WaitsFor::Person(_) => "an earlier event of the same person goes first",
        WaitsFor::Evidence => {
            "PostHog refused it alone; it is a dead letter if it is refused again after another event was taken, so              that the fault is known to be its own"
        }
        WaitsFor::Retry => "it was not taken, and is sent again",
        WaitsFor::Destination => "its destination is held or does not work, and a few events try it: see /api/status",
        WaitsFor::Ceiling => "its destination is sent as many events a second as max_events_per_second lets",
        WaitsFor::Delivery => "it goes with the next call, or is under way",
        WaitsFor::Routing => "it is handed on to the destination that its mapping rule names",
        WaitsFor::Journal => "the journal cannot be read or written: see the log",
    }
}

pub(super) fn state(state: EventState) -> &'static str {
    match state {
        EventState::Unspecified | EventState::Pending => "pending",
        EventState::Delivered => "delivered",
        EventState::DeliveredDegraded => "delivered_degraded",
        EventState::Filtered => "filtered",
        EventState::Duplicate => "duplicate",
        EventState::Dead => "dead",
        EventState::Discarded => "discarded",
    }
}
