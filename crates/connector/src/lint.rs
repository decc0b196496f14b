//! What in a Connector's body breaks, why, and the line to write instead.
//!
//! A body is read as Jinja for what it names, and then filled many times over: with numbers, with words, with a quote and a line
//! break, with nothing. What PostHog would be told each time shows what one reading cannot: a value that breaks the JSON, a number
//! sent as text, one person made of all who have no id.

mod checks;
mod event;
mod filled;
mod probe;
mod shape;
mod skeleton;
mod suggest;
mod template;
mod text;
mod values;

use std::fmt;

use serde::Serialize;

use self::{probe::Probes, template::Template, text::Text};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Events are lost or put on the wrong person, whatever the values.
    Error,
    /// Events are lost, doubled or mistyped for some values.
    Warning,
    /// It works and can be better.
    Hint,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
        })
    }
}

/// One thing that breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Line in the body, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What kind of finding, a word that stays.
    pub code: &'static str,
    /// What breaks.
    pub breaks: String,
    /// Why.
    pub why: String,
    /// The line to write instead, where one can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, severity, code, breaks, why, fix } = self;
        write!(formatter, "{line}:{column} {severity} {code}: {breaks}; {why}")?;
        fix.as_ref().map_or(Ok(()), |fix| write!(formatter, "\n    fix: {fix}"))
    }
}

impl Finding {
    fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }
}

/// Looks at a Connector's body and gives what breaks, from its first line on.
#[must_use]
pub fn lint(body: &str) -> Vec<Finding> {
    let text = Text::new(body);
    let mut findings = Vec::new();
    match Template::read(&text) {
        Err(finding) => findings.push(*finding),
        Ok(template) => {
            suggest::names(&text, &template, &mut findings);
            let probes = Probes::new(&template);
            checks::run(&text, &template, &probes, &mut findings);
        }
    }
    // the line that makes a number of it escapes it too
    let numbers: Vec<_> =
        findings.iter().filter(|finding| finding.code == "number_as_text").map(Finding::place).collect();
    findings.retain(|finding| finding.code != "unescaped_placeholder" || !numbers.contains(&finding.place()));
    findings.sort_by_key(|finding| (finding.line, finding.column, finding.severity, finding.code));
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests;
