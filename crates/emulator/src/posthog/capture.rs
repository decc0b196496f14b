//! The one handler behind all capture routes.

mod v1;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header, request};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::posthog::{
    Action, Exchange, ResetAt, Store, StoredEvent,
    answer::{Answer, text},
    body::{self, ReadOutcome},
    event::normalise,
    faults::{Plan, Sight, words},
    light,
    query::Query,
    refusal::Refusal,
    request::{self as shape, Parsed},
    state::State,
    time,
};

pub(crate) use self::v1::ROUTE as V1_ROUTE;

/// What is known of a request so far.
#[derive(Default)]
struct Case {
    number: u64,
    wire_bytes: usize,
    body: Bytes,
    key: Option<String>,
    events: usize,
    stored: usize,
    plan: Plan,
}

/// Takes one capture request. `None` resets the connection.
pub(crate) async fn take(
    state: &State,
    head: &request::Parts,
    body: Incoming,
    route: &str,
    peer: &str,
) -> Option<Answer> {
    let (at, started) = (Timestamp::now(), Instant::now());
    let mut guard = Log {
        state,
        head,
        route,
        at,
        started,
        case: Case { number: state.next_number(), ..Case::default() },
        answer: None,
    };
    let answer = work(state, head, body, route, peer, &mut guard.case).await;
    guard.answer.clone_from(&answer);
    answer
}

async fn work(
    state: &State,
    head: &request::Parts,
    body: Incoming,
    route: &str,
    peer: &str,
    case: &mut Case,
) -> Option<Answer> {
    state.faults.at_headers(route, true, &mut case.plan);
    match case.plan.action {
        Some((_, Action::Reset { at: ResetAt::BeforeReading })) => return None,
        Some((_, Action::Reset { at: ResetAt::MidBody })) => {
            body::read_half(body).await;
            return None;
        }
        _ => {}
    }
    let refuse = |refused: &Refusal| match route {
        V1_ROUTE => v1::refused(refused, &head.headers),
        _ => text(refused.status(), refused.to_string()),
    };
    let _turn = state.turn().await;
    let wire = match body::read(body, &state.config).await {
        ReadOutcome::Whole(wire) => wire,
        ReadOutcome::TooLarge { drained: true } => return Some(refuse(&Refusal::BodyTooLarge)),
        ReadOutcome::TooLarge { drained: false } if state.config.hangs_up() => return None,
        ReadOutcome::TooLarge { drained: false } => return Some(refuse(&Refusal::BodyTooLarge).closing()),
        ReadOutcome::Stalled => return Some(refuse(&Refusal::Stalled).closing()),
        ReadOutcome::Broken => return None,
    };
    case.wire_bytes = wire.len();
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let judged = judge(state, head, wire, route, peer, &query, case);
    state.pause(case.plan.delay).await;
    match (case.plan.action.clone().map(|(_, action)| action), judged) {
        (Some(Action::Answer { status, body, retry_after }), _) => {
            let mut answer = text(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), body);
            if let Some(Ok(after)) = retry_after.as_deref().map(HeaderValue::from_str) {
                answer = answer.with(header::RETRY_AFTER, after);
            }
            Some(answer)
        }
        (Some(Action::Hang), _) => std::future::pending().await,
        (Some(Action::Reset { .. }), _) => None,
        (Some(Action::Partial { stored, status }), Ok(verdict)) => {
            verdict.store(state, stored, case);
            Some(text(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), words(status)))
        }
        (Some(Action::AnswerLost), Ok(verdict)) => {
            verdict.store(state, usize::MAX, case);
            None
        }
        (action, Ok(mut verdict)) => {
            let (refused, mut retry_after) = (verdict.too_large.clone(), None);
            if let Some(Action::Results { results, retry_after: own }) = &action {
                v1::script(&mut verdict, results);
                retry_after.clone_from(own);
            }
            let results = verdict.results.take();
            verdict.store(state, usize::MAX, case);
            if let Some(Action::AnswerLate { ms }) = action {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            let after = retry_after.and_then(|after| HeaderValue::from_str(&after).ok());
            Some(match (refused, results, after) {
                (Some(refused), ..) => refuse(&refused),
                (_, Some(results), None) => v1::results(&results, &head.headers),
                (_, Some(results), Some(after)) => {
                    v1::results(&results, &head.headers).with(header::RETRY_AFTER, after)
                }
                _ if query.get("beacon").as_deref() == Some("1") => Answer::empty(StatusCode::NO_CONTENT),
                _ => Answer::json(StatusCode::OK, r#"{"status":"Ok"}"#),
            })
        }
        (_, Err(refused)) => Some(refuse(&refused)),
    }
}

