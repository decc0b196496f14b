//! How to fail: rules that pick requests and say what happens to them.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// One rule. Of several that pick a request, delays add up and the first other action counts.
///
/// As JSON: `{"when": {"event": "bad"}, "skip": 0, "times": 1, "then": {"answer": {"status": 503}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A name, shown in the request log.
    #[serde(default)]
    pub name: String,
    /// Which requests.
    #[serde(default)]
    pub when: When,
    /// Picked requests that pass unharmed first: `skip: 2, times: Some(1)` is the third alone.
    #[serde(default)]
    pub skip: u64,
    /// Requests it acts on before it ends; `None` never ends.
    #[serde(default)]
    pub times: Option<u64>,
    /// What happens.
    pub then: Action,
}

/// Which requests a rule picks: all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The route without its trailing slash: `/batch`, `/flags`. Without it, every capture route.
    pub route: Option<String>,
    /// The project key.
    pub key: Option<String>,
    /// The name of at least one event.
    pub event: Option<String>,
    /// Whom at least one event is about.
    pub distinct_id: Option<String>,
    /// Text that stands in the bytes of at least one event.
    pub contains: Option<String>,
    /// At least so many events in the request.
    pub min_events: Option<usize>,
    /// A chance from 0 to 1, drawn from the configured seed.
    pub probability: Option<f64>,
}

impl When {
    fn needs_events(&self) -> bool {
        self.key.is_some()
            || self.event.is_some()
            || self.distinct_id.is_some()
            || self.contains.is_some()
            || self.min_events.is_some()
    }
}

/// What happens to a picked request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// It is read and answered so; nothing is stored.
    Answer {
        /// The status.
        status: u16,
        /// The body, plain text.
        #[serde(default)]
        body: String,
        /// The `Retry-After` header: seconds or an HTTP date.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// It is answered later.
    Delay {
        /// By so many milliseconds.
        ms: u64,
    },
    /// It is read and never answered.
    Hang,
    /// The connection is reset; nothing is stored.
    Reset {
        /// When.
        at: ResetAt,
    },
    /// The first events are stored, then this status is the answer: the rest is not.
    Partial {
        /// How many are stored.
        stored: usize,
        /// The status.
        status: u16,
    },
    /// All is stored, and the connection reset before the answer.
    AnswerLost,
    /// A v1 request is answered so for its events, in their order and from the first again; what is said to be `ok` or a
    /// `warning` is stored.
    Results {
        /// `result`, or `result:details`.
        results: Vec<String>,
        /// The `Retry-After` header in place of PostHog's own.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// All is stored, and answered later.
    AnswerLate {
        /// By so many milliseconds.
        ms: u64,
    },
}

/// When a connection is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetAt {
    /// After the headers. With conditions on events: after reading, since they must be read to be known.
    BeforeReading,
    /// In the middle of the body.
    MidBody,
    /// After the whole body.
    AfterReading,
}

impl Rule {
    /// A rule for these requests.
    #[must_use]
    pub fn new(when: When, then: Action) -> Self {
        Self { name: String::new(), when, skip: 0, times: None, then }
    }

    /// A rule for every capture request.
    #[must_use]
    pub fn always(then: Action) -> Self {
        Self::new(When::default(), then)
    }

    /// Answers with a status; nothing is stored.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::always(Action::Answer { status, body: words(status).into(), retry_after: None })
    }

    /// Refuses every request that holds an event with this text in it, as PostHog refuses what it cannot read: 400 and
    /// these words, for the whole batch.
    #[must_use]
    pub fn refuse(contains: &str, body: &str) -> Self {
        let when = When { contains: Some(contains.into()), ..When::default() };
        Self::new(when, Action::Answer { status: 400, body: body.into(), retry_after: None })
    }

    /// Answers v1 requests so for their events: `["ok", "drop:billing_limit_exceeded"]`.
    #[must_use]
    pub fn results(results: &[&str]) -> Self {
        let results = results.iter().map(|result| (*result).to_string()).collect();
        Self::always(Action::Results { results, retry_after: None })
    }

    /// Stores all and loses the answer, once.
    #[must_use]
    pub fn answer_lost() -> Self {
        Self { times: Some(1), ..Self::always(Action::AnswerLost) }
    }

    /// The same for so many requests only.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same for the n-th picked request alone, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { skip: nth.saturating_sub(1), times: Some(1), ..self }
    }

    /// The same for one project key.
    #[must_use]
    pub fn for_key(mut self, key: &str) -> Self {
        self.when.key = Some(key.into());
        self
    }

    /// The same for one route.
    #[must_use]
    pub fn on(mut self, route: &str) -> Self {
        self.when.route = Some(route.into());
        self
    }

    /// The same under a name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }
}

