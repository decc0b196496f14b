//! What the files hold beside frames.
//!
//! A file of frames begins with two copies of its head, 512 bytes apart, so that one damaged sector costs nothing. A
//! sealed file ends with a foot and a trailer that says where the frames end. Small files (`format`, `carried`) hold
//! their content twice.

use std::{io, sync::Arc};

use bytes::Bytes;
use moehog_proto::journal::Book;
use prost::Message;

use crate::disk::{Disk, File};

/// The version this binary reads and writes.
pub(super) const VERSION: u32 = 1;

/// Where frames begin.
pub(super) const FRAMES_AT: u64 = 1024;

const COPY_AT: usize = 512;
const BLOCK_HEAD: usize = 8;
const TRAILER: usize = 16;
const TRAILER_MARK: u32 = 0x6d6f_6567;
/// Seed of what is read before a file's own id is known.
const HEAD_SEED: u32 = 0x6865_6164;

/// The file `format`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Format {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(fixed32, tag = "2")]
    pub(super) journal: u32,
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
}

/// The file `opened`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Opened {
    /// Times the journal was opened; the upper half of every epoch.
    #[prost(uint32, tag = "1")]
    pub(super) times: u32,
}

fn block(seed: u32, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK_HEAD];
    message.encode(&mut bytes).unwrap_or_else(|_| unreachable!("a vector has room"));
    let length = ((bytes.len() - BLOCK_HEAD) as u32).to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &length), &bytes[BLOCK_HEAD..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn unblock<M: Message + Default>(seed: u32, bytes: &[u8]) -> Option<M> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c_append(seed, length), payload);
    (expected == u32::from_le_bytes(*crc)).then(|| M::decode(payload).ok()).flatten()
}

fn read_all(file: &dyn File, from: u64, until: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(until.saturating_sub(from)).unwrap_or(0)];
    let filled = file.read_at(&mut bytes, from)?;
    bytes.truncate(filled);
    Ok(bytes)
}

impl Head {
    /// A head with a seed of its own.
    pub(super) fn new(first: u64, rewritten: Option<Rewritten>) -> Self {
        Self { seed: rand::random(), first, rewritten }
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

    /// The head of `file`; none where neither copy is whole.
    pub(super) fn read(file: &dyn File) -> io::Result<Option<Self>> {
        let bytes = read_all(file, 0, FRAMES_AT)?;
        let copy = |at: usize| unblock(HEAD_SEED, bytes.get(at..)?);
        Ok(copy(0).or_else(|| copy(COPY_AT)))
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

/// Writes a small file as a whole: it is the old one or the new one, whatever happens.
pub(super) fn write_small(disk: &dyn Disk, name: &str, message: &impl Message) -> io::Result<u64> {
    let mut bytes = block(HEAD_SEED, message);
    bytes.resize(bytes.len().next_multiple_of(COPY_AT), 0);
    bytes.extend_from_within(..);
    let new = format!("{name}.new");
    let file = create_over(disk, &new)?;
    file.write_at(&bytes, 0)?;
    file.sync_data()?;
    disk.rename(&new, name)?;
    disk.sync_dir()?;
    Ok(bytes.len() as u64)
}

/// Reads a small file; none where neither copy is whole.
pub(super) fn read_small<M: Message + Default>(disk: &dyn Disk, name: &str) -> io::Result<Option<M>> {
    let file = disk.open(name)?;
    let bytes = read_all(&*file, 0, file.len()?)?;
    let (one, other) = bytes.split_at(bytes.len() / 2);
    Ok(unblock(HEAD_SEED, one).or_else(|| unblock(HEAD_SEED, other)))
}

/// Makes an empty file in the place of whatever has that name.
pub(super) fn create_over(disk: &dyn Disk, name: &str) -> io::Result<Arc<dyn File>> {
    match disk.create(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(name)?;
            disk.create(name)
        }
        other => other,
    }
}

/// Removes a name, which an attempt before may have removed without being sure of it.
pub(super) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
