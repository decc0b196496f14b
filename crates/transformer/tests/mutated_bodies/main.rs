//! Bodies of all cases, damaged at random: whatever comes, nothing panics, and every event that is made is one that PostHog takes and that
//! belongs to somebody.
//!
//! `MOEHOG_BODIES_FIRST` and `MOEHOG_BODIES` say which seeds run; `cargo xtask soak bodies` runs a million.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod event;

use std::{env, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use moehog_proto::transformer::{Webhook, mapped_event::Outcome, transformed_webhook};
use moehog_transformer::{Mapping, Rules, Transformer};
use serde_json::Value;

/// Rules that touch everything, so that a body can hurt each of them.
const RULES: &str = include_str!("../../testdata/rules-that-touch-everything.toml");

/// Pieces that break JSON, templates and ids.
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\0",
    b"\xff",
    b"{{user_id}}",
    b"{% if x %}",
    b"None",
    b"True",
    b"null",
    b"\"guest\"",
    b"\\ud800",
    b"1e999",
    b"18446744073709551616",
    b"=",
    b"&",
    b"\x1f\x8b",
];

/// splitmix64: the same seed gives the same body.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

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

fn damaged(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut body = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(body.len() + 1);
        let end = (at + random.below(24)).min(body.len());
        match random.below(6) {
            0 => drop(body.splice(at..end, [])),
            1 => drop(body.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            2 => drop(body.splice(at..end, PIECES[random.below(PIECES.len())].iter().copied())),
            3 => {
                let copy = body[at..end].to_vec();
                body.splice(at..at, copy);
            }
            4 if at < body.len() => body[at] = random.next() as u8,
            _ => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                let until = (from + random.below(64)).min(other.len());
                body.splice(at..end, other[from..until].iter().copied());
            }
        }
    }
    body
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
        let mut random = Random(seed);
        let body = damaged(&corpus, &mut random);
        let api_key = if random.below(2) == 0 { "phc_test" } else { "" };
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
