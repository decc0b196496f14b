//! What the log says: a warning that is not true sends somebody out at night.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Lines that are true of a disk that works.
const TRUE: [&str; 3] = [
    "journal.budget_bytes is more than its file system could ever hold",
    "dead letters past journal.dead_letter_retention",
    "the clock has jumped",
];

/// The warnings and errors of one history so far.
#[derive(Debug, Clone, Default)]
pub(in crate::embedded) struct Lines {
    said: Arc<Mutex<Vec<String>>>,
    /// They are printed too.
    is_aloud: bool,
}

impl Lines {
    pub(in crate::embedded) fn new(is_aloud: bool) -> Self {
        Self { is_aloud, ..Self::default() }
    }

    /// What was said since the last call.
    pub(in crate::embedded) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.said.lock())
    }
}

/// The first of these that tells of a failure.
pub(super) fn failure(lines: &[String]) -> Option<&String> {
    let dies = |line: &&String| line.contains("the simulated process has died");
    lines.iter().filter(|line| !dies(line)).find(|line| !TRUE.iter().any(|is_true| line.starts_with(is_true)))
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let line = format!("{}{}", line.message, line.fields);
        if self.is_aloud {
            println!("    {line}");
        }
        self.said.lock().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push_str(&format!(" {name}={value:?}")),
        }
    }
}
