//! The books, the faults and the settings over HTTP, under `/_emulator`.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::posthog::{
    Rule, StoredEvent,
    answer::{Answer, text},
    books::as_text,
    query::{Query, percent_decode},
    state::State,
};

/// An event as the emulator shows it over HTTP.
#[derive(Serialize)]
struct Shown<'a> {
    request: u64,
    #[serde(serialize_with = "as_text")]
    arrived_at: Timestamp,
    key: &'a str,
    event: &'a str,
    distinct_id: &'a str,
    #[serde(serialize_with = "as_text")]
    uuid: uuid::Uuid,
    has_own_uuid: bool,
    #[serde(serialize_with = "as_text")]
    timestamp: Timestamp,
    historical: bool,
    properties: Map<String, Value>,
    /// Its bytes as they came, as text.
    raw: std::borrow::Cow<'a, str>,
}

/// Settings that can change while it runs; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    latency_ms: Option<u64>,
    /// 0 is no limit.
    concurrency: Option<usize>,
    over_quota: Option<std::collections::BTreeMap<String, bool>>,
    add_key: Option<String>,
}

pub(crate) async fn answer(state: &State, head: &request::Parts, body: Incoming, route: &str) -> Answer {
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let Ok(body) = body.collect().await else { return Answer::empty(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    let is = |method: Method| head.method == method;
    match route.trim_start_matches("/_emulator").trim_start_matches('/') {
        "counts" if is(Method::GET) => ok(&state.books.counts()),
        "events" if is(Method::GET) => events(state, &query),
        "events" if is(Method::DELETE) => {
            state.books.clear();
            Answer::empty(StatusCode::NO_CONTENT)
        }
        "requests" if is(Method::GET) => {
            let since = query.number("since").unwrap_or_default();
            let limit = query.number("limit").unwrap_or(1_000) as usize;
            let mut exchanges = state.books.exchanges();
            exchanges.retain(|exchange| exchange.number > since);
            exchanges.truncate(limit);
            ok(&exchanges)
        }
        "faults" if is(Method::GET) => ok(&state.faults.list()),
        "faults" if is(Method::POST) => add_rules(state, &body),
        "faults" if is(Method::DELETE) => {
            match query.get("name") {
                Some(name) => drop(state.faults.remove(&name)),
                None => state.faults.clear(),
            }
            Answer::empty(StatusCode::NO_CONTENT)
        }
        "settings" if is(Method::PUT) || is(Method::POST) => set(state, &body),
        other => match other.strip_prefix("persons/") {
            Some(id) if is(Method::GET) => person(state, &query, &percent_decode(id)),
            _ => text(
                StatusCode::NOT_FOUND,
                "counts, events, requests, persons/ID, faults (GET, POST, DELETE), settings (PUT)\n",
            ),
        },
    }
}

/// `?key= event= distinct_id= uuid=` narrow, `view=arrivals` shows every copy, `since=` skips, `limit=` bounds.
fn events(state: &State, query: &Query<'_>) -> Answer {
    let all =
        if query.get("view").as_deref() == Some("arrivals") { state.books.arrivals() } else { state.books.events() };
    let wants = |name: &str, own: &str| query.get(name).is_none_or(|want| want == own);
    let picked: Vec<_> = all
        .iter()
        .filter(|event| {
            wants("key", &event.key)
                && wants("event", &event.event)
                && wants("distinct_id", &event.distinct_id)
                && query.get("uuid").is_none_or(|want| uuid::Uuid::parse_str(&want) == Ok(event.uuid))
        })
        .skip(query.number("since").unwrap_or_default() as usize)
        .take(query.number("limit").map_or(usize::MAX, |limit| limit as usize))
        .map(|event| show(event))
        .collect();
    ok(&picked)
}

fn show(event: &StoredEvent) -> Shown<'_> {
    Shown {
        request: event.request,
        arrived_at: event.arrived_at,
        key: &event.key,
        event: &event.event,
        distinct_id: &event.distinct_id,
        uuid: event.uuid,
        has_own_uuid: event.has_own_uuid,
        timestamp: event.timestamp,
        historical: event.historical,
        properties: event.properties(),
        raw: String::from_utf8_lossy(&event.raw),
    }
}

/// With `?key=` of that project, else of the first project that knows the id.
fn person(state: &State, query: &Query<'_>, id: &str) -> Answer {
    let keys = match query.get("key") {
        Some(key) => vec![key.into_owned()],
        None => state.books.counts().by_key.into_keys().collect(),
    };
    match keys.iter().find_map(|key| state.books.person(key, id)) {
        Some(person) => ok(&person),
        None => text(StatusCode::NOT_FOUND, format!("no person has the id {id}\n")),
    }
}

/// One rule or an array of them; all or none.
fn add_rules(state: &State, body: &Bytes) -> Answer {
    let rules = if body.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice::<Vec<Rule>>(body)
    } else {
        serde_json::from_slice(body).map(|rule| vec![rule])
    };
    match rules {
        Ok(rules) => {
            rules.into_iter().for_each(|rule| state.faults.add(rule));
            ok(&state.faults.list())
        }
        Err(error) => text(StatusCode::UNPROCESSABLE_ENTITY, format!("not a rule: {error}\n")),
    }
}

fn set(state: &State, body: &Bytes) -> Answer {
    let settings: Settings = match serde_json::from_slice(body) {
        Ok(settings) => settings,
        Err(error) => return text(StatusCode::UNPROCESSABLE_ENTITY, format!("not settings: {error}\n")),
    };
    if let Some(millis) = settings.latency_ms {
        state.set_latency(Duration::from_millis(millis));
    }
    if let Some(turns) = settings.concurrency {
        state.set_concurrency((turns > 0).then_some(turns));
    }
    for (key, is_over) in settings.over_quota.unwrap_or_default() {
        state.set_over_quota(&key, is_over);
    }
    if let Some(key) = settings.add_key {
        state.add_key(&key);
    }
    Answer::json(StatusCode::OK, json!({"status": "Ok"}).to_string())
}

fn ok(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(json) => Answer::json(StatusCode::OK, json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
