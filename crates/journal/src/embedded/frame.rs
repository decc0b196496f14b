//! One entry on the disk.
//!
//! ```text
//! length u32 | crc32c u32 | sequence u64 | synced u64 | header length u32 | place u16 | count u16 | header | body
//! ```
//!
//! Little-endian. `length` counts header and body. The checksum is seeded with the file's random id, so that no body can
//! pose as a frame, and covers all but itself. `synced` is the offset below which the file was known to be synced when the
//! frame was written. `count` frames were written with one sync, of sequences without a gap, this one as number `place` from
//! 0: of a group of which any frame is whole, all members are known. Version 1 had neither of the two.

use std::{io, ops::RangeInclusive};

use bytes::Bytes;
use moehog_proto::Sequence;

use super::{
    coding::{Coding, VERSION_1},
    window::Window,
};

/// A valid frame, read.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) offset: u64,
    pub(super) end: u64,
    pub(super) sequence: Sequence,
    pub(super) synced: u64,
    /// First and last of those written with it; none in version 1.
    pub(super) group: Option<(Sequence, Sequence)>,
    pub(super) header: Bytes,
    pub(super) body: Bytes,
}

impl Frame {
    /// The same, in memory of its own: nothing else that was read with it is kept.
    pub(super) fn alone(self) -> Self {
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        Self { header: copy(&self.header), body: copy(&self.body), ..self }
    }
}

/// The fixed part of a frame, not yet checked.
struct Head {
    length: u64,
    crc: u32,
    sequence: Sequence,
    synced: u64,
    header_length: u64,
    /// Place and count; none in version 1.
    group: Option<(u16, u16)>,
}

