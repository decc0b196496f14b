//! The section `[relay]`.

use std::time::Duration;

use serde::Deserialize;

/// The defaults of every key, with what each means, as TOML: the section `[relay]`.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// How much the relay carries at once and how it tries again. Every key is explained in `config.default.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Most bytes of webhooks and mapped events in memory, shared by all lanes.
    pub in_flight_bytes: usize,
    /// Transform calls under way at once, a lane.
    pub transform_calls: usize,
    /// Most webhooks of one Transform call.
    pub transform_max_webhooks: usize,
    /// Most bytes of bodies of one Transform call.
    pub transform_max_bytes: usize,
    /// Longest time a Transform call may take.
    #[serde(with = "moehog_runtime::duration")]
    pub transform_deadline: Duration,
    /// Most events one webhook may give.
    pub max_events_per_webhook: usize,
    /// Most bytes of mapped JSON one webhook may give.
    pub max_mapped_bytes_per_webhook: usize,
    /// Deaths of a Transform call with one webhook alone that make it a dead letter.
    pub transform_deaths: u32,
    /// Most events of one Deliver call.
    pub deliver_max_events: usize,
    /// Most bytes of events of one Deliver call.
    pub deliver_max_bytes: usize,
    /// Most Deliver calls under way at once, a lane.
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
    /// Successive Deliver calls without one final event that open a lane's circuit.
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
            in_flight_bytes: 16 * 1024 * 1024,
            transform_calls: 2,
            transform_max_webhooks: 256,
            transform_max_bytes: 1024 * 1024,
            transform_deadline: 10 * second,
            max_events_per_webhook: 10_000,
            max_mapped_bytes_per_webhook: 64 * 1024 * 1024,
            transform_deaths: 3,
            deliver_max_events: 500,
            deliver_max_bytes: 1024 * 1024,
            deliver_max_calls: 32,
            deliver_deadline: 100 * second,
            retry_first: second / 2,
            retry_max: 5 * minute,
            horizon: 72 * 60 * minute,
            circuit_after: 5,
            circuit_probe_first: second / 4,
            circuit_probe_max: 2 * second,
            hold_probe_first: 2 * second,
            hold_probe_max: 30 * second,
            grace: 20 * second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
