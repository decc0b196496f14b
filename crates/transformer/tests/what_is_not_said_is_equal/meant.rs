//! Events as their senders mean them.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

/// An event, as meant.
#[derive(Debug, Clone)]
pub(crate) struct Meant {
    pub(crate) name: String,
    /// As it is written, blanks and all.
    pub(crate) person: String,
    /// When it happened, milliseconds since 1970; none where the sender does not say it.
    pub(crate) ms: Option<i64>,
    /// The time as it is written; JSON.
    pub(crate) time: Option<Value>,
    /// Tells it from others.
    pub(crate) id: String,
    pub(crate) properties: Map<String, Value>,
    /// Properties that its shape brings with it.
    pub(crate) beside: &'static [&'static str],
}

const NAMES: [&str; 12] =
    ["amount", "revenue", "plan", "city", "note", "count", "vip", "zip", "items", "campaign", "größe", "price"];

impl Meant {
    pub(crate) fn any(chance: &mut StdRng, number: usize) -> Self {
        let (ms, time) = when(chance);
        let mut properties = Map::new();
        for _ in 0..chance.random_range(0..6) {
            properties.insert((*NAMES.choose(chance).unwrap()).to_string(), value(chance, 0));
        }
        Self {
            name: (*["Purchased", "Email Sent", "sign-up", "a"].choose(chance).unwrap()).to_string(),
            person: person(chance),
            ms,
            time,
            id: format!("00000000-0000-4000-8000-{:08x}{number:04x}", chance.random::<u32>()),
            properties,
            beside: &[],
        }
    }
}

fn person(chance: &mut StdRng) -> String {
    let number = chance.random_range(1_000_000_u32..9_000_000);
    match chance.random_range(0..8) {
        0 => format!(" u-{number}"),
        1 => format!("u-{number}\n"),
        2 => format!("{number}.0"),
        3 => format!("josé-{number}"),
        _ => format!("u-{number}"),
    }
}

/// When, and how that is written.
fn when(chance: &mut StdRng) -> (Option<i64>, Option<Value>) {
    let days = chance.random_range(0..200_i64);
    let (hour, minute, second) =
        (chance.random_range(0..24_i64), chance.random_range(0..60_i64), chance.random_range(0..60_i64));
    // 2026-01-01
    let ms = 1_767_225_600_000 + ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000;
    let at = jiff::Timestamp::from_millisecond(ms).unwrap();
    let print = |pattern: &str| Value::from(jiff::fmt::strtime::format(pattern, at).unwrap());
    let written = match chance.random_range(0..14) {
        0 => return (None, None),
        1 => return (Some(ms), Some("yesterday".into())),
        2 => return (Some(ms), Some(print("%d/%m/%Y %H:%M"))),
        3 => return (Some(ms), Some(json!(second))),
        4 => print("%Y-%m-%d %H:%M:%S"),
        5 => print("%Y-%m-%d %I:%M:%S %p"),
        6 => print("%d %b %Y %H:%M:%S"),
        7 => print("%a, %d %b %Y %H:%M:%S +0000"),
        8 => print("%Y-%m-%dT%H:%M:%S.000Z"),
        9 => json!(ms / 1000),
        10 => json!(ms),
        11 => json!((ms / 1000).to_string()),
        12 => print("%Y%m%d%H%M%S"),
        _ => print("%Y-%m-%d %H:%M:%S UTC"),
    };
    (Some(ms), Some(written))
}

fn value(chance: &mut StdRng, depth: u32) -> Value {
    match chance.random_range(0..if depth > 1 { 11 } else { 13 }) {
        0 => json!(chance.random_range(0..1000)),
        1 => json!(f64::from(chance.random_range(0..1000)) / 4.0),
        2 => json!(chance.random::<bool>()),
        3 => Value::Null,
        4 => "49.90".into(),
        5 => "12 €".into(),
        6 => "$1,200".into(),
        7 if depth == 0 => "{{EventAttribute['Plan']}}".into(),
        8 if depth == 0 => ["", "None", "undefined", "MOE_NOT_SEND"].choose(chance).map(|text| (*text).into()).unwrap(),
        9 => "say \"hi\"\nand \\ go".into(),
        11 => (0..chance.random_range(0..3)).map(|_| value(chance, depth + 1)).collect(),
        12 => json!({"sku": value(chance, depth + 1), "qty": chance.random_range(1..9)}),
        _ => format!("word {}", chance.random_range(0..100)).into(),
    }
}
