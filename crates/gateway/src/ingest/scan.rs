//! Finds the project key in a capture body by its bytes, without parsing it.
//!
//! A body is journaled whatever its syntax, so the key must be found in bodies that no JSON parser takes: templates put
//! quotes and line ends into values as they are. [`KeyScan`] follows strings and object depth only, in one pass over
//! chunks of any size. A stray quote turns inside and outside around for such a scan, so [`Finder`] runs two of them, one that
//! begins outside strings and one that begins inside: at each byte of a broken body, one of the two sees it right.

mod form;
mod pass;

#[cfg(test)]
use self::pass::{MAX_TEXT_BYTES, Name};
use self::{
    form::Form,
    pass::{KeyScan, State},
};

/// Finds the key in a body that comes in chunks: JSON, broken JSON or a form.
#[derive(Debug)]
pub(crate) struct Finder {
    outside: KeyScan,
    inside: KeyScan,
    form: Form,
}

impl Finder {
    pub(crate) fn new() -> Self {
        Self { outside: KeyScan::new(State::Between), inside: KeyScan::new(State::String), form: Form::Unknown }
    }

    /// Takes the next bytes. True once nothing that follows could change the answer.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> bool {
        self.outside.feed(chunk);
        self.form.feed(chunk);
        if !self.outside.certain() {
            self.inside.feed(chunk);
        }
        self.outside.certain()
    }

    /// The key that nothing which follows could change.
    pub(crate) fn certain_key(&self) -> Option<&str> {
        self.outside.key().filter(|_| self.outside.certain())
    }

    /// The key, where one was found: as it stands in the body, whatever its shape.
    pub(crate) fn key(self) -> Option<String> {
        let scans = self.outside.into_key().or_else(|| self.inside.into_key());
        scans.or_else(|| self.form.key())
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
