//! `moehog lint`: what in a Connector's body breaks.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use moehog_connector::{Finding, Linter, ReadTime, Severity};
use moehog_telemetry::terminal::{shown, shown_json, shown_lines};
use moehog_transformer::{Rules, Unread};

use crate::{check, cli::Lint, input};

/// Largest template in bytes: each placeholder is filled many times over.
const MAX_TEMPLATE_BYTES: usize = 128 * 1024;

pub(crate) fn run(command: &Lint) -> anyhow::Result<()> {
    let mapping = check::mapping(command.config.as_deref())?;
    let rules = match command.mapping.as_ref().or(mapping.file.as_ref()) {
        None => Rules::default(),
        Some(path) => check::usable(path, &mapping)?,
    };
    let limit = "a Connector's body is a template of some kilobytes; is it another file?";
    let body = input::read(&command.file, MAX_TEMPLATE_BYTES, limit)?;
    let text = String::from_utf8(body).context("the body is no text in UTF-8: save it as UTF-8")?;
    let reads_time = |text: &str, at_ms: i64| match rules.read_time(&command.source, text, at_ms) {
        Ok(ms) => ReadTime::At { ms },
        Err(Unread::Ambiguous) => ReadTime::Ambiguous,
        Err(Unread::Form | Unread::FarOff) => ReadTime::Unreadable,
    };
    let linter = Linter::default().reading_times(&reads_time);
    let findings = if command.fix { fix(command, &linter, &text)? } else { linter.lint(&text) };
    if !command.fix {
        print(command, &findings)?;
    }
    let errors = count(&findings, Severity::Error);
    ensure!(errors == 0, "{} breaks as it stands", command.file.display());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn print(command: &Lint, findings: &[Finding]) -> anyhow::Result<()> {
    if command.json {
        println!("{}", shown_json(&serde_json::to_string_pretty(findings)?));
    } else {
        findings.iter().for_each(|finding| println!("{}", page(finding)));
        println!("{}", summary(findings));
    }
    Ok(())
}

/// Writes the finished body; gives what is left to be said of it.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the body is to be pasted, what is left to be read")]
fn fix(command: &Lint, linter: &Linter<'_>, text: &str) -> anyhow::Result<Vec<Finding>> {
    let fixed = linter.fixed(text);
    if command.in_place {
        ensure!(command.file != Path::new("-"), "--in-place: standard input is no file; leave it away, or name a file");
        if fixed != text {
            fs::write(&command.file, &fixed).with_context(|| format!("write {}", command.file.display()))?;
        }
    } else {
        print!("{fixed}");
    }
    let findings = linter.lint(&fixed);
    findings.iter().for_each(|finding| eprintln!("{}", page(finding)));
    eprintln!("{}", summary(&findings));
    Ok(findings)
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
