//! Exit codes, so that a supervisor can tell a mistake in the configuration from a crash.

use std::{fmt, process::ExitCode};

use moehog_telemetry::terminal::shown_lines;

use crate::ConfigError;

/// Why a process could not start or go on. Attach it with `anyhow`'s `context`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Anything else: 1.
    Failure,
    /// The configuration or command line is wrong: 2. Starting again will not help.
    Configuration,
    /// An address cannot be listened on: 3.
    Listen,
    /// The journal's directory is in use, unreadable or of a newer version: 4.
    Journal,
    /// The stop took longer than its grace: 5. What was not recorded is done again after the next start.
    Grace,
}

impl Exit {
    /// The process exit code.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Failure => 1,
            Self::Configuration => 2,
            Self::Listen => 3,
            Self::Journal => 4,
            Self::Grace => 5,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Failure => "failed",
            Self::Configuration => "configuration is not usable",
            Self::Listen => "cannot listen",
            Self::Journal => "cannot open the journal",
            Self::Grace => "did not stop within its grace",
        })
    }
}

/// Prints the whole chain of an error once and gives the exit code.
#[must_use]
#[expect(clippy::print_stderr, reason = "the last words of a process, also before logs are set up")]
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("error: {}", last_words(&error));
    let exit = match error.downcast_ref::<Exit>() {
        Some(exit) => *exit,
        None if error.chain().any(|cause| cause.is::<ConfigError>()) => Exit::Configuration,
        None => Exit::Failure,
    };
    ExitCode::from(u8::try_from(exit.code()).unwrap_or(1))
}

/// The chain of an error. It may quote what others wrote: PostHog's answer, a file's text, an argument.
fn last_words(error: &anyhow::Error) -> String {
    shown_lines(&format!("{error:#}"), "  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_quotes_moves_no_terminal_and_forges_no_line() {
        let error = anyhow::anyhow!("answered `\u{1b}[31m\u{9b}2J\u{202e}\nerror: FORGED\r`").context("ask \u{7}");
        assert_eq!(last_words(&error), "ask \\u0007: answered `\\u001b[31m\\u009b2J\\u202e\n  error: FORGED\\r`");
    }
}
