//! `/api/lanes/give-up`: what a held lane keeps becomes dead letters.

use std::time::Duration;

use axum::{Json, extract::State};
use http::StatusCode;
use moehog_relay::GiveUpError;
use serde::{Deserialize, Serialize};

use super::{Admin, Failure, request::Object};

/// How long an answer waits for the end; it goes on where nobody waits for it.
const ANSWER: Duration = Duration::from_secs(25);

/// A lane.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lane {
    source: String,
    /// As `/api/status` names it.
    destination: String,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    webhooks: u64,
    events: u64,
    /// It goes on: `/api/status` says how many webhooks are left.
    goes_on: bool,
}

pub(super) async fn give_up(
    State(admin): State<Admin>,
    Object(Lane { source, destination }): Object<Lane>,
) -> Result<Json<Done>, Failure> {
    match tokio::time::timeout(ANSWER, admin.relay.give_up(&source, &destination)).await {
        Ok(Ok(given_up)) => Ok(Json(Done { webhooks: given_up.webhooks, events: given_up.events, goes_on: false })),
        Ok(Err(error)) => {
            let (status, code) = match &error {
                GiveUpError::Unknown { .. } => (StatusCode::NOT_FOUND, "unknown_lane"),
                GiveUpError::Open => (StatusCode::CONFLICT, "not_held"),
                GiveUpError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
            };
            Err(Failure { status, error: code, message: error.to_string() })
        }
        Err(_elapsed) => Ok(Json(Done { webhooks: 0, events: 0, goes_on: true })),
    }
}
