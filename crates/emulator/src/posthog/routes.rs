//! Which path is what.

use http::{HeaderValue, Method, Request, StatusCode, header, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;

use crate::posthog::{
    Action, Release, ResetAt, admin,
    answer::{Answer, text},
    capture,
    faults::Plan,
    query::Query,
    request::check_key,
    state::State,
};

/// Answers a request. `None` resets the connection.
pub(crate) async fn answer(state: &State, request: Request<Incoming>, peer: &str) -> Option<Answer> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let route = path.trim_end_matches('/');
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    let writes = head.method == Method::POST;
    match route {
        "/batch" | "/i/v0/e" | "/e" | "/capture" | "/track" | "/engage" if exists(state, route) => {
            if reads || writes {
                return Box::pin(capture::take(state, &head, body, route, peer)).await;
            }
            Some(
                Answer::empty(StatusCode::METHOD_NOT_ALLOWED)
                    .with(header::ALLOW, HeaderValue::from_static("GET,HEAD,POST")),
            )
        }
        capture::V1_ROUTE if state.config.v1 => {
            if writes {
                return Box::pin(capture::take(state, &head, body, route, peer)).await;
            }
            Some(Answer::empty(StatusCode::METHOD_NOT_ALLOWED).with(header::ALLOW, HeaderValue::from_static("POST")))
        }
        "" | "/_readiness" if reads => Some(text(StatusCode::OK, "capture")),
        "/_liveness" if reads => Some(text(StatusCode::OK, "healthy")),
        "/flags" | "/decide" if (reads || writes) && (route == "/decide" || state.config.flags) => {
            flags(state, &head, body, route).await
        }
        _ if route.starts_with("/_emulator") => Some(admin::answer(state, &head, body, route).await),
        _ => Some(match route.strip_prefix("/array/").and_then(|rest| rest.strip_suffix("/config.js")) {
            Some(key) if reads && check_key(key).is_ok() && state.knows(key) => Answer::script(remote_config(key)),
            _ => Answer::empty(StatusCode::NOT_FOUND),
        }),
    }
}

/// An older server knows fewer routes.
fn exists(state: &State, route: &str) -> bool {
    state.config.release == Release::Current || matches!(route, "/batch" | "/i/v0/e" | "/e")
}

/// Feature flags: the only answer by which a sender learns whether somebody owns a key.
async fn flags(state: &State, head: &request::Parts, body: Incoming, route: &str) -> Option<Answer> {
    state.books.flags_asked();
    let mut plan = Plan::default();
    state.faults.at_headers(route, false, &mut plan);
    if let Some((_, Action::Reset { at: ResetAt::BeforeReading })) = plan.action {
        return None;
    }
    let body = body.collect().await.ok()?.to_bytes();
    tokio::time::sleep(plan.delay).await;
    match plan.action {
        Some((_, Action::Answer { status, body, retry_after })) => {
            let answer = text(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), body);
            return Some(match retry_after.map(|after| HeaderValue::from_str(&after)) {
                Some(Ok(after)) => answer.with(header::RETRY_AFTER, after),
                _ => answer,
            });
        }
        Some((_, Action::Hang)) => std::future::pending().await,
        Some((_, Action::Reset { .. } | Action::AnswerLost | Action::Partial { .. })) => return None,
        Some((_, Action::Results { .. })) => {}
        Some((_, Action::AnswerLate { ms })) => tokio::time::sleep(std::time::Duration::from_millis(ms)).await,
        Some((_, Action::Delay { .. })) | None => {}
    }
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let key = ["token", "api_key", "$token"].iter().find_map(|name| told.get(name)).and_then(|key| key.as_str());
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Some(text(StatusCode::UNAUTHORIZED, "No API key provided."));
    };
    if check_key(key).is_err() || !state.knows(key) {
        let invalid = json!({
            "type": "authentication_error",
            "code": "invalid_api_key",
            "detail": "The provided API key is invalid or has expired. Please check your API key and try again.",
            "attr": null,
        });
        return Some(Answer::json(StatusCode::UNAUTHORIZED, invalid.to_string()));
    }
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let quota: &[&str] = if state.is_over_quota(key) { &["events"] } else { &[] };
    let flags = if route == "/flags" && query.get("v").as_deref() == Some("2") {
        json!({"flags": {}, "errorsWhileComputingFlags": false, "quotaLimited": quota})
    } else {
        json!({"featureFlags": {}, "featureFlagPayloads": {}, "errorsWhileComputingFlags": false})
    };
    Some(Answer::json(StatusCode::OK, flags.to_string()))
}

fn remote_config(key: &str) -> String {
    format!(
        "(function() {{ window._POSTHOG_REMOTE_CONFIG = window._POSTHOG_REMOTE_CONFIG || {{}}; \
         window._POSTHOG_REMOTE_CONFIG[{key:?}] = {{config: {{\"token\": {key:?}}}, siteApps: []}}; }})();"
    )
}
