//! What the mapping of one event may cost. A rule may be harmless in all events but one: what a filter makes depends on what was
//! sent, and a body of 60 KB could make it fill the memory. Steps and bytes are counted, and not time: the same event
//! is mapped alike on a machine that is busy.

use std::cell::Cell;

use super::unusable::Unusable;

/// Steps that the expressions of one event may take, all together: an operation of the engine is one, and so are 64 bytes that it
/// reads, makes or visits.
pub(crate) const MAX_STEPS: u64 = 500_000;

/// Bytes that the expressions of one event may make, all together. PostHog takes no larger event.
pub(crate) const MAX_OUTPUT_BYTES: usize = 1024 * 1024;

/// Bytes for a step.
pub(crate) const BYTES_A_STEP: usize = 64;

/// What is left to one event.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: Cell<u64>,
    bytes: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: Cell::new(MAX_STEPS), bytes: Cell::new(MAX_OUTPUT_BYTES) }
    }
}

impl Budget {
    /// Steps that are left.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Bytes that may still be made.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Takes steps; where too few are left, none are afterwards.
    ///
    /// # Errors
    ///
    /// Too few are left.
    pub(crate) fn step(&self, steps: u64) -> Result<(), Unusable> {
        let left = self.steps.get().checked_sub(steps);
        self.steps.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Unusable::Costly)
    }

    /// Takes a step, and those for bytes that are read.
    ///
    /// # Errors
    ///
    /// Too few are left.
    pub(crate) fn read(&self, bytes: usize) -> Result<(), Unusable> {
        self.step(1 + (bytes / BYTES_A_STEP) as u64)
    }

    /// Takes bytes that were made. What is too large takes none, so that what is small can still be had.
    ///
    /// # Errors
    ///
    /// Too few are left.
    pub(crate) fn make(&self, bytes: usize) -> Result<(), Unusable> {
        let left = self.bytes.get().checked_sub(bytes).ok_or(Unusable::Costly)?;
        self.bytes.set(left);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
