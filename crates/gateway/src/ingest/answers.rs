//! What is answered to a webhook that the journal holds: that it is taken, what its events came to, or what its body did wrong.

use std::{fmt, io::Write};

use http::{HeaderName, HeaderValue, StatusCode};
use moehog_proto::{Reason, Receipt, event::TraceContext, journal::Book};
use serde::Serialize;

use super::{
    answer::{Answer, with_body},
    fault::DeadEvent,
    feedback::Said,
    refused::Refused,
};
use crate::looks::Note;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The answer to a webhook that the journal holds.
pub(super) fn of_stored(receipt: Receipt, trace: &TraceContext, said: &Said) -> Answer {
    match said {
        Said::Taken => ok(receipt, trace, format_args!("")),
        Said::Waited { seconds, settled, notes } => {
            let mut answer = match settled {
                None => ok(receipt, trace, format_args!(r#","state":"taken""#)),
                Some(book) => {
                    let (events, notes) = (events(book), shown(notes));
                    ok(receipt, trace, format_args!(r#","state":"settled","events":{events}{notes}"#))
                }
            };
            answer
                .headers_mut()
                .extend(HeaderValue::try_from(format!("wait={seconds}")).map(|it| (PREFERENCE_APPLIED, it)));
            answer
        }
        Said::Refused(refused) => unprocessable(trace, refused),
    }
}

/// Taken: durable.
fn ok(receipt: Receipt, trace: &TraceContext, more: fmt::Arguments<'_>) -> Answer {
    // nothing needs escaping: both are hexadecimal
    let mut body = Vec::with_capacity(128);
    let trace = trace.trace_id();
    let written = write!(body, r#"{{"status":"Ok","receipt":"{receipt}","trace_id":"{trace:032x}"{more}}}"#);
    debug_assert!(written.is_ok(), "a vector takes all");
    with_body(StatusCode::OK, body.into())
}

/// What events say of themselves, as a further member; nothing where they say nothing.
fn shown(notes: &[Note]) -> String {
    match (notes, serde_json::to_string(notes)) {
        ([], _) | (_, Err(_)) => String::new(),
        (_, Ok(list)) => [",\"notes\":", &list].concat(),
    }
}

fn events(book: &Book) -> String {
    let Book { delivered, delivered_degraded, filtered, duplicate, dead, .. } = book;
    format!(
        r#"{{"delivered":{delivered},"delivered_degraded":{delivered_degraded},"filtered":{filtered},"duplicate":{duplicate},"dead":{dead}}}"#
    )
}

/// Nothing can be made of the body. It is kept as a dead letter.
fn unprocessable(trace: &TraceContext, refused: &Refused) -> Answer {
    let Refused { receipt, fault, times } = refused;
    let Reason { code, field, message, remedy, .. } = &fault.why;
    let remedy = match remedy.as_str() {
        "" => format!("correct the connector's body; what came is shown by moehog dead-letters show {receipt}"),
        remedy => remedy.to_string(),
    };
    let body = Unprocessable {
        status: "error",
        code,
        field,
        message,
        remedy,
        receipt: receipt.to_string(),
        trace_id: trace.trace_id_text(),
        times: *times,
        reasons: &fault.events,
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    with_body(StatusCode::UNPROCESSABLE_ENTITY, body.into())
}

#[derive(Serialize)]
struct Unprocessable<'a> {
    status: &'static str,
    code: &'a str,
    field: &'a str,
    message: &'a str,
    remedy: String,
    /// Of the dead letter.
    receipt: String,
    trace_id: String,
    /// How often this body came within the minute.
    times: u64,
    reasons: &'a [DeadEvent],
}
