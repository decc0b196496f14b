//! `moehog lint`: what in a Connector's body breaks.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context, ensure};
use moehog_connector::{Finding, Severity};

use crate::cli::Lint;

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(command: &Lint) -> anyhow::Result<()> {
    let findings = moehog_connector::lint(&read(&command.file)?);
    if command.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        findings.iter().for_each(|finding| println!("{finding}"));
        println!("{}", summary(&findings));
    }
    let errors = count(&findings, Severity::Error);
    ensure!(errors == 0, "{} breaks as it stands", command.file.display());
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("read the body from standard input")?;
        return Ok(text);
    }
    fs::read_to_string(file).with_context(|| format!("read the body {}", file.display()))
}

fn summary(findings: &[Finding]) -> String {
    let counts = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Hint, "hint")];
    let counted: Vec<_> = counts
        .into_iter()
        .map(|(severity, name)| (count(findings, severity), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if counted.is_empty() { "nothing breaks".to_string() } else { counted.join(", ") }
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}
