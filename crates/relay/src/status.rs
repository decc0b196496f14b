//! What each lane is doing, for people and metrics.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use moehog_journal::Journal;
use moehog_proto::{Destination, Reason, Sequence};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    GateState, NextTry, Wait,
    deaths::{Dead, Deaths, Died},
    feed::{Feed, Passed},
    give_up::{GiveUp, GiveUpError, GivenUp},
    lane::{Lane, Now, Passing},
    waits::Questions,
};

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
    /// When the oldest of them was received that does not wait for evidence alone (see [`LaneStatus::suspects`]), milliseconds
    /// since the epoch.
    pub delayed_since_ms: Option<i64>,
    /// Events that PostHog refused alone and of which nothing says yet whose fault that is.
    pub suspects: usize,
    /// When the oldest webhook was received that has one, milliseconds since the epoch; none where there is none.
    pub suspected_since_ms: Option<i64>,
    /// When something is tried again, and what; none while all goes by itself.
    pub next_try: Option<NextTry>,
    /// Entries in memory.
    pub in_flight_entries: usize,
    /// Mapped events in memory that are not final.
    pub in_flight_events: usize,
    /// Bytes in memory.
    pub in_flight_bytes: usize,
    /// Deliver calls under way.
    pub calls: usize,
    /// Full calls that those under way would be: a call of a few events is a small part of one.
    pub full_calls: f64,
    /// Deliver calls that may be under way.
    pub window: usize,
    /// Entries that wait in the journal and that more deliveries could work on: none while the lane is held, while its
    /// circuit is open, while it may begin more calls, and while its destination itself bears no more.
    pub backlog: u64,
    /// When the oldest of them was received at the earliest, milliseconds since the epoch; none where there are none.
    pub backlog_since_ms: Option<i64>,
    /// More deliveries would help; all that was received until then is read.
    wants_deliveries: Option<i64>,
    /// Webhooks in memory that are mapped, and when the oldest was received that is not.
    mapped: (usize, Option<i64>),
    /// Until when the events in memory need not be looked through again.
    looked_until_ms: i64,
}

/// What of a lane is not mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmapped {
    /// Webhooks of the lane in memory that are mapped, and wait for something else.
    pub mapped: u64,
    /// When the oldest one was received that is not mapped, milliseconds since the epoch; none where none is known.
    pub since_ms: Option<i64>,
}

/// How long an answer to [`Status::waits`] may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How often the events in memory are looked through for what waits for evidence and what does not, while something does.
const LOOK_EVERY_MS: i64 = 1000;

/// A handle to what the lanes of a relay are doing.
#[derive(Debug, Clone)]
pub struct Status {
    journal: Arc<dyn Journal>,
    lanes: Arc<Mutex<BTreeMap<LaneName, LaneStatus>>>,
    questions: Arc<Mutex<BTreeMap<LaneName, Questions>>>,
    deaths: Arc<Mutex<Deaths>>,
    give_ups: mpsc::Sender<GiveUp>,
    feed: Feed,
}

impl Status {
    /// What is asked to be given up goes to `give_ups`.
    pub(crate) fn new(journal: Arc<dyn Journal>, give_ups: mpsc::Sender<GiveUp>) -> Self {
        let feed = Feed::new();
        Self { journal, lanes: Arc::default(), questions: Arc::default(), deaths: Arc::default(), give_ups, feed }
    }

