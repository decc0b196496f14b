//! What a webhooks file holds that was not sealed, and what of it is lost.

use std::{io, sync::Arc};

use moehog_proto::{Sequence, journal::EntryHeader};
use prost::Message;

use super::{
    coding::{HEAD, VERSION_1},
    format::{self, Foot, Head, WebhooksFoot},
    frame::{self, Frame},
    index::{Index, LaneId, Lanes},
    runs::Runs,
    webhooks::{AHEAD, Webhooks, last_written},
    window::Window,
};
use crate::disk::File;

/// How far ahead of the last one a sequence may be to be believed when looking for frames behind a bad one.
const PLAUSIBLE: u64 = 1 << 24;

/// What others say of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// Every sequence of the segment up to this one was synced.
    pub(super) synced: Sequence,
    /// The segment has none behind this one.
    pub(super) most: Sequence,
    /// Sequences of appends that failed: they are no webhooks, whatever is found of them.
    pub(super) refused: &'a Runs,
}

struct Walked {
    offset: u64,
    end: u64,
    /// Where the bytes before it begin that are no frame.
    gap_from: Option<u64>,
    sequence: Sequence,
    group: Option<(Sequence, Sequence)>,
    lane: LaneId,
    received_at_ms: i64,
}

/// Bytes that are no frame.
struct Gap {
    from: u64,
    until: u64,
}

struct Walk {
    frames: Vec<Walked>,
    gaps: Vec<Gap>,
    /// The offset below which all was synced.
    synced: u64,
}

/// A webhooks file as it was found.
pub(super) enum Found {
    /// It was being made when the process died, or its first append failed: it never held anything.
    Empty,
    /// As it was left.
    Whole(Webhooks, Index),
    /// It was not sealed, or its foot is damaged. It is to be sealed; `bad` are bytes that were synced and are no frames.
    Recovered { webhooks: Webhooks, index: Index, bad: Vec<(u64, u64)>, unsynced_from: u64 },
}

/// Opens a file with this head.
pub(super) fn open(file: Arc<dyn File>, head: Head, evidence: &Evidence<'_>, lanes: &mut Lanes) -> io::Result<Found> {
    let (first, size) = (head.first, file.len()?);
    let mut webhooks = Webhooks::of(file, head, size);
    let synced = match format::read_foot::<WebhooksFoot>(&*webhooks.file, webhooks.coding.seed)? {
        Foot::Whole { frames_end, foot } => {
            (webhooks.end, webhooks.sealed) = (frames_end, true);
            let index = Index::from_foot(first, foot, lanes);
            let is_empty = index.is_empty() && webhooks.rewritten.is_none();
            return Ok(if is_empty { Found::Empty } else { Found::Whole(webhooks, index) });
        }
        Foot::Damaged { frames_end } => {
            webhooks.end = frames_end;
            frames_end
        }
        Foot::None => 0,
    };
    recover(webhooks, first, synced, evidence, lanes)
}

/// Where the entries are, read from the file anew.
pub(super) fn reread(webhooks: &Webhooks, index: &Index) -> io::Result<Index> {
    let mut lanes = Lanes::default();
    if webhooks.sealed
        && let Foot::Whole { foot, .. } = format::read_foot::<WebhooksFoot>(&*webhooks.file, webhooks.coding.seed)?
    {
        return Ok(Index::from_foot(index.first, foot, &mut lanes));
    }
    let evidence = Evidence { synced: index.last, most: index.last, refused: &webhooks.skipped };
    Ok(match recover(webhooks.clone(), index.first, webhooks.end, &evidence, &mut lanes)? {
        Found::Recovered { index, .. } | Found::Whole(_, index) => index,
        Found::Empty => Index::new(index.first),
    })
}

/// Reads a file without a foot frame by frame; below `synced` all was synced. Every valid frame counts. One that is missing
/// is damaged where something proves that it was synced: a frame of a later group, or `evidence`. It is unconfirmed where it was
/// of the last group, or where bytes are left of it.
pub(super) fn recover(
    mut webhooks: Webhooks,
    first: Sequence,
    synced: u64,
    evidence: &Evidence<'_>,
    lanes: &mut Lanes,
) -> io::Result<Found> {
    let was_sealed = synced == webhooks.end;
    let Walk { frames, mut gaps, synced } = walk(&webhooks, first, synced, evidence, lanes)?;
    let frames_at = webhooks.coding.frames_at();
    let end_of_frames = frames.last().map_or(frames_at, |frame| frame.end);
    let foot = match webhooks.coding.version {
        VERSION_1 => None,
        _ => format::foot_at::<WebhooksFoot>(&*webhooks.file, webhooks.coding.seed, end_of_frames)?,
    };
    if let Some(whole) = foot {
        // A foot is written behind the last frame, so none is missing there. What is missing before may have been unconfirmed.
        webhooks.end = end_of_frames;
        gaps.retain(|gap| gap.from < end_of_frames);
        if let Some(foot) = whole {
            let index = Index::from_foot(first, foot, lanes);
            return Ok(Found::Recovered { webhooks, index, bad: Vec::new(), unsynced_from: end_of_frames });
        }
    }
    let written = last_written(&*webhooks.file, end_of_frames, webhooks.end)?;
    let found = frames.last().map_or(first - 1, |frame| frame.sequence);
    let in_groups = frames.iter().filter_map(|frame| frame.group).map(|(_, last)| last).max().unwrap_or(found);
    let mut proven = evidence.synced.max(proven_by(&frames, synced));
    let mut last = found.max(in_groups).max(proven).min(evidence.most.max(found));
    if was_sealed {
        proven = proven.max(last);
    } else if let Some(written) = written.filter(|_| last == found && last < evidence.most)
        && webhooks.coding.version != VERSION_1
    {
        last = torn_group(&webhooks, (end_of_frames, written), found + 1, evidence)?;
    }
    let mut index = Index::new(first);
    let mut missing = Runs::default();
    for frame in &frames {
        missing.extend(&evidence.refused.missing(index.last + 1, frame.sequence - 1));
        index.push(frame.sequence, frame.offset, frame.lane, frame.received_at_ms);
    }
    missing.extend(&evidence.refused.missing(found + 1, last));
    // what is no frame stays where it is: it may be all that is left of one
    webhooks.end = written.unwrap_or(end_of_frames).max(synced.min(webhooks.end)).max(frames_at);
    let ends_short = gaps.last().is_some_and(|gap| gap.from < synced && gap.from >= end_of_frames);
    match &webhooks.rewritten {
        Some(rewritten) => {
            index.lost += rewritten.kept.saturating_sub(index.frames());
            index.last = rewritten.last;
        }
        None => {
            index.last = last;
            for (from, until) in missing.iter() {
                index.damaged.insert(from, until.min(proven));
                index.unconfirmed.insert(from.max(proven + 1), until);
            }
            // the foot told where the frames end, and nothing tells how many there were
            index.lost += u64::from(ends_short && last == found);
        }
    }
    let bad = bad_bytes(&frames, &gaps, synced, &webhooks, &index);
    if index.is_empty() && bad.is_empty() && webhooks.rewritten.is_none() {
        return Ok(Found::Empty);
    }
    Ok(Found::Recovered { webhooks, index, bad, unsynced_from: synced.max(frames_at) })
}

