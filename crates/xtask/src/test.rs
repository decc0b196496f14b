//! `cargo xtask test`: all tests, the core first.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::workspace::{self, Executable};

/// The order in which packages are tested: what must not break stands first.
const ORDER: [&str; 15] = [
    "journal",
    "relay",
    "proto",
    "transformer",
    "delivery",
    "gateway",
    "emulator",
    "transport",
    "telemetry",
    "runtime",
    "coding",
    "connector",
    "moehog",
    "xtask",
    "tests",
];
/// How many of them are the core.
const CORE: usize = 6;
/// A harness that says nothing for so long hangs: it is ended, so that its tests and all others have a result.
const SILENT: Duration = Duration::from_secs(600);
/// Lines of a harness that wait to be shown.
const LINES: usize = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the core: journal, relay, proto, transformer, delivery, gateway.
    #[arg(long)]
    core: bool,
    /// Only tests whose name holds this.
    filter: Option<String>,
}

/// What one test executable came to.
#[derive(Debug)]
struct Outcome {
    name: String,
    counts: Counts,
    took: Duration,
    well: bool,
}

/// What a test harness counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let begun = Instant::now();
    println!("building tests and binaries");
    let mut executables = workspace::build(&["build", "--workspace", "--bins", "--tests"])?;
    let binaries = directory_of_binaries(&executables)?;
    executables.retain(|executable| executable.is_test && rank(executable) < ORDER.len());
    if arguments.core {
        executables.retain(|executable| rank(executable) < CORE);
    }
    executables.sort_by_key(|executable| (rank(executable), executable.target.clone()));

    let skipped = workspace::target().join("tests-skipped.txt");
    fs::write(&skipped, "").with_context(|| format!("write {}", skipped.display()))?;
    let mut outcomes = Vec::new();
    for executable in &executables {
        outcomes.push(test(executable, arguments.filter.as_deref(), &binaries, &skipped)?);
    }
    if !arguments.core && arguments.filter.is_none() {
        outcomes.push(documentation()?);
    }
    let skipped = fs::read_to_string(&skipped)?;
    let summary = summary(&outcomes, &skipped, begun.elapsed());
    fs::write(workspace::target().join("tests-summary.txt"), &summary)?;
    print!("\n{summary}");
    Ok(outcomes.iter().all(|outcome| outcome.well))
}

fn rank(executable: &Executable) -> usize {
    ORDER.iter().position(|name| *name == executable.package).unwrap_or(ORDER.len())
}

fn directory_of_binaries(executables: &[Executable]) -> anyhow::Result<PathBuf> {
    let moehog = executables.iter().find(|executable| !executable.is_test && executable.target == "moehog");
    Ok(moehog.and_then(|moehog| moehog.path.parent()).context("the build made no binary `moehog`")?.to_path_buf())
}

fn test(executable: &Executable, filter: Option<&str>, binaries: &Path, skipped: &Path) -> anyhow::Result<Outcome> {
    let name = format!("{} {}", executable.package, executable.target);
    println!("\n== {name}");
    let mut command = Command::new(&executable.path);
    command.args(filter);
    // real processes under load share the machine's cores with each other
    if executable.package == "tests" {
        command.arg("--test-threads=2");
    }
    command
        .current_dir(&executable.package_directory)
        .env("CARGO_MANIFEST_DIR", &executable.package_directory)
        .env("CARGO", env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .env("MOEHOG_TEST_BINARIES", binaries)
        .env("MOEHOG_TEST_SKIPPED", skipped);
    watch(name, command)
}

fn documentation() -> anyhow::Result<Outcome> {
    println!("\n== examples in documentation");
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--workspace", "--doc", "--quiet"]).args(workspace::features());
    watch("examples in documentation".to_string(), cargo)
}

/// Runs a harness, shows what it prints, and counts; ends one that says nothing for [`SILENT`].
fn watch(name: String, command: Command) -> anyhow::Result<Outcome> {
    watch_for(name, command, SILENT)
}

fn watch_for(name: String, mut command: Command, silent: Duration) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| format!("start {name}"))?;
    let output = child.stdout.take().context("stdout is piped")?;
    let (said, lines) = sync_channel(LINES);
    let reader =
        thread::spawn(move || BufReader::new(output).split(b'\n').try_for_each(|line| said.send(line).map_err(drop)));
    let mut counts = Counts::default();
    loop {
        let line = match lines.recv_timeout(silent) {
            Ok(line) => String::from_utf8_lossy(&line?).into_owned(),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                println!("{name} has said nothing for {} s and is ended", silent.as_secs());
                child.kill()?;
                break;
            }
        };
        println!("{line}");
        std::io::stdout().flush()?;
        if let Some(result) = parse(&line) {
            counts.passed += result.passed;
            counts.failed += result.failed;
            counts.ignored += result.ignored;
        }
    }
    let status = child.wait()?;
    // where it hung, what it started may hold its output for ever
    drop((lines, reader));
    Ok(Outcome { name, counts, took: begun.elapsed(), well: status.success() && counts.failed == 0 })
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn parse(line: &str) -> Option<Counts> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut result = Counts::default();
    for part in counts.split("; ") {
        match part.split_once(' ') {
            Some((number, "passed")) => result.passed = number.parse().ok()?,
            Some((number, "failed")) => result.failed = number.parse().ok()?,
            Some((number, "ignored")) => result.ignored = number.parse().ok()?,
            _ => {}
        }
    }
    Some(result)
}

