//! Bodies of all cases, damaged at random: whatever comes, nothing panics, and every event that is made is one that PostHog takes and that
//! belongs to somebody.
//!
//! `MOEHOG_BODIES_FIRST` and `MOEHOG_BODIES` say which seeds run; `cargo xtask soak bodies` runs a million.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod event;

use std::{env, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use moehog_emulator::mutated;
use moehog_proto::transformer::{Webhook, mapped_event::Outcome, transformed_webhook};
use moehog_transformer::{Mapping, Rules, Transformer};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;

/// Rules that touch everything, so that a body can hurt each of them.
const RULES: &str = include_str!("../../testdata/rules-that-touch-everything.toml");

fn corpus() -> Vec<Vec<u8>> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths: Vec<_> = fs::read_dir(testdata.join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let body = |path: &Path| {
        let case: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        match (case["body"].as_str(), case["body_base64"].as_str(), case["body_file"].as_str()) {
            (Some(text), ..) => text.as_bytes().to_vec(),
            (_, Some(text), _) => BASE64_STANDARD.decode(text).unwrap(),
            (.., Some(file)) => fs::read(testdata.join(file)).unwrap(),
            _ => panic!("{} has no body", path.display()),
        }
    };
    paths.iter().map(|path| body(path)).collect()
}

#[test]
fn damaged_bodies_give_events_that_are_somebodys_or_a_reason() {
    let variable = |name: &str, default: u64| env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let (first, bodies) = (variable("MOEHOG_BODIES_FIRST", 1), variable("MOEHOG_BODIES", 4_000));
    let corpus = corpus();
    let rules = Rules::read(RULES, Some(b"key")).unwrap_or_else(|problems| panic!("{problems:?}"));
    let transformers =
        [Transformer::new(&Mapping::default(), Rules::default()), Transformer::new(&Mapping::default(), rules)];
    let (mut events, mut dead, mut rejected) = (0_u64, 0_u64, 0_u64);
    for seed in first..first + bodies {
        let mut chance = StdRng::seed_from_u64(seed);
        let body = mutated(corpus.choose(&mut chance).unwrap(), &corpus, 6, &mut chance);
        let api_key = if chance.random() { "phc_test" } else { "" };
        let webhook = Webhook { api_key: api_key.to_string(), ..event::webhook(&body) };
        for (transformer, drops_numbers) in transformers.iter().zip([false, true]) {
            match transformer.transform(&webhook).result.unwrap() {
                transformed_webhook::Result::Rejection(why) => {
                    assert!(!why.reason.is_empty() && !why.detail.is_empty(), "seed {seed}: no reason");
                    rejected += 1;
                }
                transformed_webhook::Result::Mapped(mapped) => {
                    for mapped in mapped.events {
                        match mapped.outcome.unwrap() {
                            Outcome::Event(event) => {
                                event::check(&event.json, drops_numbers, seed);
                                events += 1;
                            }
                            Outcome::Dead(why) => {
                                assert!(!why.detail.is_empty(), "seed {seed}: no reason");
                                dead += 1;
                            }
                            Outcome::Filtered(_) | Outcome::Duplicate(_) => {}
                        }
                    }
                }
            }
        }
    }
    // a run that only rejects shows nothing
    let all = events + dead + rejected;
    assert!(events * 10 > all && (dead + rejected) * 20 > all, "{events} events, {dead} dead, {rejected} rejected");
}
