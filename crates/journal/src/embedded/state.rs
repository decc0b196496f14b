//! What is known of all segments in memory.

use std::collections::{BTreeMap, HashMap};

use moehog_proto::{Sequence, journal::Book};

use super::{
    format::Carried,
    index::{LaneId, LaneIndex, Lanes, UNKNOWN},
    segment::Segment,
};
use crate::{LaneStats, Ledger};

/// Everything readers and writers share; never held over a call to the disk.
#[derive(Debug, Default)]
pub(super) struct State {
    /// By first sequence.
    pub(super) segments: BTreeMap<Sequence, Segment>,
    /// The segment that is appended to.
    pub(super) active: Option<Sequence>,
    /// The next sequence to give out.
    pub(super) next: Sequence,
    /// Up to here it is known of every sequence what became of it: those between it and the next were given to appends that
    /// failed.
    pub(super) accounted: Sequence,
    /// Highest sequence that readers may see.
    pub(super) durable: Sequence,
    pub(super) lanes: Lanes,
    pub(super) carried: Carried,
    pub(super) carried_bytes: u64,
    pub(super) quarantined_bytes: u64,
    /// Cancelled since the start.
    pub(super) cancelled: u64,
    /// Cancelled, and not yet written down.
    pub(super) uncancelled: Vec<Sequence>,
    /// Damaged, and not yet written down.
    pub(super) undamaged: Vec<Sequence>,
    /// Unsettled bytes by source: counted anew now and then, and grown by appends in between.
    pub(super) unsettled: HashMap<String, u64>,
    pub(super) epoch: u64,
    pub(super) closed: bool,
}

impl State {
    /// The segment that holds (or held) the entry.
    pub(super) fn segment_of(&self, sequence: Sequence) -> Option<&Segment> {
        let (_, segment) = self.segments.range(..=sequence).next_back()?;
        (sequence <= segment.index.last).then_some(segment)
    }

    /// Bytes on the disk, the reserve left out.
    pub(super) fn used(&self) -> u64 {
        self.segments.values().map(Segment::size).sum::<u64>() + self.carried_bytes + self.quarantined_bytes
    }

    /// Bytes that only time or a person can free: entries that wait, and dead letters.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.segments.values().map(Segment::kept_bytes).sum()
    }

    /// When the last webhook came, as far as that is known; none where it is of none.
    pub(super) fn newest_at_ms(&self) -> Option<i64> {
        let known = self.segments.values().filter(|segment| segment.index.frames() > 0).map(|it| it.index.newest_at_ms);
        known.filter(|at_ms| *at_ms != UNKNOWN).max()
    }

    /// A segment of which no time is known is no younger than the one after it, and than now.
    pub(super) fn learn_ages(&mut self, now_ms: Option<i64>) {
        let mut after_ms = now_ms;
        for segment in self.segments.values_mut().rev() {
            match (segment.index.newest_at_ms, after_ms) {
                (UNKNOWN, Some(at_ms)) => segment.index.newest_at_ms = at_ms,
                (UNKNOWN, None) => {}
                (at_ms, _) => after_ms = Some(at_ms),
            }
        }
    }

    /// The source whose dead letters take most, where those of all take more than `limit`.
    pub(super) fn source_of_most_dead_letters(&self, limit: u64) -> Option<(String, u64)> {
        let mut of_sources: BTreeMap<&str, u64> = BTreeMap::new();
        for segment in self.segments.values().filter(|segment| !segment.dead.is_empty()) {
            for lane in &segment.index.lanes {
                *of_sources.entry(self.lanes.names(lane.lane).0).or_default() +=
                    segment.dead_bytes(|id| id == lane.lane);
            }
        }
        let all: u64 = of_sources.values().sum();
        let most = of_sources.into_iter().max_by_key(|(_, bytes)| *bytes).filter(|_| all > limit);
        most.map(|(source, _)| (source.to_owned(), all))
    }

    /// Counts the unsettled bytes of each source anew.
    pub(super) fn count_unsettled(&mut self) {
        let mut unsettled: HashMap<String, u64> = HashMap::new();
        for segment in self.segments.values() {
            for lane in &segment.index.lanes {
                let (source, _) = self.lanes.names(lane.lane);
                let bytes = segment.waiting_bytes(|id| id == lane.lane);
                match unsettled.get_mut(source) {
                    Some(sum) => *sum += bytes,
                    None => drop(unsettled.insert(source.into(), bytes)),
                }
            }
        }
        self.unsettled = unsettled;
    }

    pub(super) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger { in_flight: self.carried.in_flight, ..Ledger::default() };
        add(&mut ledger.book, &self.carried.book.unwrap_or_default());
        for segment in self.segments.values() {
            add(&mut ledger.book, &segment.book);
            ledger.waiting += segment.waiting();
            ledger.in_flight += segment.in_flight;
        }
        ledger
    }

    pub(super) fn lane_stats(&self) -> Vec<LaneStats> {
        let mut lanes: BTreeMap<LaneId, LaneStats> = BTreeMap::new();
        for segment in self.segments.values() {
            for index in &segment.index.lanes {
                if let Some(more) = self.stats_of(segment, index) {
                    lanes.entry(index.lane).and_modify(|stats| stats.unsettled += more.unsettled).or_insert(more);
                }
            }
        }
        lanes.into_values().collect()
    }

    /// The same of one lane.
    pub(super) fn stats_of_lane(&self, source: &str, destination: &str) -> Option<LaneStats> {
        let lane = self.lanes.find(source, destination)?;
        let parts = self.segments.values().filter_map(|segment| self.stats_of(segment, segment.index.lane(lane)?));
        parts.reduce(|stats, more| LaneStats { unsettled: stats.unsettled + more.unsettled, ..stats })
    }

    /// What of a lane waits in one segment, if anything.
    fn stats_of(&self, segment: &Segment, index: &LaneIndex) -> Option<LaneStats> {
        let number = index.waiting.first()?;
        let (source, destination) = self.lanes.names(index.lane);
        Some(LaneStats {
            source: source.into(),
            destination: destination.into(),
            unsettled: index.waiting.count(),
            oldest: segment.index.first + number,
            oldest_received_at_ms: segment.received_at_ms(number),
        })
    }
}

/// Adds each count of `part` to `total`.
pub(super) fn add(total: &mut Book, part: &Book) {
    combine(total, part, |total, part| *total += part);
}

/// Takes each count of `part` from `total`.
pub(super) fn subtract(total: &mut Book, part: &Book) {
    combine(total, part, |total, part| *total = total.saturating_sub(part));
}

fn combine(total: &mut Book, part: &Book, with: impl Fn(&mut u64, u64)) {
    with(&mut total.taken, part.taken);
    with(&mut total.settled, part.settled);
    with(&mut total.damaged, part.damaged);
    with(&mut total.mapped, part.mapped);
    with(&mut total.delivered, part.delivered);
    with(&mut total.delivered_degraded, part.delivered_degraded);
    with(&mut total.filtered, part.filtered);
    with(&mut total.duplicate, part.duplicate);
    with(&mut total.dead, part.dead);
    with(&mut total.unconfirmed, part.unconfirmed);
    with(&mut total.discarded, part.discarded);
}
