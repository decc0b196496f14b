//! MoEngage's attributes are plain dicts here, and its `MOE_NOT_SEND` statement is a tag of ours that ends the rendering. What
//! MoEngage's own engine does beyond that is not known.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, ensure};
use moehog_tests::{Jinja, root, skip};
use serde_json::{Map, Value, json};

use super::corpus::{Nasty, POSITIONS, Position, connector, expected, plain, values};

fn told(value: &Nasty) -> Option<Value> {
    match value {
        Nasty::Missing => None,
        Nasty::Json(value) => Some(value.clone()),
        Nasty::Huge(digits) => Some(json!({"$huge": digits})),
        Nasty::NoNumber(number) => Some(json!({"$float": number.to_string()})),
    }
}

fn case(position: Position, value: &Nasty) -> Value {
    let mut objects = json!({"UserAttribute": Map::new(), "EventAttribute": Map::new()});
    let (filled, place) = (told(value), position.attribute());
    for (object, name, plain) in plain() {
        let value = if (object, name) == place { filled.clone() } else { Some(plain) };
        if let Some(value) = value {
            objects[object][name] = value;
        }
    }
    json!({"objects": objects, "expected": expected(position, value)})
}

/// What a script beside this file makes of an input, in the Jinja2 of these wheels.
pub(super) fn python(script: &str, wheels: &[PathBuf], input: String) -> anyhow::Result<Output> {
    let mut python = Command::new("python3");
    python.arg(root().join("tests/tests/connector").join(script)).args(wheels);
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONIOENCODING", "utf-8").env("PYTHONWARNINGS", "ignore");
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = python.stdin.take().context("a pipe")?;
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = python.wait_with_output()?;
    // what ended early says why itself
    let _written = writer.join();
    Ok(output)
}

/// The body as a line, and each value in each place.
fn cases() -> String {
    let values = values();
    let cases = values.iter().flat_map(|value| POSITIONS.map(|position| case(position, value)));
    std::iter::once(Value::from(connector().body())).chain(cases).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_thousand_nasty_values_in_each_place_are_printed_as_they_are() -> anyhow::Result<()> {
    let versions = match Jinja::fetch() {
        Ok(versions) => versions,
        Err(error) => return skip("a_thousand_nasty_values_in_each_place_are_printed_as_they_are", &error),
    };
    let cases = cases();
    for Jinja { version, wheels } in versions {
        let output = python("fill.py", &wheels, cases.clone())?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "Jinja2 {version}: {}", complaint.chars().take(6000).collect::<String>());
        let printed = String::from_utf8(output.stdout)?;
        let (fetched, sent) = printed.trim().split_once(' ').context("a version and a count")?;
        ensure!(fetched.starts_with(version), "{fetched} was asked, not {version}");
        ensure!(sent.parse::<usize>()? > 6500, "{printed}");
    }
    Ok(())
}
