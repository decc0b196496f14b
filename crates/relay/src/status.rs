//! What each lane is doing, for people and metrics.

use std::{collections::BTreeMap, sync::Arc};

use moehog_journal::Journal;
use parking_lot::Mutex;

use crate::{GateState, lane::Lane};

/// Source and destination.
pub(crate) type LaneName = (String, String);

/// One lane, as it was a moment ago.
#[derive(Debug, Clone)]
pub struct LaneStatus {
    /// The source.
    pub source: String,
    /// The destination; of `key:<project key>` the last four characters of the key are shown.
    pub destination: String,
    /// Whether events flow, and why not.
    pub state: GateState,
    /// Since when, milliseconds since the epoch.
    pub state_since_ms: i64,
    /// Entries that are not settled, in memory or not.
    pub unsettled: u64,
    /// When the oldest of them was received, milliseconds since the epoch; none where none waits.
    pub oldest_received_at_ms: Option<i64>,
    /// Entries in memory.
    pub in_flight_entries: usize,
    /// Mapped events in memory that are not final.
    pub in_flight_events: usize,
    /// Bytes in memory.
    pub in_flight_bytes: usize,
    /// Deliver calls under way.
    pub calls: usize,
    /// Deliver calls that may be under way.
    pub window: usize,
    /// Entries that wait in the journal and that more deliveries could work on: none while the lane is held, while its
    /// circuit is open, while it may begin more calls, and while its destination itself bears no more.
    pub backlog: u64,
    /// When the oldest of them was received at the earliest, milliseconds since the epoch; none where there are none.
    pub backlog_since_ms: Option<i64>,
    /// More deliveries would help; all that was received until then is read.
    wants_deliveries: Option<i64>,
}

/// A handle to what the lanes of a relay are doing.
#[derive(Debug, Clone)]
pub struct Status {
    journal: Arc<dyn Journal>,
    lanes: Arc<Mutex<BTreeMap<LaneName, LaneStatus>>>,
}

impl Status {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, lanes: Arc::default() }
    }

    /// All lanes that were walked since the start, or hold entries now.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneStatus> {
        let mut lanes = self.lanes.lock().clone();
        for waiting in self.journal.lanes() {
            let name = (waiting.source, waiting.destination);
            let lane = lanes.entry(name).or_insert_with_key(|name| LaneStatus::new(name, 0));
            lane.unsettled = waiting.unsettled;
            lane.oldest_received_at_ms = Some(waiting.oldest_received_at_ms);
            lane.count_backlog();
        }
        lanes.into_values().collect()
    }

    /// Stores what a lane is doing.
    pub(crate) fn update(&self, name: &LaneName, lane: &Lane, now_ms: i64) {
        let mut lanes = self.lanes.lock();
        if !lanes.contains_key(name) {
            lanes.insert(name.clone(), LaneStatus::new(name, now_ms));
        }
        let Some(status) = lanes.get_mut(name) else { return };
        if status.state != *lane.gate() {
            (status.state, status.state_since_ms) = (lane.gate().clone(), now_ms);
        }
        (status.in_flight_entries, status.in_flight_events, status.in_flight_bytes) = lane.in_flight();
        (status.calls, status.window) = lane.window();
        status.wants_deliveries = lane.wants_deliveries().then(|| lane.read_until_ms());
    }
}

impl LaneStatus {
    /// What is in memory is capped, and no backlog.
    fn count_backlog(&mut self) {
        let unread = self.unsettled.saturating_sub(self.in_flight_entries as u64);
        let since = self.wants_deliveries.filter(|_| unread > 0);
        (self.backlog, self.backlog_since_ms) = (if since.is_some() { unread } else { 0 }, since);
    }

    fn new((source, destination): &LaneName, now_ms: i64) -> Self {
        Self {
            source: source.clone(),
            destination: shown(destination),
            state: GateState::Open,
            state_since_ms: now_ms,
            unsettled: 0,
            oldest_received_at_ms: None,
            in_flight_entries: 0,
            in_flight_events: 0,
            in_flight_bytes: 0,
            calls: 0,
            window: 0,
            backlog: 0,
            backlog_since_ms: None,
            wants_deliveries: None,
        }
    }
}

/// A destination as logs and metrics show it: no key.
pub(crate) fn shown(destination: &str) -> String {
    match destination.strip_prefix("key:") {
        Some(key) => {
            let tail: Vec<char> = key.chars().rev().take(4).collect();
            format!("key:…{}", tail.into_iter().rev().collect::<String>())
        }
        None => destination.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_key_is_not_shown() {
        assert_eq!(shown("key:phc_abcdefgh"), "key:…efgh");
        assert_eq!(shown("default"), "default");
    }
}
