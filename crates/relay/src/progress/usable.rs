//! Whether a transformer's answer can be used.

use moehog_proto::{
    Blame, Reason,
    transformer::{Mapped, mapped_event},
};

use super::invalid_mapping;
use crate::Config;

/// Why a mapping as a whole cannot be used. `bounds` are those of a webhook that was never mapped before.
pub(super) fn check(mapped: &Mapped, bounds: Option<&Config>) -> Option<Reason> {
    let events = &mapped.events;
    let body = |code, message| Reason::new(Blame::Body, code, message).about("body");
    if events.is_empty() {
        return Some(body("no_events", "the webhook holds no event".to_string()).remedied("send at least one"));
    }
    if let Some(most) = bounds.map(|config| config.max_events_per_webhook).filter(|most| events.len() > *most) {
        let message = format!("the webhook gives {} events; the most is {most}", events.len());
        return Some(
            body("too_many_events", message)
                .remedied("send them in several requests, or raise relay.max_events_per_webhook"),
        );
    }
    let mut bytes = 0;
    for event in events {
        if let Some(mapped_event::Outcome::Event(event)) = &event.outcome {
            bytes += event.json.len();
            if event.uuid.len() != 16 || event.json.is_empty() {
                return Some(invalid_mapping("the transformer made an event without uuid or JSON"));
            }
        }
    }
    if !events.is_sorted_by(|a, b| (a.position, a.ordinal) < (b.position, b.ordinal)) {
        return Some(invalid_mapping("the transformer's events are not in the body's order"));
    }
    bounds.map(|config| config.max_mapped_bytes_per_webhook).filter(|most| bytes > *most).map(|most| {
        body("too_large", format!("the webhook gives {bytes} bytes of mapped JSON; the most is {most}"))
            .remedied("send it in several requests, or raise relay.max_mapped_bytes_per_webhook")
    })
}
