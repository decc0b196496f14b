//! The admin API, beside health and metrics: what waits, what is dead, what became of one webhook. JSON.
//!
//! It shows a webhook's bytes as they came, and otherwise no key and no token.

mod dead_letters;
mod lanes;
mod receipts;
mod request;
mod revise;
mod status;
mod tail;
mod view;
mod words;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use http::{StatusCode, header};
use moehog_journal::{Journal, ReadError};
use serde::Serialize;

pub(crate) use self::tail::Persons;

use crate::{
    config::Api,
    ingest::{shows_one_of, straight_from_here},
    looks::Looks,
};

/// What the admin API reads.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) relay: moehog_relay::Status,
    pub(crate) looks: Looks,
    pub(crate) persons: Persons,
}

/// The routes under `/api`. With tokens, a request must show one. Without, they answer where `api.allow_local` says so: on a
/// loopback listener, to what comes straight from this machine.
pub(crate) fn routes(admin: Admin, address: IpAddr, config: Api) -> Router {
    let guard_by = Arc::new(Guard { address, config });
    Router::new()
        .route("/api/status", get(status::show))
        .route("/api/dead-letters", get(dead_letters::list))
        .route("/api/dead-letters/retry", post(revise::retry))
        .route("/api/dead-letters/discard", post(revise::discard))
        .route("/api/lanes/give-up", post(lanes::give_up))
        .route("/api/tail", get(tail::follow))
        .route("/api/receipts/{receipt}", get(receipts::show))
        .route("/api/{*path}", any(request::unknown))
        .method_not_allowed_fallback(request::other_method)
        .layer(middleware::from_fn_with_state(guard_by, guard))
        .with_state(admin)
}

#[derive(Debug)]
struct Guard {
    /// Where the port is.
    address: IpAddr,
    config: Api,
}

impl Guard {
    fn admit(&self, request: &Request) -> Result<(), Failure> {
        let refused = |status, error, message: &str| Err(Failure { status, error, message: message.to_string() });
        let Api { tokens, allow_local } = &self.config;
        if !tokens.is_empty() {
            return match shows_one_of(tokens, &header::AUTHORIZATION, request.headers()) {
                Some(true) => Ok(()),
                Some(false) => refused(StatusCode::UNAUTHORIZED, "token_wrong", "the token is none of api.tokens"),
                None => refused(
                    StatusCode::UNAUTHORIZED,
                    "token_missing",
                    "send Authorization: Bearer TOKEN with a token of api.tokens (moehog: --admin-token)",
                ),
            };
        }
        if !allow_local || !self.address.to_canonical().is_loopback() {
            return refused(
                StatusCode::FORBIDDEN,
                "token_not_configured",
                "this port shows webhooks, and no token says to whom: configure api.tokens, or on a loopback address that no proxy is before \
                 api.allow_local",
            );
        }
        // whoever connects to a loopback address is on this machine
        if !straight_from_here(self.address, request.uri(), request.headers()) {
            return refused(
                StatusCode::FORBIDDEN,
                "not_loopback",
                "without a token this port is asked straight from its machine, by a loopback name and through no proxy",
            );
        }
        Ok(())
    }
}

async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// The code of a receipt that another gateway may know.
const OTHER_JOURNAL: &str = "other_journal";

/// Why the API does not answer.
#[derive(Debug, Serialize)]
struct Failure {
    #[serde(skip)]
    status: StatusCode,
    error: &'static str,
    message: String,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let (status, code) = match &error {
            ReadError::OtherJournal { .. } => (StatusCode::NOT_FOUND, OTHER_JOURNAL),
            ReadError::OtherLife { .. } => (StatusCode::NOT_FOUND, "other_life"),
            ReadError::Disk { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "disk_failed"),
            ReadError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        };
        Self { status, error: code, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn without_a_token_only_the_loopback_answers_and_with_one_it_is_asked_for() {
        let request = |token: Option<&str>| {
            let mut request = Request::builder().uri("/api/status").header(header::HOST, "127.0.0.1:9080");
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            request.body(Body::empty()).unwrap()
        };
        let status = |(address, allow_local): (&str, bool), tokens: &[&str], request: &Request| {
            let tokens = tokens.iter().map(|token| (*token).to_string().into()).collect();
            let guard = Guard { address: address.parse().unwrap(), config: Api { tokens, allow_local } };
            guard.admit(request).err().map(|failure| failure.status)
        };
        let (here, everywhere) = (("127.0.0.1", true), ("0.0.0.0", true));
        assert_eq!(status(here, &[], &request(None)), None);
        assert_eq!(status(("127.0.0.1", false), &[], &request(None)), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(everywhere, &[], &request(None)), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(everywhere, &["old", "new"], &request(None)), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(status(here, &["new"], &request(Some("other"))), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(status(everywhere, &["old", "new"], &request(Some("new"))), None);
        for (name, value) in
            [("x-forwarded-for", "192.0.2.1"), ("origin", "https://evil.example"), ("host", "evil.example")]
        {
            let mut request = request(None);
            request.headers_mut().insert(name, value.parse().unwrap());
            assert_eq!(status(here, &[], &request), Some(StatusCode::FORBIDDEN), "{name}");
        }
    }
}
