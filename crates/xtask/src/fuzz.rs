//! `cargo xtask fuzz`: inputs that break what must hold of any bytes, looked for by libFuzzer with the compiler's coverage.
//!
//! Each target is a test with `bolero::check!`. In `cargo test` it runs its corpus and some random inputs; built here with the flags
//! below it is a fuzzer. They are those of cargo-bolero 0.13, which itself would build every test of a package for each target,
//! and cannot reduce the corpus of a test under libtest.

mod corpus;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::workspace;

/// Instruments a build: what was reached, and what was compared with what. No sanitizer: these need a nightly compiler, and our
/// crates hold no unsafe code.
const FLAGS: [&str; 9] = [
    "--cfg=fuzzing",
    "--cfg=fuzzing_libfuzzer",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    "-Ccodegen-units=1",
];

/// An input that runs for so long is a failure.
const INPUT_TIMEOUT: Duration = Duration::from_secs(20);

/// Largest input, in bytes.
const MAX_INPUT_BYTES: usize = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to run; all of it by default.
    #[arg(value_parser = TARGETS.map(|target| target.name))]
    targets: Vec<String>,
    /// Seconds for each of them.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Writes the corpus in the work tree anew: the smallest of its inputs and of those found that reach all that they reach.
    #[arg(long)]
    keep: bool,
}

/// A test that takes any bytes. It stands in a library: for a test beside it the package's binary would be built too.
#[derive(Debug, Clone, Copy)]
struct Target {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    /// Where bolero looks for the corpus, from the root.
    directory: &'static str,
}

const TARGETS: [Target; 8] = [
    Target {
        name: "scan",
        package: "moehog-gateway",
        test: "ingest::scan::fuzz::the_key_is_what_a_parser_finds_however_the_body_is_cut",
        directory: "crates/gateway/src/ingest/scan/__fuzz__/scan",
    },
    Target {
        name: "codings",
        package: "moehog-coding",
        test: "decoder::fuzz::any_bytes_under_any_label_end_within_the_bound",
        directory: "crates/coding/src/decoder/__fuzz__/codings",
    },
    Target {
        name: "repair",
        package: "moehog-transformer",
        test: "body::repair::fuzz::what_is_mended_is_json_and_not_much_longer",
        directory: "crates/transformer/src/body/repair/__fuzz__/repair",
    },
    Target {
        name: "frames",
        package: "moehog-journal",
        test: "embedded::fuzz::frames::what_was_written_is_read_and_nothing_else_is_a_frame",
        directory: "crates/journal/src/embedded/fuzz/__fuzz__/frames",
    },
    Target {
        name: "records",
        package: "moehog-journal",
        test: "embedded::fuzz::records::what_was_recorded_is_known_again",
        directory: "crates/journal/src/embedded/fuzz/__fuzz__/records",
    },
    Target {
        name: "heads",
        package: "moehog-journal",
        test: "embedded::fuzz::heads::one_damaged_byte_costs_no_head_and_makes_no_other_foot",
        directory: "crates/journal/src/embedded/fuzz/__fuzz__/heads",
    },
    Target {
        name: "bodies",
        package: "moehog-transformer",
        test: "fuzz::bodies::any_body_gives_events_that_are_somebodys_or_a_reason",
        directory: "crates/transformer/src/fuzz/__fuzz__/bodies",
    },
    Target {
        name: "mappings",
        package: "moehog-transformer",
        test: "fuzz::mappings::any_mapping_file_is_refused_or_maps_and_both_end",
        directory: "crates/transformer/src/fuzz/__fuzz__/mappings",
    },
];

/// Runs every target for so many seconds; whether none failed.
pub(crate) fn run(seconds_each: u64) -> anyhow::Result<bool> {
    run_all(&TARGETS, seconds_each, false)
}

pub(crate) fn run_chosen(arguments: &Arguments) -> anyhow::Result<bool> {
    let is_chosen =
        |target: &&Target| arguments.targets.is_empty() || arguments.targets.iter().any(|it| it == target.name);
    let targets: Vec<_> = TARGETS.iter().filter(is_chosen).copied().collect();
    run_all(&targets, arguments.seconds, arguments.keep)
}

fn run_all(targets: &[Target], seconds: u64, keep: bool) -> anyhow::Result<bool> {
    let fuzzers = targets.iter().map(|target| target.build()).collect::<anyhow::Result<Vec<_>>>()?;
    let mut all_well = true;
    for fuzzer in &fuzzers {
        let is_well = fuzzer.run(seconds)?;
        if keep && is_well {
            let (inputs, bytes) = corpus::reduce(fuzzer)?;
            println!("{:<9} keeps {inputs} inputs of {bytes} bytes", fuzzer.target.name);
        }
        all_well &= is_well;
    }
    Ok(all_well)
}

impl Target {
    /// The corpus in the work tree.
    fn corpus(self) -> PathBuf {
        workspace::root().join(self.directory).join("corpus")
    }

