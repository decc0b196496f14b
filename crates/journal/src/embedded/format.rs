//! What the files hold beside frames.
//!
//! A file of frames begins with two copies of its head, so that one damaged sector or page costs nothing. A sealed file
//! ends with a foot and a trailer that says where the frames end. The small files hold their content twice.

use std::io;

use bytes::Bytes;
use moehog_proto::{Sequence, journal::Book};
use prost::Message;

use super::{
    blocks::{COPY_AT, HEAD_SEED, block, read_all, twice, unblock},
    coding::{Coding, FRAMES_AT, VERSION, VERSION_1},
    runs::Runs,
};
use crate::disk::File;

/// How far apart the copies of a head were in version 1.
const COPY_AT_1: usize = 512;
pub(super) const TRAILER: usize = 16;
const TRAILER_MARK: u32 = 0x6d6f_6567;
const FOOT_MARK: u32 = 0x666f_6f74;

/// The file `format`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Format {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    /// In version 1 all that stands here.
    #[prost(fixed32, tag = "2")]
    pub(super) journal: u32,
    #[prost(message, optional, tag = "3")]
    pub(super) identity: Option<Identity>,
}

/// What never changes of a journal. It stands in `format`, in every head, in `carried` and in `marks`: any of them tells it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Identity {
    #[prost(fixed32, tag = "1")]
    pub(super) journal: u32,
    /// Hides the number in a receipt; 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) key: Bytes,
    /// Sequences below are of version 1, which left gaps without a word.
    #[prost(uint64, tag = "3")]
    pub(super) gapless_from: Sequence,
}

/// A run of sequences that one opening of the journal gave out.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Life {
    /// The first of them; the run goes on until the next.
    #[prost(uint64, tag = "1")]
    pub(super) from: Sequence,
    /// Drawn at random by that opening.
    #[prost(fixed64, tag = "2")]
    pub(super) incarnation: u64,
}

/// Which opening of the journal gave out the sequence; 0 is one of version 1.
pub(super) fn incarnation_of(lives: &[Life], sequence: Sequence) -> u64 {
    lives.iter().rev().find(|life| life.from <= sequence).map_or(0, |life| life.incarnation)
}

/// Head of a webhooks or records file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Head {
    /// Drawn at random when the file was made; seeds its checksums.
    #[prost(fixed32, tag = "1")]
    pub(super) seed: u32,
    /// The first sequence of the segment.
    #[prost(uint64, tag = "2")]
    pub(super) first: u64,
    /// Where this webhooks file replaced one that held more.
    #[prost(message, optional, tag = "3")]
    pub(super) rewritten: Option<Rewritten>,
    /// None in a file of version 1.
    #[prost(message, optional, tag = "4")]
    pub(super) identity: Option<Identity>,
    #[prost(message, repeated, tag = "5")]
    pub(super) lives: Vec<Life>,
    /// Runs of sequences before the first (or between those of the segment) that were given to appends that failed: they
    /// are no webhooks, whatever may be found of them.
    #[prost(uint64, repeated, tag = "6")]
    pub(super) skipped: Vec<u64>,
    /// How often `carried` had been written when the file was begun.
    #[prost(uint64, tag = "7")]
    pub(super) carried_turn: u64,
    /// Where several segments were merged, runs of sequences between them that belong to none: they were let go, or lost.
    #[prost(uint64, repeated, tag = "8")]
    pub(super) apart: Vec<u64>,
}

/// What a rewrite left out.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Rewritten {
    /// Highest sequence of the segment.
    #[prost(uint64, tag = "1")]
    pub(super) last: u64,
    /// Frames that were kept.
    #[prost(uint64, tag = "2")]
    pub(super) kept: u64,
    /// What the entries that are gone came to.
    #[prost(message, optional, tag = "3")]
    pub(super) removed: Option<Book>,
    /// Events of them that were kept as dead letters until then.
    #[prost(uint64, tag = "4")]
    pub(super) dead_letters_dropped: u64,
    /// Events never final, of entries that were damaged.
    #[prost(uint64, tag = "5")]
    pub(super) in_flight: u64,
}

