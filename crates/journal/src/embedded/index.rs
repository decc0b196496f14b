//! Where the entries of a webhooks file are.

use moehog_proto::Sequence;

use super::{
    bits::Bits,
    format::{LaneFoot, WebhooksFoot},
    runs::Runs,
};

/// A time that is not known, and not past.
pub(super) const UNKNOWN: i64 = i64::MAX;

/// Sequences in a block: one word of a [`Bits`].
pub(super) const BLOCK: u64 = 64;

/// Number of a lane in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LaneId(pub(super) u32);

/// Names of the lanes, numbered as they are met.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    names: Vec<(String, String)>,
    ids: std::collections::HashMap<String, std::collections::HashMap<String, LaneId>>,
}

impl Lanes {
    pub(super) fn find(&self, source: &str, destination: &str) -> Option<LaneId> {
        self.ids.get(source)?.get(destination).copied()
    }

    pub(super) fn id(&mut self, source: &str, destination: &str) -> LaneId {
        if let Some(id) = self.find(source, destination) {
            return id;
        }
        let id = LaneId(self.names.len() as u32);
        self.names.push((source.into(), destination.into()));
        self.ids.entry(source.into()).or_default().insert(destination.into(), id);
        id
    }

    pub(super) fn names(&self, id: LaneId) -> (&str, &str) {
        let (source, destination) = &self.names[id.0 as usize];
        (source, destination)
    }

    /// How many sources there are, with those `configured`.
    pub(super) fn sources(&self, configured: &[String]) -> usize {
        self.ids.len() + configured.iter().filter(|source| !self.ids.contains_key(*source)).count()
    }
}

/// Entries of one lane in a segment: the numbers count from the segment's first sequence.
#[derive(Debug, Clone)]
pub(super) struct LaneIndex {
    pub(super) lane: LaneId,
    pub(super) present: Bits,
    pub(super) waiting: Bits,
}

/// Where the entries of a webhooks file are and which lane each is in.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) first: Sequence,
    /// Highest sequence; one below the first where there is none.
    pub(super) last: Sequence,
    pub(super) blocks: Vec<u64>,
    pub(super) received_at_ms: Vec<i64>,
    /// In the order of their numbers.
    pub(super) lanes: Vec<LaneIndex>,
    /// Sequences whose frames could not be read, and once were synced.
    pub(super) damaged: Runs,
    /// Sequences that were not found, and of which nothing says that they were ever synced.
    pub(super) unconfirmed: Runs,
    pub(super) lost: u64,
    /// When the last of them came, by the journal's own time.
    pub(super) newest_at_ms: i64,
    /// The latest time that a webhook says it was received at, by whatever the clock showed.
    latest_received_at_ms: i64,
}

impl Index {
    pub(super) fn new(first: Sequence) -> Self {
        Self {
            first,
            last: first - 1,
            blocks: Vec::new(),
            received_at_ms: Vec::new(),
            lanes: Vec::new(),
            damaged: Runs::default(),
            unconfirmed: Runs::default(),
            lost: 0,
            newest_at_ms: UNKNOWN,
            latest_received_at_ms: 0,
        }
    }

    /// Notes the frame of a sequence above all before.
    pub(super) fn push(&mut self, sequence: Sequence, offset: u64, lane: LaneId, received_at_ms: i64) {
        let number = sequence - self.first;
        let blocks = (number / BLOCK + 1) as usize;
        if blocks > self.blocks.len() {
            self.blocks.resize(blocks, offset);
            self.received_at_ms.resize(blocks, received_at_ms);
        }
        self.last = sequence;
        self.latest_received_at_ms = self.latest_received_at_ms.max(received_at_ms);
        self.lane_mut(lane).present.insert(number);
    }

    pub(super) fn lane(&self, lane: LaneId) -> Option<&LaneIndex> {
        self.at(lane).ok().map(|at| &self.lanes[at])
    }

    pub(super) fn lane_mut(&mut self, lane: LaneId) -> &mut LaneIndex {
        let at = self.at(lane).unwrap_or_else(|at| {
            self.lanes.insert(at, LaneIndex { lane, present: Bits::default(), waiting: Bits::default() });
            at
        });
        &mut self.lanes[at]
    }