impl Head {
    fn parse(coding: Coding, bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (crc, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (synced, rest) = rest.split_first_chunk()?;
        let (header_length, rest) = rest.split_first_chunk()?;
        let group = match coding.version {
            VERSION_1 => None,
            _ => {
                let (place, rest) = rest.split_first_chunk()?;
                Some((u16::from_le_bytes(*place), u16::from_le_bytes(*rest.first_chunk()?)))
            }
        };
        Some(Self {
            length: u32::from_le_bytes(*length).into(),
            crc: u32::from_le_bytes(*crc),
            sequence: u64::from_le_bytes(*sequence),
            synced: u64::from_le_bytes(*synced),
            header_length: u32::from_le_bytes(*header_length).into(),
            group,
        })
    }

    fn is_plausible(&self, coding: Coding, offset: u64, end: u64) -> bool {
        self.sequence != 0
            && self.header_length <= self.length
            && self.synced <= offset
            && self.length + coding.head() as u64 <= end.saturating_sub(offset)
            && self.group.is_none_or(|(place, count)| {
                // every member has a number: whose group would go beyond the last one is not checked yet, and may be anything
                place < count
                    && u64::from(place) < self.sequence
                    && self.sequence.checked_add(u64::from(count - place)).is_some()
            })
    }

    /// First and last sequence of the group.
    fn members(&self) -> Option<(Sequence, Sequence)> {
        let (place, count) = self.group?;
        let first = self.sequence - u64::from(place);
        Some((first, first + u64::from(count) - 1))
    }
}

/// Appends a frame to `buffer`, to be ended by [`finish`]; `write` puts header and body behind the head and returns the
/// header's length.
///
/// The caller keeps header and body below 4 GiB.
pub(super) fn begin(
    buffer: &mut Vec<u8>,
    coding: Coding,
    (sequence, synced): (Sequence, u64),
    write: impl FnOnce(&mut Vec<u8>) -> usize,
) {
    let start = buffer.len();
    buffer.resize(start + coding.head(), 0);
    let header_length = write(buffer);
    let length = buffer.len() - start - coding.head();
    let frame = &mut buffer[start..];
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    frame[8..16].copy_from_slice(&sequence.to_le_bytes());
    frame[16..24].copy_from_slice(&synced.to_le_bytes());
    frame[24..28].copy_from_slice(&(header_length as u32).to_le_bytes());
}

/// Ends a frame, which is number `place` of `count`.
pub(super) fn finish(frame: &mut [u8], coding: Coding, (place, count): (u16, u16)) {
    if coding.version != VERSION_1 {
        frame[28..30].copy_from_slice(&place.to_le_bytes());
        frame[30..32].copy_from_slice(&count.to_le_bytes());
    }
    let crc = coding.checksum(frame);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Appends a frame that is a group by itself.
pub(super) fn encode(
    buffer: &mut Vec<u8>,
    coding: Coding,
    sequence: Sequence,
    synced: u64,
    write: impl FnOnce(&mut Vec<u8>) -> usize,
) {
    let start = buffer.len();
    begin(buffer, coding, (sequence, synced), write);
    finish(&mut buffer[start..], coding, (0, 1));
}

/// The frame at `offset`; none where there is no valid one.
pub(super) fn read(window: &mut Window, coding: Coding, offset: u64) -> io::Result<Option<Frame>> {
    if let Some(frame) = look(window, coding, offset)? {
        return Ok(Some(frame));
    }
    // a bit that turned over on the way is not on the disk
    window.forget();
    look(window, coding, offset)
}

fn look(window: &mut Window, coding: Coding, offset: u64) -> io::Result<Option<Frame>> {
    let fixed = coding.head();
    let first = window.at(offset, fixed)?;
    let Some(head) = Head::parse(coding, &first) else { return Ok(None) };
    if !head.is_plausible(coding, offset, window.end()) {
        return Ok(None);
    }
    let length = fixed + head.length as usize;
    let bytes = window.at(offset, length)?;
    // the head that is taken for it is the one that is checked: the first read may have got it wrong
    if bytes.len() < length || bytes[..fixed] != first || coding.checksum(&bytes) != head.crc {
        return Ok(None);
    }
    let body_at = fixed + head.header_length as usize;
    Ok(Some(Frame {
        offset,
        end: offset + length as u64,
        sequence: head.sequence,
        synced: head.synced,
        group: head.members(),
        header: bytes.slice(fixed..body_at),
        body: bytes.slice(body_at..),
    }))
}

/// The group that what stands at `offset` says it is of, without a look whether it is whole.
pub(super) fn peek_group(window: &mut Window, coding: Coding, offset: u64) -> io::Result<Option<(Sequence, Sequence)>> {
    let head = Head::parse(coding, &window.at(offset, coding.head())?);
    Ok(head.filter(|head| head.is_plausible(coding, offset, window.end())).and_then(|head| head.members()))
}

/// What the head of a frame says.
pub(super) struct Peeked {
    pub(super) sequence: Sequence,
    pub(super) end: u64,
    pub(super) body_bytes: usize,
}

/// What the head of the frame says that should be at `offset`, without looking whether it is whole.
pub(super) fn peek(window: &mut Window, coding: Coding, offset: u64) -> io::Result<Option<Peeked>> {
    let head = Head::parse(coding, &window.at(offset, coding.head())?);
    let head = head.filter(|head| head.is_plausible(coding, offset, window.end()));
    Ok(head.map(|head| Peeked {
        sequence: head.sequence,
        end: offset + coding.head() as u64 + head.length,
        body_bytes: (head.length - head.header_length) as usize,
    }))
}

/// The first valid frame that begins in `from..until` and has one of `sequences`.
pub(super) fn find(
    window: &mut Window,
    coding: Coding,
    from: u64,
    until: u64,
    sequences: &RangeInclusive<Sequence>,
) -> io::Result<Option<Frame>> {
    const STEP: usize = 64 * 1024;
    let (mut offset, fixed) = (from, coding.head());
    while offset < until {
        let bytes = window.at(offset, STEP + fixed)?;
        let starts = bytes.len().saturating_sub(fixed - 1).min(STEP).min((until - offset) as usize);
        if starts == 0 {
            break;
        }
        for at in 0..starts {
            let here = offset + at as u64;
            let Some(head) = Head::parse(coding, &bytes[at..]) else { break };
            if sequences.contains(&head.sequence)
                && head.is_plausible(coding, here, window.end())
                && let Some(frame) = read(window, coding, here)?
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
    use crate::{
        disk::{Disk, simulated::SimulatedDisk},
        embedded::{coding::VERSION, test_disk::file_of},
    };

    const CODING: Coding = Coding { seed: 0x5eed, version: VERSION };
    const CODING_1: Coding = Coding { seed: 0x5eed, version: VERSION_1 };

    fn one(coding: Coding, sequence: Sequence, header: &[u8], body: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        begin(&mut buffer, coding, (sequence, 0), |buffer| {
            buffer.extend_from_slice(header);
            buffer.extend_from_slice(body);
            header.len()
        });
        finish(&mut buffer, coding, (2, 5));
        buffer
    }

    fn window(bytes: &[u8]) -> Window {
        Window::new(file_of(bytes), bytes.len() as u64, 16)
    }

    #[test]
    fn a_frame_comes_back_as_written_and_no_changed_bit_passes() {
        for (coding, group) in [(CODING, Some((5, 9))), (CODING_1, None)] {
            let bytes = one(coding, 7, b"header", b"body");
            let frame = read(&mut window(&bytes), coding, 0).unwrap().unwrap();
            assert_eq!((frame.sequence, &frame.header[..], &frame.body[..]), (7, &b"header"[..], &b"body"[..]));
            assert_eq!((frame.end, frame.group), (bytes.len() as u64, group));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&mut window(&flipped), coding, 0).unwrap().is_none(), "bit {bit}");
            }
            for length in 0..bytes.len() {
                assert!(read(&mut window(&bytes[..length]), coding, 0).unwrap().is_none(), "cut at {length}");
            }
        }
    }

    #[test]
    fn what_one_read_got_wrong_is_not_believed() {
        let bytes = one(CODING, 7, b"header", b"body");
        for seed in 0..2000 {
            let disk = SimulatedDisk::new(seed);
            let file = disk.create("frames").unwrap();
            file.write_at(&bytes, 0).unwrap();
            disk.lie(seed % 2);
            let mut window = Window::new(file, bytes.len() as u64, 0);
            let frame = read(&mut window, CODING, 0).unwrap().unwrap();
            let found = (frame.sequence, frame.synced, frame.group, &frame.header[..], &frame.body[..]);
            assert_eq!(found, (7, 0, Some((5, 9)), &b"header"[..], &b"body"[..]), "seed {seed}");
        }
    }

    #[test]
    fn a_frame_of_another_file_inside_a_body_is_not_found() {
        let other = Coding { seed: CODING.seed + 1, ..CODING };
        let posing = one(CODING, 8, b"", b"x");
        let mut bytes = Vec::new();
        encode(&mut bytes, other, 7, 0, |buffer| {
            buffer.extend_from_slice(&posing);
            0
        });
        let behind = bytes.len() as u64;
        encode(&mut bytes, other, 8, 0, |_| 0);
        let found = find(&mut window(&bytes), other, 1, bytes.len() as u64, &(1..=100)).unwrap().unwrap();
        assert_eq!((found.offset, found.sequence), (behind, 8));
    }
}
