//! What a process printed.

use std::{
    fmt,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use serde_json::Value;

/// One printed line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Which process.
    pub process: String,
    /// As printed.
    pub text: String,
    /// The line as JSON, where it is a log line.
    pub json: Option<Value>,
}

impl Line {
    fn new(process: &str, text: String) -> Self {
        let json = text.starts_with('{').then(|| serde_json::from_str(&text).ok()).flatten();
        Self { process: process.to_string(), text, json }
    }

    /// A field of the log line as text.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        match self.json.as_ref()?.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Whether somebody should look at it: a `WARN` or `ERROR` line, or a panic.
    #[must_use]
    pub fn complains(&self) -> bool {
        match self.field("level").as_deref() {
            Some(level) => matches!(level, "WARN" | "ERROR"),
            None => self.text.contains("panicked at"),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.process, self.text)
    }
}

/// The lines of one or several processes, in the order they were read.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// Reads `source` to its end on a thread of its own.
    pub fn follow(&self, process: &str, source: impl Read + Send + 'static) {
        let (log, process) = (self.clone(), process.to_string());
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                log.push(Line::new(&process, String::from_utf8_lossy(&line).trim_end().to_string()));
            }
        });
    }

    /// Adds a line of the test's own.
    pub fn push(&self, line: Line) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest line that `wanted` likes.
    pub fn last<T>(&self, wanted: impl Fn(&Line) -> Option<T>) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().find_map(wanted)
    }

    /// How many lines contain `text`.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.text.contains(text)).count()
    }

    /// Complaints that hold none of the `expected` texts.
    #[must_use]
    pub fn complaints(&self, expected: &[String]) -> Vec<Line> {
        let unexpected = |line: &Line| line.complains() && !expected.iter().any(|text| line.text.contains(text));
        self.lines().into_iter().filter(unexpected).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_nobody_expected_is_a_complaint() {
        let log = Log::default();
        for text in [
            r#"{"level":"INFO","message":"listening"}"#,
            r#"{"level":"WARN","message":"destination held"}"#,
            r#"{"level":"ERROR","message":"disk failed"}"#,
            "thread 'main' panicked at src/main.rs",
        ] {
            log.push(Line::new("p", text.to_string()));
        }
        let unexpected = log.complaints(&["destination held".to_string()]);
        let texts: Vec<_> = unexpected.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, [r#"{"level":"ERROR","message":"disk failed"}"#, "thread 'main' panicked at src/main.rs"]);
    }
}
