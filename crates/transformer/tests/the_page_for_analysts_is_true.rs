//! `EVENTS.md` answers each question with an example: this runs them.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use moehog_proto::transformer::{Webhook, mapped_event::Outcome, transformed_webhook};
use moehog_transformer::{Mapping, Rules, Transformer};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../EVENTS.md");

/// What stands between fences: language and text.
fn fenced(section: &str) -> Vec<(&str, &str)> {
    let blocks = section.split("\n```").skip(1).step_by(2);
    blocks.filter_map(|block| block.split_once('\n')).collect()
}

/// What PostHog gets of a body.
fn got(body: &str, mapping: &str) -> Vec<Value> {
    let rules = Rules::read(mapping, None).unwrap_or_else(|problems| panic!("{problems:?} in\n{mapping}"));
    let webhook = Webhook {
        receipt: "r-1".to_string(),
        received_at_ms: 1_787_220_672_345, // 2026-08-20T10:11:12.345Z
        source: "default".to_string(),
        route: "in".to_string(),
        body: body.to_string().into(),
        ..Webhook::default()
    };
    let made = Transformer::new(&Mapping::default(), rules).transform(&webhook).result;
    let Some(transformed_webhook::Result::Mapped(mapped)) = made else { panic!("{made:?} of\n{body}") };
    let event = |outcome| match outcome {
        Outcome::Event(event) => serde_json::from_slice(&event.json).unwrap(),
        Outcome::Dead(why) => json!({"dead": why.reason}),
        Outcome::Duplicate(is_one) => json!({"duplicate": is_one}),
        Outcome::Filtered(by) => json!({"filtered": by}),
    };
    mapped.events.into_iter().map(|mapped| event(mapped.outcome.unwrap())).collect()
}

/// Whether `whole` has all that `part` has.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| holds(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| holds(whole, part))
        }
        (whole, part) => whole == part,
    }
}

#[test]
fn every_question_is_answered_by_an_example_that_is_so() {
    let mut questions = 0;
    for section in PAGE.split("\n## ").skip(1) {
        let (mut mapping, mut body, mut examples) = ("", None, 0);
        for (language, text) in fenced(section) {
            match (language, body.take()) {
                ("toml", None) => mapping = text,
                ("json", None) => body = Some(text),
                ("json", Some(body)) => {
                    let (got, expected) = (got(body, mapping), serde_json::from_str::<Value>(text).unwrap());
                    assert!(
                        holds(&Value::from(got.clone()), &expected),
                        "{body}\ngives\n{}\nand not\n{text}",
                        json!(got)
                    );
                    examples += 1;
                    mapping = "";
                }
                (other, _) => panic!("{other} in {section}"),
            }
        }
        assert!(examples > 0 && body.is_none(), "no example answers: {section}");
        questions += 1;
    }
    assert!(questions >= 8, "{questions} questions");
}
