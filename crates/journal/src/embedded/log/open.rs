//! Opening a journal: sealed files by their feet, unsealed ones by their frames.

use std::{collections::BTreeSet, io, sync::Arc};

use moehog_proto::{JournalId, Mint, Sequence};
use moehog_runtime::chain;
use parking_lot::Mutex;

use crate::disk::{Disk, File, PooledDisk};
use crate::embedded::{
    Config, Log, OpenError,
    age::Age,
    blocks::{create_over, read_small, write_small},
    coding::VERSION,
    config::MIN_SEGMENTS,
    files::What,
    format::Opened,
    identity::{identify, key_of, read_format, write_format},
    log::health::Health,
    log::marks::Marks,
    opening::{Books, Heads, Segments},
    reserve::{self, Reserve},
    state::State,
    webhooks,
};

const OPENED: &str = "opened";
/// Files that are open at a time beside those being written: of 64 segments, which is a full budget.
pub(in crate::embedded) const OPEN_FILES: usize = 128;

impl Log {
    /// Opens the journal on `disk`, making it where there is none.
    ///
    /// A webhooks file that was not sealed is sealed behind its last good frame; it is never appended to again. What is missing and
    /// is known to have been synced is counted as damage, kept aside and passed over.
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
        let format = read_format(&*disk)?;
        let names = clean(&*disk)?;
        let mut books = Books::read(&*disk, &names)?;
        let heads = Heads::read(&*disk, &names)?;
        books.compare_with(&heads);
        let known = identify(&*disk, &names, format, books.identity().or_else(|| heads.identity()))?;
        let id = JournalId(known.identity.journal);
        let mut log = Self {
            id,
            mint: Mint::new(id, key_of(&known.identity)),
            identity: known.identity,
            is_revised: known.is_revised.into(),
            incarnation: rand::random_range(1..=u64::MAX),
            appender: Mutex::new(Vec::new()),
            maintainer: Mutex::default(),
            recorder: Mutex::new(Vec::new()),
            state: Mutex::new(State::default()),
            reserve: Reserve::new(config.reserve()),
            carried: Mutex::new(books.carried_file),
            marks: Mutex::new(Marks { file: books.marks_file, last: books.mark.clone() }),
            health: Health::default(),
            age: Age::new(config.clock.clone(), None),
            watchers: Arc::default(),
            directory: Mutex::new(Some(directory)),
            disk,
            config,
        };
        let mut state = State { carried: books.carried, carried_bytes: log.carried.lock().size(), ..State::default() };
        state.quarantined_bytes = size_of_quarantine(&*log.disk, &names)?;
        state.next = state.carried.next.max(1);
        let mut segments = Segments::new(heads, &log.identity, &books.mark, &state.carried, books.is_carried_lost);
        segments.open_all(&log, &mut state)?;
        if known.is_version_1 {
            log.identity.gapless_from = state.next;
            write_format(&*log.disk, &log.identity, VERSION).what("write format")?;
        }
        segments.close_the_books(&log, &mut state)?;
        log.merge_small(&mut state).what("merge small segments")?;
        state.epoch = state.epoch.max(first_epoch(&*log.disk, &names));
        state.durable = state.next - 1;
        state.count_unsettled();
        log.age = Age::new(log.config.clock.clone(), state.newest_at_ms());
        *log.state.lock() = state;
        log.reserve.fill(&*log.disk).what("set room aside")?;
        // what was recovered is synced now
        if let Err(error) = log.mark() {
            tracing::warn!(error = %chain(&error), "what is synced is marked later");
        }
        Ok(log)
    }

    /// Gives a file that cannot be used another name, for a person to look at.
    pub(in crate::embedded) fn keep_aside(&self, name: &str, state: &mut State) -> io::Result<()> {
        let kept = name.strip_suffix(".webhooks").map_or_else(|| name.replace('.', "-"), str::to_owned) + ".unreadable";
        tracing::error!(file = %name, %kept, "what is left of it is kept aside");
        state.quarantined_bytes += self.disk.open(name)?.len()?;
        self.disk.rename(name, &kept)
    }

    /// Copies bytes that are not a frame where one was, for a person to look at.
    pub(in crate::embedded) fn quarantine(&self, file: &dyn File, first: Sequence, from: u64, until: u64) -> u64 {
        /// No more than this is kept aside of one damage.
        const MOST: u64 = 64 * 1024 * 1024;
        let name = format!("{first:016x}-{from:x}.quarantine");
        if self.disk.open(&name).is_ok_and(|kept| kept.len().is_ok_and(|bytes| bytes > 0)) {
            // another webhook of the same bytes
            return 0;
        }
        tracing::error!(segment = %webhooks::name(first), from, until, kept = %name, "webhooks are damaged");
        let copy = || -> io::Result<u64> {
            let mut bytes = vec![0; usize::try_from((until - from).min(MOST)).unwrap_or(0)];
            let filled = file.read_at(&mut bytes, from)?;
            let copy = create_over(&*self.disk, &name)?;
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

/// The names in the directory, without what a crash left half made.
fn clean(disk: &dyn Disk) -> Result<BTreeSet<String>, OpenError> {
    let mut names: BTreeSet<_> = disk.list().what("list the directory")?.into_iter().collect();
    for name in names.iter().filter(|name| name.ends_with(".new") || *name == reserve::NAME) {
        disk.remove(name).what(format!("remove {name}"))?;
    }
    names.retain(|name| !name.ends_with(".new") && name != reserve::NAME);
    Ok(names)
}

/// Bytes of what was kept aside of damage.
fn size_of_quarantine(disk: &dyn Disk, names: &BTreeSet<String>) -> Result<u64, OpenError> {
    let mut bytes = 0;
    for name in names.iter().filter(|name| name.ends_with(".quarantine") || name.ends_with(".unreadable")) {
        bytes += disk.open(name).and_then(|file| file.len()).what(format!("open {name}"))?;
    }
    Ok(bytes)
}

/// Epochs of this process are above this, and above those of every process before.
fn first_epoch(disk: &dyn Disk, names: &BTreeSet<String>) -> u64 {
    let before = names.contains(OPENED).then(|| read_small::<Opened>(disk, OPENED).ok().flatten()).flatten();
    let opened = Opened { times: before.unwrap_or_default().times + 1 };
    if let Err(error) = write_small(disk, OPENED, &opened) {
        // The lock of the directory alone keeps other processes away; the epoch tells claims of this one apart.
        tracing::warn!(error = %chain(&error), "the number of this start is not stored");
    }
    u64::from(opened.times) << 32
}
