//! The emulator on the command line: a PostHog to send to, a MoEngage that sends.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use moehog_emulator::terminal::shown;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("moehog-emulator: {}", shown(&format!("{error:#}")));
            ExitCode::from(1)
        }
    }
}
