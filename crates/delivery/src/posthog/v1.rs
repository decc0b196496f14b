//! Which of PostHog's two capture APIs a destination is spoken to in, and what v1 is told of a request.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use moehog_proto::event::Event;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::convert::LIBRARY;

/// Requests whose events are to be sent again that are remembered for a destination.
const MAX_UNFINISHED: usize = 256;

/// In which API PostHog is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/batch/`, which every PostHog has: a request is taken or refused as a whole.
    #[default]
    Classic,
    /// `/i/v1/analytics/events`, which answers of each event. Where PostHog has none, events are held.
    V1,
    /// v1 where PostHog has it, else classic.
    Auto,
}

/// What is known of a destination's v1.
#[derive(Debug)]
pub(crate) struct V1 {
    api: Api,
    /// How long nobody asks again where there is none.
    probe_every: Duration,
    seen: Mutex<Seen>,
    unfinished: Mutex<Unfinished>,
}

#[derive(Debug)]
enum Seen {
    Nothing,
    /// It answered.
    There,
    /// There is none; nobody asks before then.
    Missing(Instant),
}

/// What is to be sent again under the same request id, by the events; the oldest is forgotten first.
#[derive(Debug, Default)]
struct Unfinished {
    by_events: HashMap<Uuid, Attempt>,
    order: VecDeque<Uuid>,
}

/// One try of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The same while its events are sent again.
    id: Uuid,
    /// From 1.
    number: u32,
}

impl V1 {
    pub(crate) fn new(api: Api, probe_every: Duration) -> Self {
        Self { api, probe_every, seen: Mutex::new(Seen::Nothing), unfinished: Mutex::default() }
    }

    /// Whether v1 is to be spoken now.
    pub(crate) fn is_spoken(&self) -> bool {
        match (self.api, &*self.seen.lock()) {
            (Api::Classic, _) => false,
            (Api::Auto, Seen::Missing(until)) => Instant::now() >= *until,
            (Api::V1 | Api::Auto, _) => true,
        }
    }

    /// Classic is spoken where there is no v1.
    pub(crate) fn may_fall_back(&self) -> bool {
        self.api == Api::Auto
    }

    /// It answered before.
    pub(crate) fn is_known(&self) -> bool {
        matches!(&*self.seen.lock(), Seen::There)
    }

    /// It answered.
    pub(crate) fn answered(&self) {
        *self.seen.lock() = Seen::There;
    }

    /// There is none. `destination` is for the log.
    pub(crate) fn is_missing(&self, destination: &str) {
        let before = std::mem::replace(&mut *self.seen.lock(), Seen::Missing(Instant::now() + self.probe_every));
        if !matches!(before, Seen::Missing(_)) {
            tracing::info!(
                destination,
                "PostHog has no v1 here: its classic API is spoken, which says nothing of single events"
            );
        }
    }

    /// Begins a request of these events. The same events have the same request id, in whichever process.
    pub(crate) fn begin<'a>(&self, events: impl Iterator<Item = &'a Event>) -> Attempt {
        let events = name_of(events);
        let before = self.unfinished.lock().by_events.remove(&events);
        before.map_or(Attempt { id: events, number: 1 }, |before| Attempt {
            number: before.number.saturating_add(1),
            ..before
        })
    }

    /// Notes that these events of a request are to be sent again.
    pub(crate) fn is_unfinished<'a>(&self, attempt: Attempt, events: impl Iterator<Item = &'a Event>) {
        let events = name_of(events);
        let mut unfinished = self.unfinished.lock();
        if unfinished.by_events.insert(events, attempt).is_none() {
            unfinished.order.push_back(events);
        }
        while unfinished.order.len() > MAX_UNFINISHED {
            if let Some(oldest) = unfinished.order.pop_front() {
                unfinished.by_events.remove(&oldest);
            }
        }
    }
}

fn name_of<'a>(events: impl Iterator<Item = &'a Event>) -> Uuid {
    let uuids: Vec<u8> = events.flat_map(|event| event.uuid.iter().copied()).collect();
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &uuids)
}

impl Attempt {
    /// What v1 wants to be told of a request made now. Nothing for a key that cannot stand in a header.
    pub(crate) fn headers(self, key: &str, now: Timestamp) -> Option<HeaderMap> {
        let (library, version) = LIBRARY;
        let mut key = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
        key.set_sensitive(true);
        let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, key)]);
        for (name, value) in [
            ("posthog-sdk-info", format!("{library}/{version}")),
            ("posthog-attempt", self.number.to_string()),
            ("posthog-request-id", self.id.to_string()),
            ("posthog-request-timestamp", now.to_string()),
        ] {
            headers.insert(name, HeaderValue::from_str(&value).ok()?);
        }
        Some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u8) -> Event {
        Event { uuid: vec![number; 16].into(), ..Event::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_none_nobody_asks_for_a_while() {
        let v1 = V1::new(Api::Auto, Duration::from_secs(60));
        assert!(v1.is_spoken() && !v1.is_known());
        v1.is_missing("shop");
        assert!(!v1.is_spoken());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(v1.is_spoken());
        v1.answered();
        assert!(v1.is_spoken() && v1.is_known());
        assert!(!V1::new(Api::Classic, Duration::ZERO).is_spoken());
        let always = V1::new(Api::V1, Duration::from_secs(60));
        always.is_missing("shop");
        assert!(always.is_spoken() && !always.may_fall_back());
    }

    #[test]
    fn what_is_sent_again_keeps_its_request_id_and_counts_its_attempts() {
        let v1 = V1::new(Api::V1, Duration::ZERO);
        let all = [event(1), event(2)];
        let first = v1.begin(all.iter());
        assert_eq!(first.number, 1);
        v1.is_unfinished(first, all[1..].iter());
        let second = v1.begin(all[1..].iter());
        assert_eq!((second.id, second.number), (first.id, 2));
        assert_ne!(v1.begin([event(3)].iter()).id, first.id);
        assert_eq!(v1.begin(all[1..].iter()).number, 1, "it was finished");
    }

    #[test]
    fn what_is_remembered_of_requests_does_not_add_up() {
        let v1 = V1::new(Api::V1, Duration::ZERO);
        for number in 0..10_000_u32 {
            let event = Event { uuid: number.to_be_bytes().repeat(4).into(), ..Event::default() };
            let attempt = v1.begin([&event].into_iter());
            v1.is_unfinished(attempt, [&event].into_iter());
            v1.is_unfinished(attempt, [&event].into_iter());
        }
        let unfinished = v1.unfinished.lock();
        assert!(unfinished.order.len() <= MAX_UNFINISHED && unfinished.by_events.len() <= MAX_UNFINISHED);
    }
}
