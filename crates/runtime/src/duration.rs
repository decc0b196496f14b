//! Spans of time as text: `300ms`, `30s`, `10m`, `72h`, `7d`. For `#[serde(with = "moehog_runtime::duration")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// Reads a span of time.
///
/// # Errors
///
/// A text that is not a whole number and one of the units ms, s, m, h, d.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is not a span of time such as 300ms, 30s, 10m, 72h or 7d")))
}

/// Reads a span of time; none where it is not a whole number and a unit.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    let seconds = match unit.trim() {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_number_and_a_unit() {
        assert_eq!(parse("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(parse("72h"), Some(Duration::from_secs(72 * 3600)));
        for bad in ["", "5", "s", "-1s", "1y", "1.5s", "99999999999999999999d", "9999999999999999999d"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
