//! Other readings of a body that is no JSON: with one comma, quote or bracket more or less it is a document.
//!
//! Who mends such a body in another way may make a document that nobody sent.

use super::tokens::{Expects, State, skip_blanks, text_end};
use crate::notes::Repair;

/// Bytes that may be read for each byte of the body before no more is looked at, and nothing is certain.
const EFFORT: usize = 64;

/// Whether something other than these repairs explains the body.
pub(super) fn explain(text: &str, repairs: &[Repair]) -> bool {
    let shape = Shape::of(text);
    if shape.is_odd {
        return Search::new(text).quote().unwrap_or(true);
    }
    let is_of_commas = repairs.iter().all(|repair| [Repair::MissingComma, Repair::DoubledComma].contains(repair));
    !shape.is_whole() || !(is_of_commas || Search::new(text).comma() == Some(false))
}

/// What the quotes and brackets of a text say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// A quote is missing, or one too many.
    pub(crate) is_odd: bool,
    /// A bracket closes what is not open.
    pub(crate) is_unopened: bool,
    /// A bracket is not closed.
    pub(crate) is_unclosed: bool,
}

impl Shape {
    pub(crate) fn of(text: &str) -> Self {
        let (mut open, mut is_odd, mut is_unopened, mut at) = (Vec::new(), false, false, 0);
        while let Some(byte) = text.as_bytes().get(at) {
            match byte {
                b'\\' => at += 1,
                b'"' => is_odd = !is_odd,
                b'{' if !is_odd => open.push(b'}'),
                b'[' if !is_odd => open.push(b']'),
                b'}' | b']' if !is_odd => is_unopened |= open.pop() != Some(*byte),
                _ => {}
            }
            at += 1;
        }
        Self { is_odd, is_unopened, is_unclosed: !open.is_empty() }
    }

    pub(crate) fn is_whole(self) -> bool {
        !(self.is_odd || self.is_unopened || self.is_unclosed)
    }
}

/// Looks for the place of one edit. The body is strict up to there, so only places up to the first fault count.
struct Search<'t> {
    text: &'t [u8],
    effort: usize,
}

impl<'t> Search<'t> {
    fn new(text: &'t str) -> Self {
        Self { text: text.as_bytes(), effort: text.len().saturating_mul(EFFORT) }
    }

    /// Whether one comma more, or less of two, makes it a document; none where that takes too long to know.
    fn comma(&mut self) -> Option<bool> {
        let (mut state, mut at) = (State::new(), 0);
        loop {
            at = skip_blanks(self.text, at);
            let before = state.clone();
            match state.token(self.text, at) {
                Some(end) => at = end,
                None if before.expects == Expects::Next => {
                    let mut more = before;
                    return if more.comma().is_some() { self.is_document(more, at) } else { Some(false) };
                }
                // of two commas the second is the fault
                None if self.text.get(at) == Some(&b',') => return self.is_document(before, at + 1),
                None => return Some(false),
            }
        }
    }

    /// Whether one quote more, or less of two, makes it a document; none where that takes too long to know.
    fn quote(&mut self) -> Option<bool> {
        let (mut state, mut at) = (State::new(), 0);
        loop {
            at = skip_blanks(self.text, at);
            let before = state.clone();
            let end = state.token(self.text, at);
            // a text whose first quote is missing, or one with a quote more or less
            if before.takes_text() && (self.text_from(&before, at)? || self.ends(&before, at)?) {
                return Some(true);
            }
            match end {
                Some(end) => at = end,
                None => return Some(false),
            }
        }
    }

    /// Whether the text that begins at `at` lacks one of its quotes but the first, or has one too many.
    fn ends(&mut self, before: &State, at: usize) -> Option<bool> {
        if self.text.get(at) != Some(&b'"') {
            return Some(false);
        }
        let mut after = before.clone();
        after.text()?;
        // the first quote is doubled
        if self.text.get(at + 1) == Some(&b'"') && self.text_from(before, at + 2)? {
            return Some(true);
        }
        let mut inside = at + 1;
        loop {
            self.spend(1)?;
            match self.text.get(inside) {
                None => return self.is_document_from(&after, inside),
                Some(b'"') => {
                    // the last quote is doubled, or an escaped one before it is
                    let is_doubled = self.text.get(inside + 1) == Some(&b'"');
                    let is_escaped = self.text[..inside].ends_with(b"\\\"");
                    return Some(
                        (is_doubled && self.is_document_from(&after, inside + 2)?)
                            || (is_escaped && self.text_from(before, inside + 1)?),
                    );
                }
                Some(b'\\') => {
                    // an escaped quote has lost its quote
                    if self.text_from(before, inside + 1)? {
                        return Some(true);
                    }
                    inside += 2;
                }
                Some(byte) => {
                    let may_end = b",:}] \t\r\n".contains(byte);
                    if may_end && self.is_document_from(&after, inside)? {
                        return Some(true);
                    }
                    if *byte < 0x20 {
                        return Some(false);
                    }
                    inside += 1;
                }
            }
        }
    }

    /// Whether it is a document if a text is under way at `from`.
    fn text_from(&mut self, before: &State, from: usize) -> Option<bool> {
        let rest = self.text.get(from..).unwrap_or_default();
        self.spend(memchr::memchr(b'"', rest).unwrap_or(rest.len()))?;
        let Some(end) = text_end(self.text, from) else { return Some(false) };
        let mut after = before.clone();
        if after.text().is_none() {
            return Some(false);
        }
        self.is_document_from(&after, end)
    }

    fn is_document_from(&mut self, state: &State, at: usize) -> Option<bool> {
        // most are none at the first look
        let next = skip_blanks(self.text, at);
        self.spend(next - at + 1)?;
        let may_follow = match state.expects {
            Expects::Colon => self.text.get(next) == Some(&b':'),
            _ => matches!(self.text.get(next), None | Some(b',' | b'}' | b']')),
        };
        if !may_follow {
            return Some(false);
        }
        self.is_document(state.clone(), next)
    }

    /// Whether it is a document, read on from here; none where that takes too long to know.
    fn is_document(&mut self, mut state: State, from: usize) -> Option<bool> {
        let mut at = from;
        loop {
            let next = skip_blanks(self.text, at);
            if next == self.text.len() {
                return Some(state.is_end());
            }
            let end = state.token(self.text, next);
            self.spend(end.unwrap_or(next + 1) - at)?;
            match end {
                Some(end) => at = end,
                None => return Some(false),
            }
        }
    }

    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.effort = self.effort.checked_sub(bytes)?;
        Some(())
    }
}
