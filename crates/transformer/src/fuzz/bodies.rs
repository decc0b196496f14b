//! Any body, guided by coverage: `cargo xtask fuzz bodies`.

use std::sync::LazyLock;

use moehog_proto::transformer::{Webhook, mapped_event::Outcome, transformed_webhook};
use serde::de::IgnoredAny;

use super::event::{self, webhook};
use crate::{Mapping, Note, Rules, Transformer};

/// Rules that touch everything, so that a body can hurt each of them.
const RULES: &str = include_str!("../../testdata/rules-that-touch-everything.toml");

/// Without rules, and with rules that touch everything.
static TRANSFORMERS: LazyLock<[Transformer; 2]> = LazyLock::new(|| {
    let rules = Rules::read(RULES, Some(b"key")).unwrap();
    [Rules::default(), rules].map(|rules| Transformer::new(&Mapping::default(), rules))
});

#[test]
fn any_body_gives_events_that_are_somebodys_or_a_reason() {
    bolero::check!(name = "bodies").with_iterations(200).with_max_len(4096).for_each(|body: &[u8]| {
        // by its length a body comes to a source of one project, and as a form
        let api_key = if body.len().is_multiple_of(2) { "phc_test" } else { "" };
        let content_type =
            if body.len().is_multiple_of(3) { "application/x-www-form-urlencoded" } else { "application/json" };
        let webhook = Webhook { api_key: api_key.to_string(), content_type: content_type.to_string(), ..webhook(body) };
        for (transformer, drops_numbers) in TRANSFORMERS.iter().zip([false, true]) {
            check(transformer, &webhook, drops_numbers);
        }
    });
}

fn check(transformer: &Transformer, webhook: &Webhook, drops_numbers: bool) {
    let (transformed, notes) = transformer.transform_counted(webhook);
    assert!(transformed == transformer.transform(webhook), "mapped otherwise the second time");
    if serde_json::from_slice::<IgnoredAny>(&webhook.body).is_ok() {
        assert_eq!(notes.get(Note::RepairedJson), 0, "valid JSON was mended");
    }
    let events = match transformed.result.unwrap() {
        transformed_webhook::Result::Rejection(why) => {
            assert!(!why.reason.is_empty() && !why.detail.is_empty(), "no reason");
            return;
        }
        transformed_webhook::Result::Mapped(mapped) => mapped.events,
    };
    for mapped in events {
        match mapped.outcome.unwrap() {
            Outcome::Event(event) => event::check(&event.json, drops_numbers, 0),
            Outcome::Dead(why) => assert!(!why.reason.is_empty() && !why.detail.is_empty(), "no reason"),
            Outcome::Filtered(_) | Outcome::Duplicate(_) => {}
        }
    }
}