/// Foot of a webhooks file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WebhooksFoot {
    #[prost(uint64, tag = "1")]
    pub(super) last: u64,
    /// Offset of the first frame of each block of 64 sequences, or of the first behind it.
    #[prost(uint64, repeated, tag = "2")]
    pub(super) blocks: Vec<u64>,
    /// When the first frame of each block was received.
    #[prost(int64, repeated, tag = "3")]
    pub(super) received_at_ms: Vec<i64>,
    #[prost(message, repeated, tag = "4")]
    pub(super) lanes: Vec<LaneFoot>,
    /// First and last of each run of sequences that could not be read.
    #[prost(uint64, repeated, tag = "5")]
    pub(super) damaged: Vec<u64>,
    /// When the last of them came, by the journal's own time; where that is not known, by what they say themselves.
    #[prost(int64, tag = "6")]
    pub(super) newest_received_at_ms: i64,
    /// The journal's own time was not known: the process died before, or had not been there for long.
    #[prost(bool, tag = "8")]
    pub(super) newest_is_unknown: bool,
    /// Damaged entries of which not even the sequence is known.
    #[prost(uint64, tag = "7")]
    pub(super) lost: u64,
    /// First and last of each run of sequences that were not found, and of which nothing says that they were ever synced.
    #[prost(uint64, repeated, tag = "9")]
    pub(super) unconfirmed: Vec<u64>,
}

/// Entries of one lane in a webhooks file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LaneFoot {
    #[prost(string, tag = "1")]
    pub(super) source: String,
    #[prost(string, tag = "2")]
    pub(super) destination: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) present: Bytes,
}

/// Foot of a records file: all entries of its segment are settled.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RecordsFoot {
    /// What the segment came to, entries that were rewritten away included.
    #[prost(message, optional, tag = "1")]
    pub(super) book: Option<Book>,
    /// Where each entry's record is: a table of u32 by sequence from the first on, 0 where there is none.
    #[prost(uint64, tag = "2")]
    pub(super) table_at: u64,
    /// Entries with dead letters.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) dead: Bytes,
    #[prost(uint64, repeated, tag = "4")]
    pub(super) cancelled: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    pub(super) damaged: Vec<u64>,
    /// Events never final, of entries that were damaged.
    #[prost(uint64, tag = "6")]
    pub(super) in_flight: u64,
    #[prost(uint64, tag = "7")]
    pub(super) epoch: u64,
}

/// The file `carried`: what dropped segments came to.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Carried {
    #[prost(message, optional, tag = "1")]
    pub(super) book: Option<Book>,
    /// Segments counted in `book` whose files may still be there.
    #[prost(uint64, repeated, tag = "2")]
    pub(super) segments: Vec<u64>,
    /// Every sequence below was given out.
    #[prost(uint64, tag = "3")]
    pub(super) next: u64,
    #[prost(uint64, tag = "4")]
    pub(super) dead_letters_dropped: u64,
    #[prost(uint64, tag = "5")]
    pub(super) in_flight: u64,
    #[prost(message, optional, tag = "6")]
    pub(super) identity: Option<Identity>,
    /// Runs of sequences that are counted in `book`: what is in none of these and in no segment is lost.
    #[prost(uint64, repeated, tag = "7")]
    pub(super) sequences: Vec<u64>,
}

impl Carried {
    /// See [`Carried::sequences`].
    pub(super) fn runs(&self) -> Runs {
        Runs::from_pairs(&self.sequences)
    }
}

/// The file `marks`: what is known to be synced. Written after the sync returned, each second in which there was one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Mark {
    #[prost(message, optional, tag = "1")]
    pub(super) identity: Option<Identity>,
    /// The segment that is appended to.
    #[prost(uint64, tag = "2")]
    pub(super) segment: Sequence,
    /// Every webhook up to this sequence was synced.
    #[prost(uint64, tag = "3")]
    pub(super) synced: Sequence,
    /// When the last of them came, by the journal's own time; 0 where that is not known.
    #[prost(int64, tag = "4")]
    pub(super) at_ms: i64,
    /// How often `carried` was written.
    #[prost(uint64, tag = "5")]
    pub(super) carried_turn: u64,
}

/// The file `opened`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Opened {
    /// Times the journal was opened; the upper half of every epoch.
    #[prost(uint32, tag = "1")]
    pub(super) times: u32,
}

impl Head {
    /// A head with a seed of its own.
    pub(super) fn new(first: u64, identity: &Identity, lives: Vec<Life>) -> Self {
        let (seed, identity) = (rand::random(), Some(identity.clone()));
        Self { seed, first, identity, lives, ..Self::default() }
    }

    /// How the frames behind it are written.
    pub(super) fn coding(&self) -> Coding {
        Coding { seed: self.seed, version: if self.identity.is_some() { VERSION } else { VERSION_1 } }
    }

    pub(super) fn skipped(&self) -> Runs {
        Runs::from_pairs(&self.skipped)
    }

