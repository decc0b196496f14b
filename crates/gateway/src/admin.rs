//! The admin API, beside health and metrics: what waits, what is dead, what became of one webhook. JSON.
//!
//! It shows a webhook's bytes as they came, and otherwise no key and no token.

mod dead_letters;
mod receipts;
mod status;
mod view;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use moehog_journal::{Journal, ReadError};
use moehog_proto::{Channel, transformer::TransformerServiceClient};
use moehog_runtime::Secret;
use serde::Serialize;

pub(crate) use self::view::destination as shown_destination;
use crate::ingest::{host_is_loopback, shows_one_of};

/// What the admin API reads.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) relay: moehog_relay::Status,
    pub(crate) transformer: TransformerServiceClient<Channel>,
}

/// The routes under `/api`. With tokens, a request must show one. Without, only a loopback listener answers, and a request must
/// name a loopback host, so that no web page reads it through a name that it points here.
pub(crate) fn routes(admin: Admin, address: IpAddr, tokens: Vec<Secret>) -> Router {
    let guard_by = Arc::new(Guard { loopback: address.to_canonical().is_loopback(), tokens });
    Router::new()
        .route("/api/status", get(status::show))
        .route("/api/dead-letters", get(dead_letters::list))
        .route("/api/receipts/{receipt}", get(receipts::show))
        .layer(middleware::from_fn_with_state(guard_by, guard))
        .with_state(admin)
}

#[derive(Debug)]
struct Guard {
    loopback: bool,
    tokens: Vec<Secret>,
}

impl Guard {
    fn admit(&self, request: &Request) -> Result<(), Failure> {
        let refused = |status, error, message: &str| Err(Failure { status, error, message: message.to_string() });
        if !self.tokens.is_empty() {
            return match shows_one_of(&self.tokens, &header::AUTHORIZATION, request.headers()) {
                Some(true) => Ok(()),
                Some(false) => refused(StatusCode::UNAUTHORIZED, "token_wrong", "the token is none of api.tokens"),
                None => refused(
                    StatusCode::UNAUTHORIZED,
                    "token_missing",
                    "send Authorization: Bearer TOKEN with a token of api.tokens (moehog: --admin-token)",
                ),
            };
        }
        if !self.loopback {
            return refused(
                StatusCode::FORBIDDEN,
                "token_not_configured",
                "this port is reachable from outside and shows webhooks: configure api.tokens",
            );
        }
        if !host_is_loopback(request.uri(), request.headers()) {
            return refused(
                StatusCode::FORBIDDEN,
                "not_loopback",
                "this port listens on the loopback address and is asked by that name only",
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
        let status = |loopback, tokens: &[&str], shown| {
            let tokens = tokens.iter().map(|token| Secret::from((*token).to_string())).collect();
            Guard { loopback, tokens }.admit(&request(shown)).err().map(|failure| failure.status)
        };
        assert_eq!(status(true, &[], None), None);
        assert_eq!(status(false, &[], None), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(false, &["old", "new"], None), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(status(true, &["new"], Some("other")), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(status(false, &["old", "new"], Some("new")), None);
    }
}
