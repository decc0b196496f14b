//! Tests that this machine cannot run.

use std::{env, fs::OpenOptions, io::Write as _};

use anyhow::Context;

/// Tells that a test was not run and why: in its output, and in the file that `cargo xtask test` counts them by.
///
/// # Errors
///
/// The file that `MOEHOG_TEST_SKIPPED` names cannot be written.
#[expect(clippy::print_stderr, reason = "a test says so where its output is read")]
pub fn skip(test: &str, why: &anyhow::Error) -> anyhow::Result<()> {
    eprintln!("SKIPPED {test}: {why:#}");
    let Some(path) = env::var_os("MOEHOG_TEST_SKIPPED") else { return Ok(()) };
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    writeln!(file, "{test}: {why:#}").context("note a skipped test")
}
