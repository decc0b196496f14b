//! `cargo xtask soak`: what CI runs a slice of, for long.

use std::process::Command;

use anyhow::Context;

use crate::workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seed of the first history and the first round; each further one takes the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds of kill -9 under load. Four make a cycle: each service alone, then all at once.
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Histories on the simulated disk.
    #[arg(long, default_value_t = 10_000)]
    histories: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let seed = arguments.seed.to_string();
    println!("{} histories on the simulated disk from seed {seed}", arguments.histories);
    let mut histories = workspace::cargo();
    histories
        .args(["test", "--package", "moehog-journal", "histories_lose_nothing", "--", "--nocapture"])
        .env("MOEHOG_SIM_FIRST", &seed)
        .env("MOEHOG_SIM_HISTORIES", arguments.histories.to_string());
    let kept = succeeds(histories)?;

    println!("{} rounds of kill -9 under load from seed {seed}", arguments.rounds);
    let mut kills = workspace::cargo();
    kills
        .args([
            "test",
            "--package",
            "moehog-tests",
            "--test",
            "end_to_end",
            "kill_9",
            "--",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("MOEHOG_SOAK_SEED", &seed)
        .env("MOEHOG_SOAK_ROUNDS", arguments.rounds.to_string());
    let survived = succeeds(kills)?;

    let word = |well| if well { "well" } else { "FAILED" };
    println!("\nhistories: {}, kill rounds: {} (seed {seed})", word(kept), word(survived));
    Ok(kept && survived)
}

fn succeeds(mut command: Command) -> anyhow::Result<bool> {
    Ok(command.status().with_context(|| format!("start {command:?}"))?.success())
}
