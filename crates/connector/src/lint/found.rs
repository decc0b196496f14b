//! What was found, before its place and its fix are written out.

use std::ops::Range;

use super::Severity;
use crate::attribute::Attribute;

/// One thing that breaks.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Byte in the body.
    pub(super) at: usize,
    pub(super) says: Says,
    pub(super) mend: Mend,
}

/// What a finding says apart from its place.
#[derive(Debug, Clone)]
pub(super) struct Says {
    pub(super) severity: Severity,
    pub(super) code: &'static str,
    pub(super) breaks: String,
    pub(super) why: String,
}

/// What mends it.
#[derive(Debug, Clone)]
pub(super) enum Mend {
    /// Nothing that could be told.
    None,
    /// A line that holds something only its author knows, or chooses.
    Advice(String),
    /// A text in the place of another.
    Put(Edit),
    /// What one of the template's tags prints, written anew for all that is found in it.
    Print(usize, Need),
}

/// A text in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

/// What a print lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// Names that MoEngage knows.
    Names,
    /// Safety between JSON's quotes.
    Escape,
    /// Nothing sent without this attribute.
    Guard(Attribute),
    /// A number where it is one.
    Number,
}

impl Found {
    pub(super) fn new(at: usize, severity: Severity, code: &'static str, says: (String, String), mend: Mend) -> Self {
        let (breaks, why) = says;
        Self { at, says: Says { severity, code, breaks, why }, mend }
    }

    /// The same in a body that has `edit` undone; what the edit itself touched has no mend there.
    pub(super) fn before(mut self, edit: &Edit) -> Self {
        let (start, old, new) = (edit.range.start, edit.range.len(), edit.text.len());
        let back = |at: usize| if at < start + new { at.min(start + old) } else { at - new + old };
        self.at = back(self.at);
        self.mend = match self.mend {
            Mend::Put(Edit { range, text }) if range.end <= start || range.start >= start + new => {
                Mend::Put(Edit { range: back(range.start)..back(range.end), text })
            }
            Mend::Put(_) => Mend::None,
            other => other,
        };
        self
    }
}
