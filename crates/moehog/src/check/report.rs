//! What was looked at and what was found, as lines and as JSON.

use std::path::Path;

use moehog_runtime::{Mistake, Place};
use moehog_telemetry::terminal::{shown, shown_lines};
use moehog_transformer::Problem;
use serde::Serialize;
use serde_json::json;

/// One thing that was found, and where.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) file: Option<String>,
    /// From 1 on.
    pub(super) line: Option<usize>,
    /// In characters, from 1 on.
    pub(super) column: Option<usize>,
    /// The variable of the environment that it stands in.
    pub(super) variable: Option<String>,
    /// The key, as in `sources.shop.destination`, or the place in a mapping, as in `rule 2, properties.amount`.
    pub(super) key: Option<String>,
    /// What is wrong, and what to do.
    pub(super) text: String,
}

/// All that a check says.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) configuration: Option<String>,
    pub(super) mapping: Option<String>,
    pub(super) variables: usize,
    /// How many rules the mapping has, and its revision.
    pub(super) rules: Option<(usize, String)>,
    pub(super) mistakes: Vec<Finding>,
    pub(super) notes: Vec<Finding>,
}

impl Finding {
    /// A mistake at a key of the configuration.
    pub(super) fn of(mistake: Mistake, place: impl Fn(&str) -> Option<Place>, file: Option<&str>) -> Self {
        let Mistake { key, text } = mistake;
        let place = place(&key);
        let key = Some(key).filter(|key| !key.is_empty());
        match place.filter(|_| key.is_some()) {
            Some(Place::File { line, column }) => Self {
                file: file.map(str::to_string),
                line: Some(line),
                column: Some(column),
                key,
                text,
                ..Self::default()
            },
            Some(Place::Variable(name)) => Self { variable: Some(name), key, text, ..Self::default() },
            None => Self { key, text, ..Self::default() },
        }
    }

    /// A mistake of a mapping file.
    pub(super) fn in_rules(problem: &Problem, file: &str) -> Self {
        let Problem { line, place, message } = problem;
        let key = Some(place.clone()).filter(|place| !place.is_empty());
        Self { file: Some(file.to_string()), line: Some(*line), key, text: message.clone(), ..Self::default() }
    }

    fn to_line(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.file.clone());
        match (self.line, self.column) {
            (Some(line), Some(column)) => parts.push(format!("line {line}, column {column}")),
            (Some(line), None) => parts.push(format!("line {line}")),
            _ => parts.extend(self.variable.clone()),
        }
        // a sentence about the configuration names its key itself
        let is_rule = self.line.is_some() && self.column.is_none();
        parts.extend(self.key.clone().filter(|_| is_rule));
        parts.push(self.text.clone());
        parts.join(": ")
    }
}

impl Report {
    #[expect(clippy::print_stdout, reason = "the command's answer")]
    pub(super) fn print(&mut self, as_json: bool) {
        self.mistakes
            .sort_by_key(|finding| (finding.file.is_none(), finding.line.filter(|_| finding.column.is_some())));
        self.mistakes.dedup();
        if as_json {
            let mapping = self.mapping.as_ref().map(|file| {
                let (rules, revision) = self.rules.clone().unzip();
                json!({"file": file, "rules": rules, "revision": revision})
            });
            let looked_at =
                json!({"configuration": self.configuration, "mapping": mapping, "variables": self.variables});
            println!("{}", json!({"looked_at": looked_at, "mistakes": self.mistakes, "notes": self.notes}));
            return;
        }
        println!("{}", shown(&self.looked_at()));
        if let (Some(file), Some((count, revision))) = (&self.mapping, &self.rules) {
            println!("{}: {count} rule{}, revision {revision}", shown(file), if *count == 1 { "" } else { "s" });
        }
        self.notes.iter().for_each(|note| println!("note: {}", shown_lines(&note.to_line(), "  ")));
        self.mistakes.iter().for_each(|mistake| println!("{}", shown_lines(&mistake.to_line(), "  ")));
        if self.mistakes.is_empty() {
            println!("all is well");
        }
    }

    fn looked_at(&self) -> String {
        let files: Vec<_> = self.configuration.iter().chain(&self.mapping).map(String::as_str).collect();
        let variables = match self.variables {
            1 => "1 variable MOEHOG__…".to_string(),
            many => format!("{many} variables MOEHOG__…"),
        };
        if files.is_empty() {
            return format!(
                "looked at {variables} and no file: name them, as in `moehog check moehog.toml mapping.toml`"
            );
        }
        format!("looked at {}, {variables}", files.join(", "))
    }
}

/// A path as it is shown.
pub(super) fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