/// What a request's events come to, before anything is stored.
#[derive(Default)]
struct Verdict {
    key: Arc<str>,
    events: Vec<(StoredEvent, Map<String, Value>)>,
    counted: Vec<(String, u64)>,
    /// Taken with a 200 and dropped behind it.
    dropped: Option<&'static str>,
    /// Not taken by v1, by reason.
    refused: BTreeMap<&'static str, u64>,
    /// What v1 answers of each event.
    results: Option<Vec<v1::Entry>>,
    /// The first event that is too large: what stands before it is stored all the same.
    too_large: Option<Refusal>,
}

impl Verdict {
    fn store(self, state: &State, at_most: usize, case: &mut Case) {
        for (reason, events) in &self.refused {
            state.books.dropped(reason, *events);
        }
        if let Some(reason) = self.dropped {
            let refused: u64 = self.refused.values().sum();
            return state.books.dropped(reason, (case.events.min(at_most) as u64).saturating_sub(refused));
        }
        case.stored = (self.events.len() + self.counted.len()).min(at_most);
        for (event, properties) in self.events.into_iter().take(at_most) {
            state.books.store(event, &properties);
        }
        if !self.counted.is_empty() {
            let counted = self.counted.iter().take(at_most).map(|(name, hash)| (name.as_str(), *hash));
            state.books.count(&self.key, counted);
        }
    }
}

fn judge(
    state: &State,
    head: &request::Parts,
    wire: Bytes,
    route: &str,
    peer: &str,
    query: &Query<'_>,
    case: &mut Case,
) -> Result<Verdict, Refusal> {
    if route == V1_ROUTE {
        return v1::judge(state, head, &wire, peer, case);
    }
    let body = body::decode(wire, head.method == Method::GET, &head.headers, query, &state.config)?;
    case.body = body.clone();
    if state.config.store == Store::Counts {
        return count(state, route, &body, case);
    }
    let parsed = shape::parse(&body, route == "/engage", state.config.release)?;
    case.key = Some(parsed.key.clone());
    case.events = parsed.pieces.len();
    if let Some(dropped) = fate(state, &parsed.key)? {
        return Ok(Verdict { dropped: Some(dropped), ..Verdict::default() });
    }
    let verdict = events(state, head, peer, query, parsed, case)?;
    if state.faults.need_events() {
        let sights: Vec<_> = verdict.events.iter().map(|(event, _)| sight(event)).collect();
        state.faults.at_events(route, &verdict.key, &sights, &mut case.plan);
    }
    Ok(verdict)
}

fn sight(event: &StoredEvent) -> Sight<'_> {
    Sight { event: &event.event, distinct_id: &event.distinct_id, raw: &event.raw }
}

/// Judges a key: refused, or its events are stored, or dropped for this reason.
fn fate(state: &State, key: &str) -> Result<Option<&'static str>, Refusal> {
    shape::check_key(key)?;
    if !state.knows(key) {
        return if state.config.refuse_unknown_keys {
            Err(Refusal::Key("unknown"))
        } else {
            Ok(Some("team_not_found"))
        };
    }
    Ok(state.is_over_quota(key).then_some("quota_limited"))
}

