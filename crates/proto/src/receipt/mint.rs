//! Makes receipts and reads their texts.

use std::fmt;

use aes::{
    Aes128,
    cipher::{BlockDecrypt, BlockEncrypt, KeyInit},
};

use super::{Incarnation, JournalId, Receipt, Sequence};

/// Most digits of an entry's number.
const MAX_SEQUENCE_DIGITS: usize = 16;
/// Digits of a block.
const BLOCK_DIGITS: usize = 32;

/// Makes the receipts of one journal and reads their texts. It holds the journal's key: incarnation and sequence are
/// printed as one AES-128 block.
#[derive(Clone)]
pub struct Mint {
    journal: JournalId,
    cipher: Aes128,
}

impl fmt::Debug for Mint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mint").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Mint {
    /// The mint of a journal, by the journal's secret key.
    #[must_use]
    pub fn new(journal: JournalId, key: [u8; 16]) -> Self {
        Self { journal, cipher: Aes128::new(&key.into()) }
    }

    /// The receipt of an entry.
    #[must_use]
    pub fn receipt(&self, incarnation: Incarnation, sequence: Sequence) -> Receipt {
        if incarnation == Incarnation::NONE {
            return Receipt::plain(self.journal, sequence);
        }
        let mut block = (u128::from(incarnation.0) << 64 | u128::from(sequence)).to_be_bytes();
        self.cipher.encrypt_block((&mut block).into());
        Receipt { journal: self.journal, incarnation, sequence, block: u128::from_be_bytes(block) }
    }

    /// Reads a receipt's text, one of moehog 0.1 too. It says nothing of whether the entry exists.
    ///
    /// # Errors
    ///
    /// It is none, is mistyped, or is of another journal.
    pub fn read(&self, text: &str) -> Result<Receipt, ParseReceiptError> {
        let mut parts = text.trim().splitn(3, '-');
        let mut part = || parts.next().filter(|part| !part.starts_with('+')).ok_or(ParseReceiptError::Shape);
        let (journal, middle, check) = (part()?, part()?, part()?);
        let journal = JournalId(u32::from_str_radix(journal, 16).map_err(|_| ParseReceiptError::Shape)?);
        let number = u128::from_str_radix(middle, 16).map_err(|_| ParseReceiptError::Shape)?;
        let check = u16::from_str_radix(check, 16).map_err(|_| ParseReceiptError::Shape)?;
        let receipt = match (middle.len(), u64::try_from(number)) {
            (..=MAX_SEQUENCE_DIGITS, Ok(sequence)) => Receipt::plain(journal, sequence),
            (BLOCK_DIGITS, _) => self.decrypt(journal, number),
            _ => return Err(ParseReceiptError::Shape),
        };
        if receipt.check() != check {
            return Err(ParseReceiptError::Check);
        }
        if journal == self.journal { Ok(receipt) } else { Err(ParseReceiptError::OtherJournal { journal }) }
    }

    fn decrypt(&self, journal: JournalId, block: u128) -> Receipt {
        let mut bytes = block.to_be_bytes();
        self.cipher.decrypt_block((&mut bytes).into());
        let plain = u128::from_be_bytes(bytes);
        Receipt { journal, incarnation: Incarnation((plain >> 64) as u64), sequence: plain as u64, block }
    }
}

/// Why a text is not a receipt of this journal.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseReceiptError {
    /// Not `<journal>-<block>-<check>` in hexadecimal, nor the form of moehog 0.1.
    #[error(
        "not a receipt: expected three hexadecimal parts of 8, 32 and 4 digits, or such as 3f9a1c2b-12f-daed of moehog 0.1"
    )]
    Shape,
    /// The check digits do not fit the rest.
    #[error("receipt is mistyped: its last four digits do not fit the rest")]
    Check,
    /// It is well-formed, and this journal cannot read it.
    #[error("receipt is of another journal, {journal}: each gateway has a journal of its own, ask the others too")]
    OtherJournal {
        /// The journal that it names.
        journal: JournalId,
    },
}
