//! What lies beneath an error.

use std::{
    error::Error,
    fmt::{self, Display},
};

/// An error with all that it came of, as text: "append to journal segment 7: No space left on device". For log lines, where the
/// outermost alone says little.
pub fn chain<'error>(error: &'error (dyn Error + 'error)) -> impl Display + 'error {
    Chain(error)
}

struct Chain<'error>(&'error (dyn Error + 'error));

impl Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The last cause of an error, as text: of a failed request, what the system or TLS said.
#[must_use]
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("append to segment 7")]
    struct Append(#[source] io::Error);

    #[test]
    fn a_log_line_has_an_error_with_all_its_causes() {
        let error = Append(io::ErrorKind::StorageFull.into());
        assert_eq!(chain(&error).to_string(), "append to segment 7: no storage space");
        assert_eq!(root_cause(&error), "no storage space");
    }
}