    /// The bytes before the frames.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let block = block(HEAD_SEED, self);
        let mut bytes = vec![0; FRAMES_AT as usize];
        for at in [0, COPY_AT] {
            bytes[at..at + block.len()].copy_from_slice(&block);
        }
        bytes
    }

    /// The head of `file`; none where no copy is whole.
    pub(super) fn read(file: &dyn File) -> io::Result<Option<Self>> {
        twice(|| {
            let bytes = read_all(file, 0, FRAMES_AT)?;
            let copy = |at: usize| unblock::<Self>(HEAD_SEED, bytes.get(at..)?);
            let of_version_1 = || copy(COPY_AT_1).filter(|head| head.identity.is_none());
            Ok(copy(0).or_else(of_version_1).or_else(|| copy(COPY_AT).filter(|head| head.identity.is_some())))
        })
    }
}

/// A foot found at the end of a file.
pub(super) enum Foot<M> {
    /// The file was not sealed.
    None,
    /// It was sealed, its frames end here, and the foot is damaged.
    Damaged { frames_end: u64 },
    /// It was sealed.
    Whole { frames_end: u64, foot: M },
}

/// Bytes of [`foot_mark`].
pub(super) const FOOT_MARK_BYTES: u64 = 8;

/// What stands between the frames of a sealed webhooks file and its foot: no frame begins so, so that what is left of a foot
/// is not taken for what is left of a webhook.
pub(super) fn foot_mark(seed: u32) -> [u8; FOOT_MARK_BYTES as usize] {
    let word = (seed ^ FOOT_MARK).to_le_bytes();
    let mut mark = [0xff; FOOT_MARK_BYTES as usize];
    // a length that no frame has, and what is this file's own
    mark[4..].copy_from_slice(&word);
    mark
}

/// Whether a foot was begun at `offset`, and the foot where it is whole.
pub(super) fn foot_at<M: Message + Default>(file: &dyn File, seed: u32, offset: u64) -> io::Result<Option<Option<M>>> {
    let begun = twice(|| {
        let mark = read_all(file, offset, offset + FOOT_MARK_BYTES)?;
        // shorter only where the file was cut within it
        Ok((!mark.is_empty() && foot_mark(seed).starts_with(&mark)).then_some(()))
    })?;
    let whole = || {
        let bytes = read_all(file, offset + FOOT_MARK_BYTES, file.len()?)?;
        Ok(unblock(seed, &bytes))
    };
    Ok(match begun {
        Some(()) => Some(twice(whole)?),
        None => None,
    })
}

/// The last bytes of a file whose frames end at `frames_end`.
pub(super) fn foot_bytes(seed: u32, frames_end: u64, foot: &impl Message) -> Vec<u8> {
    let mut bytes = block(seed, foot);
    let block_bytes = bytes.len() as u64;
    let mut trailer = [0; TRAILER];
    trailer[..8].copy_from_slice(&frames_end.to_le_bytes());
    trailer[8..12].copy_from_slice(&(block_bytes as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(seed ^ TRAILER_MARK, &trailer[..12]);
    trailer[12..].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&trailer);
    bytes
}

/// Reads the foot of a file.
pub(super) fn read_foot<M: Message + Default>(file: &dyn File, seed: u32) -> io::Result<Foot<M>> {
    match look_for_foot(file, seed) {
        Ok(whole @ Foot::Whole { .. }) => Ok(whole),
        Ok(_) | Err(_) => look_for_foot(file, seed),
    }
}

fn look_for_foot<M: Message + Default>(file: &dyn File, seed: u32) -> io::Result<Foot<M>> {
    let length = file.len()?;
    let Some(trailer_at) = length.checked_sub(TRAILER as u64) else { return Ok(Foot::None) };
    let trailer = read_all(file, trailer_at, length)?;
    let (Some((frames_end, rest)), true) = (trailer.split_first_chunk::<8>(), trailer.len() == TRAILER) else {
        return Ok(Foot::None);
    };
    let crc = crc32c::crc32c_append(seed ^ TRAILER_MARK, &trailer[..12]);
    if rest[4..] != crc.to_le_bytes() {
        return Ok(Foot::None);
    }
    let frames_end = u64::from_le_bytes(*frames_end);
    let block_bytes = rest[..4].iter().rev().fold(0, |all, byte| (all << 8) | u64::from(*byte));
    let block_at = trailer_at.saturating_sub(block_bytes);
    Ok(match unblock(seed, &read_all(file, block_at, trailer_at)?) {
        Some(foot) => Foot::Whole { frames_end, foot },
        None => Foot::Damaged { frames_end },
    })
}
