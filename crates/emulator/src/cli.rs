//! Commands and their flags.

mod moengage;
mod posthog;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A PostHog that judges and fails on demand, and a MoEngage that sends.
#[derive(Debug, Parser)]
#[command(name = "moehog-emulator", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be a PostHog: take events by its rules, print each one stored, answer questions under /_emulator.
    #[command(name = "posthog")]
    PostHog(posthog::Arguments),
    /// Be a MoEngage: send webhooks by its rules and say what came of them.
    #[command(name = "moengage", subcommand)]
    MoEngage(moengage::Product),
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::PostHog(arguments) => posthog::run(arguments),
        Command::MoEngage(product) => moengage::run(product),
    }
}

/// A runtime with so many threads; 0 is one a core.
fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}
