//! A webhooks file: frames of entries, in order of their sequences.

use std::{io, sync::Arc};

use moehog_proto::{Sequence, journal::EntryHeader};
use prost::Message;

use super::{
    format::{self, FRAMES_AT, Foot, Head, Rewritten, WebhooksFoot},
    frame::{self, Frame},
    index::{Index, LaneId, Lanes},
    window::Window,
};
use crate::disk::{Disk, File};

/// Bytes that a walk through a file reads at a time.
pub(super) const AHEAD: usize = 1024 * 1024;

/// How far ahead of the last one a sequence may be to be believed when looking for frames behind a bad one.
const PLAUSIBLE: u64 = 1 << 24;

/// An open webhooks file.
#[derive(Debug, Clone)]
pub(super) struct Webhooks {
    pub(super) file: Arc<dyn File>,
    pub(super) seed: u32,
    /// Where the frames end that readers may see; all below is synced.
    pub(super) end: u64,
    /// Bytes the file takes.
    pub(super) size: u64,
    pub(super) sealed: bool,
    pub(super) rewritten: Option<Rewritten>,
}

pub(super) fn name(first: Sequence) -> String {
    format!("{first:016x}.webhooks")
}

impl Webhooks {
    /// Makes a file, durably, with room for frames up to `size`.
    pub(super) fn create(disk: &dyn Disk, first: Sequence, size: u64) -> io::Result<Self> {
        let name = name(first);
        let file = format::create_over(disk, &name)?;
        let make = || {
            let head = Head::new(first, None);
            file.allocate(size)?;
            file.write_at(&head.to_bytes(), 0)?;
            file.sync_data()?;
            disk.sync_dir()?;
            Ok(head.seed)
        };
        match make() {
            Ok(seed) => Ok(Self { file, seed, end: FRAMES_AT, size, sealed: false, rewritten: None }),
            Err(error) => {
                if let Err(error) = disk.remove(&name) {
                    tracing::debug!(%error, name, "remove a segment that could not be begun");
                }
                Err(error)
            }
        }
    }

    /// Cuts the file behind its last good frame and writes the foot, durably. Safe to repeat.
    pub(super) fn seal(&self, foot: &WebhooksFoot) -> io::Result<u64> {
        self.file.truncate(self.end)?;
        let foot = format::foot_bytes(self.seed, self.end, foot);
        self.file.write_at(&foot, self.end)?;
        self.file.sync_data()?;
        Ok(self.end + foot.len() as u64)
    }

    pub(super) fn window(&self, ahead: usize) -> Window {
        Window::new(self.file.clone(), self.end, ahead)
    }
}

/// A webhooks file as it was found.
pub(super) enum Found {
    /// It was being made when the process died: it never held anything.
    Empty,
    /// Nothing in it can be read.
    Unreadable,
    /// As it was left.
    Whole(Webhooks, Index),
    /// It was not sealed, or its foot is damaged. It is to be sealed; `bad` are the bytes passed over.
    Recovered { webhooks: Webhooks, index: Index, bad: Vec<(u64, u64)>, unsynced_from: u64 },
}

/// Opens the file of the segment `first`.
pub(super) fn open(disk: &dyn Disk, first: Sequence, lanes: &mut Lanes) -> io::Result<Found> {
    let file = disk.open(&name(first))?;
    let size = file.len()?;
    let Some(head) = Head::read(&*file)?.filter(|head| head.first == first) else {
        return Ok(if is_blank(&*file, size)? { Found::Empty } else { Found::Unreadable });
    };
    let mut webhooks = Webhooks { file, seed: head.seed, end: size, size, sealed: false, rewritten: head.rewritten };
    let synced = match format::read_foot::<WebhooksFoot>(&*webhooks.file, head.seed)? {
        Foot::Whole { frames_end, foot } => {
            (webhooks.end, webhooks.sealed) = (frames_end, true);
            let index = Index::from_foot(first, foot, lanes);
            return Ok(Found::Whole(webhooks, index));
        }
        Foot::Damaged { frames_end } => {
            webhooks.end = frames_end;
            frames_end
        }
        Foot::None => 0,
    };
    recover(webhooks, first, synced, lanes)
}

/// Where the entries are, read from the file anew.
pub(super) fn reread(webhooks: &Webhooks, first: Sequence) -> io::Result<Index> {
    let mut lanes = Lanes::default();
    if webhooks.sealed
        && let Foot::Whole { foot, .. } = format::read_foot::<WebhooksFoot>(&*webhooks.file, webhooks.seed)?
    {
        return Ok(Index::from_foot(first, foot, &mut lanes));
    }
    Ok(match recover(webhooks.clone(), first, webhooks.end, &mut lanes)? {
        Found::Recovered { index, .. } | Found::Whole(_, index) => index,
        Found::Empty | Found::Unreadable => Index::new(first),
    })
}

/// Whether nothing but zeros (or half a head) was ever written: a file whose making a crash cut short.
fn is_blank(file: &dyn File, size: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 64 * 1024];
    let mut offset = FRAMES_AT;
    while offset < size {
        let filled = file.read_at(&mut buffer, offset)?;
        if filled == 0 || buffer[..filled].iter().any(|byte| *byte != 0) {
            return Ok(filled == 0);
        }
        offset += filled as u64;
    }
    Ok(true)
}

