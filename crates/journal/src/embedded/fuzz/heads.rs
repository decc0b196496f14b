//! Heads, feet and small blocks, read back and damaged.

use std::fmt::Debug;

use prost::Message;

use super::{held, take};
use crate::embedded::{
    blocks::{COPY_AT, HEAD_SEED, block, unblock},
    format::{self, Foot, Head, RecordsFoot, WebhooksFoot},
};

const SEED: u32 = 0x5eed;

#[test]
fn one_damaged_byte_costs_no_head_and_makes_no_other_foot() {
    bolero::check!(name = "heads").with_iterations(500).with_max_len(2048).for_each(|mut input: &[u8]| {
        let [kind, at, upper, change] = take(&mut input);
        let at = usize::from(u16::from_le_bytes([at, upper]));
        match kind % 4 {
            0 => any_file(input),
            1 => Head::decode(input).map_or((), |head| head_is_read(&head, (at, change))),
            2 => WebhooksFoot::decode(input).map_or((), |foot| foot_is_read(&foot, (at, change))),
            _ => RecordsFoot::decode(input).map_or((), |foot| foot_is_read(&foot, (at, change))),
        }
    });
}

/// Whatever a file holds, it is read or it is not.
fn any_file(bytes: &[u8]) {
    let file = held(bytes);
    let seed = take::<4>(&mut &bytes[..]);
    Head::read(&*file).unwrap();
    format::read_foot::<WebhooksFoot>(&*file, u32::from_le_bytes(seed)).unwrap();
    for offset in 0..=bytes.len() as u64 {
        format::foot_at::<WebhooksFoot>(&*file, SEED, offset).unwrap();
    }
    unblock::<Head>(SEED, bytes);
    // the checksum is no proof of what it is a checksum of
    if let Ok(head) = Head::decode(bytes) {
        assert_eq!(unblock(SEED, &block(SEED, &head)), Some(head));
    }
}

fn head_is_read(head: &Head, (at, change): (usize, u8)) {
    let runs = head.skipped();
    assert!(head.skipped.chunks_exact(2).all(|run| run[0] > run[1] || runs.contains(run[0]) && runs.contains(run[1])));
    if block(HEAD_SEED, head).len() > COPY_AT {
        return;
    }
    let mut bytes = head.to_bytes();
    assert_eq!(Head::read(&*held(&bytes)).unwrap().as_ref(), Some(head));
    let at = at % bytes.len();
    bytes[at] ^= change;
    // version 1, which this does not write, had its second copy elsewhere
    if head.identity.is_some() {
        assert_eq!(Head::read(&*held(&bytes)).unwrap().as_ref(), Some(head), "byte {at}");
    }
}

fn foot_is_read<M: Message + Default + PartialEq + Clone + Debug>(foot: &M, (at, change): (usize, u8)) {
    let mark = format::foot_mark(SEED);
    let end = 24_u64;
    let bytes = [&[0x11; 24], &mark[..], &format::foot_bytes(SEED, end, foot)].concat();
    let read = |bytes: &[u8]| format::read_foot::<M>(&*held(bytes), SEED).unwrap();
    assert!(matches!(read(&bytes), Foot::Whole { frames_end, foot: ref it } if frames_end == end && it == foot));
    assert_eq!(format::foot_at::<M>(&*held(&bytes), SEED, end).unwrap(), Some(Some(foot.clone())));
    let (mut damaged, at) = (bytes.clone(), at % bytes.len());
    damaged[at] ^= change;
    let is_in_foot = change != 0 && at >= end as usize + mark.len();
    match read(&damaged) {
        Foot::Whole { foot: ref it, frames_end } => {
            assert!(it == foot && frames_end == end && !is_in_foot, "byte {at}")
        }
        Foot::Damaged { frames_end } => assert!(frames_end == end && is_in_foot, "byte {at}"),
        Foot::None => assert!(is_in_foot, "byte {at}"),
    }
    for length in 0..bytes.len() {
        assert!(!matches!(read(&bytes[..length]), Foot::Whole { .. }), "cut at {length}");
    }
}
