//! Bodies of all shapes, clean, dirty and damaged: what PostHog gets is what was sent, or the event says what is not.
//!
//! The judge knows what each event meant and how values may be written; it asks the mapping nothing. `MOEHOG_CORPUS_FIRST` and
//! `MOEHOG_CORPUS` say which seeds run.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod meant;
mod written;

use std::env;

use jiff::Timestamp;
use moehog_proto::transformer::{Webhook, mapped_event::Outcome, transformed_webhook};
use moehog_transformer::{Mapping, Rules, Transformer};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;

use self::{meant::Meant, written::Written};

/// When each webhook is received.
const RECEIVED_MS: i64 = 1_787_220_672_345; // 2026-08-20T10:11:12.345Z
/// Notes by which an event says that its time is not the one that was meant, or that its zone was assumed.
const OF_TIME: [&str; 5] = ["unreadable_time", "ambiguous_date", "implausible_time", "far_off_time", "assumed_utc"];
/// Properties that moehog adds.
const OURS: [&str; 5] = ["$lib", "$lib_version", "$geoip_disable", "$process_person_profile", "moehog"];

/// What an event says of itself.
struct Said<'e>(&'e Value);

impl Said<'_> {
    fn of(&self, code: &[&str], property: Option<&str>) -> bool {
        let notes = self.0["properties"]["moehog"]["notes"].as_array().into_iter().flatten();
        notes.into_iter().any(|note| {
            let is_code = code.is_empty() || code.iter().any(|code| note["code"] == **code);
            is_code && property.is_none_or(|property| note["property"] == *property)
        })
    }
}

/// Whether a value is what was meant: the same, or the number that a text of it is.
fn same(got: &Value, meant: &Value) -> bool {
    got == meant
        || (got.is_number() && meant.as_str().is_some_and(|text| text.trim().parse::<f64>().ok() == got.as_f64()))
}

/// What is wrong with an event, and not said on it.
fn unsaid(event: &Value, meant: &Meant) -> Vec<String> {
    let said = Said(event);
    let mut wrong = Vec::new();
    if event["event"] != *meant.name {
        wrong.push(format!("event is {}", event["event"]));
    }
    let is_cut = said.of(&["trimmed_id", "whole_number_id"], None);
    let person = if is_cut { meant.person.trim().trim_end_matches(".0") } else { &meant.person };
    if event["distinct_id"] != *person {
        wrong.push(format!("distinct_id is {}", event["distinct_id"]));
    }
    let at: Timestamp = event["timestamp"].as_str().unwrap().parse().unwrap();
    let is_arrival = at.as_millisecond() == RECEIVED_MS;
    let is_meant = meant.ms.is_none_or(|ms| at.as_millisecond() == ms);
    let is_stand_in = is_arrival && event["properties"]["moehog"]["time"] == "received" && said.of(&OF_TIME, None);
    if !(is_meant || is_stand_in) || (meant.ms.is_none() && !is_arrival) {
        wrong.push(format!("timestamp is {at}"));
    }
    let got = event["properties"].as_object().unwrap();
    for (name, value) in &meant.properties {
        let is_there = got.get(name).is_some_and(|got| same(got, value));
        if !is_there && !said.of(&[], Some(name)) {
            wrong.push(format!("{name} is {:?}", got.get(name)));
        }
    }
    for name in got.keys().filter(|name| !OURS.contains(&name.as_str()) && !meant.properties.contains_key(*name)) {
        if !meant.beside.contains(&name.as_str()) {
            wrong.push(format!("{name} was not sent"));
        }
    }
    wrong
}

#[test]
fn what_posthog_gets_is_what_was_sent_or_the_event_says_what_is_not() {
    let variable = |name: &str, default: u64| env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let (first, bodies) = (variable("MOEHOG_CORPUS_FIRST", 1), variable("MOEHOG_CORPUS", 5_000));
    let transformer = Transformer::new(&Mapping::default(), Rules::default());
    let (mut events, mut noted, mut repaired) = (0_u64, 0_u64, 0_u64);
    for seed in first..first + bodies {
        let mut chance = StdRng::seed_from_u64(seed);
        let Written { body, content_type, api_key, meant } = Written::any(&mut chance);
        let webhook = Webhook {
            receipt: "r-1".to_string(),
            received_at_ms: RECEIVED_MS,
            source: "shop".to_string(),
            route: if api_key.is_empty() { "in" } else { "capture" }.to_string(),
            api_key: api_key.to_string(),
            content_type: content_type.to_string(),
            body: body.clone().into_bytes().into(),
            ..Webhook::default()
        };
        let Some(transformed_webhook::Result::Mapped(mapped)) = transformer.transform(&webhook).result else {
            panic!("seed {seed}: rejected\n{body}");
        };
        assert_eq!(mapped.events.len(), meant.len(), "seed {seed}: not as many events\n{body}");
        for (mapped, meant) in mapped.events.into_iter().zip(&meant) {
            let Some(Outcome::Event(event)) = mapped.outcome else {
                panic!("seed {seed}: {:?}\nof {meant:?}\nin {body}", mapped.outcome);
            };
            let event: Value = serde_json::from_slice(&event.json).unwrap();
            let wrong = unsaid(&event, meant);
            assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}\nmeant {meant:#?}\nin {body}\ngot {event:#}");
            let origin = &event["properties"]["moehog"];
            noted += u64::from(!origin["notes"].is_null());
            repaired += u64::from(!origin["repaired"].is_null());
            events += 1;
        }
    }
    // a corpus in which all is right shows nothing
    assert!(noted * 10 > events && repaired * 20 > events, "{events} events, {noted} noted, {repaired} repaired");
}
