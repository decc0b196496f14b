//! Opening a journal: sealed files by their feet, unsealed ones by their frames.

use std::{collections::BTreeSet, io, sync::Arc};

use moehog_proto::{JournalId, Mint, Sequence};
use moehog_runtime::chain;
use parking_lot::Mutex;

use super::{
    Config, Log, OpenError,
    age::Age,
    config::MIN_SEGMENTS,
    format::{self, Carried, Format, Opened, VERSION},
    health::Health,
    records,
    reserve::{self, Reserve},
    segment::Segment,
    state::State,
    webhooks::{self, AHEAD},
};
use crate::disk::{Disk, File, PooledDisk};

const FORMAT: &str = "format";
const OPENED: &str = "opened";
pub(super) const CARRIED: &str = "carried";

/// Files that are open at a time beside those being written: of 64 segments, which is a full budget.
pub(super) const OPEN_FILES: usize = 128;

trait What<T> {
    fn what(self, what: impl Into<String>) -> Result<T, OpenError>;
}

impl<T> What<T> for io::Result<T> {
    fn what(self, what: impl Into<String>) -> Result<T, OpenError> {
        self.map_err(|source| OpenError::Disk { what: what.into(), source })
    }
}

impl Log {
    /// Opens the journal on `disk`, making it where there is none.
    ///
    /// A webhooks file that was not sealed is cut behind its last good frame and sealed; it is never appended to again.
    /// A bad frame below an offset known to have been synced is counted as damage, kept aside and passed over.
    ///
    /// # Errors
    ///
    /// Another process has it, a newer moehog wrote it, or the disk failed.
    pub fn open(disk: Arc<dyn Disk>, config: Config) -> Result<Self, OpenError> {
        let segment_bytes = config.segment();
        if config.budget_bytes < MIN_SEGMENTS * segment_bytes {
            return Err(OpenError::Budget { budget_bytes: config.budget_bytes, segment_bytes });
        }
        let directory = disk.lock().map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse { source },
            _ => OpenError::Disk { what: "lock the directory".into(), source },
        })?;
        let config = fit(config, &*disk)?;
        let disk: Arc<dyn Disk> = Arc::new(PooledDisk::new(disk, OPEN_FILES));
        // What is named now stays: files are removed below because of what others say.
        disk.sync_dir().what("sync the directory")?;
        let names = clean(&*disk)?;
        let id = read_format(&*disk, &names)?;
        let mut state = State::default();
        read_carried(&*disk, &names, &mut state)?;
        let mut log = Self {
            id,
            mint: Mint::new(id, [0; 16]),
            appender: Mutex::new(Vec::new()),
            maintainer: Mutex::new(()),
            recorder: Mutex::new(Vec::new()),
            state: Mutex::new(State::default()),
            reserve: Reserve::new(config.reserve()),
            health: Health::default(),
            age: Age::new(config.clock.clone(), None),
            watchers: Arc::default(),
            directory: Mutex::new(Some(directory)),
            disk,
            config,
        };
        log.open_segments(&names, &mut state)?;
        state.epoch = state.epoch.max(first_epoch(&*log.disk, &names));
        state.durable = state.next - 1;
        state.count_unsettled();
        log.age = Age::new(log.config.clock.clone(), state.newest_at_ms());
        *log.state.lock() = state;
        log.reserve.fill(&*log.disk).what("set room aside")?;
        Ok(log)
    }

    fn open_segments(&self, names: &BTreeSet<String>, state: &mut State) -> Result<(), OpenError> {
        let firsts: Vec<Sequence> = names.iter().filter_map(|name| first_of(name, ".webhooks")).collect();
        for (at, first) in firsts.iter().enumerate() {
            if state.carried.segments.contains(first) {
                continue;
            }
            let following = firsts.get(at + 1).copied();
            self.open_segment(*first, following, names, state).what(format!("segment {first:016x}"))?;
        }
        let stray = self.disk.list().what("list the directory")?.into_iter().filter(|name| {
            let first = first_of(name, ".webhooks").or_else(|| first_of(name, ".records"));
            first.is_some_and(|first| !state.segments.contains_key(&first))
        });
        for name in stray {
            // Of a segment that was dropped, or that never held anything.
            self.disk.remove(&name).what(format!("remove {name}"))?;
        }
        self.disk.sync_dir().what("sync the directory")?;
        state.carried.segments.clear();
        Ok(())
    }

    fn open_segment(
        &self,
        first: Sequence,
        following: Option<Sequence>,
        names: &BTreeSet<String>,
        state: &mut State,
    ) -> io::Result<()> {
        let (webhooks, index) = match webhooks::open(&*self.disk, first, &mut state.lanes)? {
            webhooks::Found::Empty => return self.skip_empty(first, names, state),
            webhooks::Found::Unreadable => {
                return self.set_aside(first, following.unwrap_or(first + 1), state);
            }
            // sealed as what it was: its first append failed
            webhooks::Found::Whole(webhooks, index) if index.is_empty() && webhooks.rewritten.is_none() => {
                state.next = state.next.max(first + 1);
                return self.skip_empty(first, names, state);
            }
            webhooks::Found::Whole(webhooks, index) => (webhooks, index),
            webhooks::Found::Recovered { mut webhooks, index, bad, unsynced_from } => {
                for (from, until) in bad {
                    state.quarantined_bytes += self.quarantine(&*webhooks.file, first, from, until);
                }
                // What was not synced may be in the cache of the operating system alone, marked as written.
                copy_over(&*webhooks.file, unsynced_from, webhooks.end)?;
                // The foot tells of them, so they are there before it.
                webhooks.file.sync_data()?;
                webhooks.size = webhooks.seal(&index.to_foot(&state.lanes))?;
                webhooks.sealed = true;
                tracing::info!(segment = %webhooks::name(first), entries = index.frames(), "recovered");
                (webhooks, index)
            }
        };
        let damaged = index.lost + index.damaged_sequences().count() as u64;
        if damaged > 0 {
            tracing::error!(segment = %webhooks::name(first), damaged, "webhooks of this segment cannot be read");
        }
        state.next = state.next.max(index.last + 1);
        let segment = match names.contains(&records::name(first)) {
            true => self.open_records(first, index, webhooks, state)?,
            false => Segment::replayed(index, webhooks, None, records::Replay::default()),
        };
        state.segments.insert(first, segment);
        Ok(())
    }

    fn open_records(
        &self,
        first: Sequence,
        index: super::index::Index,
        webhooks: webhooks::Webhooks,
        state: &mut State,
    ) -> io::Result<Segment> {
        let mut found = records::open(&*self.disk, first)?;
        if let records::Found::Open(records, replay) = &mut found {
            // As with webhooks: what the process before did not sync may be in the cache alone, marked as written.
            let synced = copy_over(&*records.file, replay.synced, records.end).and_then(|()| records.file.sync_data());
            match synced {
                Ok(()) => records.synced = records.end,
                // What the process before did not sync is as if the power had failed: what is there now counts.
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "records of the last second may be gone");
                    found = records::open(&*self.disk, first)?;
                    if let records::Found::Open(records, _) = &mut found {
                        records.broken = true;
                    }
                }
            }
        }
        match found {
            records::Found::Sealed(records, foot) => {
                state.epoch = state.epoch.max(foot.epoch);
                Ok(Segment::sealed(index, webhooks, records, foot))
            }
            records::Found::Open(records, replay) => {
                if !replay.bad.is_empty() {
                    tracing::error!(records = %records::name(first), bad = ?replay.bad,
                        "records are damaged: what they told is done again");
                }
                state.next = state.next.max(replay.highest() + 1);
                state.epoch = state.epoch.max(replay.epoch);
                Ok(Segment::replayed(index, webhooks, Some(records), replay))
            }
            records::Found::Unreadable => {
                tracing::info!(records = %records::name(first), "no record of this file was synced");
                Ok(Segment::replayed(index, webhooks, None, records::Replay::default()))
            }
        }
    }

    /// A segment of which only records may be left: their sequences are not given out again.
    fn skip_empty(&self, first: Sequence, names: &BTreeSet<String>, state: &mut State) -> io::Result<()> {
        state.next = state.next.max(first);
        if names.contains(&records::name(first))
            && let records::Found::Open(_, replay) = records::open(&*self.disk, first)?
        {
            state.next = state.next.max(replay.highest() + 1);
        }
        Ok(())
    }

    /// Keeps a file aside whose head is gone, and counts the sequences it can have held.
    fn set_aside(&self, first: Sequence, following: Sequence, state: &mut State) -> io::Result<()> {
        let name = webhooks::name(first);
        tracing::error!(segment = %name, at_most = following - first, "a segment cannot be read; it is kept aside");
        let mut carried = state.carried.clone();
        let book = carried.book.get_or_insert_default();
        book.taken += following - first;
        book.damaged += following - first;
        carried.segments.push(first);
        state.next = state.next.max(following);
        carried.next = state.next;
        state.carried_bytes = format::write_small(&*self.disk, CARRIED, &carried)?;
        state.carried = carried;
        state.quarantined_bytes += self.disk.open(&name)?.len()?;
        self.disk.rename(&name, &format!("{first:016x}.unreadable"))?;
        self.disk.sync_dir()
    }

    /// Copies bytes that are not a frame where one was, for a person to look at.
    pub(super) fn quarantine(&self, file: &dyn File, first: Sequence, from: u64, until: u64) -> u64 {
        /// No more than this is kept aside of one damage.
        const MOST: u64 = 64 * 1024 * 1024;
        let name = format!("{first:016x}-{from:x}.quarantine");
        tracing::error!(segment = %webhooks::name(first), from, until, kept = %name, "webhooks are damaged");
        let copy = || -> io::Result<u64> {
            let mut bytes = vec![0; usize::try_from((until - from).min(MOST)).unwrap_or(0)];
            let filled = file.read_at(&mut bytes, from)?;
            let copy = format::create_over(&*self.disk, &name)?;
            copy.write_at(&bytes[..filled], 0)?;
            copy.sync_data()?;
            Ok(filled as u64)
        };
        copy().unwrap_or_else(|error| {
            tracing::warn!(error = %chain(&error), name, "damaged bytes are not kept");
            0
        })
    }
}

