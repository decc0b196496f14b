//! A secret that stands where it should not, in every key and form, is never repeated: by `check`, by a start that fails, nor
//! by one that waits. And one that stands where it should, in the environment, is repeated by no complaint about arguments.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use moehog_tests::binary;

/// What nobody may read, in forms that secrets have.
const CANARIES: [&str; 4] = ["sup3rsecret-canary", "phx_canary0123456789", "ca/nary+s3cret/==", "CANARY_SECRET"];
/// Long enough to fail, or to begin to wait for a file.
const STARTS_FOR: Duration = Duration::from_millis(300);

/// Mistakes, each with a secret at `CANARY`: the section, and what stands in it.
const WRITTEN: [&str; 34] = [
    "[api]\ntokens = \"CANARY\"",
    "[api]\ntokens = \"CANARY, expected CANARY\"",
    "[api]\ntokens = [\"CANARY]",
    "[api]\ntokens = [CANARY]",
    "[api]\ntokens = CANARY",
    "[api]\ntokens = { \"CANARY\" = 1 }",
    "[api]\ntokens = [{ \"CANARY\" = 1 }]",
    "[api]\ntokens = [{ file = \"CANARY\" }]",
    "[api]\ntokens = [{ env = \"CANARY\" }]",
    "[api]\ntokens = [{ file = \"x\", env = \"CANARY\" }]",
    "[api]\ntokens = [[\"CANARY\"]]",
    "[sources.shop]\ntokens = \"CANARY\"",
    "[sources.shop]\ntokens = { file = \"CANARY\" }",
    "[sources.shop]\nbasic = [\"moengage:CANARY\"]",
    "[sources.shop]\nbasic = { user = \"moengage\", password = \"CANARY\" }",
    "[sources.shop]\nbasic = [{ user = \"moengage:CANARY\", password = \"\" }]",
    "[sources.shop]\nbasic = [{ user = \"moengage\", password = { file = \"CANARY\" } }]",
    "[sources.shop]\nbasic = [{ user = \"moengage\", \"CANARY\" = 1 }]",
    "[sources.shop]\ndestination = \"key:CANARY\"",
    "[sources.shop]\nheader = \"authorization: Bearer CANARY\"",
    "[sources.shop]\nsignature = \"CANARY\"",
    "[sources.shop]\nsignature = { secrets = \"CANARY\", header = \"x-signature\" }",
    "[sources.shop]\nsignature = { secrets = [{ file = \"CANARY\" }], header = \"x-signature\" }",
    "[sources.shop]\nsignature = { secrets = [\"long-enough-to-sign\"], header = \"x-signature: CANARY\" }",
    "[capture]\ntokens = \"CANARY\"",
    "[destinations.eu]\nhost = \"https://me:CANARY@posthog.example:port\"",
    "[posthog]\nhost = \"https://me:CANARY@posthog.example\"",
    "[destinations.eu]\napi_key = [\"CANARY\"]",
    "[destinations.eu]\napi_key = { file = \"CANARY\" }",
    "[destinations.eu]\napi_key = { env = \"CANARY\" }",
    "[destinations.eu]\napi_key = \"CANARY\"\n[destinations.us]\napi_key = \"CANARY\"",
    "[mapping]\nhash_key = [\"CANARY\"]",
    "[mapping]\nhash_key = { file = \"CANARY\" }",
    "[mapping]\nhash_key = \"CANARY",
];

/// The same by variables of the environment.
const VARIABLES: [(&str, &str); 7] = [
    ("MOEHOG__API__TOKENS", "CANARY"),
    ("MOEHOG__API__TOKENS", "[CANARY]"),
    ("MOEHOG__SOURCES__DEFAULT__TOKENS", "CANARY"),
    ("MOEHOG__SOURCES__DEFAULT__TOKENS", "{ file = \"CANARY\" }"),
    ("MOEHOG__DESTINATIONS__DEFAULT__API_KEY", "[\"CANARY\"]"),
    ("MOEHOG__MAPPING__HASH_KEY", "[\"CANARY\"]"),
    ("MOEHOG__POSTHOG__HOST", "https://me:CANARY@posthog.example:port"),
];

