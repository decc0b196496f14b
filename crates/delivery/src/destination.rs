//! From the name in a call to a host, a key and a turn.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::{self, Config, Limits},
    posthog::{Host, Key},
};

/// Destinations that are made of the key in a call, at most; the gateway lets fewer through.
const MAX_KEYED: usize = 64;
/// How a name says that it is itself the key.
const KEY_PREFIX: &str = "key:";

/// All destinations.
#[derive(Debug)]
pub(crate) struct Destinations {
    /// Configured, by name; the error says why one cannot be used and what to do.
    named: HashMap<String, Result<Arc<Destination>, String>>,
    /// `key:<project key>`, where no destination with a key is configured.
    keyed: Mutex<HashMap<String, Arc<Destination>>>,
    any_key: bool,
    host: Host,
    limits: Limits,
}

/// A PostHog project that events go to.
#[derive(Debug)]
pub(crate) struct Destination {
    /// For logs and spans; never the key.
    pub(crate) label: String,
    pub(crate) host: Host,
    pub(crate) key: Key,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    limits: Limits,
}

/// Why a call of a destination is not worked on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoDestination {
    /// A person must act.
    Hold(String),
    /// Too many at a time.
    Overloaded,
}

impl Destinations {
    pub(crate) fn new(config: &Config) -> Self {
        let configured = |name: &String, destination: &config::Destination| {
            let key = destination.api_key.as_ref().map(|key| key.expose().trim()).unwrap_or_default();
            if key.is_empty() {
                return Err(no_key(name));
            }
            if let Some(fault) = fault(key) {
                return Err(format!(
                    "wrong_key: api key of destination {name} {fault}; set the project's api key (phc_…)"
                ));
            }
            let host = destination.host.as_ref().unwrap_or(&config.posthog.host).clone();
            Ok(Arc::new(Destination::new(name.clone(), host, key.to_string(), config.limits.clone())))
        };
        let named: HashMap<_, _> = config
            .destinations
            .iter()
            .map(|(name, destination)| (name.clone(), configured(name, destination)))
            .collect();
        Self {
            any_key: has_key(&config.destinations),
            named,
            keyed: Mutex::default(),
            host: config.posthog.host.clone(),
            limits: config.limits.clone(),
        }
    }

    /// The destination a call names.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Destination>, NoDestination> {
        match (self.named.get(name), name.strip_prefix(KEY_PREFIX)) {
            (Some(destination), _) => destination.clone().map_err(NoDestination::Hold),
            (None, Some(key)) => self.keyed(key),
            (None, None) if name == "default" => Err(NoDestination::Hold(no_key(name))),
            (None, None) => Err(NoDestination::Hold(format!(
                "unknown_destination: no destination {name} is configured; add [destinations.{name}] with its api_key"
            ))),
        }
    }

    fn keyed(&self, key: &str) -> Result<Arc<Destination>, NoDestination> {
        if self.any_key {
            return Err(NoDestination::Hold(
                "unknown_destination: the webhook carries a key of no configured destination; add one with this key"
                    .to_string(),
            ));
        }
        if let Some(fault) = fault(key) {
            return Err(NoDestination::Hold(format!("wrong_key: the api key in the webhook {fault}")));
        }
        let mut keyed = self.keyed.lock();
        if let Some(destination) = keyed.get(key) {
            return Ok(destination.clone());
        }
        if keyed.len() >= MAX_KEYED {
            // those in use are held by their calls
            keyed.retain(|_, destination| Arc::strong_count(destination) > 1);
        }
        if keyed.len() >= MAX_KEYED {
            return Err(NoDestination::Overloaded);
        }
        let label = "key:***".to_string();
        let destination = Arc::new(Destination::new(label, self.host.clone(), key.to_string(), self.limits.clone()));
        keyed.insert(key.to_string(), destination.clone());
        Ok(destination)
    }
}

impl Destination {
    fn new(label: String, host: Host, key: String, limits: Limits) -> Self {
        let turns = Arc::new(Semaphore::new(limits.concurrency.max(1)));
        Self { label, host, key: Key::new(key), turns, waiting: AtomicUsize::new(0), limits }
    }

    /// Waits for a turn, unless too many wait already or it takes too long. A turn ends when it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, NoDestination> {
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let _place = Place::take(&self.waiting, self.limits.queue).ok_or(NoDestination::Overloaded)?;
        let turn = tokio::time::timeout(self.limits.queue_wait, self.turns.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(NoDestination::Overloaded)
    }
}

#[cfg(test)]
impl Destination {
    /// Whether a call would get its turn at once.
    pub(crate) fn turn_is_free(&self) -> bool {
        self.turns.available_permits() > 0
    }
}

