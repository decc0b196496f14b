//! The section `[relay]`.

use std::{collections::BTreeMap, time::Duration};

use moehog_proto::limits::{MAX_EVENTS, MAX_ITEMS, MAX_MAPPED_BYTES};
use moehog_runtime::{above_zero, up_to};
use serde::Deserialize;

/// The defaults of every key, with what each means, as TOML: the section `[relay]`.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

const MIB: usize = 1024 * 1024;
/// Most events or webhooks of a call: half of what a worker takes.
const MOST_ITEMS: usize = MAX_ITEMS / 2;
/// What a gateway needs beside what its relay keeps in memory: measured at 45 MB idle, 110 MB under load.
const BESIDE: usize = 160 * MIB;

/// How much the relay carries at once and how it tries again. Every key is explained in `config.default.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Most bytes of webhooks and mapped events in memory for each replica of delivery, shared by all lanes; a quarter more
    /// where webhooks are larger than the part of their lane, or one that is larger still.
    #[serde(deserialize_with = "above_zero")]
    pub in_flight_bytes: usize,
    /// Most of these bytes, however many replicas there are.
    #[serde(deserialize_with = "above_zero")]
    pub in_flight_max_bytes: usize,
    /// Transform calls under way at once, a lane and a replica of the transformer.
    #[serde(deserialize_with = "above_zero")]
    pub transform_calls: usize,
    /// Most webhooks of one Transform call.
    #[serde(deserialize_with = "up_to::<MOST_ITEMS, _>")]
    pub transform_max_webhooks: usize,
    /// Most bytes of bodies of one Transform call.
    #[serde(deserialize_with = "above_zero")]
    pub transform_max_bytes: usize,
    /// Longest time a Transform call may take.
    #[serde(with = "moehog_runtime::duration")]
    pub transform_deadline: Duration,
    /// Most events one webhook may give.
    #[serde(deserialize_with = "up_to::<MAX_EVENTS, _>")]
    pub max_events_per_webhook: usize,
    /// Most bytes of mapped JSON one webhook may give.
    #[serde(deserialize_with = "up_to::<MAX_MAPPED_BYTES, _>")]
    pub max_mapped_bytes_per_webhook: usize,
    /// Deaths of a Transform call with one webhook alone that make it a dead letter.
    pub transform_deaths: u32,
    /// How long a process in which the transformer lives must live without a webhook that one died of alone.
    #[serde(with = "moehog_runtime::duration")]
    pub crash_watch: Duration,
    /// Most events of one Deliver call.
    #[serde(deserialize_with = "up_to::<MOST_ITEMS, _>")]
    pub deliver_max_events: usize,
    /// Most bytes of events of one Deliver call.
    #[serde(deserialize_with = "above_zero")]
    pub deliver_max_bytes: usize,
    /// Least time between the beginnings of two Deliver calls of a lane that are not full.
    #[serde(with = "moehog_runtime::duration")]
    pub deliver_pause: Duration,
    /// Most events a second that a destination is sent; 0 is no bound.
    pub max_events_per_second: u32,
    /// The same, of single destinations: from their own sections.
    #[serde(skip)]
    pub max_events_per_second_of: BTreeMap<String, u32>,
    /// Most Deliver calls of a destination under way at once, of all lanes and to all replicas.
    #[serde(deserialize_with = "above_zero")]
    pub deliver_max_calls: usize,
    /// Longest time a Deliver call may take.
    #[serde(with = "moehog_runtime::duration")]
    pub deliver_deadline: Duration,
    /// Waiting time before the first further try of an event.
    #[serde(with = "moehog_runtime::duration")]
    pub retry_first: Duration,
    /// Longest waiting time before a further try.
    #[serde(with = "moehog_runtime::duration")]
    pub retry_max: Duration,
    /// Time of trying after which an event is dead.
    #[serde(with = "moehog_runtime::duration")]
    pub horizon: Duration,
    /// Time of trying after which an event that is refused, while nothing else is sent that could show whose fault it is, is dead.
    #[serde(with = "moehog_runtime::duration")]
    pub refused_for: Duration,
    /// Successive Deliver calls without one event taken that open a lane's circuit.
    pub circuit_after: u32,
    /// Waiting time before the first probe of an open circuit.
    #[serde(with = "moehog_runtime::duration")]
    pub circuit_probe_first: Duration,
    /// Longest time between probes of an open circuit.
    #[serde(with = "moehog_runtime::duration")]
    pub circuit_probe_max: Duration,
    /// Waiting time before the first probe of a held lane.
    #[serde(with = "moehog_runtime::duration")]
    pub hold_probe_first: Duration,
    /// Longest time between probes of a held lane.
    #[serde(with = "moehog_runtime::duration")]
    pub hold_probe_max: Duration,
    /// Longest time that calls under way may take after the stop began.
    #[serde(with = "moehog_runtime::duration")]
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        Self {
            in_flight_bytes: 24 * MIB,
            in_flight_max_bytes: 512 * MIB,
            transform_calls: 2,
            transform_max_webhooks: 256,
            transform_max_bytes: 1024 * 1024,
            transform_deadline: 10 * second,
            max_events_per_webhook: MAX_EVENTS,
            max_mapped_bytes_per_webhook: MAX_MAPPED_BYTES,
            transform_deaths: 3,
            crash_watch: minute,
            deliver_max_events: 500,
            deliver_max_bytes: 950_000,
            deliver_pause: second / 20,
            max_events_per_second: 0,
            max_events_per_second_of: BTreeMap::new(),
            deliver_max_calls: 1024,
            deliver_deadline: 100 * second,
            retry_first: second / 2,
            retry_max: 5 * minute,
            horizon: 72 * 60 * minute,
            refused_for: 24 * 60 * minute,
            circuit_after: 5,
            circuit_probe_first: second / 4,
            circuit_probe_max: 2 * second,
            hold_probe_first: 2 * second,
            hold_probe_max: 30 * second,
            grace: 20 * second,
        }
    }
}