/// Variables that flags of commands take a secret from, and forms in which it may stand there. An address may hold a password.
const OF_FLAGS: [(&str, &[&str]); 4] = [
    ("MOEHOG_TOKEN", SECRETS),
    ("MOEHOG_ADMIN_TOKEN", SECRETS),
    ("POSTHOG_API_KEY", SECRETS),
    ("POSTHOG_HOST", &["https://me:CANARY@127.0.0.1:1", "https://me:CANARY@posthog.example:port", "me:CANARY@a b"]),
];
const SECRETS: &[&str] =
    &["CANARY", "--CANARY", "CANARY\nCANARY", "\u{1b}[31mCANARY", "[\"CANARY\"", "{ file = \"CANARY\" }"];

/// Arguments that are wrong, or that ask for help, or for what nobody answers.
const ARGUMENTS: [&str; 20] = [
    "",
    "--help",
    "--listen nowhere",
    "--no-such",
    "no-such",
    "--token",
    "check no-such.toml",
    "check --no-such",
    "connector --help",
    "connector --url nowhere --event e",
    "connector --event e",
    "dead-letters",
    "dead-letters list --help",
    "dead-letters list --admin nowhere",
    "dead-letters list --admin 127.0.0.1:1",
    "receipt",
    "receipt r --admin 127.0.0.1:1",
    "send-test --help",
    "send-test --timeout soon",
    "send-test --url http://127.0.0.1:1/v1/in/default --timeout 1s",
];

/// All that a command prints until it ends, or until it had its time.
fn said(command: &mut Command, out: &Path) -> anyhow::Result<String> {
    let file = fs::File::create(out)?;
    let mut child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
    let until = Instant::now() + STARTS_FOR;
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(fs::read_to_string(out)?)
}

#[test]
fn whatever_the_mistake() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (config, out) = (directory.path().join("moehog.toml"), directory.path().join("out"));
    let written =
        WRITTEN.iter().map(|text| (*text, None)).chain(VARIABLES.iter().map(|variable| ("", Some(*variable))));
    let mut refused = 0;
    for (number, (text, variable)) in written.enumerate() {
        for canary in [0, 1].map(|next| CANARIES[(number + next) % CANARIES.len()]) {
            fs::write(&config, text.replace("CANARY", canary))?;
            let command = |name: &str, arguments: &[&str]| -> anyhow::Result<Command> {
                let mut command = Command::new(binary(name)?);
                command.args(arguments).arg("--config").arg(&config).current_dir(directory.path());
                command.envs([("MOEHOG__GRPC__LISTEN", "127.0.0.1:0"), ("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0")]);
                command
                    .env("MOEHOG__HTTP__LISTEN", "127.0.0.1:0")
                    .env("MOEHOG__JOURNAL__DIR", directory.path().join("data"));
                command.envs(variable.map(|(key, value)| (key, value.replace("CANARY", canary))));
                Ok(command)
            };
            let told = said(&mut command("moehog", &["check"])?, &out)?;
            ensure!(!told.contains(canary), "check repeats {canary} of {text} {variable:?}: {told}");
            ensure!(!told.is_empty());
            refused += usize::from(!told.ends_with("all is well\n"));
            // a start that waits for a file takes its time
            if canary == CANARIES[number % CANARIES.len()] {
                let service = ["moehog-gateway", "moehog-delivery", "moehog-transformer"][number % 3];
                let told = said(&mut command(service, &[])?, &out)?;
                ensure!(!told.contains(canary), "{service} repeats {canary} of {text} {variable:?}: {told}");
            }
        }
    }
    ensure!(refused > 2 * 36, "only {refused} were mistakes");
    Ok(())
}

#[test]
fn whatever_the_arguments() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("out");
    let mut complaints = 0;
    for (number, arguments) in ARGUMENTS.iter().enumerate() {
        for (at, (variable, forms)) in OF_FLAGS.iter().enumerate() {
            for (form, text) in forms.iter().enumerate() {
                let canary = CANARIES[(number + at + form) % CANARIES.len()];
                let mut command = Command::new(binary("moehog")?);
                command.args(arguments.split_whitespace()).current_dir(directory.path());
                command.env("MOEHOG__HTTP__LISTEN", "127.0.0.1:0").env("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0");
                command.env(variable, text.replace("CANARY", canary));
                let told = said(&mut command, &out)?;
                ensure!(!told.contains(canary), "`moehog {arguments}` repeats {canary} of {variable}={text}: {told}");
                complaints += usize::from(!told.is_empty());
            }
        }
    }
    ensure!(complaints > 300, "only {complaints} said something");
    Ok(())
}
