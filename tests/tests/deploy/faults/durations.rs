//! Spans of time, as the programs that read them write them.

const GO: [(&str, f64); 7] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
const PROMETHEUS: [(&str, f64); 7] =
    [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0), ("w", 604_800.0), ("y", 31_536_000.0)];

/// Seconds of a Go duration such as `2160h` or `1.5h`.
pub(super) fn go_seconds(text: &str) -> Option<f64> {
    sum(text, &GO)
}

/// Seconds of a duration of Prometheus such as `30s` or `1h30m`; it knows no fractions.
pub(super) fn prometheus_seconds(text: &str) -> Option<f64> {
    sum(text, &PROMETHEUS).filter(|_| !text.contains('.'))
}

fn sum(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (mut rest, mut seconds) = (text, None);
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (amount, behind) = rest.split_at(number);
        let unit = behind.len() - behind.trim_start_matches(char::is_alphabetic).len();
        let (unit, behind) = behind.split_at(unit);
        let factor = units.iter().find(|(name, _)| *name == unit)?.1;
        seconds = Some(seconds.unwrap_or(0.0) + amount.parse::<f64>().ok()? * factor);
        rest = behind;
    }
    seconds
}

#[test]
fn durations_are_read_as_their_programs_do() {
    for (written, seconds) in [("2160h", 7_776_000.0), ("1h30m", 5400.0), ("1.5m", 90.0), ("720h0m0s", 2_592_000.0)] {
        assert_eq!(go_seconds(written), Some(seconds), "{written}");
    }
    for written in ["", "90", "90d", "2160 h", "h", "1h 30m"] {
        assert_eq!(go_seconds(written), None, "{written}");
    }
    for (written, seconds) in [("30s", 30.0), ("1h30m", 5400.0), ("1d", 86_400.0)] {
        assert_eq!(prometheus_seconds(written), Some(seconds), "{written}");
    }
    for written in ["", "15 s", "30", "-5s", "1.5m"] {
        assert_eq!(prometheus_seconds(written), None, "{written}");
    }
}
