//! Each payload in `testdata/` gives the events in `tests/snapshots/`.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{fmt::Write, fs, path::Path};

use moehog_proto::{
    event::TraceContext,
    transformer::{Webhook, mapped_event::Outcome, transformed_webhook},
};
use moehog_transformer::{Mapping, Note, Transformer};

fn webhook(body: Vec<u8>) -> Webhook {
    Webhook {
        receipt: "3f9a1c2b-12f-a07c".to_string(),
        origin_receipt: "3f9a1c2b-12f-a07c".to_string(),
        received_at_ms: 1_787_220_672_345, // 2026-08-20T10:11:12.345Z
        source: "shop".to_string(),
        route: "capture".to_string(),
        api_key: "phc_test".to_string(),
        trace: TraceContext::from_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        body: body.into(),
        ..Webhook::default()
    }
}

/// What became of a webhook, an event a paragraph, its JSON laid out and checked against its routing fields.
fn told(transformer: &Transformer, webhook: &Webhook) -> String {
    let mut text = String::new();
    let (transformed, notes) = transformer.transform_counted(webhook);
    match transformed.result.unwrap() {
        transformed_webhook::Result::Rejection(rejection) => {
            writeln!(text, "rejected: {}: {}", rejection.reason, rejection.detail).unwrap();
        }
        transformed_webhook::Result::Mapped(mapped) => {
            for event in mapped.events {
                write!(text, "{}: ", event.position).unwrap();
                match event.outcome.unwrap() {
                    Outcome::Event(event) => {
                        let json: serde_json::Value = serde_json::from_slice(&event.json).unwrap();
                        assert_eq!(json["event"], event.name);
                        assert_eq!(json["distinct_id"], event.distinct_id);
                        assert_eq!(json["uuid"], uuid::Uuid::from_slice(&event.uuid).unwrap().to_string());
                        let json = std::str::from_utf8(&event.json).unwrap();
                        writeln!(
                            text,
                            "event {} of {}\n{}",
                            event.name,
                            event.distinct_id,
                            json.replace(",\"", ",\n\"")
                        )
                        .unwrap();
                    }
                    Outcome::Dead(rejection) => {
                        writeln!(text, "dead: {}: {}", rejection.reason, rejection.detail).unwrap()
                    }
                    Outcome::Duplicate(_) => writeln!(text, "duplicate").unwrap(),
                    Outcome::Filtered(why) => writeln!(text, "filtered: {why}").unwrap(),
                }
            }
        }
    }
    for note in Note::ALL.into_iter().filter(|note| notes.get(*note) > 0) {
        writeln!(text, "noted {} times: {}", notes.get(note), note.name()).unwrap();
    }
    text
}

#[test]
fn each_payload_gives_its_events() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let transformer = Transformer::new(Mapping::default());
    let mut names: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 17);
    for name in names {
        let mut webhook = webhook(fs::read(directory.join(&name)).unwrap());
        if name.ends_with("-template.json") {
            webhook.api_key = "<ph_project_api_key>".to_string();
        }
        insta::assert_snapshot!(name.trim_end_matches(".json"), told(&transformer, &webhook));
    }
}
