//! From the name in a call to a host, a key and a turn.

use std::{collections::HashMap, sync::Arc, time::Duration};

use moehog_proto::{Blame, Reason};
use moehog_runtime::{Exposed, Secret, ways_to_set};
use parking_lot::Mutex;

use crate::{
    config::{self, Config, Limits},
    posthog::{Api, Host, Key, V1},
    turns::Turns,
};

/// Destinations that are made of the key in a call, at most; the gateway lets fewer through.
const MAX_KEYED: usize = 64;

/// All destinations.
#[derive(Debug)]
pub(crate) struct Destinations {
    /// Configured, by name.
    named: HashMap<String, Named>,
    /// `key:<project key>`, where no destination with a key is configured.
    keyed: Mutex<HashMap<String, Arc<Destination>>>,
    host: Host,
    api: Api,
    v1_probe_every: Duration,
    limits: Limits,
}

/// A PostHog project that events go to.
#[derive(Debug)]
pub(crate) struct Destination {
    /// For logs and spans; never the key.
    pub(crate) label: String,
    pub(crate) host: Host,
    pub(crate) key: Key,
    pub(crate) v1: Arc<V1>,
    pub(crate) turns: Arc<Turns>,
}

/// A configured destination, whose key may change.
#[derive(Debug)]
struct Named {
    name: String,
    host: Host,
    api_key: Option<Secret>,
    v1: Arc<V1>,
    /// Changed keys do not give more of them.
    turns: Arc<Turns>,
    made: Mutex<Made>,
}

#[derive(Debug)]
struct Made {
    /// The key it was made of.
    key: Option<Exposed>,
    /// The error says why it cannot be used and what to do.
    destination: Result<Arc<Destination>, Reason>,
}

/// Why a call of a destination is not worked on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoDestination {
    /// A person must act.
    Hold(Reason),
    /// Too many at a time.
    Overloaded,
}

impl Destinations {
    pub(crate) fn new(config: &Config) -> Self {
        let named = config.destinations.iter().map(|(name, destination)| {
            let host = destination.host.as_ref().unwrap_or(&config.posthog.host).clone();
            let v1 = V1::new(destination.api.unwrap_or(config.posthog.api), config.posthog.v1_probe_every);
            (name.clone(), Named::new(name, host, destination, (&config.limits, Arc::new(v1))))
        });
        Self {
            named: named.collect(),
            keyed: Mutex::default(),
            host: config.posthog.host.clone(),
            api: config.posthog.api,
            v1_probe_every: config.posthog.v1_probe_every,
            limits: config.limits.clone(),
        }
    }

    /// The destination a call names.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Destination>, NoDestination> {
        match (self.named.get(name), moehog_proto::Destination::of(name).key()) {
            (Some(destination), _) => destination.now().map_err(NoDestination::Hold),
            (None, Some(key)) => self.keyed(key),
            (None, None) if name == "default" => Err(NoDestination::Hold(no_key(name))),
            (None, None) => {
                let why = unknown(format!("no destination {name} is configured"))
                    .remedied(format!("add [destinations.{name}] with its api_key"));
                Err(NoDestination::Hold(why))
            }
        }
    }

    fn keyed(&self, key: &str) -> Result<Arc<Destination>, NoDestination> {
        if self.named.values().any(Named::has_key) {
            let why = unknown("the webhook carries a key of no configured destination".to_string());
            return Err(NoDestination::Hold(why.remedied("add one with this key")));
        }
        if let Some(fault) = moehog_proto::project_key_fault(key) {
            return Err(NoDestination::Hold(wrong_key(format!("the api key in the webhook {fault}"))));
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
        let label = moehog_proto::Destination::Keyed(key).label();
        let turns = Arc::new(Turns::new(self.limits.clone(), &label));
        let v1 = Arc::new(V1::new(self.api, self.v1_probe_every));
        let destination = Arc::new(Destination::new(&label, &self.host, key, (&turns, &v1)));
        keyed.insert(key.to_string(), destination.clone());
        Ok(destination)
    }
}

