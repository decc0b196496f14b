//! The command line as it was typed, or pasted.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};
use moehog_telemetry::terminal::{shown, shown_lines};

use crate::cli::Cli;

/// Reads the command line; says what is wrong with it and leaves.
pub(crate) fn read() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| safe(error, std::env::args_os()).exit())
}

/// The same complaint, quoting arguments that a terminal only shows: clap quotes them as they came. So it is asked
/// again, with the arguments as we would show them.
fn safe(error: clap::Error, arguments: impl Iterator<Item = OsString>) -> clap::Error {
    match Cli::try_parse_from(arguments.map(|argument| shown(&argument.to_string_lossy()).into_owned())) {
        Err(safe) => safe,
        // what is wrong was the very character that is escaped now
        Ok(_) => {
            let message = error.to_string();
            let message = message.strip_prefix("error: ").unwrap_or(&message);
            Cli::command().error(error.kind(), shown_lines(message, "  "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(arguments: &[&str]) -> String {
        let arguments = || std::iter::once("moehog").chain(arguments.iter().copied()).map(OsString::from);
        safe(Cli::try_parse_from(arguments()).unwrap_err(), arguments()).render().to_string()
    }

    #[test]
    fn an_argument_that_is_quoted_moves_no_terminal_and_forges_no_line() {
        let said = complaint(&["send-test", "--url", "\u{1b}[31m\u{9b}2J\u{202e}\nFORGED"]);
        assert!(said.contains(r"'\u001b[31m\u009b2J\u202e\nFORGED' for '--url <URL>'"), "{said:?}");
        let said = complaint(&["--no-such\u{1b}]0;t\u{7}\nFORGED"]);
        assert!(said.contains(r"'--no-such\u001b]0;t\u0007\nFORGED'"), "{said:?}");
        // a URL may hold neither as it is; escaped, it may
        let said = complaint(&["connector", "--event", "e", "--url", "https://a\n/v1/in/FORGED\u{7f}"]);
        assert!(!said.contains("\nFORGED") && !said.contains('\u{7f}'), "{said:?}");
    }

    #[test]
    fn what_is_plain_is_said_as_clap_says_it() {
        let plain = Cli::try_parse_from(["moehog", "receit"]).unwrap_err().to_string();
        assert_eq!(complaint(&["receit"]), plain);
    }
}
