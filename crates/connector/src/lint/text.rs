//! Places in a body, and the lines to write instead.

use std::ops::Range;

use super::{
    Finding,
    found::{Edit, Found, Mend, Says},
    template::Tag,
};

/// A body and where its lines begin.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) body: &'a str,
    starts: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(body: &'a str) -> Self {
        let starts = std::iter::once(0).chain(body.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { body, starts }
    }

    /// What was found, with its place in lines and its fix as a line.
    pub(super) fn finding(&self, found: Found) -> Finding {
        let at = self.boundary(found.at);
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let column = self.body.get(start..at).unwrap_or_default().chars().count() + 1;
        let Says { severity, code, breaks, why } = found.says;
        let fixable = matches!(found.mend, Mend::Put(_));
        let fix = match found.mend {
            Mend::None | Mend::Print(..) => None,
            Mend::Advice(line) => Some(line),
            Mend::Put(Edit { range, text }) => Some(self.with(range, &text)),
        };
        Finding { line, column, severity, code, breaks, why, fix, fixable }
    }

    /// The line or lines around a range, with another text in its place.
    pub(super) fn with(&self, range: Range<usize>, instead: &str) -> String {
        let (start, end) = (self.boundary(range.start), self.boundary(range.end));
        let from = self.body[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = self.body[end..].find('\n').map_or(self.body.len(), |at| end + at);
        format!("{}{instead}{}", &self.body[from..start], &self.body[end..to]).trim().to_string()
    }

    /// Where a member's name stands, or the first bracket outside of tags.
    pub(super) fn place(&self, member: &str, tags: &[Tag]) -> usize {
        let outside = |at: &usize| !tags.iter().any(|tag| tag.range.contains(at));
        let quoted = format!("\"{member}\"");
        let named = self
            .body
            .match_indices(&quoted)
            .map(|(at, _)| at)
            .filter(outside)
            .find(|at| self.body[at + quoted.len()..].trim_start().starts_with(':'));
        let in_form = self.body.match_indices(&format!("{member}=")).map(|(at, _)| at).find(outside);
        let bracket = || self.body.match_indices(['{', '[']).map(|(at, _)| at).find(outside);
        named.or(in_form).or_else(bracket).unwrap_or_default()
    }

    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.body.len());
        while !self.body.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
