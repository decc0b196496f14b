//! The command line as it was typed, or pasted.

use crate::cli::Cli;

/// Reads the command line; says what is wrong with it and leaves.
pub(crate) fn read() -> Cli {
    moehog_runtime::arguments::read(|command| command)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn complaint(arguments: &[&str]) -> String {
        let arguments: Vec<_> = std::iter::once("moehog").chain(arguments.iter().copied()).collect();
        moehog_runtime::arguments::complaint::<Cli>(&arguments).unwrap()
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
