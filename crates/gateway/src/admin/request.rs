//! What a request to the admin API says, read or refused with words.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Query, Request},
};
use http::{StatusCode, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Failure;

/// What stands behind `?`.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = Query::from_request_parts(parts, state).await;
        params.map(|Query(params)| Self(params)).map_err(|rejection| malformed(&rejection.body_text()))
    }
}

/// A JSON object. It is asked for as application/json, which no page of another site can send unasked.
pub(super) struct Object<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Object<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let wanted = "an object is wanted, as application/json";
        let object: Result<Json<Map<String, Value>>, _> = Json::from_request(request, state).await;
        let Json(object) = object.map_err(|rejection| malformed(&format!("{wanted}: {}", rejection.body_text())))?;
        serde_json::from_value(object.into()).map(Self).map_err(|error| malformed(&format!("{wanted}: {error}")))
    }
}

fn malformed(why: &str) -> Failure {
    Failure { status: StatusCode::BAD_REQUEST, error: "malformed_request", message: why.to_string() }
}

/// A path that is none of the API's.
pub(super) async fn unknown() -> Failure {
    Failure {
        status: StatusCode::NOT_FOUND,
        error: "unknown_path",
        message: "the API has GET /api/status, /api/dead-letters, /api/receipts/RECEIPT and /api/tail, and POST /api/dead-letters/retry, \
                  /api/dead-letters/discard and /api/lanes/give-up"
            .to_string(),
    }
}

/// A path of the API that is asked for with another method.
pub(super) async fn other_method() -> Failure {
    Failure {
        status: StatusCode::METHOD_NOT_ALLOWED,
        error: "other_method",
        message: "what shows is asked for with GET, what changes something with POST".to_string(),
    }
}
