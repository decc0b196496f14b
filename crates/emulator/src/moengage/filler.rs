//! Text to make a body as large as wanted.

/// MoEngage cuts values at 512 characters.
const LONGEST: usize = 512;
/// `,"note_0000":""`
const OVERHEAD: usize = 15;

const WORDS: [&str; 16] = [
    "trail", "monsoon", "basket", "offer", "pune", "evening", "express", "loyalty", "festive", "cart", "mobile",
    "banner", "winter", "reminder", "segment", "weekend",
];

/// JSON members, each with a leading comma, of exactly so many bytes; nothing where there is no room for one.
pub(crate) fn members(bytes: usize, seed: u64) -> String {
    let mut text = String::with_capacity(bytes);
    let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut number = 0;
    while bytes - text.len() >= OVERHEAD {
        let left = bytes - text.len();
        let mut room = left.min(LONGEST + OVERHEAD);
        if left > room && left - room < OVERHEAD {
            room -= OVERHEAD;
        }
        text.push_str(&format!(",\"note_{number:04}\":\""));
        let end = text.len() + room - OVERHEAD;
        while text.len() < end {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(WORDS[(chance >> 60) as usize]);
            text.push_str(&format!(" {:x} ", (chance >> 40) & 0xfff));
        }
        text.truncate(end);
        text.push('"');
        number += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_long_as_asked_and_json() {
        for bytes in [0, 14, 15, 16, 100, 527, 528, 541, 542, 1054, 5000, 250_000] {
            let members = members(bytes, 7);
            assert_eq!(members.len(), if bytes < OVERHEAD { 0 } else { bytes });
            let object: serde_json::Value = serde_json::from_str(&format!("{{\"a\":1{members}}}")).unwrap();
            assert!(object.as_object().unwrap().values().all(|v| v.as_str().is_none_or(|text| text.len() <= LONGEST)));
        }
    }
}