/// What PostHog says with a status.
pub(crate) fn words(status: u16) -> &'static str {
    match status {
        429 => "rate limited",
        500 => "internal server error",
        503 => "transient error, please retry",
        _ => "",
    }
}

/// A rule and what it has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleState {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Requests it picked.
    pub picked: u64,
    /// Requests it acted on.
    pub acted: u64,
}

/// One event, for rules that look at events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) event: &'a str,
    pub(crate) distinct_id: &'a str,
    pub(crate) raw: &'a [u8],
}

/// What the rules say about one request.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) action: Option<(String, Action)>,
}

/// The rules of a server; clones share them. Rules act from the next request on.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    rules: Vec<RuleState>,
    chance: StdRng,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner { rules: Vec::new(), chance: StdRng::seed_from_u64(seed) })))
    }

    /// Adds a rule behind the others.
    pub fn add(&self, rule: Rule) {
        self.0.lock().rules.push(RuleState { rule, picked: 0, acted: 0 });
    }

    /// Ends all rules.
    pub fn clear(&self) {
        self.0.lock().rules.clear();
    }

    /// Ends the rules of this name; says how many there were.
    pub fn remove(&self, name: &str) -> usize {
        let mut inner = self.0.lock();
        let before = inner.rules.len();
        inner.rules.retain(|state| state.rule.name != name);
        before - inner.rules.len()
    }

    /// The rules and what they have done.
    #[must_use]
    pub fn list(&self) -> Vec<RuleState> {
        self.0.lock().rules.clone()
    }

    pub(crate) fn need_events(&self) -> bool {
        self.0.lock().rules.iter().any(|state| state.rule.when.needs_events())
    }

    /// What the rules say that look at the route alone.
    pub(crate) fn at_headers(&self, route: &str, is_capture: bool, plan: &mut Plan) {
        self.0.lock().consider(plan, |when| !when.needs_events() && route_matches(when, route, is_capture));
    }

    /// What the rules say that look at events.
    pub(crate) fn at_events(&self, route: &str, key: &str, events: &[Sight<'_>], plan: &mut Plan) {
        self.0.lock().consider(plan, |when| {
            when.needs_events() && route_matches(when, route, true) && events_match(when, key, events)
        });
    }
}

impl Inner {
    fn consider(&mut self, plan: &mut Plan, picks: impl Fn(&When) -> bool) {
        for state in &mut self.rules {
            let is_over = state.rule.times.is_some_and(|times| state.acted >= times);
            let is_taken = plan.action.is_some() && !matches!(state.rule.then, Action::Delay { .. });
            if is_over || is_taken || !picks(&state.rule.when) {
                continue;
            }
            if state.rule.when.probability.is_some_and(|chance| self.chance.random::<f64>() >= chance) {
                continue;
            }
            state.picked += 1;
            if state.picked <= state.rule.skip {
                continue;
            }
            state.acted += 1;
            match &state.rule.then {
                Action::Delay { ms } => plan.delay += Duration::from_millis(*ms),
                action => plan.action = Some((state.rule.name.clone(), action.clone())),
            }
        }
    }
}

fn route_matches(when: &When, route: &str, is_capture: bool) -> bool {
    when.route.as_deref().map_or(is_capture, |own| own.trim_end_matches('/') == route)
}

fn events_match(when: &When, key: &str, events: &[Sight<'_>]) -> bool {
    when.key.as_deref().is_none_or(|own| own == key)
        && when.min_events.is_none_or(|min| events.len() >= min)
        && events.iter().any(|sight| {
            when.event.as_deref().is_none_or(|own| own == sight.event)
                && when.distinct_id.as_deref().is_none_or(|own| own == sight.distinct_id)
                && when.contains.as_deref().is_none_or(|own| memchr::memmem::find(sight.raw, own.as_bytes()).is_some())
        })
}