impl Destination {
    fn new(label: &str, host: &Host, key: &str, (turns, v1): (&Arc<Turns>, &Arc<V1>)) -> Self {
        let (label, host, key) = (label.to_string(), host.clone(), Key::new(key.to_string()));
        Self { label, host, key, v1: v1.clone(), turns: turns.clone() }
    }
}

impl Named {
    fn new(name: &str, host: Host, config: &config::Destination, (limits, v1): (&Limits, Arc<V1>)) -> Self {
        let (turns, key) = (Arc::new(Turns::new(limits.clone(), name)), config.api_key.as_ref().map(Secret::expose));
        let destination = made(name, &host, key.as_deref(), (&turns, &v1));
        let made = Mutex::new(Made { key, destination });
        Self { name: name.to_string(), host, api_key: config.api_key.clone(), v1, turns, made }
    }

    /// With the key as it is now; of another one nothing is known yet.
    fn now(&self) -> Result<Arc<Destination>, Reason> {
        let key = self.api_key.as_ref().map(Secret::expose);
        let mut last = self.made.lock();
        if last.key.as_deref() != key.as_deref() {
            let destination = made(&self.name, &self.host, key.as_deref(), (&self.turns, &self.v1));
            *last = Made { key, destination };
        }
        last.destination.clone()
    }

    fn has_key(&self) -> bool {
        self.api_key.as_ref().is_some_and(|key| !key.expose().trim().is_empty())
    }
}

fn made(
    name: &str,
    host: &Host,
    key: Option<&str>,
    shared: (&Arc<Turns>, &Arc<V1>),
) -> Result<Arc<Destination>, Reason> {
    let key = key.unwrap_or_default().trim();
    if key.is_empty() {
        return Err(no_key(name));
    }
    if let Some(fault) = moehog_proto::project_key_fault(key) {
        let why = wrong_key(format!("api key of destination {name} {fault}"));
        return Err(why.remedied("set the project's api key (phc_…)"));
    }
    Ok(Arc::new(Destination::new(name, host, key, shared)))
}

fn no_key(name: &str) -> Reason {
    let key = format!("destinations.{name}.api_key");
    let message = format!("destination {name} has no api key");
    let remedy = format!("set {}", ways_to_set(&key));
    Reason::new(Blame::Destination, "no_key", message).about(key).remedied(remedy)
}

fn unknown(message: String) -> Reason {
    Reason::new(Blame::Destination, "unknown_destination", message)
}

fn wrong_key(message: String) -> Reason {
    Reason::new(Blame::Destination, "wrong_key", message).about("api_key")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations(toml: &str) -> Destinations {
        let mut config: Config = moehog_runtime::load(Config::DEFAULTS, None, []).unwrap();
        config.destinations = toml::from_str(toml).unwrap();
        Destinations::new(&config)
    }

    fn held(destinations: &Destinations, name: &str) -> String {
        match destinations.find(name) {
            Err(NoDestination::Hold(why)) => why.to_string(),
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
            "no_key: destination default has no api key; set destinations.default.api_key",
            "this process reads no flag and no variable for it"
        );
        assert_eq!(held(&destinations(""), "default"), held(&all, "default"));
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

    #[test]
    fn a_key_that_is_read_again_makes_a_destination_of_which_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "phx_personal").unwrap();
        let mut config: Config = moehog_runtime::load(Config::DEFAULTS, None, []).unwrap();
        config.destinations = toml::from_str(&format!("[eu]\napi_key = {{ file = {file:?} }}")).unwrap();
        let all = Destinations::new(&config);
        assert!(held(&all, "eu").contains("personal"));
        let read_again = |key: &str| {
            std::fs::write(&file, key).unwrap();
            for (name, secret) in config.all_secrets() {
                assert_eq!(name, "destinations.eu.api_key");
                secret.read_again().unwrap();
            }
            all.find("eu").unwrap()
        };
        let first = read_again("phc_first\n");
        assert_eq!(first.key.text(), "phc_first");
        assert!(Arc::ptr_eq(&first, &read_again("phc_first")), "the same key is the same destination");
        let second = read_again("phc_second");
        assert_eq!(
            (first.key.text(), second.key.text()),
            ("phc_first", "phc_second"),
            "calls end with the key they began with"
        );
        assert!(Arc::ptr_eq(&first.turns, &second.turns), "and count as before");
    }
}
