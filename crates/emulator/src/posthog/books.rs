//! What reached the server, and what became of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::BuildHasherDefault,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{broadcast, watch};

use crate::posthog::{
    EventKey, Person, StoredEvent,
    hash::Hashed,
    persons::{Effect, Persons},
};

/// Stored events that a slow subscriber may lag behind before it misses some.
const SUBSCRIBER_LAG: usize = 4096;

/// One request and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Exchange {
    /// Counts up from 1.
    pub number: u64,
    /// When its headers were read.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// How long until it was answered; as JSON in seconds.
    #[serde(serialize_with = "as_seconds")]
    pub took: Duration,
    /// The method.
    pub method: String,
    /// The path without its trailing slash.
    pub route: String,
    /// The status it was answered with; `None` when the connection was reset or its sender gave up.
    pub status: Option<u16>,
    /// Bytes of the body on the wire.
    pub wire_bytes: usize,
    /// Events it held, as far as it could be read.
    pub events: usize,
    /// Events of it that were stored.
    pub stored: usize,
    /// The project key, where it could be read.
    pub key: Option<String>,
    /// The fault that acted on it.
    pub fault: Option<String>,
    /// The words of a refusal.
    pub refusal: Option<String>,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
    /// Its body, decompressed.
    #[serde(skip)]
    pub body: Bytes,
}

pub(crate) fn as_text<T: ToString, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

fn as_seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

impl Exchange {
    /// One header; names are in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Totals.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Capture requests.
    pub requests: u64,
    /// Requests on `/flags` and `/decide`.
    pub flags_requests: u64,
    /// Capture requests by the status they were answered with.
    pub statuses: BTreeMap<u16, u64>,
    /// Capture requests that got no answer.
    pub unanswered: u64,
    /// Body bytes on the wire.
    pub wire_bytes: u64,
    /// Body bytes once decompressed.
    pub body_bytes: u64,
    /// Events stored, each copy counted.
    pub arrivals: u64,
    /// Events stored, distinct by PostHog's key.
    pub unique: u64,
    /// Events stored, each copy counted, by name.
    pub by_event: BTreeMap<String, u64>,
    /// Events stored, each copy counted, by project key.
    pub by_key: BTreeMap<String, u64>,
    /// Events answered 200 and dropped behind it, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Events kept with what PostHog would show as an ingestion warning.
    pub warnings: BTreeMap<String, u64>,
    /// Persons.
    pub persons: u64,
}

