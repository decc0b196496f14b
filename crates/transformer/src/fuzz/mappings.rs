//! Any mapping file, guided by coverage: `cargo xtask fuzz mappings`.

use std::time::{Duration, Instant};

use moehog_proto::transformer::{mapped_event::Outcome, transformed_webhook};

use super::event::{self, webhook};
use crate::{Mapping, Rules, Transformer};

/// What even a slow build takes to read a file, or for all the steps that one event may take.
const MOST_TIME: Duration = Duration::from_secs(10);

/// One event of a Stream and one of a Connector, with what rules like to look at.
const BODIES: [&[u8]; 2] = [
    br#"{"app_name":"shop","events":[{"event_name":"Purchased","event_code":"Purchased","event_time":1787220000,
        "event_type":"USER_ACTION_EVENT","event_source":"MOENGAGE","uid":"u-1","email_id":"a@example.com",
        "event_attributes":{"amount":"12.50","items":["a","b"],"at":"2026-08-20T10:00:00Z","nested":{"k":{"l":1}}},
        "user_attributes":{"ID":"u-1","Company":"ACME","moe_mobile_number":"+491701234567"},"device_attributes":{"os":"iOS"}}]}"#,
    br#"{"api_key":"phc_test","event":"Order placed","distinct_id":"u-2","timestamp":"2026-08-20T10:00:00Z",
        "properties":{"amount":"1,250.00","items":["a","b","c"],"email":"b@example.com","blank":"","no":"None"}}"#,
];

#[test]
fn any_mapping_file_is_refused_or_maps_and_both_end() {
    bolero::check!(name = "mappings").with_iterations(200).with_max_len(4096).for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let begun = Instant::now();
        let read = Rules::read(&text, Some(b"key"));
        assert!(begun.elapsed() < MOST_TIME, "read in {:?}", begun.elapsed());
        match read {
            Ok(rules) => map(rules),
            Err(problems) => {
                assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.to_string().is_empty()));
                assert!(problems.iter().all(|problem| problem.line <= text.lines().count().max(1)), "{problems:?}");
            }
        }
    });
}

/// Whatever a file says, what comes out are events of the same shape.
fn map(rules: Rules) {
    let transformer = Transformer::new(&Mapping::default(), rules);
    for body in BODIES {
        let (webhook, begun) = (webhook(body), Instant::now());
        let transformed = transformer.transform(&webhook);
        assert!(begun.elapsed() < MOST_TIME, "mapped in {:?}", begun.elapsed());
        assert!(transformed == transformer.transform(&webhook), "mapped otherwise the second time");
        let transformed_webhook::Result::Mapped(mapped) = transformed.result.unwrap() else { panic!("rejected") };
        for mapped in mapped.events {
            match mapped.outcome.unwrap() {
                Outcome::Event(event) => event::check(&event.json, false, 0),
                Outcome::Dead(why) => assert!(!why.reason.is_empty() && !why.detail.is_empty(), "no reason"),
                Outcome::Filtered(_) | Outcome::Duplicate(_) => {}
            }
        }
    }
}