/// Judges all events: one that is bad refuses them all, one that is too large only itself and what follows.
fn events(
    state: &State,
    head: &request::Parts,
    peer: &str,
    query: &Query<'_>,
    parsed: Parsed,
    case: &Case,
) -> Result<Verdict, Refusal> {
    if parsed.pieces.is_empty() {
        return Err(Refusal::Empty);
    }
    let now = Timestamp::now();
    let sent_at = match query.number("_") {
        Some(millis) => i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        None => parsed.sent_at.as_deref().and_then(time::parse),
    };
    let forwarded = head.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let sender_ip = forwarded.and_then(|list| list.split(',').next()).map_or(peer, str::trim);
    let mut verdict = Verdict { key: parsed.key.into(), ..Verdict::default() };
    verdict.events.reserve(case.events);
    for piece in parsed.pieces {
        let raw = piece.event;
        let Some(event) = raw.event.clone().filter(|name| !name.is_empty()) else { return Err(Refusal::EmptyName) };
        let distinct_id = raw.distinct_id()?;
        if raw.properties.get("$cookieless_mode").is_some_and(|mode| !mode.is_boolean()) {
            return Err(Refusal::CookielessMode);
        }
        let limit = state.config.max_event_bytes;
        if verdict.too_large.is_none() && piece.raw.len().saturating_mul(4) + 400 > limit {
            let bytes = raw.record_bytes(state.config.release);
            let status = state.config.too_large_status();
            verdict.too_large = (bytes > limit).then_some(Refusal::EventTooLarge { bytes, status });
        }
        if verdict.too_large.is_some() {
            continue;
        }
        let ignores_sent_at = raw.properties.get("$ignore_sent_at") == Some(&Value::Bool(true));
        let said = time::Said {
            timestamp: raw.timestamp.as_deref(),
            offset: raw.offset,
            sent_at: sent_at.filter(|_| !ignores_sent_at),
        };
        let stored = StoredEvent {
            request: case.number,
            arrived_at: now,
            key: verdict.key.clone(),
            event,
            distinct_id,
            uuid: piece.uuid.unwrap_or_else(Uuid::now_v7),
            has_own_uuid: piece.uuid.is_some(),
            timestamp: time::stored(&said, now),
            historical: parsed.historical,
            is_copy: false,
            sender_ip: sender_ip.to_owned(),
            raw: piece.raw,
        };
        verdict.events.push((stored, normalise(raw)));
    }
    Ok(verdict)
}

fn count(state: &State, route: &str, body: &[u8], case: &mut Case) -> Result<Verdict, Refusal> {
    let batch = light::find(body)?;
    let key = batch.key.as_deref().ok_or(Refusal::NoKey)?;
    case.events = batch.events.len();
    if let Some(dropped) = fate(state, key)? {
        return Ok(Verdict { dropped: Some(dropped), ..Verdict::default() });
    }
    if batch.events.is_empty() {
        return Err(Refusal::Empty);
    }
    if state.faults.need_events() {
        let sight =
            |event: &light::Event<'_>| -> (String, String) { (event.event.to_string(), event.distinct_id.to_string()) };
        let names: Vec<_> = batch.events.iter().map(sight).collect();
        let sights: Vec<_> = names
            .iter()
            .zip(&batch.events)
            .map(|((event, distinct_id), found)| Sight { event, distinct_id, raw: found.raw })
            .collect();
        state.faults.at_events(route, key, &sights, &mut case.plan);
    }
    let counted = batch.events.iter().map(|event| (event.event.to_string(), event.dedup_hash(key))).collect();
    Ok(Verdict { key: state.intern(key), counted, ..Verdict::default() })
}

/// Enters the request into the books when it ends, be it that its sender hung up.
struct Log<'a> {
    state: &'a State,
    head: &'a request::Parts,
    route: &'a str,
    at: Timestamp,
    started: Instant,
    case: Case,
    answer: Option<Answer>,
}

impl Drop for Log<'_> {
    fn drop(&mut self) {
        let status = self.answer.as_ref().map(|answer| answer.status.as_u16());
        let case = std::mem::take(&mut self.case);
        let (wire_bytes, body_bytes) = (case.wire_bytes, case.body.len());
        let log = (self.state.config.store == Store::Full).then(|| Exchange {
            number: case.number,
            at: self.at,
            took: self.started.elapsed(),
            method: self.head.method.to_string(),
            route: self.route.to_owned(),
            status,
            wire_bytes,
            events: case.events,
            stored: case.stored,
            key: case.key,
            fault: case.plan.action.map(|(name, action)| if name.is_empty() { format!("{action:?}") } else { name }),
            refusal: self
                .answer
                .as_ref()
                .filter(|a| !a.status.is_success())
                .map(|a| String::from_utf8_lossy(&a.body).into()),
            headers: self
                .head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body: case.body,
        });
        self.state.books.finish(status, wire_bytes, body_bytes, log);
    }
}
