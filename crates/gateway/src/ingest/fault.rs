//! What a body did wrong, where nothing came of its webhook and nobody else is to blame.

use moehog_proto::{
    Blame, Reason,
    journal::{EventOutcome, EventState, Progress},
};
use serde::Serialize;

/// Most dead events that an answer names.
const MOST_NAMED: usize = 20;

/// Why nothing could be made of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BodyFault {
    /// Of the first of its dead events.
    pub(super) why: Reason,
    /// The first of its dead events.
    pub(super) events: Vec<DeadEvent>,
}

/// Why one event could not be made.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct DeadEvent {
    position: u32,
    reason: String,
    detail: String,
}

impl BodyFault {
    /// The fault of a body that is one event, or that nothing could be made of; none where anything may yet be delivered, or
    /// a rule, moehog or PostHog is to blame. An event that was made has a uuid, so PostHog's refusals are not the body's.
    pub(super) fn of(progress: &Progress) -> Option<Self> {
        let its_own = |event: &EventOutcome| {
            event.state() == EventState::Dead
                && event.position == 0
                && event.uuid.is_empty()
                && event.why().blame() == Blame::Body
        };
        let first = progress.events.first()?;
        if !progress.events.iter().all(its_own) {
            return None;
        }
        let events = progress.events.iter().take(MOST_NAMED).map(DeadEvent::new);
        Some(Self { why: first.why(), events: events.collect() })
    }
}

impl DeadEvent {
    fn new(event: &EventOutcome) -> Self {
        let why = event.why();
        Self { position: event.position, detail: why.sentence(), reason: why.code }
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
        assert_eq!(fault([dead()]).unwrap().why.code, "forbidden_id");
        assert_eq!(fault([dead(), dead()]).unwrap().events.len(), 2, "two events that a rule made of one");
        assert_eq!(fault([]), None, "not mapped yet");
        for other in [Pending, Delivered, Filtered] {
            assert_eq!(fault([dead(), event(other, "", "")]), None, "{other:?}");
        }
        for reason in ["rule_failed", "rule_2", "transform_failed", "invalid_mapping"] {
            assert_eq!(fault([event(Dead, reason, "")]), None, "{reason}");
        }
        assert_eq!(fault([EventOutcome { position: 1, ..dead() }]), None, "a list");
        assert_eq!(fault([EventOutcome { uuid: vec![7; 16].into(), ..dead() }]), None, "refused by PostHog");
        assert_eq!(fault((0..50).map(|_| dead())).unwrap().events.len(), 20);
    }

    #[test]
    fn it_says_what_the_transformer_said() {
        let why = Reason::new(Blame::Body, "missing_event", "no name").about("event").remedied("give it one");
        let mut event = event(EventState::Dead, "", "");
        event.explain(why.clone());
        let fault = fault([event]).unwrap();
        assert_eq!(fault.why, why);
        assert_eq!(
            serde_json::to_value(&fault.events).unwrap(),
            serde_json::json!([
                {"position": 0, "reason": "missing_event", "detail": "no name; give it one"}
            ])
        );
    }
}
