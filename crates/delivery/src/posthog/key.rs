//! Whether a project owns the key that is sent.
//!
//! Classic capture answers 200 to a key nobody owns and drops the events, so a 200 alone proves nothing.

use std::{collections::BTreeMap, time::Duration};

use moehog_proto::{Blame, Reason};
use tokio::{sync::Mutex, time::Instant};

use super::{Client, Host, client::Finding};
use crate::config;

/// What is known of a destination's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// A project owns it, or nobody is to ask: what capture takes is delivered.
    Good,
    /// Capture may take what it then drops.
    Unverified,
    /// No project owns it; the remedy.
    Wrong(Reason),
    /// Never known yet, and the host is not to be reached: neither are its batches. Why.
    Unreachable(String),
}

/// How long nobody tries to reach a host again that was not reached.
const UNREACHED: Duration = Duration::from_secs(1);

/// How keys are checked.
#[derive(Debug, Clone)]
pub(crate) struct Checks {
    on: bool,
    every: Duration,
    retry: Duration,
    regions: BTreeMap<String, Host>,
}

/// A destination's key and what is known of it.
#[derive(Debug)]
pub(crate) struct Key {
    text: String,
    /// The newest answer and how long it stands.
    last: Mutex<Option<(KeyState, Instant)>>,
    /// What `last` says, for those who do not wait while it is renewed.
    shown: parking_lot::Mutex<Option<KeyState>>,
}

impl Key {
    pub(crate) fn new(text: String) -> Self {
        Self { text, last: Mutex::new(None), shown: parking_lot::Mutex::new(None) }
    }

    /// The key itself.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What is known of the key at `host`; asks there when it is time to. One asks at a time: the others wait for the first
    /// answer, and go on with the old one later. `destination` is for the log.
    pub(crate) async fn state(&self, client: &Client, host: &Host, checks: &Checks, destination: &str) -> KeyState {
        if !checks.on {
            return KeyState::Good;
        }
        let shown = self.shown.lock().clone();
        let mut last = match (self.last.try_lock(), shown) {
            (Ok(last), _) => last,
            (Err(_), Some(shown)) => return shown,
            (Err(_), None) => self.last.lock().await,
        };
        if let Some((state, until)) = &*last
            && Instant::now() < *until
        {
            return state.clone();
        }
        let before = last.as_ref().map(|(state, _)| state);
        let (state, stands) = self.check(client, host, checks, before).await;
        if before != Some(&state) {
            told(destination, &state, before.is_some());
        }
        *last = Some((state.clone(), Instant::now() + stands));
        *self.shown.lock() = Some(state.clone());
        state
    }

    /// Asks, and says how long the answer stands.
    async fn check(
        &self,
        client: &Client,
        host: &Host,
        checks: &Checks,
        before: Option<&KeyState>,
    ) -> (KeyState, Duration) {
        match (client.knows_key(host, &self.text).await, before) {
            (Finding::Known, _) => (KeyState::Good, checks.every),
            (Finding::Unknown, _) => (KeyState::Wrong(self.unknown(client, host, checks).await), checks.retry),
            (Finding::Unreachable(why), None | Some(KeyState::Unreachable(_))) => {
                (KeyState::Unreachable(why), checks.retry.min(UNREACHED))
            }
            // what was known stands, and the batches find out by themselves
            (Finding::Unreachable(_), Some(before)) => (before.clone(), checks.retry.min(UNREACHED)),
            // a clear no stands until a clear yes
            (Finding::Unclear(_), Some(KeyState::Wrong(why))) => (KeyState::Wrong(why.clone()), checks.retry),
            (Finding::Unclear(why), _) => {
                tracing::debug!(why, "key check was not answered");
                (KeyState::Unverified, checks.retry)
            }
        }
    }

    /// That `host` does not know the key, and which does.
    async fn unknown(&self, client: &Client, host: &Host, checks: &Checks) -> Reason {
        let wrong = |message: String| Reason::new(Blame::Destination, "wrong_key", message).about("api_key");
        let here = checks.regions.iter().find(|(_, region)| *region == host).map(|(name, _)| name);
        let Some(here) = here else {
            return wrong(format!("no project at {host} owns the api key"))
                .remedied("set the project's api key or its host");
        };
        for (name, region) in checks.regions.iter().filter(|(name, _)| *name != here) {
            if client.knows_key(region, &self.text).await == Finding::Known {
                let message =
                    format!("no project in PostHog's region {here} owns the api key, but one in region {name} does");
                return wrong(message).remedied(format!("set the host to {region}"));
            }
        }
        wrong(format!("no project in any of PostHog's regions owns the api key ({here} was asked first)"))
            .remedied("copy it again from the project's settings")
    }
}

impl Checks {
    pub(crate) fn new(config: &config::PostHog) -> Self {
        Self {
            on: config.verify_key,
            every: config.key_check_every,
            retry: config.key_check_retry,
            regions: config.regions.clone(),
        }
    }
}

fn told(destination: &str, state: &KeyState, again: bool) {
    match state {
        KeyState::Good if again => tracing::info!(destination, "the api key is known to PostHog again"),
        KeyState::Good => tracing::info!(destination, "the api key is known to PostHog"),
        KeyState::Unverified => tracing::warn!(
            destination,
            remedy = "see that a proxy before PostHog passes /flags/ on; one that has neither it nor /decide/ needs \
                      `posthog.verify_key = false`, once you are sure of the key",
            "the api key could not be verified: PostHog's /flags/ says neither yes nor no, and what PostHog takes is \
             booked as delivered_degraded (unverified_key) until it does"
        ),
        KeyState::Unreachable(why) => tracing::info!(destination, why, "PostHog is not to be reached"),
        KeyState::Wrong(why) => tracing::warn!(destination, remedy = %why, "events are held"),
    }
}