/// Reads a file without a foot frame by frame. A bad frame below an offset that a valid frame names is damage and passed
/// over; anything else is a torn tail and cut.
fn recover(mut webhooks: Webhooks, first: Sequence, synced: u64, lanes: &mut Lanes) -> io::Result<Found> {
    let (frames, gaps, synced) = walk(&webhooks, first, synced, lanes)?;
    let torn_at = gaps.iter().find(|gap| gap.from >= synced).map(|gap| gap.from);
    let end_of_frames = frames.last().map_or(FRAMES_AT, |frame| frame.end);
    webhooks.end = torn_at.unwrap_or(end_of_frames).max(FRAMES_AT).max(synced.min(webhooks.end));
    let mut index = Index::new(first);
    let mut bad: Vec<_> = Vec::new();
    let mut next_gap = gaps.iter().peekable();
    for frame in frames.iter().take_while(|frame| frame.offset < webhooks.end) {
        while let Some(gap) = next_gap.next_if(|gap| gap.from < frame.offset) {
            bad.push((gap.from, gap.until));
            note_damage(&mut index, webhooks.rewritten.is_some(), frame.sequence);
        }
        index.push(frame.sequence, frame.offset, frame.lane, frame.received_at_ms);
    }
    // Damage at the end of a file whose foot told where its frames end.
    if let Some(gap) = next_gap.next_if(|gap| gap.from < webhooks.end) {
        bad.push((gap.from, webhooks.end));
        if webhooks.rewritten.is_none() {
            index.lost += 1;
        }
    }
    if let Some(rewritten) = &webhooks.rewritten {
        index.lost += rewritten.kept.saturating_sub(index.frames());
        index.last = index.last.max(rewritten.last);
    }
    if index.frames() == 0 && bad.is_empty() && webhooks.rewritten.is_none() {
        return Ok(Found::Empty);
    }
    Ok(Found::Recovered { webhooks, index, bad, unsynced_from: synced.max(FRAMES_AT) })
}

/// Every sequence between the last good frame and `next` is damaged: a file holds them without a gap, unless it was
/// rewritten.
fn note_damage(index: &mut Index, rewritten: bool, next: Sequence) {
    if !rewritten && next > index.last + 1 {
        index.damaged.push((index.last + 1, next - 1));
    }
}

struct Walked {
    offset: u64,
    end: u64,
    sequence: Sequence,
    lane: LaneId,
    received_at_ms: i64,
}

struct Gap {
    from: u64,
    until: u64,
}

/// All valid frames of a file, the bad bytes between them, and the offset known to be synced.
fn walk(
    webhooks: &Webhooks,
    first: Sequence,
    mut synced: u64,
    lanes: &mut Lanes,
) -> io::Result<(Vec<Walked>, Vec<Gap>, u64)> {
    let mut window = webhooks.window(AHEAD);
    let (mut frames, mut gaps) = (Vec::new(), Vec::new());
    let (mut offset, mut last) = (FRAMES_AT, first - 1);
    while offset < webhooks.end {
        let frame = match frame::read(&mut window, webhooks.seed, offset)?.filter(|frame| frame.sequence > last) {
            Some(frame) => frame,
            None => {
                let found = next_frame(&mut window, webhooks, offset + 1, last)?;
                let until = found.as_ref().map_or(webhooks.end, |frame| frame.offset);
                gaps.push(Gap { from: offset, until });
                let Some(frame) = found else { break };
                frame
            }
        };
        (offset, last, synced) = (frame.end(), frame.sequence, synced.max(frame.synced));
        let header = EntryHeader::decode(frame.header.clone()).unwrap_or_default();
        frames.push(Walked {
            offset: frame.offset,
            end: frame.end(),
            sequence: frame.sequence,
            lane: lanes.id(&header.source, &header.destination),
            received_at_ms: header.received_at_ms,
        });
    }
    Ok((frames, gaps, synced))
}

fn next_frame(window: &mut Window, webhooks: &Webhooks, from: u64, last: Sequence) -> io::Result<Option<Frame>> {
    frame::find(window, webhooks.seed, from, webhooks.end, &(last + 1..=last + PLAUSIBLE))
}

/// Finds the frame of `sequence` between `from` and `until`, all of them frame starts (or ends). None where it is damaged.
pub(super) fn locate(
    window: &mut Window,
    seed: u32,
    sequence: Sequence,
    from: u64,
    until: u64,
) -> io::Result<Option<Frame>> {
    let mut offset = from;
    while let Some((found, end)) = frame::peek(window, offset)?.filter(|_| offset < until) {
        if found >= sequence {
            break;
        }
        offset = end;
    }
    if let Some(frame) = frame::read(window, seed, offset)?.filter(|frame| frame.sequence == sequence) {
        return Ok(Some(frame));
    }
    // Something on the way is damaged: look at every frame.
    let mut offset = from;
    while offset < until {
        let frame = match frame::read(window, seed, offset)? {
            Some(frame) => Some(frame),
            None => frame::find(window, seed, offset + 1, until, &(1..=u64::MAX))?,
        };
        match frame {
            Some(frame) if frame.sequence == sequence => return Ok(Some(frame)),
            Some(frame) if frame.sequence < sequence => offset = frame.end(),
            _ => return Ok(None),
        }
    }
    Ok(None)
}
