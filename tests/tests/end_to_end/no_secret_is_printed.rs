//! A secret that stands where it should not, in every key and form, is never repeated: by `check`, by a start that fails, nor
//! by one that waits.

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
const WRITTEN: [&str; 26] = [
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
    "[destinations.eu]\napi_key = [\"CANARY\"]",
    "[destinations.eu]\napi_key = { file = \"CANARY\" }",
    "[destinations.eu]\napi_key = { env = \"CANARY\" }",
    "[destinations.eu]\napi_key = \"CANARY\"\n[destinations.us]\napi_key = \"CANARY\"",
    "[mapping]\nhash_key = [\"CANARY\"]",
    "[mapping]\nhash_key = { file = \"CANARY\" }",
    "[mapping]\nhash_key = \"CANARY",
];

/// The same by variables of the environment.
const VARIABLES: [(&str, &str); 6] = [
    ("MOEHOG__API__TOKENS", "CANARY"),
    ("MOEHOG__API__TOKENS", "[CANARY]"),
    ("MOEHOG__SOURCES__DEFAULT__TOKENS", "CANARY"),
    ("MOEHOG__SOURCES__DEFAULT__TOKENS", "{ file = \"CANARY\" }"),
    ("MOEHOG__DESTINATIONS__DEFAULT__API_KEY", "[\"CANARY\"]"),
    ("MOEHOG__MAPPING__HASH_KEY", "[\"CANARY\"]"),
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
    ensure!(refused > 2 * 28, "only {refused} were mistakes");
    Ok(())
}