/// With the budget that is in force. Delivered webhooks give way when the budget is full, and not when the disk is: a
/// budget that the disk cannot hold would refuse webhooks over those.
fn fit(config: Config, disk: &dyn Disk) -> Result<Config, OpenError> {
    let Some(size) = disk.size().what("ask the file system for its size")? else { return Ok(config) };
    let configured = config.budget_bytes;
    let config = config.within(size);
    if config.budget_bytes < configured {
        tracing::warn!(
            configured,
            in_force = config.budget_bytes,
            file_system = size,
            "journal.budget_bytes is more than its file system could ever hold, and is bounded by it: lower it, or take \
             a larger volume"
        );
    }
    Ok(config)
}

/// Writes the bytes of a file anew, so that the next sync carries them.
fn copy_over(file: &dyn File, from: u64, until: u64) -> io::Result<()> {
    let mut offset = from;
    let mut buffer = vec![0; AHEAD];
    while offset < until {
        let length = usize::try_from(until - offset).unwrap_or(AHEAD).min(AHEAD);
        let filled = file.read_at(&mut buffer[..length], offset)?;
        if filled == 0 {
            break;
        }
        file.write_at(&buffer[..filled], offset)?;
        offset += filled as u64;
    }
    Ok(())
}

/// The names in the directory, without what a crash left half made.
fn clean(disk: &dyn Disk) -> Result<BTreeSet<String>, OpenError> {
    let mut names: BTreeSet<_> = disk.list().what("list the directory")?.into_iter().collect();
    for name in names.iter().filter(|name| name.ends_with(".new") || *name == reserve::NAME) {
        disk.remove(name).what(format!("remove {name}"))?;
    }
    names.retain(|name| !name.ends_with(".new") && name != reserve::NAME);
    Ok(names)
}