/// What reached a server; clones share it.
#[derive(Debug, Clone)]
pub struct Books(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tables: Mutex<Tables>,
    stored: broadcast::Sender<Arc<StoredEvent>>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Tables {
    counts: Counts,
    exchanges: Vec<Exchange>,
    arrivals: Vec<Arc<StoredEvent>>,
    /// Of each key the newest arrival, and how many there were.
    unique: HashMap<EventKey, (usize, u64)>,
    /// Of each key its hash alone, when only counts are kept.
    hashes: HashSet<u64, BuildHasherDefault<Hashed>>,
    by_event: HashMap<String, u64>,
    by_key: HashMap<Arc<str>, u64>,
    persons: Persons,
}

impl Default for Books {
    fn default() -> Self {
        let tables = Mutex::default();
        Self(Arc::new(Shared { tables, stored: broadcast::channel(SUBSCRIBER_LAG).0, changes: watch::Sender::new(0) }))
    }
}

impl Books {
    /// Totals.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let tables = self.0.tables.lock();
        let mut counts = tables.counts.clone();
        counts.by_event = tables.by_event.iter().map(|(name, n)| (name.clone(), *n)).collect();
        counts.by_key = tables.by_key.iter().map(|(key, n)| (key.to_string(), *n)).collect();
        counts.unique = (tables.unique.len() + tables.hashes.len()) as u64;
        counts.persons = tables.persons.len() as u64;
        counts
    }

    /// Events stored so far, distinct by PostHog's key. Cheap.
    #[must_use]
    pub fn unique(&self) -> u64 {
        let tables = self.0.tables.lock();
        (tables.unique.len() + tables.hashes.len()) as u64
    }

    /// Every stored copy, in order of arrival.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arc<StoredEvent>> {
        self.0.tables.lock().arrivals.clone()
    }

    /// What a query at PostHog shows once its parts are merged: of each key the newest arrival, in order of arrival.
    #[must_use]
    pub fn events(&self) -> Vec<Arc<StoredEvent>> {
        let tables = self.0.tables.lock();
        let mut newest: Vec<_> = tables.unique.values().map(|(index, _)| *index).collect();
        newest.sort_unstable();
        newest.into_iter().map(|index| tables.arrivals[index].clone()).collect()
    }

    /// How many copies of each event arrived, by PostHog's key.
    #[must_use]
    pub fn copies(&self) -> BTreeMap<EventKey, u64> {
        self.0.tables.lock().unique.iter().map(|(key, (_, copies))| (key.clone(), *copies)).collect()
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.tables.lock().exchanges.clone()
    }

    /// The person that an id means.
    #[must_use]
    pub fn person(&self, key: &str, distinct_id: &str) -> Option<Person> {
        self.0.tables.lock().persons.get(key, distinct_id)
    }

    /// Events as they are stored, from now on. A subscriber that lags far behind misses some and is told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<StoredEvent>> {
        self.0.stored.subscribe()
    }

    /// Waits until the books say so; false when they do not in time.
    pub async fn wait_until(&self, within: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let mut changes = self.0.changes.subscribe();
        let deadline = tokio::time::Instant::now() + within;
        loop {
            changes.mark_unchanged();
            if condition(self) {
                return true;
            }
            match tokio::time::timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => return condition(self),
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.tables.lock() = Tables::default();
        self.changed();
    }

    fn changed(&self) {
        self.0.changes.send_modify(|version| *version += 1);
    }

    pub(crate) fn flags_asked(&self) {
        self.0.tables.lock().counts.flags_requests += 1;
    }

    /// Stores one event with its finished properties.
    pub(crate) fn store(&self, mut event: StoredEvent, properties: &Map<String, Value>) {
        let mut tables = self.0.tables.lock();
        match tables.persons.apply(&event.key, &event.event, &event.distinct_id, properties) {
            Effect::Dropped(reason) => return *tables.counts.dropped.entry(reason.into()).or_default() += 1,
            Effect::Kept(Some(warning)) => *tables.counts.warnings.entry(warning.into()).or_default() += 1,
            Effect::Kept(None) => {}
        }
        let key = event.dedup_key();
        event.is_copy = tables.unique.contains_key(&key);
        let event = Arc::new(event);
        let index = tables.arrivals.len();
        tables.counts.arrivals += 1;
        *tables.by_event.entry(event.event.clone()).or_default() += 1;
        *tables.by_key.entry(event.key.clone()).or_default() += 1;
        let seen = tables.unique.entry(key).or_default();
        *seen = (index, seen.1 + 1);
        tables.arrivals.push(event.clone());
        // nobody may be listening
        drop(self.0.stored.send(event));
    }

    /// Counts events known by name and hash alone.
    pub(crate) fn count<'a>(&self, key: &Arc<str>, events: impl Iterator<Item = (&'a str, u64)>) {
        let mut tables = self.0.tables.lock();
        let mut arrivals = 0;
        for (name, hash) in events {
            arrivals += 1;
            tables.hashes.insert(hash);
            match tables.by_event.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(tables.by_event.insert(name.to_owned(), 1)),
            }
        }
        tables.counts.arrivals += arrivals;
        *tables.by_key.entry(key.clone()).or_default() += arrivals;
    }

    pub(crate) fn dropped(&self, reason: &str, events: u64) {
        if events > 0 {
            *self.0.tables.lock().counts.dropped.entry(reason.into()).or_default() += events;
        }
    }

    /// Enters a finished capture request; `log` is left out when only counts are kept.
    pub(crate) fn finish(&self, status: Option<u16>, wire_bytes: usize, body_bytes: usize, log: Option<Exchange>) {
        {
            let mut tables = self.0.tables.lock();
            let counts = &mut tables.counts;
            counts.requests += 1;
            counts.wire_bytes += wire_bytes as u64;
            counts.body_bytes += body_bytes as u64;
            match status {
                Some(status) => *counts.statuses.entry(status).or_default() += 1,
                None => counts.unanswered += 1,
            }
            tables.exchanges.extend(log);
        }
        self.changed();
    }
}
