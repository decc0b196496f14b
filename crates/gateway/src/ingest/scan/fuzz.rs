//! Any body in any pieces, guided by coverage: `cargo xtask fuzz scan`.

use std::fmt;

use moehog_proto::project_key_fault;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::*;

#[test]
fn the_key_is_what_a_parser_finds_however_the_body_is_cut() {
    bolero::check!(name = "scan").with_iterations(500).with_max_len(4096).for_each(|body: &[u8]| {
        let key = scan(body, std::iter::repeat(usize::MAX));
        for size in [1, 2, 7, 64] {
            assert_eq!(scan(body, std::iter::repeat(size)), key, "in pieces of {size}");
        }
        let seed = body.iter().fold(0xcbf2_9ce4_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        for at in (0..4).map(|turn| seed.rotate_left(turn * 8) as usize % (body.len() + 1)) {
            assert_eq!(scan(body, [at.max(1)].into_iter().chain(std::iter::repeat(usize::MAX))), key, "cut at {at}");
        }
        agrees_with_a_parser(body, key);
    });
}

/// Scans a body in pieces of these sizes. What is certain early stays the answer.
fn scan(body: &[u8], sizes: impl Iterator<Item = usize>) -> Option<String> {
    let (mut finder, mut rest, mut certain) = (Finder::new(), body, None);
    for size in sizes {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        let is_certain = finder.feed(piece);
        assert_eq!(is_certain, finder.certain_key().is_some());
        certain = certain.or_else(|| finder.certain_key().map(str::to_string));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let key = finder.key();
    assert!(certain.is_none() || certain == key, "{certain:?} was certain, then {key:?} was found");
    key
}

/// The body's key, were it read by a parser: the outermost one, the first of the best name.
fn agrees_with_a_parser(body: &[u8], key: Option<String>) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    // deep nesting and lone surrogates are no JSON to this parser
    if serde_json::from_str::<serde_json::Value>(text).is_err() {
        return;
    }
    let mut candidates = Vec::new();
    find_candidates(text, 0, &mut candidates);
    match candidates.iter().min_by_key(|(depth, name, _)| (*depth, *name)) {
        Some((.., raw)) if raw.len() - 2 <= MAX_TEXT_BYTES => {
            assert_eq!(key, serde_json::from_str(raw).unwrap(), "not what a parser finds");
        }
        // not kept as a whole, and not taken for a key that is shorter
        Some(_) => assert!(key.is_some_and(|key| project_key_fault(&key).is_some()), "part of a text is a key"),
        None => {
            let mut outside = KeyScan::new(State::Between);
            outside.feed(body);
            assert!(outside.key().is_none(), "a key where a parser finds none");
        }
    }
}

/// Every text under a key's name, as it is written, with its depth.
fn find_candidates<'a>(json: &'a str, depth: u32, into: &mut Vec<(u32, Name, &'a str)>) {
    match json.trim_ascii_start().as_bytes().first() {
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_str(json).unwrap();
            for (name, value) in members.0 {
                match Name::of(name.as_bytes()) {
                    Some(name) if value.get().starts_with('"') => into.push((depth + 1, name, value.get())),
                    _ => find_candidates(value.get(), depth + 1, into),
                }
            }
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            elements.iter().for_each(|element| find_candidates(element.get(), depth, into));
        }
        _ => {}
    }
}

/// An object's members in their order, none left out.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(Vec::new()))
    }
}

impl<'de> de::Visitor<'de> for Members<'de> {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
        while let Some(member) = members.next_entry()? {
            self.0.push(member);
        }
        Ok(self)
    }
}