    /// Builds it as a fuzzer, beside the builds of all else.
    fn build(self) -> anyhow::Result<Fuzzer> {
        ensure_compiler()?;
        let target_directory = workspace::target().join("fuzz");
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--no-run", "--profile", "fuzz", "--no-default-features", "--package", self.package]);
        cargo.args(["--lib", "--target", &host()?, "--message-format", "json-render-diagnostics"]);
        cargo.arg("--target-dir").arg(&target_directory);
        // what only the fuzzer is built with: with `--target`, build scripts and macros are not
        cargo
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
            .env("BOLERO_FUZZER", "libfuzzer");
        let executables = workspace::executables(cargo)?;
        let executable = executables.into_iter().find(|executable| executable.is_test);
        let executable = executable.with_context(|| format!("no test binary of {}", self.package))?.path;
        let directory = target_directory.join(self.name);
        ensure!(!directory.to_string_lossy().contains(' '), "{}: bolero takes no blanks here", directory.display());
        Ok(Fuzzer { target: self, executable, directory })
    }
}

/// A target that was built.
#[derive(Debug)]
struct Fuzzer {
    target: Target,
    executable: PathBuf,
    /// Where it leaves what it finds.
    directory: PathBuf,
}

impl Fuzzer {
    /// Inputs that reached something new.
    fn found(&self) -> PathBuf {
        self.directory.join("corpus")
    }

    /// libFuzzer with these arguments.
    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args([self.target.test, "--exact", "--nocapture", "--quiet", "--test-threads", "1"]);
        command.current_dir(workspace::root()).stdin(Stdio::null());
        command.env("BOLERO_LIBFUZZER_ARGS", arguments.join(" "));
        command.envs([("BOLERO_TEST_NAME", self.target.test), ("BOLERO_LIBTEST_HARNESS", "1")]);
        command
    }

    fn run(&self, seconds: u64) -> anyhow::Result<bool> {
        let (found, failures, log) = (self.found(), self.directory.join("failures"), self.directory.join("log"));
        for directory in [&found, &failures] {
            fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        }
        fs::create_dir_all(self.target.corpus())?;
        let mut arguments = vec![
            found.display().to_string(),
            // from the root, whose own path may hold blanks
            format!("{}/corpus", self.target.directory),
            format!("-artifact_prefix={}/", failures.display()),
            format!("-max_total_time={seconds}"),
            format!("-max_len={MAX_INPUT_BYTES}"),
            format!("-timeout={}", INPUT_TIMEOUT.as_secs()),
            "-print_final_stats=1".to_string(),
        ];
        let dictionary = format!("{}/dictionary", self.target.directory);
        if workspace::root().join(&dictionary).exists() {
            arguments.push(format!("-dict={dictionary}"));
        }
        let output = fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let begun = Instant::now();
        let status = self
            .command(&arguments)
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .with_context(|| format!("start {}", self.executable.display()))?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if !status.success() {
            self.tell_failure(&said, &log, begun.elapsed());
            return Ok(false);
        }
        let number = |name: &str| last_number(&said, name).unwrap_or(0);
        println!(
            "{:<9} {} executions, {} new inputs, {seconds} seconds, {} a second",
            self.target.name,
            number("stat::number_of_executed_units:"),
            number("stat::new_units_added:"),
            number("stat::average_exec_per_sec:"),
        );
        Ok(true)
    }

    fn tell_failure(&self, said: &str, log: &Path, after: Duration) {
        let Target { name, package, test, directory } = self.target;
        let written =
            said.lines().rev().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
        let because = said.split_once("\nError: \n").map_or("", |(_, because)| because);
        println!("{name:<9} FAILED after {:.1} seconds, see {}", after.as_secs_f32(), log.display());
        // where it panicked, and what it said; the stack is in the log
        because.lines().take_while(|line| !line.starts_with("   0: ")).for_each(|line| println!("          {line}"));
        let Some(path) = written else { return };
        println!("          input  {path}");
        println!("          again  cp {path} {directory}/corpus/ && cargo test -p {package} --lib {test}");
    }
}

/// The number behind the last of these words.
fn last_number(said: &str, word: &str) -> Option<u64> {
    said.lines().rev().find_map(|line| line.trim().strip_prefix(word)?.trim().parse().ok())
}

/// libFuzzer comes as source, in C++.
fn ensure_compiler() -> anyhow::Result<()> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_string());
    let mut command = Command::new(&compiler);
    match command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("no C++ compiler: `{compiler}` does not start; install g++ or clang, or name one in CXX"),
    }
}

/// The machine's own target triple.
fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("start rustc")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
    Ok(host.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_test_that_stands_beside_its_corpus() {
        for target in TARGETS {
            let (module, test) = target.test.rsplit_once("::").unwrap();
            let directory = workspace::root().join(target.directory);
            let sources = directory.parent().and_then(Path::parent).unwrap();
            let file = sources.join(module.rsplit("::").next().unwrap()).with_extension("rs");
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(text.contains(&format!("fn {test}()")), "{} has no {test}", file.display());
            assert!(text.contains(&format!("bolero::check!(name = \"{}\")", target.name)), "{}", target.name);
            assert!(directory.ends_with(target.name) && corpus::files(&target.corpus()).unwrap().len() > 5);
        }
    }

    #[test]
    fn what_libfuzzer_counts_is_found() {
        let said = "#5 DONE\nstat::number_of_executed_units: 1234\nstat::new_units_added:          7\n";
        assert_eq!(last_number(said, "stat::number_of_executed_units:"), Some(1234));
        assert_eq!(last_number(said, "stat::new_units_added:"), Some(7));
    }
}