impl Config {
    /// This, for a process that may use so many bytes of memory: what the relay keeps in memory leaves as much again for
    /// the rest of it, which grows alike, beside what any gateway needs.
    #[must_use]
    pub fn within(self, memory: Option<u64>) -> Self {
        let Some(memory) = memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)) else { return self };
        let part = (memory.saturating_sub(BESIDE) / 2).max(memory / 8);
        Self { in_flight_max_bytes: self.in_flight_max_bytes.min(part), ..self }
    }

    /// Most bytes of webhooks and mapped events in memory, with so many replicas of delivery.
    pub(crate) fn in_flight(&self, replicas: usize) -> usize {
        self.in_flight_bytes.saturating_mul(replicas).min(self.in_flight_max_bytes).max(1)
    }

    /// Most Deliver calls of a destination, with so many replicas of delivery that each make `concurrency` requests at a
    /// time. A quarter more than that is under way: the next call is there when one ends.
    pub(crate) fn deliver_calls(&self, replicas: usize, concurrency: usize) -> usize {
        let each = concurrency.max(1) + concurrency.div_ceil(4);
        replicas.saturating_mul(each).min(self.deliver_max_calls).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_the_replicas_of_delivery_as_far_as_the_container_lets_it() {
        let most = |memory, replicas| Config::default().within(memory).in_flight(replicas) / MIB;
        assert_eq!([1, 2, 16, 40].map(|replicas| most(None, replicas)), [24, 48, 384, 512]);
        let gib = Some(1 << 30);
        assert_eq!([1, 2, 16, 40].map(|replicas| most(gib, replicas)), [24, 48, 384, 432]);
        assert_eq!([1, 40].map(|replicas| most(Some(128 << 20), replicas)), [16, 16]);
        assert_eq!(most(Some(64 << 20), 1), 8);
    }

    #[test]
    fn deliver_calls_follow_the_replicas_and_what_each_works_on() {
        let config = Config { deliver_max_calls: 100, ..Config::default() };
        let calls = [(1, 16), (4, 16), (16, 16), (2, 3)].map(|(replicas, each)| config.deliver_calls(replicas, each));
        assert_eq!(calls, [20, 80, 100, 8]);
    }

    #[test]
    fn no_call_and_no_webhook_may_be_more_than_a_worker_takes() {
        for (key, most) in [
            ("DELIVER_MAX_EVENTS", 5000),
            ("TRANSFORM_MAX_WEBHOOKS", 5000),
            ("MAX_EVENTS_PER_WEBHOOK", 10_000),
            ("MAX_MAPPED_BYTES_PER_WEBHOOK", 64 << 20),
        ] {
            let load = |value: usize| {
                let variable = (format!("MOEHOG__RELAY__{key}"), value.to_string());
                moehog_runtime::load::<File>(DEFAULTS, None, [variable]).map_err(|error| error.to_string())
            };
            load(most).unwrap();
            let error = load(most + 1).err().unwrap();
            assert!(error.contains(&format!("{most} at most")) && error.contains(&key.to_lowercase()), "{error}");
            assert!(load(0).is_err());
        }
    }

    #[derive(Deserialize)]
    struct File {
        relay: Config,
    }

    #[test]
    fn the_documented_defaults_are_the_ones_in_use() {
        let file: File = moehog_runtime::load(DEFAULTS, None, []).unwrap();
        assert_eq!(file.relay, Config::default());
    }
}
