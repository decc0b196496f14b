//! How far an event is, from what the gateway knows of its webhook.

use serde_json::Value;

use super::NotDelivered;
use crate::receipt::{reason, text};

/// How far the webhook's event is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// PostHog has it.
    Delivered {
        /// What PostHog's yes is worth less by.
        reservation: Option<String>,
    },
    /// It will not be there, or not before a person acts.
    Ended(NotDelivered),
    /// On its way; where, and for what.
    Waits(String),
}

impl Progress {
    /// Reads `/api/receipts/…` and `/api/status` of the gateway that took it.
    pub(super) fn of(entry: &Value, status: &Value) -> Self {
        let events = entry.get("events").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if entry.get("settled").and_then(Value::as_bool) == Some(true) {
            return settled(events);
        }
        let header = entry.get("header").unwrap_or(&Value::Null);
        let lanes = status.get("lanes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let same = |lane: &&Value, field| text(lane, field) == text(header, field);
        let lane = lanes.iter().find(|lane| same(lane, "source") && same(lane, "destination"));
        let (state, why) = lane.map_or(("-", "-"), |lane| (text(lane, "state"), text(lane, "reason")));
        match state {
            // both times are RFC 3339 in UTC, by one clock
            "held" if lane.is_some_and(|lane| text(lane, "state_since") >= text(header, "received_at")) => {
                let kept = "it stays in the journal and is delivered once that is mended";
                Self::Ended(NotDelivered::new("held", format!("held: {why}; {kept}")))
            }
            // perhaps mended by now: a held destination is tried again at least every half minute
            "held" => Self::Waits(format!(
                "its destination is held since {}: {why}",
                lane.map_or("-", |lane| text(lane, "state_since"))
            )),
            "circuit_open" => Self::Waits(format!("its destination does not work, and is tried again: {why}")),
            _ => Self::Waits(on_its_way(entry, events)),
        }
    }
}

fn settled(events: &[Value]) -> Progress {
    let Some(worst) = events.iter().max_by_key(|event| badness(text(event, "state"))) else {
        return Progress::Ended(NotDelivered::new("filtered", "the mapping makes no event of it"));
    };
    match text(worst, "state") {
        "delivered" => Progress::Delivered { reservation: None },
        "delivered_degraded" => Progress::Delivered { reservation: Some(reason(worst)) },
        "dead" => Progress::Ended(NotDelivered::new("dead", format!("it is a dead letter: {}", reason(worst)))),
        "duplicate" => Progress::Ended(NotDelivered::new("duplicate", "the mapping says that it came twice")),
        state => Progress::Ended(NotDelivered::new(
            "filtered",
            format!("the mapping leaves it out ({state}): {}", reason(worst)),
        )),
    }
}

fn badness(state: &str) -> u8 {
    match state {
        "delivered" => 0,
        "delivered_degraded" => 1,
        "dead" => 3,
        _ => 2,
    }
}

fn on_its_way(entry: &Value, events: &[Value]) -> String {
    let wait = entry.pointer("/waits/0").unwrap_or(&Value::Null);
    let next = match text(wait, "next_try_at") {
        "-" => String::new(),
        at => format!("; next try at {at}"),
    };
    let why = || events.first().map_or_else(|| "-".to_string(), reason);
    match text(wait, "waits_for") {
        "evidence" => {
            return format!(
                "PostHog refused it alone ({}), and nothing shows yet whose fault that is: send an event that is right, and it is \
                 decided{next}",
                why()
            );
        }
        "person" => {
            return format!(
                "an earlier event of the same person goes first: `moehog receipt {}` shows what that waits for",
                text(wait, "behind")
            );
        }
        "mapping" | "room" => return format!("{}{next}", text(wait, "meaning")),
        _ => {}
    }
    let last = entry.get("attempts").and_then(Value::as_array).and_then(|attempts| attempts.last());
    match (events.first(), last) {
        (Some(event), Some(attempt)) => {
            let status = attempt.get("status").and_then(Value::as_u64);
            let answered = status.map_or_else(|| "gave no answer".to_string(), |status| format!("answered {status}"));
            let asked = text(attempt, "started_at");
            format!("PostHog {answered} at {asked}, and is asked again: {}{next}", reason(event))
        }
        (Some(event), None) => format!("it is mapped, and waits for delivery: {}", reason(event)),
        (None, _) if entry.get("mapped").is_none_or(Value::is_null) => {
            "it is in the journal, and no transformer answers".to_string()
        }
        (None, _) => "it is in the journal, and waits for transformer or delivery".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(settled: bool, events: &Value) -> Value {
        let header = json!({"source": "default", "destination": "eu", "received_at": "2026-11-24T10:00:00.100Z"});
        json!({"settled": settled, "header": header, "events": events, "attempts": [], "mapped": []})
    }

    fn lane(state: &str, since: &str) -> Value {
        let other = json!({"source": "default", "destination": "us", "state": "open"});
        json!({"lanes": [other, {
            "source": "default", "destination": "eu", "state": state, "state_since": since, "reason": "wrong_key: set it",
        }]})
    }

    #[test]
    fn a_settled_webhook_is_as_good_as_its_worst_event() {
        let ends = |events: Value| match Progress::of(&entry(true, &events), &Value::Null) {
            Progress::Delivered { reservation } => reservation.unwrap_or_else(|| "delivered".to_string()),
            Progress::Ended(ended) => format!("{} {}", ended.outcome, ended.reason),
            Progress::Waits(why) => panic!("{why}"),
        };
        assert_eq!(ends(json!([{"state": "delivered"}])), "delivered");
        assert_eq!(ends(json!([{"state": "delivered_degraded", "reason": "unverified_key"}])), "unverified_key");
        let dead = json!([{"state": "dead", "reason": "refused", "detail": "no name"}, {"state": "delivered"}]);
        assert_eq!(ends(dead), "dead it is a dead letter: refused: no name");
        assert!(ends(json!([{"state": "filtered", "reason": "a rule"}])).contains("a rule"));
        assert!(ends(json!([])).starts_with("filtered"));
    }

    #[test]
    fn a_hold_that_the_event_met_ends_it_and_an_older_one_may_be_mended() {
        let since = |since| Progress::of(&entry(false, &json!([])), &lane("held", since));
        let Progress::Ended(ended) = since("2026-11-24T10:00:00.100Z") else { panic!("held by this event") };
        assert!(ended.outcome == "held" && ended.reason.contains("wrong_key: set it"), "{ended:?}");
        let Progress::Waits(why) = since("2026-11-24T09:59:59.900Z") else { panic!("held before") };
        assert!(why.contains("wrong_key: set it"), "{why}");
    }

    #[test]
    fn what_is_not_settled_says_where_it_waits() {
        let waits = |entry: &Value, status: &Value| match Progress::of(entry, status) {
            Progress::Waits(why) => why,
            other => panic!("{other:?}"),
        };
        let fresh = entry(false, &json!([]));
        assert!(waits(&fresh, &lane("circuit_open", "-")).contains("does not work"));
        assert!(waits(&fresh, &lane("open", "-")).contains("in the journal"));
        let mut unmapped = fresh.clone();
        unmapped["mapped"] = Value::Null;
        assert!(waits(&unmapped, &Value::Null).contains("no transformer"));
        let mut tried = entry(false, &json!([{"state": "pending", "reason": "unavailable"}]));
        tried["attempts"] = json!([{"status": 503, "started_at": "2026-11-24T10:00:01.000Z"}]);
        tried["waits"] = json!([{"waits_for": "retry", "next_try_at": "2026-11-24T10:00:03.000Z"}]);
        let told = waits(&tried, &Value::Null);
        assert!(told.contains("answered 503") && told.ends_with("next try at 2026-11-24T10:00:03.000Z"), "{told}");
        let mut suspect = entry(false, &json!([{"state": "pending", "reason": "refused: no name"}]));
        suspect["waits"] = json!([{"waits_for": "evidence", "next_try_at": "2026-11-24T10:00:03.000Z"}]);
        let told = waits(&suspect, &lane("open", "-"));
        assert!(told.starts_with("PostHog refused it alone (refused: no name), and nothing shows yet"), "{told}");
        let mut behind = entry(false, &json!([{"state": "pending"}]));
        behind["waits"] = json!([{"waits_for": "person", "behind": "r1"}]);
        assert!(waits(&behind, &Value::Null).contains("`moehog receipt r1`"));
    }
}
