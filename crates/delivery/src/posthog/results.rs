//! What PostHog's v1 answers of each event.
//!
//! Source: PostHog/posthog, `rust/capture/src/v1/analytics` (process.rs @01cfdef4, response.rs @0d02edcd) and
//! `v1/quota_limiter_shim.rs` @000798bf (read 2026-12-01).

use std::collections::HashMap;

use moehog_proto::{Blame, Reason};
use serde::Deserialize;
use uuid::Uuid;

/// How much of an answer is read for each event in the request: a UUID of 36 characters, two words and what is around them.
pub(crate) const ANSWER_BYTES_PER_EVENT: usize = 256;

/// The answers to the events of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Results {
    said: HashMap<Uuid, Said>,
    after_ms: u64,
}

/// What PostHog says of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It took it.
    Taken,
    /// It took it, with a reservation.
    Reserved(Reason),
    /// It dropped it, and would again.
    Dropped(Reason),
    /// It dropped it, and takes such events once a person acts.
    Held(Reason),
    /// It is to be sent again; or nobody knows what became of it.
    Again {
        /// Least time to wait, milliseconds; 0 is none given.
        after_ms: u64,
        /// Why.
        why: Reason,
    },
}

#[derive(Deserialize)]
struct Body {
    results: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    result: String,
    #[serde(default)]
    details: Option<String>,
}

impl Results {
    /// Reads the body of an answer; nothing where it is another one.
    pub(super) fn read(body: &[u8], after_ms: u64) -> Option<Self> {
        let Body { results } = serde_json::from_slice(body).ok()?;
        let said = |(uuid, entry): (String, Entry)| Some((Uuid::try_parse(&uuid).ok()?, said(&entry, after_ms)));
        Some(Self { said: results.into_iter().filter_map(said).collect(), after_ms })
    }

    /// What is said of the event with these 16 bytes.
    pub(crate) fn of(&self, uuid: &[u8]) -> Said {
        let said = Uuid::from_slice(uuid).ok().and_then(|uuid| self.said.get(&uuid));
        said.cloned().unwrap_or_else(|| Said::Again {
            after_ms: self.after_ms,
            why: unclear("PostHog's answer does not name the event".to_string()),
        })
    }

    /// Nothing was taken, and something is to be sent again: PostHog's own queue does not take events.
    pub(crate) fn is_refusal(&self) -> bool {
        let mut all = self.said.values();
        let is_taken = |said: &Said| matches!(said, Said::Taken | Said::Reserved(_));
        !all.clone().any(is_taken) && all.any(|said| matches!(said, Said::Again { .. }))
    }

    /// How many were said to be what, by the names of [`Said::name`].
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.said.values().map(Said::name)
    }
}

impl Said {
    /// A word for it, for metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Taken => "ok",
            Self::Reserved(_) => "warning",
            Self::Dropped(_) => "drop",
            Self::Held(_) => "quota",
            Self::Again { .. } => "retry",
        }
    }
}

/// Reads one event's answer. A word that no PostHog of today says is no `ok`: the event is sent again.
fn said(entry: &Entry, after_ms: u64) -> Said {
    let details = entry.details.as_deref().unwrap_or_default();
    let again = |why| Said::Again { after_ms, why };
    match entry.result.as_str() {
        "ok" if details.is_empty() => Said::Taken,
        "ok" | "warning" if details == "person_processing_disabled" => Said::Reserved(Reason::word(details)),
        "ok" | "warning" => {
            let message = format!("PostHog took the event and warns{}", told(details));
            Said::Reserved(Reason::new(Blame::Destination, "posthog_warning", message))
        }
        "drop" => dropped(details, after_ms),
        // said by versions before 2026-06 of what is over quota
        "limited" => Said::Held(quota(details)),
        "retry" => {
            let message = format!("PostHog asks for the event again{}", told(details));
            again(Reason::new(Blame::Destination, "not_persisted", message))
        }
        word => again(unclear(format!("PostHog answered a word that is not known: {}", shown(word)))),
    }
}

fn dropped(details: &str, after_ms: u64) -> Said {
    let why = |blame, code: &str| {
        Reason::new(blame, code, format!("PostHog dropped the event when it came{}", told(details)))
    };
    match details {
        "billing_limit_exceeded" => Said::Held(quota(details)),
        details if details.ends_with("over_quota") => Said::Held(quota(details)),
        // a PostHog for imports, or for AI events alone: the address is wrong, and no event is at fault
        "non_historical_import_drop" | "misrouted_event" => {
            Said::Held(why(Blame::Destination, "wrong_host").remedied("set the host that takes analytics events"))
        }
        "ai_byte_rate_limited" => Said::Again { after_ms, why: why(Blame::Destination, "busy") },
        "event_restriction_drop" => Said::Dropped(
            why(Blame::Destination, "event_restriction_drop").remedied("ask PostHog's support which restriction it is"),
        ),
        "event_too_big" => Said::Dropped(why(Blame::Body, "too_large").remedied("make it smaller")),
        _ => {
            let code = DROPS.iter().find(|code| **code == details).copied().unwrap_or("dropped");
            Said::Dropped(why(Blame::Body, code))
        }
    }
}

/// What PostHog says of events that it drops for what is in them.
const DROPS: [&str; 9] = [
    "missing_event_name",
    "event_name_too_long",
    "missing_distinct_id",
    "distinct_id_too_large",
    "invalid_event_timestamp",
    "malformed_event_properties",
    "dropped_performance_event",
    "invalid_options",
    "serialization_failed",
];

fn quota(details: &str) -> Reason {
    let message = format!("PostHog's billing limit is reached, and it dropped the event{}", told(details));
    Reason::new(Blame::Destination, "quota", message).remedied("raise it or wait for the next period")
}

/// That nobody knows what PostHog answered.
pub(super) fn unclear(message: String) -> Reason {
    Reason::new(Blame::Destination, "unclear_answer", message)
}

fn told(details: &str) -> String {
    if details.is_empty() { String::new() } else { format!(" ({})", shown(details)) }
}

/// Text of the answer: short, and of the characters that such words have.
fn shown(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "_-. ".contains(c) { c } else { '?' }).collect()
}
