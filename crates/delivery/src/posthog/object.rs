//! Whether an event is what a batch is made of.

use std::{collections::BTreeMap, io};

use bytes::Bytes;
use moehog_proto::event::Event;
use moehog_runtime::Cores;

mod blocks;

use blocks::{BLOCK, Blocks};

/// More than this is looked at on a thread of its own, so that it holds up no other call.
const INLINE_BYTES: usize = 64 * 1024;

/// Of those events that are not one JSON object, what they are, by their index.
///
/// # Errors
///
/// The looking thread died.
pub(crate) async fn object_faults(cores: &Cores, events: &[Event]) -> io::Result<BTreeMap<usize, String>> {
    if events.iter().map(|event| event.json.len()).sum::<usize>() <= INLINE_BYTES {
        return Ok(find_faults(events.iter().map(|event| &event.json)));
    }
    let events: Vec<Bytes> = events.iter().map(|event| event.json.clone()).collect();
    cores.run(move || find_faults(events.iter())).await.map_err(io::Error::other)
}

fn find_faults<'a>(events: impl Iterator<Item = &'a Bytes>) -> BTreeMap<usize, String> {
    events.enumerate().filter_map(|(index, json)| Some((index, object_fault(json)?))).collect()
}

/// What keeps `json` from being one object of the batch and nothing else; none where it is one. Events are joined into a batch as they
/// are: one that ended early would go on as keys of the request, its project key among them.
///
/// Strings and brackets are what decides that: a batch that PostHog can read has exactly the events in it that were put there. Whether
/// words and numbers are JSON, PostHog says, as of all else that is wrong with an event: to read these too costs ten times as much.
fn object_fault(json: &[u8]) -> Option<String> {
    if json.first() != Some(&b'{') {
        return Some("does not begin with `{`".to_string());
    }
    if let Err(error) = std::str::from_utf8(json) {
        return Some(format!("is no UTF-8 from byte {} on", error.valid_up_to()));
    }
    let Some(end) = end_of_object(json) else { return Some("does not end, or its brackets do not match".to_string()) };
    let is_alone = json[end..].iter().all(u8::is_ascii_whitespace);
    (!is_alone).then(|| format!("goes on behind its end, at byte {end}"))
}

/// Where the object ends that `json` begins with; none where its strings and brackets do not close.
fn end_of_object(json: &[u8]) -> Option<usize> {
    let (mut brackets, mut blocks) = (Brackets::default(), Blocks::default());
    for (number, bytes) in json.chunks(BLOCK).enumerate() {
        let mut outside = blocks.brackets(bytes);
        while outside != 0 {
            let at = outside.trailing_zeros() as usize;
            if brackets.take(bytes[at])? == 0 {
                return Some(number * BLOCK + at + 1);
            }
            outside &= outside - 1;
        }
    }
    None
}

/// The brackets that are open, a bit each; the last 64, and those further out.
#[derive(Debug, Default)]
struct Brackets {
    last: u64,
    depth: usize,
    outer: Vec<u64>,
}

