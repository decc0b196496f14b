//! `cargo xtask`: what a maintainer runs, in one place and without tools beside Rust.
//!
//! **The problem.** Tests that want binaries, a bench that wants child processes and quiet, mutations that must not touch the work
//! tree: each is a page of shell that works on one machine.
//!
//! **What it promises.** Each command works on a clean checkout with Rust and gcc, says what it does while it does it, and ends with a
//! summary and an exit code that tells whether all was well.
//!
//! **What it leaves to others.** Formatting and lints are cargo's own commands; `.ci/run` calls them all.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line answers on stdout and complains on stderr"
)]

mod bench;
mod chart;
mod deploy;
mod fuzz;
mod images;
mod imports;
mod mutants;
mod release;
mod render;
mod services;
mod soak;
mod test;
mod upgrade;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Tests, benches and runs moehog from its source tree"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every test: the core first, then the other crates, then real processes end to end.
    Test(test::Arguments),
    /// Runs the three services and an emulated PostHog on this machine until ctrl-c.
    Services(services::Arguments),
    /// Measures moehog against the bare limits, interleaved in one run; table and JSON.
    Bench(bench::Arguments),
    /// Runs seeded disk histories and kill -9 rounds for long.
    Soak(soak::Arguments),
    /// Looks for inputs that break what must hold of any bytes, guided by coverage.
    Fuzz(fuzz::Arguments),
    /// Shows which file of a crate takes what from which, and the circles in that.
    Imports(imports::Arguments),
    /// Breaks named lines one at a time in a copy of the tree; each must turn a test red.
    Mutants(mutants::Arguments),
    /// Makes anew from the Helm chart what is committed: the plain manifests in deploy/kubernetes and the table of values.
    Render,
    /// Packs the Helm chart for others to install, and pushes it to an OCI registry.
    Chart(chart::Arguments),
    /// Shows the chart to a real cluster: every render checked by the API server, then installed, tested and uninstalled.
    Deploy(deploy::Arguments),
    /// Writes down what this release promises to those after it.
    Release(release::Arguments),
    /// Builds the images of the three services and of the command line, with docker or buildah.
    Images(images::Arguments),
    /// Runs the last release and this build in one deployment, and each over the other's journal.
    Upgrade(upgrade::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Services(arguments) => services::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run_chosen(&arguments),
        Command::Imports(arguments) => imports::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Chart(arguments) => chart::run(&arguments),
        Command::Render => render::run(),
        Command::Deploy(arguments) => deploy::run(&arguments),
        Command::Release(arguments) => release::run(&arguments),
        Command::Images(arguments) => images::run(&arguments),
        Command::Upgrade(arguments) => upgrade::run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
