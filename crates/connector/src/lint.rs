//! What in a Connector's body breaks, why, and the line to write instead.
//!
//! A body is read as Jinja for what it names, and then filled many times over: with numbers, with words, with a quote and a line
//! break, with nothing. What PostHog would be told each time shows what one reading cannot: a value that breaks the JSON, a number
//! sent as text, one person made of all who have no id.

mod checks;
mod engine;
mod event;
mod filled;
mod found;
mod mend;
mod probe;
mod shape;
mod skeleton;
mod suggest;
mod template;
mod text;
mod timed;
mod values;

use std::{borrow::Cow, fmt};

use serde::Serialize;

pub use self::timed::{ReadTime, ReadsTime};
use self::{
    found::{Edit, Found, Mend},
    template::Template,
    text::Text,
};

/// Mistakes in the JSON of a body that are looked behind.
const MAX_MISTAKES: usize = 30;

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
    /// Whether [`Linter::fixed`] writes it; otherwise the line holds what only the body's author knows or chooses.
    pub fixable: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, severity, code, breaks, why, fix, fixable } = self;
        write!(formatter, "{line}:{column} {severity} {code}: {breaks}; {why}")?;
        let said = if *fixable { "fix" } else { "write" };
        fix.as_ref().map_or(Ok(()), |fix| write!(formatter, "\n    {said}: {fix}"))
    }
}

/// Looks at a Connector's body and gives what breaks, from its first line on. How times are read it does not know.
#[must_use]
pub fn lint(body: &str) -> Vec<Finding> {
    Linter::default().lint(body)
}

/// Looks at bodies, with what it was told of where they go.
#[derive(Default, Clone, Copy)]
pub struct Linter<'a> {
    reads_time: Option<&'a ReadsTime<'a>>,
}

impl fmt::Debug for Linter<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Linter").field("reads_time", &self.reads_time.is_some()).finish()
    }
}

impl<'a> Linter<'a> {
    /// Lets `reads_time` say how a text in `timestamp` is read.
    #[must_use]
    pub fn reading_times(self, reads_time: &'a ReadsTime<'a>) -> Self {
        Self { reads_time: Some(reads_time) }
    }

    /// What breaks in a Connector's body, from its first line on.
    #[must_use]
    pub fn lint(&self, body: &str) -> Vec<Finding> {
        let mut found = self.look(body);
        self.keep_accepted(body, &mut found);
        let text = Text::new(body);
        let mut findings: Vec<_> = found.into_iter().map(|found| text.finding(found)).collect();
        findings.sort_by_key(|finding| (finding.line, finding.column, finding.severity, finding.code));
        findings.dedup();
        findings
    }

    /// The body with every fix that [`Self::lint`] tells written into it, and those that show themselves then. What only its author
    /// can say (the event's name, the attribute that tells when) is left as it is.
    #[must_use]
    pub fn fixed(&self, body: &str) -> String {
        self.mended(body)
    }

    /// What is found in a body; what stands behind a mistake that can be mended, too.
    fn look(&self, body: &str) -> Vec<Found> {
        let mut body = Cow::Borrowed(body);
        let (mut all, mut edits) = (Vec::new(), Vec::<Edit>::new());
        for _ in 0..MAX_MISTAKES {
            let found = self.look_once(&body);
            let mended = found.iter().find_map(|found| match &found.mend {
                Mend::Put(edit) if found.says.code == "invalid_json" => Some(edit.clone()),
                _ => None,
            });
            all.extend(found.into_iter().map(|found| edits.iter().rev().fold(found, |found, edit| found.before(edit))));
            let Some(edit) = mended else { break };
            body.to_mut().replace_range(edit.range.clone(), &edit.text);
            edits.push(edit);
        }
        all
    }

    fn look_once(&self, body: &str) -> Vec<Found> {
        let text = Text::new(body);
        let mut found = Vec::new();
        match Template::read(&text) {
            Err(unread) => found.push(*unread),
            Ok(template) => {
                suggest::names(&text, &template, &mut found);
                checks::run(&text, &template, self.reads_time, &mut found);
                mend::join_prints(&text, &template, &mut found);
            }
        }
        // the line that makes a number of it escapes it too
        let numbers: Vec<_> =
            found.iter().filter(|found| found.says.code == "number_as_text").map(|found| found.at).collect();
        found.retain(|found| found.says.code != "unescaped_placeholder" || !numbers.contains(&found.at));
        found
    }
}

#[cfg(test)]
mod tests;
