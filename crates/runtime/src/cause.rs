//! What lies at the bottom of an error.

use std::error::Error;

/// The last cause of an error, as text: of a failed request, what the system or TLS said.
#[must_use]
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}
