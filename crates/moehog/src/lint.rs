//! `moehog lint`: what in a Connector's body breaks.

use anyhow::{Context, ensure};
use moehog_connector::{Finding, Severity};
use moehog_telemetry::terminal::{shown, shown_json, shown_lines};

use crate::{cli::Lint, input};

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(command: &Lint) -> anyhow::Result<()> {
    let text = String::from_utf8(input::read(&command.file)?).context("the body is no text in UTF-8")?;
    let findings = moehog_connector::lint(&text);
    if command.json {
        println!("{}", shown_json(&serde_json::to_string_pretty(&findings)?));
    } else {
        findings.iter().for_each(|finding| println!("{}", page(finding)));
        println!("{}", summary(&findings));
    }
    let errors = count(&findings, Severity::Error);
    ensure!(errors == 0, "{} breaks as it stands", command.file.display());
    Ok(())
}

/// A finding as it is printed: it quotes the body.
fn page(finding: &Finding) -> String {
    let line = |text: &str| shown(text).into_owned();
    let fix = finding.fix.as_ref().map(|fix| shown_lines(fix, "         "));
    Finding { breaks: line(&finding.breaks), why: line(&finding.why), fix, ..finding.clone() }.to_string()
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
