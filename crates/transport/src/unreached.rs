//! Calls that were not worked on, told from those that may have been.

use std::{error::Error, sync::Arc};

use h2::Reason;
use tonic::{Status, metadata::MetadataValue};

/// A call that reached no replica.
#[derive(Debug, thiserror::Error)]
#[error("no replica of {service} can be reached: {why}")]
pub(crate) struct Unreached {
    service: String,
    why: String,
}

impl Unreached {
    pub(crate) fn status(service: &str, why: &str) -> Status {
        let unreached = Self { service: service.to_string(), why: why.to_string() };
        let mut status = Status::unavailable(unreached.to_string());
        status.set_source(Arc::new(unreached));
        status
    }
}

/// Metadata of a call that a server refused before it was worked on.
const UNREAD: &str = "moehog-unread";

/// The status of such a call: the caller should come back later, or go elsewhere.
pub(crate) fn refused_unread(why: &str) -> Status {
    let mut status = Status::resource_exhausted(why);
    status.metadata_mut().insert(UNREAD, MetadataValue::from_static("true"));
    status
}

/// Whether a call failed before it reached any service: nothing was worked on.
///
/// Only a call that got no connection, or one that the service refused by its stream or for a bound of its server, says so; a
/// connection that broke may have carried the call.
#[must_use]
pub fn never_left(status: &Status) -> bool {
    if status.metadata().contains_key(UNREAD) {
        return true;
    }
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        let refused =
            error.downcast_ref::<h2::Error>().is_some_and(|error| error.reason() == Some(Reason::REFUSED_STREAM));
        if refused || error.is::<Unreached>() {
            return true;
        }
        cause = error.source();
    }
    false
}