fn summary(outcomes: &[Outcome], skipped: &str, took: Duration) -> String {
    let mut text = String::new();
    for Outcome { name, counts, took, well } in outcomes {
        let mark = if *well { "ok    " } else { "FAILED" };
        text += &format!(
            "{mark} {name:<36} {:>5} passed {:>3} failed {:>8.1} s\n",
            counts.passed,
            counts.failed,
            took.as_secs_f64()
        );
    }
    for line in skipped.lines() {
        text += &format!("SKIPPED {line}\n");
    }
    let sum = |count: fn(&Counts) -> u64| outcomes.iter().map(|outcome| count(&outcome.counts)).sum::<u64>();
    let well = outcomes.iter().all(|outcome| outcome.well);
    text += &format!(
        "{}: {} passed, {} failed, {} ignored, {} skipped in {:.0} s\n",
        if well { "all well" } else { "FAILED" },
        sum(|counts| counts.passed),
        sum(|counts| counts.failed),
        sum(|counts| counts.ignored),
        skipped.lines().count(),
        took.as_secs_f64()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harness_summary_is_counted() {
        let line = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.05s";
        assert_eq!(parse(line), Some(Counts { passed: 12, failed: 2, ignored: 1 }));
        assert_eq!(parse("test journal::tests::a ... ok"), None);
    }

    #[test]
    fn a_harness_that_hangs_is_ended_and_has_failed() {
        let mut hangs = Command::new("sh");
        hangs.args(["-c", "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'; exec sleep 60"]);
        let outcome = watch_for("hangs".to_string(), hangs, Duration::from_millis(300)).unwrap();
        assert_eq!((outcome.counts.passed, outcome.well), (3, false));
        let mut ends = Command::new("sh");
        ends.args(["-c", "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'"]);
        assert!(watch_for("ends".to_string(), ends, SILENT).unwrap().well);
    }

    #[test]
    fn every_package_has_a_place_in_the_order() {
        let root = workspace::root();
        let crates = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap());
        let names = crates.filter(|entry| entry.path().join("Cargo.toml").exists()).map(|entry| entry.file_name());
        for name in names {
            assert!(ORDER.contains(&name.to_str().unwrap()), "{name:?} has no place in the order");
        }
    }

    #[test]
    fn one_failure_fails_the_whole() {
        let outcome = |failed| Outcome {
            name: "x".to_string(),
            counts: Counts { passed: 1, failed, ignored: 0 },
            took: Duration::ZERO,
            well: failed == 0,
        };
        let text = summary(&[outcome(0), outcome(1)], "disk: no namespaces\n", Duration::ZERO);
        assert!(text.ends_with("FAILED: 2 passed, 1 failed, 0 ignored, 1 skipped in 0 s\n"), "{text}");
        assert!(text.contains("SKIPPED disk: no namespaces"));
    }
}
