//! What holds for all inputs.

use proptest::prelude::*;

use super::*;
use crate::value::{identity, placeholder};

/// What holds of every answer, whatever was asked.
fn is_sound(webhook: &Webhook) -> Result<(), TestCaseError> {
    let (transformed, notes) = transformer().transform_counted(webhook);
    prop_assert_eq!(&(transformed.clone(), notes), &transformer().transform_counted(webhook), "the same answer twice");
    let Some(transformed_webhook::Result::Mapped(mapped)) = transformed.result else { return Ok(()) };
    prop_assert!(!mapped.events.is_empty());
    for (position, event) in mapped.events.into_iter().enumerate() {
        prop_assert_eq!((event.position as usize, event.ordinal), (position, 0), "every event once and in order");
        let Some(Outcome::Event(event)) = event.outcome else { continue };
        let json: serde_json::Value = serde_json::from_slice(&event.json).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        prop_assert_eq!(keys.len(), 5);
        prop_assert_eq!(json["uuid"].as_str().unwrap(), uuid::Uuid::from_slice(&event.uuid).unwrap().to_string());
        prop_assert_eq!(json["event"].as_str().unwrap(), &event.name);
        prop_assert_eq!(json["distinct_id"].as_str().unwrap(), &event.distinct_id);
        prop_assert_eq!(json["properties"]["moehog"]["receipt"].as_str().unwrap(), &webhook.receipt);
        let _readable: jiff::Timestamp = json["timestamp"].as_str().unwrap().parse().unwrap();
        prop_assert!(!placeholder::is_unresolved(&event.distinct_id) && !placeholder::is_unresolved(&event.name));
        let as_json = json["distinct_id"].to_string();
        let reading = identity::Reading { trims: true, wholes: false, mended_quotes: false };
        let again = identity::distinct_id(&as_json, "distinct_id", reading, &mut Notes::default());
        let again = again.unwrap();
        prop_assert_eq!(again.as_deref(), Some(event.distinct_id.as_str()));
    }
    Ok(())
}

/// The key by which PostHog tells events apart.
fn posthog_keys(webhook: &Webhook) -> Vec<(Bytes, String, String, String)> {
    let key = |event: Event| {
        let json: serde_json::Value = serde_json::from_slice(&event.json).unwrap();
        let time: jiff::Timestamp = json["timestamp"].as_str().unwrap().parse().unwrap();
        (event.uuid, event.name, event.distinct_id, time.to_string()[..10].to_string())
    };
    events(webhook).into_iter().map(key).collect()
}

/// Valid JSON as some sender may write it: numbers of any size and form, escapes, spaces.
fn raw_json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        Just("null".to_string()),
        Just("true".to_string()),
        Just("18446744073709551615".to_string()),
        "\"x([a-zA-Z0-9 é😀]|\\\\[\"/nt\\\\]|\\\\u00e9|\\\\ud83d\\\\ude00){1,12}\"",
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..4), "[ \t\n]{0,2}")
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},")))),
            (proptest::collection::vec(inner, 0..4), "[ \t\n]{0,2}").prop_map(|(items, space)| {
                let members: Vec<_> =
                    items.iter().enumerate().map(|(n, item)| format!("\"k{n}\"{space}:{item}")).collect();
                format!("{{{space}{}{space}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_give_a_sound_answer(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        is_sound(&webhook(body))?;
    }

    #[test]
    fn a_damaged_sample_gives_a_sound_answer(
        sample in 0..SAMPLES.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..4, any::<u8>()), 0..6),
        pieces in proptest::collection::vec(prop::sample::select(vec!["{{id}}", "\"", "null", "\\ud800", "[", "},{", "0", "\"guest\"", "\0"]), 6),
    ) {
        let mut body = SAMPLES[sample].as_bytes().to_vec();
        for ((at, kind, byte), piece) in edits.into_iter().zip(pieces) {
            let at = at.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => drop(body.remove(at)),
                2 => drop(body.splice(at..at, piece.bytes())),
                _ => {
                    let end = (at + usize::from(byte)).min(body.len());
                    let copy = body[at..end].to_vec();
                    body.splice(at..at, copy);
                }
            }
        }
        is_sound(&webhook(body))?;
    }

    #[test]
    fn no_placeholder_becomes_a_person(
        before in "[a-z ]{0,4}", after in "[a-z ]{0,4}",
        placeholder in prop::sample::select(vec!["{{user_id}}", "{% if a %}", "%7B%7Bid%7D%7D", "UserAttribute['ID']", "\\u007b\\u007bid}}"]),
    ) {
        let text = format!("{before}{placeholder}{after}");
        for body in [
            format!(r#"{{"event":"a","distinct_id":"{text}"}}"#),
            format!(r#"{{"event":"a","properties":{{"distinct_id":"{text}"}}}}"#),
            format!(r#"{{"events":[{{"event_name":"a","uid":"{text}","user_attributes":{{"moengage_user_id":"m"}}}}]}}"#),
            format!(r#"{{"events":[{{"event_name":"a","user_attributes":{{"moengage_user_id":"{text}"}}}}]}}"#),
        ] {
            prop_assert_eq!(words(body), Ok(vec!["unresolved_placeholder".to_string()]));
        }
    }

    #[test]
    fn a_redelivery_has_the_keys_that_posthog_collapses(
        // a number that is no time of an event is dated at its arrival, each time anew
        ids in proptest::collection::vec(("[a-z0-9-]{1,8}", 1_600_000_000_u32..1_787_300_000), 1..8),
        receipt in "[a-f0-9]{8}", later_ms in 0_i64..400_000_000,
    ) {
        let event = |(id, time): &(String, u32)| format!(r#"{{"event_uuid":"e{id}","event_time":{time},"event_name":"n","uid":"u-{id}"}}"#);
        let list: Vec<_> = ids.iter().map(event).collect();
        let body = format!(r#"{{"moe_request_id":"1","events":[{}]}}"#, list.join(","));
        let again = body.replace("\"1\"", "\"2\"");
        let first = webhook(body);
        let second = Webhook { receipt, received_at_ms: first.received_at_ms + later_ms, ..webhook(again) };
        prop_assert!(!posthog_keys(&first).is_empty());
        prop_assert_eq!(posthog_keys(&first), posthog_keys(&second));
    }

    #[test]
    fn values_that_no_rule_touches_stay_byte_for_byte(values in proptest::collection::vec(raw_json(), 1..6)) {
        let list = |prefix: &str| values.iter().enumerate().map(|(n, value)| format!("\"{prefix}\\u0061{n}\":{value}")).collect::<Vec<_>>().join(",");
        let json = one(format!(r#"{{"event":"a","distinct_id":"u-1","properties":{{{}}},"$set":{{{}}}}}"#, list(""), list("s")));
        let expected = format!(r#""properties":{{{},"$set":{{{}}},"$lib""#, list(""), list("s"));
        prop_assert!(json.contains(&expected), "{json}\nlacks\n{expected}");
        let json = one(format!(
            r#"{{"events":[{{"event_name":"a","uid":"u-1","event_attributes":{{{}}},"user_attributes":{{{}}},"device_attributes":{{{}}}}}]}}"#,
            list(""), list("u"), list("d")
        ));
        let expected = format!(r#""properties":{{{},{},{},"$lib""#, list(""), list("d"), list("user_u"));
        prop_assert!(json.contains(&expected), "{json}\nlacks\n{expected}");
    }
}
