//! Receipts of entries.

mod mint;
#[cfg(test)]
mod tests;

use std::{fmt, io::Write};

pub use mint::{Mint, ParseReceiptError};

/// Number of an entry in its journal; grows by one an entry, from 1.
pub type Sequence = u64;

/// Longest text of a receipt, in bytes.
const MAX_TEXT_BYTES: usize = 46;

/// Names a journal: drawn at random when its directory is made. Its text is eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId(pub u32);

impl fmt::Debug for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JournalId({self})")
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

/// One opening of a journal, drawn at random: two copies of its directory give out different receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// Of entries that moehog 0.1 took, which knew none.
    pub const NONE: Self = Self(0);
}

/// Names an entry: which journal, which opening of it, which entry. Finding the entry needs no index, and check digits
/// catch a typing error.
///
/// Its text is `<journal>-<block>-<check>` in hexadecimal, such as `3f9a1c2b-e217697277a3b278a25daec74e8c5c58-1d6d`; the
/// block is encrypted, so that nobody reads the volume from it. [`Mint`] makes receipts and reads their texts. Those of
/// moehog 0.1 have the entry's number in place of the block: `3f9a1c2b-12f-daed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The journal that holds the entry.
    pub journal: JournalId,
    /// The opening of the journal that took it.
    pub incarnation: Incarnation,
    /// The entry's number in the journal.
    pub sequence: Sequence,
    /// Incarnation and sequence as they are printed; 0 without an incarnation.
    block: u128,
}

impl Receipt {
    /// A receipt as moehog 0.1 gave it.
    #[must_use]
    pub fn plain(journal: JournalId, sequence: Sequence) -> Self {
        Self { journal, incarnation: Incarnation::NONE, sequence, block: 0 }
    }

    /// Whether moehog 0.1 gave it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.incarnation == Incarnation::NONE
    }

    /// What the UUIDs of the entry's events are made from. It tells the volume: nobody outside is shown it.
    #[must_use]
    pub fn address(&self) -> String {
        if self.is_plain() {
            return self.to_string();
        }
        format!("{:016x}-{:x}", self.incarnation.0, self.sequence)
    }

    fn check(&self) -> u16 {
        let mut bytes = [0; 20];
        let (journal, rest) = bytes.split_at_mut(4);
        journal.copy_from_slice(&self.journal.0.to_be_bytes());
        let length = if self.is_plain() {
            rest[..8].copy_from_slice(&self.sequence.to_be_bytes());
            12
        } else {
            rest.copy_from_slice(&self.block.to_be_bytes());
            20
        };
        (crc32c::crc32c(&bytes[..length]) & 0xffff) as u16
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // in one piece, so that `to_string` allocates once
        let mut text = [0; MAX_TEXT_BYTES];
        let mut rest = &mut text[..];
        let (journal, check) = (self.journal, self.check());
        let written = if self.is_plain() {
            write!(rest, "{journal}-{:x}-{check:04x}", self.sequence)
        } else {
            // as one number of 128 bits it takes longer
            write!(rest, "{journal}-{:016x}{:016x}-{check:04x}", (self.block >> 64) as u64, self.block as u64)
        };
        written.map_err(|_| fmt::Error)?;
        let length = MAX_TEXT_BYTES - rest.len();
        formatter.write_str(str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}
