//! Bytes that were right and are damaged at random: what a fuzzer sends.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// Pieces that mean something to JSON, templates, heads, protobufs or compression.
const PIECES: [&[u8]; 36] = [
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\0",
    b"\xff",
    b"\xe9",
    b"%",
    b"&",
    b"=",
    b"&=",
    b"\r\n",
    b"\n",
    b"\t",
    b";",
    b"{{user_id}}",
    b"{% if x %}",
    b"null",
    b"True",
    b"None",
    b"\"guest\"",
    b"\\ud800",
    b"1e999",
    b"-1",
    b"18446744073709551616",
    b"\x1f\x8b",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"/../",
];

/// Damages a copy of `bytes` in one to `most` places: bits, pieces put in or taken out, parts of `others`.
#[must_use]
pub fn mutated(bytes: &[u8], others: &[Vec<u8>], most: usize, chance: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..chance.random_range(1..=most) {
        let at = chance.random_range(0..=bytes.len());
        let end = (at + chance.random_range(0..24)).min(bytes.len());
        match chance.random_range(0..8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 if at < bytes.len() => bytes[at] ^= 1 << chance.random_range(0..8),
            3 if at < bytes.len() => bytes[at] = chance.random(),
            4 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            5 => {
                if let Some(other) = others.choose(chance) {
                    let from = chance.random_range(0..=other.len());
                    let until = (from + chance.random_range(0..64)).min(other.len());
                    drop(bytes.splice(at..end, other[from..until].iter().copied()));
                }
            }
            6 => drop(bytes.splice(at..end, PIECES.choose(chance).copied().unwrap_or_default().iter().copied())),
            _ => drop(bytes.splice(at..at, PIECES.choose(chance).copied().unwrap_or_default().iter().copied())),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_damage_again_and_the_next_another() {
        let body = br#"{"event":"Purchased","distinct_id":"u-1","properties":{"amount":"49.90"}}"#;
        let others = [br#"{"user_id":"{{UserAttribute['ID']}}"}"#.to_vec()];
        let draw = |seed| mutated(body, &others, 4, &mut StdRng::seed_from_u64(seed));
        assert!((0..100).all(|seed| draw(seed) == draw(seed)), "a seed tells all");
        let different: HashSet<_> = (0..100).map(draw).collect();
        assert!(different.len() > 90 && different.iter().filter(|damaged| *damaged != body).count() > 90);
    }
}
