//! What a body did wrong, where nothing came of its webhook and nobody else is to blame.

use moehog_proto::journal::{EventOutcome, EventState, Progress};
use serde::Serialize;

/// Most dead events that an answer names.
const MOST_NAMED: usize = 20;
/// Begins the reasons for which a rule of the operator is to blame.
const RULE: &str = "rule_";
/// Reasons for which moehog is to blame.
const OURS: [&str; 2] = ["invalid_mapping", "transform_failed"];

/// Why nothing could be made of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BodyFault {
    /// The first of its dead events.
    pub(super) reasons: Vec<Reason>,
}

/// Why one event could not be made.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Reason {
    position: u32,
    reason: String,
    detail: String,
}

impl BodyFault {
    /// The fault of a body that is one event, or that nothing could be made of; none where anything may yet be delivered, or
    /// a rule, moehog or PostHog is to blame. An event that was made has a uuid, so PostHog's refusals are not the body's.
    pub(super) fn of(progress: &Progress) -> Option<Self> {
        let its_own = |event: &EventOutcome| {
            let blames_others = event.reason.starts_with(RULE) || OURS.contains(&event.reason.as_str());
            event.state() == EventState::Dead && event.position == 0 && event.uuid.is_empty() && !blames_others
        };
        if progress.events.is_empty() || !progress.events.iter().all(its_own) {
            return None;
        }
        let named = progress.events.iter().take(MOST_NAMED).map(|event| Reason {
            position: event.position,
            reason: event.reason.clone(),
            detail: event.detail.clone(),
        });
        Some(Self { reasons: named.collect() })
    }

    fn first(&self) -> (&str, &str) {
        self.reasons.first().map_or(("", ""), |first| (&first.reason, &first.detail))
    }

    /// The stable word for it.
    pub(super) fn code(&self) -> &str {
        self.first().0
    }

    /// The member of the body that is wrong; `body` where it is all of it.
    pub(super) fn field(&self) -> &str {
        let (reason, detail) = self.first();
        match reason {
            "missing_event" | "forbidden_event" => "event",
            "missing_distinct_id" | "invalid_distinct_id" | "forbidden_id" => "distinct_id",
            "invalid_properties" | "too_many_properties" => "properties",
            "key_mismatch" => "api_key",
            "unresolved_placeholder" => detail.split('`').nth(1).unwrap_or("body"),
            _ => "body",
        }
    }

    /// What is wrong, and what to do; that is empty where the detail does not say it.
    pub(super) fn message_and_remedy(&self) -> (&str, &str) {
        let detail = self.first().1;
        let ends = [": ", "; "].into_iter().filter_map(|end| detail.find(end)).min();
        ends.map_or((detail, ""), |at| (&detail[..at], &detail[at + 2..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(state: EventState, reason: &str, detail: &str) -> EventOutcome {
        EventOutcome { state: state.into(), reason: reason.into(), detail: detail.into(), ..EventOutcome::default() }
    }

    fn fault(events: impl IntoIterator<Item = EventOutcome>) -> Option<BodyFault> {
        BodyFault::of(&Progress { events: events.into_iter().collect(), ..Progress::default() })
    }

    #[test]
    fn only_a_body_of_one_event_of_which_nothing_came_by_its_own_fault_is_at_fault() {
        use EventState::{Dead, Delivered, Filtered, Pending};
        let dead = || event(Dead, "forbidden_id", "");
        assert_eq!(fault([dead()]).unwrap().code(), "forbidden_id");
        assert_eq!(fault([dead(), dead()]).unwrap().reasons.len(), 2, "two events that a rule made of one");
        assert_eq!(fault([]), None, "not mapped yet");
        for other in [Pending, Delivered, Filtered] {
            assert_eq!(fault([dead(), event(other, "", "")]), None, "{other:?}");
        }
        for reason in ["rule_failed", "rule_2", "transform_failed", "invalid_mapping"] {
            assert_eq!(fault([event(Dead, reason, "")]), None, "{reason}");
        }
        assert_eq!(fault([EventOutcome { position: 1, ..dead() }]), None, "a list");
        assert_eq!(fault([EventOutcome { uuid: vec![7; 16].into(), ..dead() }]), None, "refused by PostHog");
        assert_eq!(fault((0..50).map(|_| dead())).unwrap().reasons.len(), 20);
    }

    #[test]
    fn it_names_the_field_what_is_wrong_and_what_to_do() {
        for (reason, detail, field, message, remedy) in [
            (
                "unresolved_placeholder",
                "the placeholder in `uid` was not filled: MoEngage fills {{UserAttribute['ID']}}; use default",
                "uid",
                "the placeholder in `uid` was not filled",
                "MoEngage fills {{UserAttribute['ID']}}; use default",
            ),
            (
                "unreadable_json",
                "the body is not valid JSON at line 1 column 2; it looks form-encoded: choose JSON",
                "body",
                "the body is not valid JSON at line 1 column 2",
                "it looks form-encoded: choose JSON",
            ),
            ("missing_event", "no name", "event", "no name", ""),
            ("unresolved_placeholder", "", "body", "", ""),
            ("key_mismatch", "", "api_key", "", ""),
        ] {
            let fault = fault([event(EventState::Dead, reason, detail)]).unwrap();
            assert_eq!((fault.field(), fault.message_and_remedy()), (field, (message, remedy)), "{reason}");
        }
    }
}
