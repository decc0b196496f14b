//! Whether a time that a template's filters print is read where the body goes.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::{
    Severity,
    filled::Filled,
    found::{Found, Mend},
    probe::Outcome,
    shape::Shape,
    values::{self, Fill},
};

/// How a text in `timestamp` is read where the body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadTime {
    /// As this point in time.
    At {
        /// Milliseconds since the epoch.
        ms: i64,
    },
    /// Day and month could be exchanged.
    Ambiguous,
    /// Not at all: the event has the time of its arrival.
    Unreadable,
}

/// Reads a text as the place does that the body goes to, at a point in time in milliseconds since the epoch.
pub type ReadsTime<'a> = dyn Fn(&str, i64) -> ReadTime + 'a;

const MINUTE_MS: i64 = 60_000;

/// Points in time that are printed: with a day that may be a month, and one that cannot; before noon, and after.
const SAMPLES_MS: [i64; 2] = [1_793_727_906_000, 1_795_843_269_000]; // 2026-11-03T17:45:06Z, 2026-11-28T05:21:09Z

/// Members that say when an event happened.
const TIMES: [&str; 2] = ["timestamp", "event_time"];

/// Adds what becomes of the time.
pub(super) fn check(filled: &Filled<'_>, reads_time: &ReadsTime<'_>, found: &mut Vec<Found>) {
    let printed = SAMPLES_MS.map(|ms| {
        let outcome = filled.probes.filled_at(ms, |at| filled.suited(at, Fill::Word));
        let Outcome::Sent(body) = outcome else { return None };
        let (name, text) = Shape::read(&body).event().and_then(time)?;
        let is_known = (0..filled.template.accesses.len()).any(|at| values::holds(&text, at));
        // what is printed of an attribute as it is may have any form
        (!is_known && !values::holds_unknown(&text)).then_some((name, text, ms))
    });
    let [Some(first), Some(second)] = printed else { return };
    let (name, at) = (first.0, filled.text.place(first.0, &filled.template.tags));
    let mut say = |severity, code, breaks: String, why: &str| {
        found.push(Found::new(at, severity, code, (breaks, why.to_string()), Mend::None));
    };
    if first.1 == second.1 {
        let breaks = format!("every event has one time, `{}`", first.1);
        return say(Severity::Error, "constant_time", breaks, "nothing in it comes from the event or the clock");
    }
    let read = [first, second].map(|(_, text, ms)| (reads_time(&text, ms), text, ms));
    if let Some((_, text, _)) = read.iter().find(|(read, ..)| *read == ReadTime::Unreadable) {
        let breaks = format!("`{name}` prints `{text}`, which is no time that moehog reads");
        let why = "the event has the time of its arrival then, and says so: print '%Y-%m-%dT%H:%M:%S%z'";
        return say(Severity::Warning, "unreadable_time", breaks, why);
    }
    if let Some((_, text, _)) = read.iter().find(|(read, ..)| *read == ReadTime::Ambiguous) {
        let breaks = format!("`{name}` prints `{text}`, in which day and month could be exchanged");
        let why = "the event has the time of its arrival then, and says so: print '%Y-%m-%dT%H:%M:%S%z', or set date_order in the mapping file";
        return say(Severity::Warning, "ambiguous_time", breaks, why);
    }
    let off = read.each_ref().map(|(read, _, ms)| match read {
        ReadTime::At { ms: read, .. } => read - ms,
        ReadTime::Ambiguous | ReadTime::Unreadable => 0,
    });
    let Some(at) = off.iter().position(|off| off.abs() >= MINUTE_MS) else { return };
    let text = &read[at].1;
    let (code, breaks, why) = if read.iter().all(|(_, text, _)| !text.contains(':')) {
        (
            "day_only",
            format!("`{name}` prints `{text}`: the hour is lost"),
            "events of one day are in no order: print '%Y-%m-%dT%H:%M:%S%z'",
        )
    } else if off[0] == off[1] {
        (
            "zone_unsaid",
            format!("`{name}` prints `{text}`, which moehog reads {} minutes off", off[0].abs() / MINUTE_MS),
            "the filter prints another zone's time without saying so: add %z to the pattern, or set timezone in the mapping file",
        )
    } else {
        (
            "misread_time",
            format!("`{name}` prints `{text}`, which moehog reads as {}", shown(read[at].2 + off[at])),
            "the pattern leaves out or exchanges a part, such as %p behind %I: print '%Y-%m-%dT%H:%M:%S%z'",
        )
    };
    say(Severity::Warning, code, breaks, why);
}

fn shown(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|at| at.to_string()).unwrap_or_default()
}

fn time(event: &Map<String, Json>) -> Option<(&'static str, String)> {
    TIMES.iter().find_map(|name| Some((*name, event.get(*name)?.as_str()?.to_string())))
}