impl Brackets {
    /// Takes the next one and says how many are open then; none where it closes one of another kind.
    fn take(&mut self, bracket: u8) -> Option<usize> {
        let is_brace = u64::from(matches!(bracket, b'{' | b'}'));
        if matches!(bracket, b'{' | b'[') {
            if self.depth > 0 && self.depth.is_multiple_of(64) {
                self.outer.push(self.last);
            }
            self.last = self.last << 1 | is_brace;
            self.depth += 1;
        } else {
            if self.depth == 0 || self.last & 1 != is_brace {
                return None;
            }
            self.depth -= 1;
            let back = self.depth > 0 && self.depth.is_multiple_of(64);
            self.last = if back { self.outer.pop()? } else { self.last >> 1 };
        }
        Some(self.depth)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use serde_json::{Map, Value};

    use super::*;

    #[tokio::test]
    async fn faults_are_found_by_their_index_in_small_calls_and_large_ones() {
        let large = Event { json: format!(r#"{{"":"{}"}}"#, "x".repeat(INLINE_BYTES)).into(), ..Event::default() };
        let bad = Event { json: Bytes::from_static(b"{}{}"), ..Event::default() };
        for events in [vec![bad.clone(), bad.clone()], vec![bad.clone(), bad, large]] {
            let faults = object_faults(&Cores::all(), &events).await.unwrap();
            assert_eq!(faults.into_keys().collect::<Vec<_>>(), [0, 1]);
        }
    }

    #[test]
    fn one_object_passes_and_nothing_else_does() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        for object in [r"{}", r#"{"event":"a","n":[1,{"b":null}],"t":"}\u0000"}"#, "{\"a\":1.5e300} \n", &deep] {
            assert_eq!(object_fault(object.as_bytes()), None);
        }
        for (json, says) in [
            (&br#"{"event":"a"}],"api_key":"phc_INJECTED","x":[{"event":"b"}"#[..], "at byte 13"),
            (br#"{"event":"a"},{"event":"b"}"#, "at byte 13"),
            (br#"{"event":"a"}{}"#, "at byte 13"),
            (br#"{"event":"a""#, "does not end"),
            (br#"{"event":"a\"}"#, "does not end"),
            (br#"{"event":"a\"#, "does not end"),
            (br#"{"event":"a"]}"#, "do not match"),
            (br#"{"event":[}]"#, "do not match"),
            (b"[{}]", "does not begin"),
            (b" {}", "does not begin"),
            (b"", "does not begin"),
            (b"null", "does not begin"),
            (b"{\"a\":\"\xff\"}", "byte 6"),
        ] {
            let fault = object_fault(json).expect("it is refused");
            assert!(fault.contains(says) && !fault.contains("phc_"), "{fault}");
        }
    }

    proptest! {
        /// Against a whole parser: what it takes for an object is one here, and of events that pass, and make a batch that it
        /// takes, the batch has as many.
        #[test]
        fn a_batch_has_the_events_that_were_put_into_it(
            pieces in vec(select(&PIECES[..]), 1..14),
            other in vec(select(&PIECES[..]), 1..6),
        ) {
            let events = [pieces.concat(), other.concat(), format!(r#"{{"a":{}}}"#, pieces.concat())];
            for event in &events {
                let is_object = serde_json::from_str::<Map<String, Value>>(event).is_ok() && event.starts_with('{');
                prop_assert!(!is_object || object_fault(event.as_bytes()).is_none(), "{event}");
            }
            let passed: Vec<_> = events.iter().filter(|event| object_fault(event.as_bytes()).is_none()).collect();
            for (one, another) in passed.iter().zip(&passed) {
                let batch = format!(r#"{{"api_key":"k","batch":[{one},{another}]}}"#);
                if let Ok(batch) = serde_json::from_str::<Map<String, Value>>(&batch) {
                    prop_assert_eq!(batch.len(), 2, "{:?}", batch);
                    prop_assert_eq!(batch["batch"].as_array().map(Vec::len), Some(2));
                }
            }
        }
    }

    /// What JSON is made of, and what breaks it.
    const PIECES: [&str; 18] = [
        "{", "}", "[", "]", "\"", "\"", "\\", "\\\"", ":", ",", "1", "\"a\"", "\"a\":", "{}", "]}", "{\"b\":[", " ",
        "null",
    ];

    /// `cargo test --release -p moehog-delivery what_it_costs -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn what_it_costs() {
        let properties: String = (0..40).map(|n| format!(r#","property_{n}":"value {n}","n{n}":{n}.5"#)).collect();
        let event = format!(r#"{{"uuid":"u","event":"bought","properties":{{"a":1{properties}}}}}"#);
        let (began, rounds) = (std::time::Instant::now(), 20_000);
        for _ in 0..rounds {
            assert_eq!(std::hint::black_box(object_fault(std::hint::black_box(event.as_bytes()))), None);
        }
        let nanos = began.elapsed().as_nanos() / rounds;
        println!("{} bytes: {nanos} ns, {} ns a KB", event.len(), nanos * 1024 / event.len() as u128);
    }
}