/// A place in a queue.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, places: usize) -> Option<Self> {
        let taken = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < places).then_some(now + 1));
        taken.is_ok().then(|| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn has_key(destinations: &BTreeMap<String, config::Destination>) -> bool {
    destinations
        .values()
        .any(|destination| destination.api_key.as_ref().is_some_and(|key| !key.expose().trim().is_empty()))
}

fn no_key(name: &str) -> String {
    let shorter = if name == "default" { "--api-key, POSTHOG_API_KEY or " } else { "" };
    format!("no_key: destination {name} has no api key: set {shorter}destinations.{name}.api_key")
}

/// What makes a key one that PostHog refuses by its shape.
///
/// Source: PostHog/posthog, `rust/capture/src/api.rs`, token checks (read 2026-08-22).
fn fault(key: &str) -> Option<&'static str> {
    match key {
        "" => Some("is empty"),
        _ if key.len() > 64 => Some("is longer than 64 characters"),
        _ if !key.is_ascii() => Some("holds characters that no key has"),
        _ if key.starts_with("phx_") => Some("is a personal one (phx_…), which cannot send events"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations(toml: &str) -> Destinations {
        let mut config: Config = moehog_runtime::load(Config::DEFAULTS, None, []).unwrap();
        config.destinations = toml::from_str(toml).unwrap();
        config.limits = Limits { concurrency: 2, queue: 1, queue_wait: std::time::Duration::from_secs(10) };
        Destinations::new(&config)
    }

    fn held(destinations: &Destinations, name: &str) -> String {
        match destinations.find(name) {
            Err(NoDestination::Hold(reason)) => reason,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn hosts_and_keys_come_from_the_configuration() {
        let all = destinations(
            "[eu]\napi_key = \"phc_eu\"\nhost = \"https://eu.posthog.com/capture/\"\n[us]\napi_key = \" phc_us\\n\"",
        );
        let eu = all.find("eu").unwrap();
        assert_eq!((eu.host.to_string().as_str(), eu.key.text()), ("https://eu.i.posthog.com/", "phc_eu"));
        let us = all.find("us").unwrap();
        assert_eq!((us.host.to_string().as_str(), us.key.text()), ("https://us.i.posthog.com/", "phc_us"));
    }

    #[test]
    fn a_destination_that_cannot_be_used_is_held_with_the_remedy() {
        let all = destinations("[default]\n[mine]\napi_key = \"phx_personal\"\n[shop]\napi_key = \"\"");
        assert_eq!(
            held(&all, "default"),
            "no_key: destination default has no api key: set --api-key, POSTHOG_API_KEY or destinations.default.api_key"
        );
        assert!(held(&destinations(""), "default").contains("POSTHOG_API_KEY"));
        assert!(held(&all, "shop").ends_with("set destinations.shop.api_key"));
        assert!(held(&all, "mine").contains("personal") && !held(&all, "mine").contains("phx_personal"));
        assert!(held(&all, "gone").contains("[destinations.gone]"));
    }

    #[test]
    fn a_key_in_the_call_is_used_only_where_none_is_configured() {
        let none = destinations("[default]");
        assert_eq!(none.find("key:phc_a").unwrap().key.text(), "phc_a");
        assert!(Arc::ptr_eq(&none.find("key:phc_a").unwrap(), &none.find("key:phc_a").unwrap()));
        assert!(held(&none, "key:").contains("empty"));
        assert!(held(&destinations("[eu]\napi_key = \"phc_eu\""), "key:phc_a").contains("no configured destination"));
    }

    #[test]
    fn keys_in_calls_do_not_add_up() {
        let none = destinations("");
        let in_use = none.find("key:phc_0").unwrap();
        for number in 1..1000 {
            none.find(&format!("key:phc_{number}")).unwrap();
        }
        assert!(none.keyed.lock().len() <= MAX_KEYED);
        assert!(Arc::ptr_eq(&in_use, &none.find("key:phc_0").unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_and_a_long_wait_are_overload() {
        let all = destinations("[eu]\napi_key = \"phc_eu\"");
        let eu = all.find("eu").unwrap();
        let first = eu.turn().await.unwrap();
        let _second = eu.turn().await.unwrap();
        let third = tokio::spawn({
            let eu = eu.clone();
            async move { eu.turn().await.map(drop) }
        });
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        assert_eq!(eu.turn().await.map(drop), Err(NoDestination::Overloaded), "one waits already");
        assert!(began.elapsed().is_zero(), "a full queue is told at once");
        drop(first);
        assert_eq!(third.await.unwrap(), Ok(()));
        let _first = eu.turn().await.unwrap();
        assert_eq!(eu.turn().await.map(drop), Err(NoDestination::Overloaded), "nobody gave up a turn in ten seconds");
        assert_eq!(eu.waiting.load(Ordering::Relaxed), 0);
    }
}