    /// Turns what a held lane keeps into dead letters: mapped anew they may be taken. It ends when all is recorded, and goes on where
    /// nobody waits for it.
    ///
    /// # Errors
    ///
    /// Nothing waits there, the lane is not held, or it ended early: what was given up until then is.
    pub async fn give_up(&self, source: &str, destination: &str) -> Result<GivenUp, GiveUpError> {
        let is_meant = |name: &LaneName| name.0 == source && (name.1 == destination || shown(&name.1) == destination);
        let waiting = self.journal.lanes().into_iter().map(|lane| (lane.source, lane.destination)).find(is_meant);
        let Some(name) = waiting else {
            return Err(GiveUpError::Unknown { source_name: source.into(), destination: destination.into() });
        };
        let is_open = self.lanes.lock().get(&name).is_none_or(|lane| lane.state == GateState::Open);
        if is_open {
            return Err(GiveUpError::Open);
        }
        let (answer, answered) = oneshot::channel();
        let stops = || GiveUpError::Failed("the relay stops".into());
        self.give_ups.send(GiveUp { name, answer }).await.map_err(|_gone| stops())?;
        answered.await.unwrap_or_else(|_gone| Err(stops()))
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
            if lane.suspects == 0 {
                lane.delayed_since_ms = lane.oldest_received_at_ms;
            }
            lane.count_backlog();
        }
        lanes.into_values().collect()
    }

    /// What the entry with this sequence waits for, and each of its events that is not final. Nothing where its lane is not
    /// walked, or does not answer within a second.
    pub async fn waits(&self, source: &str, destination: &str, sequence: Sequence) -> Vec<Wait> {
        let questions = self.questions.lock().get(&(source.to_string(), destination.to_string())).cloned();
        let Some(questions) = questions else { return Vec::new() };
        let (answer, answered) = oneshot::channel();
        let asked = async {
            questions.send((sequence, answer)).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(ANSWER, asked).await.ok().flatten().unwrap_or_default()
    }

    /// What of a lane is not mapped, as it was a moment ago; none where it is not walked.
    #[must_use]
    pub fn unmapped(&self, source: &str, destination: &str) -> Option<Unmapped> {
        let lanes = self.lanes.lock();
        let (mapped, since_ms) = lanes.get(&(source.to_string(), destination.to_string()))?.mapped;
        Some(Unmapped { mapped: mapped as u64, since_ms })
    }

    /// What passes.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The events that died since the start, by source and reason: of more than a thousand of these together.
    #[must_use]
    pub fn dead(&self) -> Vec<Dead> {
        self.deaths.lock().dead()
    }

    /// Events of a source died.
    pub(crate) fn died(&self, name: &LaneName, sequence: Sequence, reason: Reason, events: u64, at_ms: i64) {
        let receipt = self.journal.receipt_of(sequence);
        self.deaths.lock().add(&name.0, Died { reason, events, receipt, at_ms });
    }

    /// An event passed.
    pub(crate) fn passed(&self, (source, destination): &LaneName, passing: Passing, at_ms: i64) {
        let Passing { sequence, place: (position, ordinal), uuid, event, person, state, reason } = passing;
        self.feed.tell(Passed {
            at_ms,
            source: source.clone(),
            destination: shown(destination),
            receipt: self.journal.receipt_of(sequence),
            position,
            ordinal,
            uuid,
            event,
            person,
            state,
            reason,
        });
    }

    /// Says in the log what died, where that is due at `now`.
    pub(crate) fn say_deaths(&self, now: Instant) {
        self.deaths.lock().say(now);
    }

    /// Says in the log what died and was not said yet.
    pub(crate) fn say_last_deaths(&self) {
        self.deaths.lock().say_rest();
    }

    /// A walk of the lane begins, which answers questions.
    pub(crate) fn answers(&self, name: &LaneName, questions: Questions) {
        self.questions.lock().insert(name.clone(), questions);
    }

    /// Stores what a lane is doing.
    pub(crate) fn update(&self, name: &LaneName, lane: &Lane, now: Now) {
        let now_ms = now.epoch_ms;
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
        status.full_calls = lane.full_calls();
        (status.suspects, status.mapped, status.next_try) = (lane.suspects(), lane.mapped(), lane.next_try(now));
        if status.suspects == 0 {
            status.suspected_since_ms = None;
        } else if now_ms >= status.looked_until_ms {
            status.looked_until_ms = now_ms + LOOK_EVERY_MS;
            (status.delayed_since_ms, status.suspected_since_ms) = (lane.delayed_since_ms(), lane.suspected_since_ms());
        }
        status.wants_deliveries = lane.wants_deliveries(now.instant).then(|| lane.read_until_ms());
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
            delayed_since_ms: None,
            suspects: 0,
            suspected_since_ms: None,
            next_try: None,
            in_flight_entries: 0,
            in_flight_events: 0,
            in_flight_bytes: 0,
            calls: 0,
            full_calls: 0.0,
            window: 0,
            backlog: 0,
            backlog_since_ms: None,
            wants_deliveries: None,
            mapped: (0, None),
            looked_until_ms: 0,
        }
    }
}

/// A destination as logs and metrics show it: no key.
pub(crate) fn shown(destination: &str) -> String {
    Destination::of(destination).redacted()
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
