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
use http::StatusCode;
use moehog_journal::{Journal, ReadError};
use moehog_proto::{Channel, transformer::TransformerServiceClient};
use serde::Serialize;

use crate::ingest::host_is_loopback;

/// What the admin API reads.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) relay: moehog_relay::Status,
    pub(crate) transformer: TransformerServiceClient<Channel>,
}

/// The routes under `/api`. On a loopback listener a request must name a loopback host, so that no web page reads it through a
/// name that it points here.
pub(crate) fn routes(admin: Admin, address: IpAddr) -> Router {
    let guarded = address.to_canonical().is_loopback();
    Router::new()
        .route("/api/status", get(status::show))
        .route("/api/dead-letters", get(dead_letters::list))
        .route("/api/dead-letters/{receipt}", get(receipts::show))
        .route("/api/receipts/{receipt}", get(receipts::show))
        .layer(middleware::from_fn_with_state(guarded, guard))
        .with_state(admin)
}

async fn guard(State(guarded): State<bool>, request: Request, next: Next) -> Response {
    if guarded && !host_is_loopback(request.uri(), request.headers()) {
        let refused = Failure {
            status: StatusCode::FORBIDDEN,
            error: "not_loopback",
            message: "this port listens on the loopback address and is asked by that name only".to_string(),
        };
        return refused.into_response();
    }
    next.run(request).await
}

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
            ReadError::OtherJournal { .. } => (StatusCode::NOT_FOUND, "other_journal"),
            ReadError::Disk { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "disk_failed"),
            ReadError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        };
        Self { status, error: code, message: error.to_string() }
    }
}
