//! Events that died, said in the log: at most a line a minute for each source and reason.

use std::collections::BTreeMap;

use moehog_proto::{Reason, Receipt};
use moehog_runtime::OncePerMinute;
use tokio::time::Instant;
use tracing::warn;

/// Most pairs of a source and a reason that are counted apart: of more than a source may have reasons.
const MAX_PAIRS: usize = 1000;
/// The reason of all others.
const OTHER: &str = "(other)";

/// Some events that died of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Died {
    pub(crate) reason: Reason,
    pub(crate) events: u64,
    /// Of the webhook that they came in.
    pub(crate) receipt: Receipt,
    /// When, milliseconds since the epoch.
    pub(crate) at_ms: i64,
}

/// The events of a source that died of one reason since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The source; `(other)` of those that are not counted apart.
    pub source: String,
    /// How many.
    pub events: u64,
    /// Why the last of them died.
    pub last: Reason,
    /// Of the webhook that it came in.
    pub last_receipt: Receipt,
    /// When it died, milliseconds since the epoch.
    pub last_at_ms: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Deaths(BTreeMap<(String, String), Tally>);

#[derive(Debug, Default)]
struct Tally {
    events: OncePerMinute,
    /// The first since the last line.
    first: Option<Died>,
    /// All since the start.
    total: u64,
    last: Option<Died>,
}

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    source: String,
    events: u64,
    first: Died,
}

impl Deaths {
    /// Counts events of a source that died.
    pub(crate) fn add(&mut self, source: &str, died: Died) {
        let mut pair = (source.to_string(), died.reason.code.clone());
        if self.0.len() >= MAX_PAIRS && !self.0.contains_key(&pair) {
            pair = (OTHER.to_string(), OTHER.to_string());
        }
        let tally = self.0.entry(pair).or_default();
        tally.events.add(died.events);
        tally.total += died.events;
        tally.last = Some(died.clone());
        tally.first.get_or_insert(died);
    }

    /// All that died since the start.
    pub(crate) fn dead(&self) -> Vec<Dead> {
        let dead = self.0.iter().filter_map(|((source, _), tally)| {
            let Died { reason: last, receipt: last_receipt, at_ms: last_at_ms, .. } = tally.last.clone()?;
            Some(Dead { source: source.clone(), events: tally.total, last, last_receipt, last_at_ms })
        });
        dead.collect()
    }

    /// Writes the lines that are due.
    pub(crate) fn say(&mut self, now: Instant) {
        Self::write(self.lines(|events| events.take_due(now)));
    }

    /// Writes what is left to be said, due or not.
    pub(crate) fn say_rest(&mut self) {
        Self::write(self.lines(OncePerMinute::take_rest));
    }

    fn write(lines: Vec<Line>) {
        for Line { source, events, first } in lines {
            let Died { reason, receipt, .. } = first;
            warn!(
                source,
                events,
                reason = reason.code,
                field = reason.field,
                detail = reason.message,
                first_receipt = %receipt,
                "events are dead letters: they are kept, and `moehog dead-letters list` and `moehog receipt` show them"
            );
        }
    }

    fn lines(&mut self, take: impl Fn(&mut OncePerMinute) -> Option<u64>) -> Vec<Line> {
        let lines = self.0.iter_mut().filter_map(|((source, _), tally)| {
            let events = take(&mut tally.events)?;
            Some(Line { source: source.clone(), events, first: tally.first.take()? })
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use moehog_proto::{Blame, JournalId};

    use super::*;

    fn died(code: &str, events: u64, sequence: u64) -> Died {
        let receipt = Receipt::plain(JournalId(1), sequence);
        Died { reason: Reason::new(Blame::Mapping, code, "why"), events, receipt, at_ms: 0 }
    }

    #[test]
    fn a_minute_of_deaths_is_a_line_for_each_source_and_reason_with_the_first_receipt() {
        let (mut deaths, began) = (Deaths::default(), Instant::now());
        deaths.add("shop", died("rule_failed", 300, 7));
        deaths.add("shop", died("rule_failed", 12, 8));
        deaths.add("shop", died("refused", 1, 9));
        deaths.add("blog", died("rule_failed", 2, 10));
        let said: Vec<_> = deaths
            .lines(|events| events.take_due(began))
            .into_iter()
            .map(|line| (line.source, line.events, line.first))
            .collect();
        assert_eq!(
            said,
            [
                ("blog".to_string(), 2, died("rule_failed", 2, 10)),
                ("shop".to_string(), 1, died("refused", 1, 9)),
                ("shop".to_string(), 312, died("rule_failed", 300, 7)),
            ]
        );
        deaths.add("shop", died("rule_failed", 5, 11));
        assert!(deaths.lines(|events| events.take_due(began + Duration::from_secs(59))).is_empty());
        let later = deaths.lines(|events| events.take_due(began + Duration::from_secs(60)));
        assert_eq!((later.len(), later[0].events, &later[0].first), (1, 5, &died("rule_failed", 5, 11)));
        assert!(deaths.lines(|events| events.take_due(began + Duration::from_secs(600))).is_empty());
        deaths.add("shop", died("rule_failed", 3, 12));
        assert_eq!(deaths.lines(OncePerMinute::take_rest).len(), 1, "the end of the process does not wait");
        let totals: Vec<_> = deaths.dead().iter().map(|dead| (dead.source.clone(), dead.events)).collect();
        assert_eq!(totals, [("blog".to_string(), 2), ("shop".to_string(), 1), ("shop".to_string(), 320)]);
    }

    #[test]
    fn pairs_are_bounded_and_nothing_is_left_uncounted() {
        let (mut deaths, now) = (Deaths::default(), Instant::now());
        for source in 0..MAX_PAIRS as u64 + 50 {
            deaths.add(&format!("source-{source}"), died("refused", 1, source));
        }
        let lines = deaths.lines(|events| events.take_due(now));
        assert_eq!(lines.len(), MAX_PAIRS + 1);
        assert_eq!(lines.iter().map(|line| line.events).sum::<u64>(), MAX_PAIRS as u64 + 50);
    }
}
