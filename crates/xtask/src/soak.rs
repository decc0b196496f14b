//! `cargo xtask soak`: what CI runs a slice of, for long.

use std::process::Command;

use anyhow::Context;

use crate::{fuzz, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to run; all of it by default.
    #[arg(value_enum)]
    kinds: Vec<Kind>,
    /// Seed of the first round of each kind; each further one takes the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds of each kind, instead of 10,000 histories, 10,000 of the relay, 20 kills, 50 rolls, 20 upgrades, 60 seconds
    /// of refusals, 300 disks, 60 seconds of each thing that strangers do, 500,000 mutated requests,
    /// 1,000,000 bodies and 1,000,000 documents.
    #[arg(long)]
    rounds: Option<u64>,
}

/// How long each target is fuzzed by coverage after the mutated requests.
const FUZZ_SECONDS: u64 = 60;

/// What runs in rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Histories on the simulated disk.
    Histories,
    /// Histories of the relay: destinations and transformers that fail in every way, and processes that die.
    Relay,
    /// kill -9 under load. Four make a cycle: each service alone, then all at once.
    Kills,
    /// Two transformers and four deliveries killed, rolled, scaled and paused under load.
    Rolls,
    /// Every workload that the chart renders replaced at once under load, as an upgrade does.
    Upgrades,
    /// A PostHog that refuses everything for a while, under load.
    Refusals,
    /// Files of a journal damaged between kills, copied under load and put back; a full file system, a clock that jumps,
    /// 2,000 starts.
    Disks,
    /// What strangers do who know no secret, beside a sender who knows one; and, where there is one, through nginx.
    Strangers,
    /// Mutated HTTP requests, 60 gRPC messages for 100 of them, and a minute of each target of `cargo xtask fuzz`.
    Fuzz,
    /// Damaged bodies through the mapping.
    Bodies,
    /// Documents damaged in ways that are known, mended.
    Damages,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Histories,
        Self::Relay,
        Self::Kills,
        Self::Rolls,
        Self::Upgrades,
        Self::Refusals,
        Self::Disks,
        Self::Strangers,
        Self::Fuzz,
        Self::Bodies,
        Self::Damages,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Histories => "histories on the simulated disk",
            Self::Relay => "histories of the relay",
            Self::Kills => "rounds of kill -9 under load",
            Self::Rolls => "rounds of kill, roll and scale under load",
            Self::Upgrades => "upgrades of what the chart renders, under load",
            Self::Refusals => "seconds of a PostHog that refuses everything",
            Self::Disks => "rounds of damage to the files of a journal",
            Self::Strangers => "seconds of each thing that strangers do",
            Self::Fuzz => "mutated requests, and gRPC messages",
            Self::Bodies => "damaged bodies",
            Self::Damages => "damaged documents",
        }
    }

    fn rounds(self) -> u64 {
        match self {
            Self::Histories | Self::Relay => 10_000,
            Self::Kills => 20,
            Self::Rolls => 50,
            Self::Upgrades => 20,
            Self::Refusals | Self::Strangers => 60,
            Self::Disks => 300,
            Self::Fuzz => 500_000,
            Self::Bodies | Self::Damages => 1_000_000,
        }
    }

    /// The tests, and the variables for their first seed and their number.
    fn tests(self) -> (&'static [&'static str], [&'static str; 2]) {
        const END_TO_END: [&str; 2] = ["MOEHOG_SOAK_SEED", "MOEHOG_SOAK_ROUNDS"];
        match self {
            Self::Histories => (
                &["--profile", "soak", "--package", "moehog-journal", "histories_lose_nothing"],
                ["MOEHOG_SIM_FIRST", "MOEHOG_SIM_HISTORIES"],
            ),
            Self::Relay => (
                &["--profile", "soak", "--package", "moehog-relay", "--test", "relay", "histories_kill_nothing"],
                ["MOEHOG_RELAY_FIRST", "MOEHOG_RELAY_HISTORIES"],
            ),
            Self::Kills => (&["--package", "moehog-tests", "--test", "end_to_end", "kill_9_loses_nothing"], END_TO_END),
            Self::Rolls => {
                (&["--package", "moehog-tests", "--test", "end_to_end", "kills_rolls_and_scaling"], END_TO_END)
            }
            Self::Refusals => {
                (&["--package", "moehog-tests", "--test", "end_to_end", "a_destination_that_refuses"], END_TO_END)
            }
            Self::Strangers => {
                (&["--package", "moehog-tests", "--test", "end_to_end", "strangers_cost_nothing"], END_TO_END)
            }
            Self::Fuzz => {
                (&["--package", "moehog-tests", "--test", "end_to_end", "nothing_sent_breaks_it"], END_TO_END)
            }
            Self::Disks => (&["--package", "moehog-tests", "--test", "end_to_end", "disks::"], END_TO_END),
            Self::Bodies => (
                &["--package", "moehog-transformer", "--test", "mutated_bodies"],
                ["MOEHOG_BODIES_FIRST", "MOEHOG_BODIES"],
            ),
            Self::Damages => (
                &["--profile", "soak", "--package", "moehog-transformer", "--lib", "a_damaged_document"],
                ["MOEHOG_DAMAGES_FIRST", "MOEHOG_DAMAGES"],
            ),
            Self::Upgrades => (&["--package", "moehog-tests", "--test", "deploy", "a_rolling_restart"], END_TO_END),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let kinds = if arguments.kinds.is_empty() { &Kind::ALL[..] } else { &arguments.kinds };
    let mut ends = Vec::new();
    for kind in kinds {
        let rounds = arguments.rounds.unwrap_or(kind.rounds());
        println!("{rounds} {} from seed {}", kind.words(), arguments.seed);
        let (tests, [first, number]) = kind.tests();
        let mut cargo = workspace::cargo();
        cargo.arg("test").args(tests).args(["--", "--nocapture", "--test-threads=1"]);
        if *kind == Kind::Disks {
            // those that take too long for every test run
            cargo.arg("--include-ignored");
        }
        cargo.env(first, arguments.seed.to_string()).env(number, rounds.to_string());
        let well = succeeds(cargo)? && (*kind != Kind::Fuzz || fuzz::run(FUZZ_SECONDS)?);
        ends.push((kind, rounds, well));
    }
    println!();
    for (kind, rounds, well) in &ends {
        let word = if *well { "well" } else { "FAILED" };
        println!("{word}: {rounds} {} from seed {}", kind.words(), arguments.seed);
    }
    Ok(ends.iter().all(|(_, _, well)| *well))
}

fn succeeds(mut command: Command) -> anyhow::Result<bool> {
    Ok(command.status().with_context(|| format!("start {command:?}"))?.success())
}
