use std::{fs, path::Path, process::Command};

use anyhow::ensure;
use moehog_tests::binary;

#[test]
fn with_exit_code_4_both_formats_and_the_remedy() -> anyhow::Result<()> {
    let newer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/journal/testdata/newer/format");
    for name in ["moehog-gateway", "moehog"] {
        let directory = tempfile::tempdir()?;
        fs::copy(&newer, directory.path().join("format"))?;
        let mut command = Command::new(binary(name)?);
        command.current_dir(directory.path()).env("MOEHOG__JOURNAL__DIR", directory.path());
        command.env("MOEHOG__HTTP__LISTEN", "127.0.0.1:0").env("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0");
        let output = command.output()?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(4), "{name} ended with {}: {words}", output.status);
        for wanted in ["has format 1000", "reads format 3:", "start that one again"] {
            ensure!(words.contains(wanted), "{name} does not say `{wanted}`: {words}");
        }
        ensure!(fs::read(directory.path().join("format"))? == fs::read(&newer)?, "{name} wrote into it");
    }
    Ok(())
}
