//! `moehog lint`: what in a Connector's body breaks.

use anyhow::{Context, ensure};
use moehog_connector::{Finding, Severity};

use crate::{cli::Lint, input};

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(command: &Lint) -> anyhow::Result<()> {
    let text = String::from_utf8(input::read(&command.file)?).context("the body is no text in UTF-8")?;
    let findings = moehog_connector::lint(&text);
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
