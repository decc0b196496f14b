//! Frames between anything else.

use moehog_proto::Sequence;

use super::{Flips, pieces, take, window};
use crate::embedded::{
    coding::Coding,
    coding::{VERSION, VERSION_1},
    frame::{self, Frame},
};

/// What the test wrote, and where.
#[derive(Debug)]
struct Written {
    offset: u64,
    end: u64,
    sequence: Sequence,
    synced: u64,
    place: u16,
    count: u16,
    header: Vec<u8>,
    body: Vec<u8>,
}

#[test]
fn what_was_written_is_read_and_nothing_else_is_a_frame() {
    bolero::check!(name = "frames").with_iterations(200).with_max_len(1024).for_each(|input: &[u8]| {
        for version in [VERSION, VERSION_1] {
            check(input, Coding { seed: 0x5eed, version });
        }
    });
}

fn check(input: &[u8], coding: Coding) {
    let (mut bytes, mut written, mut flips) = (Vec::new(), Vec::new(), Flips::default());
    for (kind, mut piece) in pieces(input) {
        match kind % 4 {
            0 => written.push(write(&mut bytes, coding, &mut piece)),
            1 => bytes.extend_from_slice(piece),
            2 => forge(&mut bytes, coding, piece),
            _ => flips.take(piece),
        }
    }
    let flipped = flips.apply(&mut bytes);
    for frame in &written {
        let read = frame::read(&mut window(&bytes), coding, frame.offset).unwrap();
        match flipped[..] {
            [] => assert_same(&read.unwrap(), frame, coding),
            [at] if (frame.offset..frame.end).contains(&(at as u64)) => {
                assert!(read.is_none(), "{frame:?} with byte {at}")
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    let mut window = window(&bytes);
    for offset in 0..=bytes.len() as u64 {
        let (peeked, group) = (
            frame::peek(&mut window, coding, offset).unwrap(),
            frame::peek_group(&mut window, coding, offset).unwrap(),
        );
        let Some(frame) = frame::read(&mut window, coding, offset).unwrap() else { continue };
        let peeked = peeked.unwrap();
        assert_eq!((peeked.sequence, peeked.end, peeked.body_bytes), (frame.sequence, frame.end, frame.body.len()));
        assert_eq!(group, frame.group);
        assert!(frame.end <= bytes.len() as u64 && frame.synced <= frame.offset && frame.sequence > 0);
        assert!(frame.group.is_none_or(|(first, last)| (first..=last).contains(&frame.sequence) && first > 0));
        found.push((offset, frame.sequence));
    }
    let until = bytes.len() as u64;
    for (index, (offset, sequence)) in found.iter().enumerate() {
        let next = frame::find(&mut window, coding, *offset, until, &(1..=Sequence::MAX)).unwrap();
        assert_eq!(next.map(|frame| frame.offset), Some(*offset));
        let first = found[..=index].iter().find(|(_, other)| other == sequence).map(|(offset, _)| *offset);
        let next = frame::find(&mut window, coding, 0, until, &(*sequence..=*sequence)).unwrap();
        assert_eq!(next.map(|frame| frame.offset), first);
    }
}

/// Writes a frame as the journal does: of a sequence, in a group, below what is synced.
fn write(bytes: &mut Vec<u8>, coding: Coding, piece: &mut &[u8]) -> Written {
    let [place, count, header_length, synced] = take(piece);
    let offset = bytes.len() as u64;
    let (place, count) = (u16::from(place), u16::from(place).saturating_add(u16::from(count)).saturating_add(1));
    let last = u64::from(count - place - 1);
    let sequence = u64::from_le_bytes(take(piece)).clamp(u64::from(place) + 1, Sequence::MAX - last - 1);
    let synced = u64::from(synced).min(offset);
    let (header, body) = piece.split_at(piece.len().min(usize::from(header_length)));
    frame::begin(bytes, coding, (sequence, synced), |buffer| {
        buffer.extend_from_slice(header);
        buffer.extend_from_slice(body);
        header.len()
    });
    frame::finish(&mut bytes[offset as usize..], coding, (place, count));
    let (header, body) = (header.to_vec(), body.to_vec());
    Written { offset, end: bytes.len() as u64, sequence, synced, place, count, header, body }
}

/// Bytes as they are, but for a length and a checksum that are right.
fn forge(bytes: &mut Vec<u8>, coding: Coding, piece: &[u8]) {
    let (offset, mut head) = (bytes.len(), Vec::new());
    frame::begin(&mut head, coding, (1, 0), |_| 0);
    bytes.extend_from_slice(piece);
    if let Some(length) = piece.len().checked_sub(head.len()) {
        let group = piece[head.len() - 4..]
            .first_chunk::<4>()
            .map_or((0, 1), |[a, b, c, d]| (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d])));
        bytes[offset..offset + 4].copy_from_slice(&(length as u32).to_le_bytes());
        frame::finish(&mut bytes[offset..], coding, group);
    }
}

fn assert_same(read: &Frame, written: &Written, coding: Coding) {
    let group = (coding.version == VERSION).then(|| {
        let first = written.sequence - u64::from(written.place);
        (first, first + u64::from(written.count) - 1)
    });
    assert_eq!((read.offset, read.end), (written.offset, written.end));
    assert_eq!((read.sequence, read.synced, read.group), (written.sequence, written.synced, group));
    assert_eq!((&read.header[..], &read.body[..]), (&written.header[..], &written.body[..]));
}
