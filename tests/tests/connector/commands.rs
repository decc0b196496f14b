//! `moehog lint` and `moehog connector`, as a marketer runs them, and README's page about them.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, ensure};
use moehog_tests::{binary, root};
use serde_json::{Value, json};

const GUIDE: &str = "crates/transformer/testdata/connector-01-posthog-purchase-template.json";
const TITLE: &str = "## Writing the Connector's body";

/// Runs a command at the root of the source tree, without what the environment may add.
fn moehog(arguments: &[&str], input: &str) -> anyhow::Result<Output> {
    let mut command = Command::new(binary("moehog")?);
    command.args(arguments).current_dir(root()).env_remove("POSTHOG_API_KEY").env_remove("MOEHOG_TOKEN");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // a command that reads nothing closes it
    let _written = child.stdin.take().context("a pipe")?.write_all(input.as_bytes());
    Ok(child.wait_with_output()?)
}

fn printed(output: &Output) -> anyhow::Result<String> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ended with {}: {complaint}", output.status);
    Ok(String::from_utf8(output.stdout.clone())?)
}

/// The words of a shell line whose quotes are simple.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// README's commands about the Connector, each with the output that it shows.
fn shown() -> anyhow::Result<Vec<(Vec<String>, String)>> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let section = readme.split_once(TITLE).context("the section")?.1.split("\n## ").next().unwrap_or_default();
    let mut blocks = section.split("\n```").skip(1).step_by(2);
    let mut shown = Vec::new();
    while let (Some(command), Some(output)) = (blocks.next(), blocks.next()) {
        let command = command.trim_start_matches("sh\n").replace("\\\n", "");
        let arguments = command.trim().strip_prefix("cargo run --release -- ").context("a command of moehog")?;
        shown.push((words(arguments), output.trim_start_matches("text\n").to_string()));
    }
    Ok(shown)
}

#[test]
fn readme_shows_what_they_print() -> anyhow::Result<()> {
    let shown = shown()?;
    ensure!(shown.len() == 2, "{} commands", shown.len());
    for (arguments, expected) in shown {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = moehog(&arguments, "")?;
        let text = String::from_utf8(output.stdout)?;
        let (actual, expected): (Vec<_>, Vec<_>) = (text.lines().collect(), expected.trim_end().lines().collect());
        ensure!(actual.len() == expected.len(), "{arguments:?} prints {} lines:\n{text}", actual.len());
        for (actual, expected) in actual.iter().zip(expected) {
            // README cuts long lines
            let same = expected.strip_suffix('…').map_or(*actual == expected, |start| actual.starts_with(start));
            ensure!(same, "{arguments:?} prints\n{actual}\nand README shows\n{expected}");
        }
    }
    Ok(())
}

#[test]
fn lint_ends_with_1_where_something_breaks_as_it_stands() -> anyhow::Result<()> {
    let guide = moehog(&["lint", GUIDE], "")?;
    ensure!(guide.status.code() == Some(1), "{guide:?}");
    ensure!(String::from_utf8_lossy(&guide.stderr).contains("breaks as it stands"), "{guide:?}");
    ensure!(String::from_utf8_lossy(&guide.stdout).contains("\n1 error, "), "{guide:?}");
    let as_json = moehog(&["lint", "--json", GUIDE], "")?;
    ensure!(as_json.status.code() == Some(1), "{as_json:?}");
    let findings: Value = serde_json::from_slice(&as_json.stdout)?;
    let listed = findings.as_array().context("a list")?;
    ensure!(listed.iter().any(|finding| finding["code"] == "number_as_text" && finding["line"] == 7), "{findings:#}");
    ensure!(moehog(&["lint", "no-such-file"], "")?.status.code() == Some(1));
    Ok(())
}

#[test]
fn lint_finds_nothing_in_what_connector_writes_from_a_sample() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let sample = directory.path().join("sample.json");
    let trigger = json!({
        "UserAttribute": {"ID": "u1", "Email (Standard)": "ada@example.com"},
        "EventAttribute": {"Order ID": "A-1", "Ordered At": "2026-08-20 10:11:12", "Value": "49.90", "Revenue": 1},
    });
    fs::write(&sample, trigger.to_string())?;
    let sample = sample.display().to_string();
    let url = "https://your.host/capture/";
    let arguments = ["connector", "--url", url, "--event", "purchase", "--api-key", "phc_x", "--sample", &sample];
    let page = printed(&moehog(&arguments, "")?)?;
    for part in ["POST", url, "Content-Type: application/json", "EventAttribute['Revenue'] is left out", "\"phc_x\""] {
        ensure!(page.contains(part), "`{part}` is not said: {page}");
    }
    let body = printed(&moehog(&[&arguments[..], &["--body"]].concat(), "")?)?;
    ensure!(page.ends_with(&body), "{page}");
    for part in ["EventAttribute['Value']|default(''), 'number'", "set key = EventAttribute['Order ID']", "'email'"] {
        ensure!(body.contains(part), "`{part}` is not in {body}");
    }
    ensure!(printed(&moehog(&["lint", "-"], &body)?)? == "nothing breaks\n");
    let request: Value = serde_json::from_str(&printed(&moehog(&[&arguments[..], &["--json"]].concat(), "")?)?)?;
    ensure!(request["body"] == body && request["method"] == "POST", "{request:#}");
    Ok(())
}

#[test]
fn connector_refuses_what_it_cannot_write() -> anyhow::Result<()> {
    let refused = |arguments: &[&str], part: &str| {
        let output = moehog(&[&["connector", "--event", "e"], arguments].concat(), "")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && complaint.contains(part), "{arguments:?}: {complaint}");
        Ok(())
    };
    refused(&["--url", "https://your.host/"], "/v1/in/NAME")?;
    refused(&["--url", "https://your.host/e/", "--id", "user_id"], "UserAttribute['Name']")?;
    refused(&["--url", "https://your.host/e/", "--property", "a=b"], "property `a`")
}
