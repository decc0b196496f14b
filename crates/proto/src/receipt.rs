//! Addresses of entries.

use std::{fmt, io::Write, str::FromStr};

/// Number of an entry in its journal; grows by one an entry, from 1.
pub type Sequence = u64;

/// Names a journal: drawn at random when its directory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId(pub u32);

/// The address of an entry: which journal, which entry. It needs no index, and check digits catch a typing error.
///
/// Its text is `<journal>-<sequence>-<check>` in hexadecimal, such as `3f9a1c2b-12f-a07c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The journal that holds the entry.
    pub journal: JournalId,
    /// The entry's number in it.
    pub sequence: Sequence,
}

impl Receipt {
    fn check(&self) -> u16 {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.journal.0.to_be_bytes());
        bytes[4..].copy_from_slice(&self.sequence.to_be_bytes());
        (crc32c::crc32c(&bytes) & 0xffff) as u16
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // in one piece, so that `to_string` allocates once
        let mut text = [0; 30];
        let mut rest = &mut text[..];
        write!(rest, "{:08x}-{:x}-{:04x}", self.journal.0, self.sequence, self.check()).map_err(|_| fmt::Error)?;
        let length = 30 - rest.len();
        formatter.write_str(str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}

/// Why a text is not a receipt.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseReceiptError {
    /// Not `<journal>-<sequence>-<check>` in hexadecimal.
    #[error("not a receipt: expected three hexadecimal parts such as 3f9a1c2b-12f-a07c")]
    Shape,
    /// The check digits do not fit the rest.
    #[error("receipt is mistyped: its last four digits do not fit the rest")]
    Check,
}

impl FromStr for Receipt {
    type Err = ParseReceiptError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().splitn(3, '-');
        let mut part = || parts.next().filter(|part| !part.starts_with('+')).ok_or(ParseReceiptError::Shape);
        let (journal, sequence, check) = (part()?, part()?, part()?);
        let journal = u32::from_str_radix(journal, 16).map_err(|_| ParseReceiptError::Shape)?;
        let sequence = u64::from_str_radix(sequence, 16).map_err(|_| ParseReceiptError::Shape)?;
        let check = u16::from_str_radix(check, 16).map_err(|_| ParseReceiptError::Shape)?;
        let receipt = Self { journal: JournalId(journal), sequence };
        if receipt.check() == check { Ok(receipt) } else { Err(ParseReceiptError::Check) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_survives_its_text_and_a_changed_digit_is_caught() {
        let receipt = Receipt { journal: JournalId(0x3f9a_1c2b), sequence: 303 };
        let text = receipt.to_string();
        assert_eq!(text.parse(), Ok(receipt));
        for (at, old) in text.char_indices().filter(|(_, c)| *c != '-') {
            let new = if old == '0' { '1' } else { '0' };
            let mistyped: String = text.char_indices().map(|(i, c)| if i == at { new } else { c }).collect();
            assert_eq!(mistyped.parse::<Receipt>(), Err(ParseReceiptError::Check), "{mistyped}");
        }
        assert_eq!("3f9a1c2b".parse::<Receipt>(), Err(ParseReceiptError::Shape));
    }
}