/// Bytes of a file that were synced and are no frame.
fn bad_bytes(frames: &[Walked], gaps: &[Gap], synced: u64, webhooks: &Webhooks, index: &Index) -> Vec<(u64, u64)> {
    let mut bad = Vec::new();
    for gap in gaps {
        let behind = frames.partition_point(|frame| frame.offset < gap.from);
        let before = behind.checked_sub(1).map_or(0, |at| frames[at].sequence);
        let next = frames.get(behind).map_or(Sequence::MAX, |frame| frame.sequence);
        let holds_damage = index.damaged.next_from(before + 1).is_some_and(|damaged| damaged < next);
        let until = gap.until.min(webhooks.end);
        if (holds_damage || gap.from < synced) && gap.from < until {
            bad.push((gap.from, until));
        }
    }
    bad
}

/// The last sequence that the frames themselves prove to have been synced: all before a group were when it was written.
fn proven_by(frames: &[Walked], synced: u64) -> Sequence {
    let proves = |frame: &Walked| match frame.group {
        Some((first_of_group, _)) => Some(first_of_group - 1),
        None => frame.gap_from.filter(|from| *from < synced).map(|_| frame.sequence - 1),
    };
    frames.iter().filter_map(proves).max().unwrap_or(0)
}

/// The last sequence of a group of which bytes up to `written` are left and no whole frame: as its first frame says, where
/// there is room for so many, or the first alone.
fn torn_group(
    webhooks: &Webhooks,
    (offset, written): (u64, u64),
    next: Sequence,
    evidence: &Evidence<'_>,
) -> io::Result<Sequence> {
    let said = frame::peek_group(&mut webhooks.window(0), webhooks.coding, offset)?;
    let most = next + (written - offset) / HEAD as u64;
    let (_, last) = said.filter(|(first, last)| *first == next && *last <= most).unwrap_or((next, next));
    Ok(if evidence.refused.contains(next) { next - 1 } else { last })
}

/// All valid frames of a file that are no refused append's, and the bad bytes between them.
fn walk(
    webhooks: &Webhooks,
    first: Sequence,
    synced: u64,
    evidence: &Evidence<'_>,
    lanes: &mut Lanes,
) -> io::Result<Walk> {
    let coding = webhooks.coding;
    let mut window = webhooks.window(AHEAD);
    let mut walk = Walk { frames: Vec::new(), gaps: Vec::new(), synced };
    let (mut offset, mut last) = (coding.frames_at(), first - 1);
    while offset < webhooks.end {
        let mut gap_from = None;
        let frame = match frame::read(&mut window, coding, offset)?.filter(|frame| frame.sequence > last) {
            Some(frame) => frame,
            None => {
                let found = next_frame(&mut window, webhooks, offset + 1, last)?;
                let until = found.as_ref().map_or(webhooks.end, |frame| frame.offset);
                gap_from = Some(offset);
                walk.gaps.push(Gap { from: offset, until });
                let Some(frame) = found else { break };
                frame
            }
        };
        (offset, last, walk.synced) = (frame.end, frame.sequence, walk.synced.max(frame.synced));
        if evidence.refused.contains(frame.sequence) {
            continue;
        }
        let header = EntryHeader::decode(frame.header.clone()).unwrap_or_default();
        walk.frames.push(Walked {
            offset: frame.offset,
            end: frame.end,
            gap_from,
            sequence: frame.sequence,
            group: frame.group,
            lane: lanes.id(&header.source, &header.destination),
            received_at_ms: header.received_at_ms,
        });
    }
    Ok(walk)
}

fn next_frame(window: &mut Window, webhooks: &Webhooks, from: u64, last: Sequence) -> io::Result<Option<Frame>> {
    frame::find(window, webhooks.coding, from, webhooks.end, &(last + 1..=last + PLAUSIBLE))
}
