//! Whether a transformer's answer can be used.

use moehog_proto::transformer::{Mapped, Rejection, mapped_event};

use super::rejection;
use crate::Config;

/// Why a mapping as a whole cannot be used.
pub(super) fn check(mapped: &Mapped, config: &Config) -> Option<Rejection> {
    let events = &mapped.events;
    if events.is_empty() {
        return Some(rejection("no_events", "the webhook holds no event"));
    }
    if events.len() > config.max_events_per_webhook {
        let detail =
            format!("the webhook gives {} events; the most is {}", events.len(), config.max_events_per_webhook);
        return Some(rejection("too_many_events", &detail));
    }
    let mut bytes = 0;
    for event in events {
        if let Some(mapped_event::Outcome::Event(event)) = &event.outcome {
            bytes += event.json.len();
            if event.uuid.len() != 16 || event.json.is_empty() {
                return Some(rejection("invalid_mapping", "the transformer made an event without uuid or JSON"));
            }
        }
    }
    if !events.is_sorted_by(|a, b| (a.position, a.ordinal) < (b.position, b.ordinal)) {
        return Some(rejection("invalid_mapping", "the transformer's events are not in the body's order"));
    }
    (bytes > config.max_mapped_bytes_per_webhook).then(|| {
        let most = config.max_mapped_bytes_per_webhook;
        rejection("too_large", &format!("the webhook gives {bytes} bytes of mapped JSON; the most is {most}"))
    })
}

/// Splits `word: sentence`.
pub(super) fn split_reason(reason: &str) -> Option<(&str, &str)> {
    let (word, sentence) = reason.split_once(": ")?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    is_word.then_some((word, sentence))
}