    /// Where the lane is, or would be.
    fn at(&self, lane: LaneId) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&lane, |index| index.lane)
    }

    /// Where the frames of the sequence's block begin and end, in a file whose frames end at `end`.
    pub(super) fn block_of(&self, sequence: Sequence, end: u64) -> Option<(u64, u64)> {
        let block = ((sequence.checked_sub(self.first)?) / BLOCK) as usize;
        Some((*self.blocks.get(block)?, self.blocks.get(block + 1).copied().unwrap_or(end)))
    }

    pub(super) fn contains(&self, sequence: Sequence) -> bool {
        sequence >= self.first && self.lanes.iter().any(|lane| lane.present.contains(sequence - self.first))
    }

    /// It should be in the file, or may have been, and is not.
    pub(super) fn is_missing(&self, sequence: Sequence) -> bool {
        self.damaged.contains(sequence) || self.unconfirmed.contains(sequence)
    }

    /// Entries that are not settled.
    pub(super) fn waiting(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.waiting.count()).sum()
    }

    /// Frames in the file.
    pub(super) fn frames(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.present.count()).sum()
    }

    /// It holds nothing and never did.
    pub(super) fn is_empty(&self) -> bool {
        self.frames() == 0 && !self.tells_of_losses()
    }

    /// It knows of what no frame shows.
    pub(super) fn tells_of_losses(&self) -> bool {
        !(self.damaged.is_empty() && self.unconfirmed.is_empty() && self.lost == 0)
    }

    /// Bytes that the members of `set` take, told from how many of each block's frames they are.
    pub(super) fn bytes_of(&self, end: u64, mut word: impl FnMut(u64) -> u64) -> u64 {
        let mut bytes = 0;
        for (block, from) in self.blocks.iter().enumerate() {
            let members = u64::from(word(block as u64).count_ones());
            if members > 0 {
                let until = self.blocks.get(block + 1).copied().unwrap_or(end);
                let all: u32 = self.lanes.iter().map(|lane| lane.present.word(block as u64).count_ones()).sum();
                bytes += until.saturating_sub(*from) * members / u64::from(all.max(1));
            }
        }
        bytes
    }

    pub(super) fn to_foot(&self, lanes: &Lanes) -> WebhooksFoot {
        let lane = |index: &LaneIndex| {
            let (source, destination) = lanes.names(index.lane);
            LaneFoot { source: source.into(), destination: destination.into(), present: index.present.to_bytes() }
        };
        WebhooksFoot {
            last: self.last,
            blocks: self.blocks.clone(),
            received_at_ms: self.received_at_ms.clone(),
            lanes: self.lanes.iter().map(lane).collect(),
            damaged: self.damaged.to_pairs(),
            unconfirmed: self.unconfirmed.to_pairs(),
            newest_received_at_ms: match self.newest_at_ms {
                UNKNOWN => self.latest_received_at_ms,
                known => known,
            },
            newest_is_unknown: self.newest_at_ms == UNKNOWN,
            lost: self.lost,
        }
    }

    pub(super) fn from_foot(first: Sequence, foot: WebhooksFoot, lanes: &mut Lanes) -> Self {
        let lane = |lane: LaneFoot| LaneIndex {
            lane: lanes.id(&lane.source, &lane.destination),
            present: Bits::from_bytes(&lane.present),
            waiting: Bits::default(),
        };
        let mut lanes: Vec<_> = foot.lanes.into_iter().map(lane).collect();
        lanes.sort_by_key(|index| index.lane);
        Self {
            first,
            last: foot.last,
            blocks: foot.blocks,
            received_at_ms: foot.received_at_ms,
            lanes,
            latest_received_at_ms: foot.newest_received_at_ms,
            damaged: Runs::from_pairs(&foot.damaged),
            unconfirmed: Runs::from_pairs(&foot.unconfirmed),
            lost: foot.lost,
            newest_at_ms: if foot.newest_is_unknown { UNKNOWN } else { foot.newest_received_at_ms },
        }
    }
}
