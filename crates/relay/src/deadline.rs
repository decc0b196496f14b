//! A call that ends: by its answer, by its deadline, or with the relay.

use std::{future::Future, time::Duration};

use moehog_telemetry::trace;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tracing::Span;

/// A request that says how long its caller waits, and continues `span`.
pub(crate) fn with_deadline<T>(message: T, deadline: Duration, span: &Span) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    trace::inject_metadata(span, request.metadata_mut());
    request
}

/// What a call came to; an error where it has no answer within `deadline`, or is cut off.
pub(crate) async fn bounded<T>(
    deadline: Duration,
    cut: &CancellationToken,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match cut.run_until_cancelled(tokio::time::timeout(deadline, call)).await {
        Some(Ok(result)) => result.map(Response::into_inner),
        Some(Err(_elapsed)) => Err(Status::new(Code::DeadlineExceeded, format!("no answer within {deadline:?}"))),
        None => Err(Status::cancelled("the relay stops")),
    }
}
