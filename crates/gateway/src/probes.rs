//! What load balancers ask on the public port: `/`, `/livez` and `/readyz`.
//!
//! GKE and AWS probe the port that they send webhooks to. Anybody may ask, so an answer is a word and says nothing of the inside; the
//! admin port says why. Such a request is no webhook: it is not counted as one, and what sheds webhooks does not shed it. A gateway
//! whose journal is full stays ready: its 503 says when to come back, a proxy's 502 would not.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use moehog_runtime::Readiness;

use crate::Answer;

/// The answer to a probe; none where the request is something else.
pub(crate) fn answer<B>(request: &Request<B>, readiness: &Readiness) -> Option<Answer> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let is_well = match request.uri().path() {
        "/livez" => true,
        "/" | "/readyz" => readiness.is_ready(),
        _ => return None,
    };
    let (status, word) =
        if is_well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable\n") };
    let mut answer = Response::new(Full::new(Bytes::from_static(word.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    // of the moment it was asked in: nothing in between may answer for us
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(answer)
}
