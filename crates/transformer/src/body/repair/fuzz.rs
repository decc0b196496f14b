//! Any text, guided by coverage: `cargo xtask fuzz repair`.

use std::time::{Duration, Instant};

use super::*;

/// What even a slow build takes for [`LONG`] bytes, unless it looks at each of them from every other.
const MOST_TIME: Duration = Duration::from_secs(5);
/// Bytes of the body that a short one is made into.
const LONG: usize = 64 * 1024;

#[test]
fn what_is_mended_is_json_and_not_much_longer() {
    bolero::check!(name = "repair").with_iterations(500).with_max_len(2048).for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        check(&text);
        as_a_value(&text);
        // the same over and over, inside of one text and as elements of one list; not of each, for it takes long
        if bytes.len() % 16 == 7 {
            let times = LONG / bytes.len();
            check(&format!("{{\"a\": \"{}\"}}", text.repeat(times)));
            check(&format!("[{}1]", format!("{text},").repeat(times)));
        }
    });
}

fn check(text: &str) {
    let begun = Instant::now();
    let repaired = repair(text);
    assert!(begun.elapsed() < MOST_TIME, "{} bytes took {:?}", text.len(), begun.elapsed());
    let Some(Mended { text: mended, repairs, broken, are_lines }) = repaired else { return };
    assert!(serde_json::from_str::<IgnoredAny>(&mended).is_ok(), "{mended} is no JSON");
    // `\u0000` for one byte, `null` for none
    assert!(mended.len() <= text.len() * 6, "{} bytes became {}", text.len(), mended.len());
    assert!((!repairs.is_empty() || !broken.is_empty() || are_lines) && mended != text, "{mended} was not broken");
    let places = repairs.located(text);
    let is_named_once = |place: &Located| places.iter().filter(|other| *other == place).count() == 1;
    assert!(places.iter().all(is_named_once), "{places:?}");
}

/// A text that a template fills in comes out as it was, unless it poses as the end of its value.
fn as_a_value(text: &str) {
    if text.contains(['\\', ',']) {
        return;
    }
    let broken = format!(r#"{{"a": "{text}", "b": 1}}"#);
    if serde_json::from_str::<IgnoredAny>(&broken).is_err()
        && let Some((mended, _)) = value(&broken)
    {
        let read: serde_json::Value = serde_json::from_str(&mended).unwrap();
        assert_eq!(read["a"].as_str(), Some(text), "{mended}");
        assert_eq!(read["b"], 1, "{mended}");
    }
}
