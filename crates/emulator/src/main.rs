//! The emulator on the command line: a PostHog to send to, a MoEngage that sends.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("moehog-emulator: {error:#}");
            ExitCode::from(1)
        }
    }
}
