//! One entry on the disk.
//!
//! ```text
//! length u32 | crc32c u32 | sequence u64 | synced u64 | header length u32 | header | body
//! ```
//!
//! Little-endian. `length` counts header and body. The checksum is seeded with the file's random id, so that no body can
//! pose as a frame, and covers all but itself. `synced` is the offset below which the file was known to be synced when the
//! frame was written: a bad frame below it is damage, above it a torn tail.

use std::{io, ops::RangeInclusive};

use bytes::Bytes;
use moehog_proto::Sequence;

use super::window::Window;

/// Bytes before the header.
pub(super) const HEAD: usize = 28;

/// A valid frame, read.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) offset: u64,
    pub(super) sequence: Sequence,
    pub(super) synced: u64,
    pub(super) header: Bytes,
    pub(super) body: Bytes,
}

impl Frame {
    pub(super) fn end(&self) -> u64 {
        self.offset + (HEAD + self.header.len() + self.body.len()) as u64
    }
}

/// The fixed part of a frame, not yet checked.
struct Head {
    length: u64,
    crc: u32,
    sequence: Sequence,
    synced: u64,
    header_length: u64,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (crc, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (synced, rest) = rest.split_first_chunk()?;
        let (header_length, _) = rest.split_first_chunk()?;
        Some(Self {
            length: u32::from_le_bytes(*length).into(),
            crc: u32::from_le_bytes(*crc),
            sequence: u64::from_le_bytes(*sequence),
            synced: u64::from_le_bytes(*synced),
            header_length: u32::from_le_bytes(*header_length).into(),
        })
    }

    fn plausible(&self, offset: u64, end: u64) -> bool {
        self.sequence != 0
            && self.header_length <= self.length
            && self.synced <= offset
            && self.length + HEAD as u64 <= end.saturating_sub(offset)
    }
}

/// Appends a frame to `buffer`; `write` puts header and body behind the head and returns the header's length.
///
/// The caller keeps header and body below 4 GiB.
pub(super) fn encode(
    buffer: &mut Vec<u8>,
    seed: u32,
    sequence: Sequence,
    synced: u64,
    write: impl FnOnce(&mut Vec<u8>) -> usize,
) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEAD]);
    let header_length = write(buffer);
    let length = buffer.len() - start - HEAD;
    let frame = &mut buffer[start..];
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    frame[8..16].copy_from_slice(&sequence.to_le_bytes());
    frame[16..24].copy_from_slice(&synced.to_le_bytes());
    frame[24..28].copy_from_slice(&(header_length as u32).to_le_bytes());
    let crc = checksum(seed, frame);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(seed: u32, frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &frame[..4]), &frame[8..])
}

/// The frame at `offset`; none where there is no valid one.
pub(super) fn read(window: &mut Window, seed: u32, offset: u64) -> io::Result<Option<Frame>> {
    let Some(head) = Head::parse(&window.at(offset, HEAD)?) else { return Ok(None) };
    if !head.plausible(offset, window.end()) {
        return Ok(None);
    }
    let bytes = window.at(offset, HEAD + head.length as usize)?;
    if bytes.len() < HEAD + head.length as usize || checksum(seed, &bytes) != head.crc {
        return Ok(None);
    }
    let body_at = HEAD + head.header_length as usize;
    Ok(Some(Frame {
        offset,
        sequence: head.sequence,
        synced: head.synced,
        header: bytes.slice(HEAD..body_at),
        body: bytes.slice(body_at..),
    }))
}

/// Sequence and end of the frame that should be at `offset`, without looking whether it is whole.
pub(super) fn peek(window: &mut Window, offset: u64) -> io::Result<Option<(Sequence, u64)>> {
    let head = Head::parse(&window.at(offset, HEAD)?).filter(|head| head.plausible(offset, window.end()));
    Ok(head.map(|head| (head.sequence, offset + HEAD as u64 + head.length)))
}

/// The first valid frame that begins in `from..until` and has one of `sequences`.
pub(super) fn find(
    window: &mut Window,
    seed: u32,
    from: u64,
    until: u64,
    sequences: &RangeInclusive<Sequence>,
) -> io::Result<Option<Frame>> {
    const STEP: usize = 64 * 1024;
    let mut offset = from;
    while offset < until {
        let bytes = window.at(offset, STEP + HEAD)?;
        let starts = bytes.len().saturating_sub(HEAD - 1).min(STEP).min((until - offset) as usize);
        if starts == 0 {
            break;
        }
        for at in 0..starts {
            let here = offset + at as u64;
            let Some(head) = Head::parse(&bytes[at..]) else { break };
            if sequences.contains(&head.sequence)
                && head.plausible(here, window.end())
                && let Some(frame) = read(window, seed, here)?
            {
                return Ok(Some(frame));
            }
        }
        offset += starts as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::test_disk::file_of;

    const SEED: u32 = 0x5eed;

    fn one(sequence: Sequence, header: &[u8], body: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        encode(&mut buffer, SEED, sequence, 0, |buffer| {
            buffer.extend_from_slice(header);
            buffer.extend_from_slice(body);
            header.len()
        });
        buffer
    }

    fn window(bytes: &[u8]) -> Window {
        Window::new(file_of(bytes), bytes.len() as u64, 16)
    }

    #[test]
    fn a_frame_comes_back_as_written_and_no_changed_bit_passes() {
        let bytes = one(7, b"header", b"body");
        let frame = read(&mut window(&bytes), SEED, 0).unwrap().unwrap();
        assert_eq!((frame.sequence, &frame.header[..], &frame.body[..]), (7, &b"header"[..], &b"body"[..]));
        assert_eq!(frame.end(), bytes.len() as u64);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&mut window(&flipped), SEED, 0).unwrap().is_none(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(read(&mut window(&bytes[..length]), SEED, 0).unwrap().is_none(), "cut at {length}");
        }
    }

    #[test]
    fn a_frame_of_another_file_inside_a_body_is_not_found() {
        let posing = one(8, b"", b"x");
        let mut bytes = Vec::new();
        encode(&mut bytes, SEED + 1, 7, 0, |buffer| {
            buffer.extend_from_slice(&posing);
            0
        });
        let behind = bytes.len() as u64;
        encode(&mut bytes, SEED + 1, 8, 0, |_| 0);
        let found = find(&mut window(&bytes), SEED + 1, 1, bytes.len() as u64, &(1..=100)).unwrap().unwrap();
        assert_eq!((found.offset, found.sequence), (behind, 8));
    }
}