fn read_format(disk: &dyn Disk, names: &BTreeSet<String>) -> Result<JournalId, OpenError> {
    if names.contains(FORMAT) {
        let format: Option<Format> = format::read_small(disk, FORMAT).what("read format")?;
        return match format {
            Some(format) if format.version > VERSION => {
                Err(OpenError::NewerFormat { found: format.version, known: VERSION })
            }
            Some(format) => Ok(JournalId(format.journal)),
            None => Err(OpenError::NoFormat),
        };
    }
    if names.iter().any(|name| first_of(name, ".webhooks").is_some()) {
        return Err(OpenError::NoFormat);
    }
    let format = Format { version: VERSION, journal: rand::random() };
    format::write_small(disk, FORMAT, &format).what("write format")?;
    Ok(JournalId(format.journal))
}

fn read_carried(disk: &dyn Disk, names: &BTreeSet<String>, state: &mut State) -> Result<(), OpenError> {
    if names.contains(CARRIED) {
        match format::read_small::<Carried>(disk, CARRIED).what("read carried")? {
            Some(carried) => state.carried = carried,
            None => tracing::error!("the book of dropped segments is damaged; the ledger begins anew without them"),
        }
        state.carried_bytes = disk.open(CARRIED).and_then(|file| file.len()).what("open carried")?;
    }
    for name in names.iter().filter(|name| name.ends_with(".quarantine") || name.ends_with(".unreadable")) {
        state.quarantined_bytes += disk.open(name).and_then(|file| file.len()).what(format!("open {name}"))?;
    }
    state.next = state.carried.next.max(1);
    Ok(())
}

/// Epochs of this process are above this, and above those of every process before.
fn first_epoch(disk: &dyn Disk, names: &BTreeSet<String>) -> u64 {
    let before = names.contains(OPENED).then(|| format::read_small::<Opened>(disk, OPENED).ok().flatten()).flatten();
    let opened = Opened { times: before.unwrap_or_default().times + 1 };
    if let Err(error) = format::write_small(disk, OPENED, &opened) {
        // The lock of the directory alone keeps other processes away; the epoch tells claims of this one apart.
        tracing::warn!(error = %chain(&error), "the number of this start is not stored");
    }
    u64::from(opened.times) << 32
}

fn first_of(name: &str, suffix: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(suffix).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|first| *first > 0)
}
