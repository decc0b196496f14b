//! The span of a gRPC call, on either side.

use tonic::{Code, Status};
use tracing::{Span, field::Empty, info_span, record_all};

/// The side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It asks.
    Client,
    /// It answers.
    Server,
}

/// The span of a gRPC call of `method`, fully qualified, that carries `members` webhooks, or events for `destination`.
/// [`super::called`] ends it.
pub fn call(side: Side, method: &'static str, members: usize, destination: Option<&str>) -> Span {
    info_span!(
        "rpc",
        otel.kind = match side {
            Side::Client => "client",
            Side::Server => "server",
        },
        otel.name = method,
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = Empty,
        server.address = Empty,
        network.peer.address = Empty,
        network.peer.port = Empty,
        error.r#type = Empty,
        moehog.members = members,
        moehog.destination = destination,
    )
}

/// Notes the replica that a call goes to on the span of the call, if there is one. `service` is the name that stands for all
/// replicas, `replica` is `address:port`.
pub fn call_goes_to(service: Option<&str>, replica: &str) {
    let span = Span::current();
    if span.is_none() {
        return;
    }
    let (address, port) = replica.rsplit_once(':').unwrap_or((replica, ""));
    let address = address.trim_matches(['[', ']']);
    record_all!(
        span,
        server.address = service.unwrap_or(address),
        network.peer.address = address,
        network.peer.port = port.parse::<u16>().ok(),
    );
}

/// Notes how a call ended.
pub fn called(span: &Span, status: Option<&Status>) {
    if span.is_none() {
        return;
    }
    let name = name(status.map_or(Code::Ok, Status::code));
    match status {
        None => drop(span.record("rpc.response.status_code", name)),
        Some(_) => record_all!(span, rpc.response.status_code = name, otel.status_code = "ERROR", error.r#type = name),
    }
}

/// A status code as gRPC spells it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
