//! What the embedded journal is told.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::disk::RealDisk;

const MIB: u64 = 1024 * 1024;

/// A budget is of so many segments at least.
pub(super) const MIN_SEGMENTS: u64 = 8;

/// Section `[journal]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory that holds the journal.
    pub dir: PathBuf,
    /// Most bytes the journal may use.
    pub budget_bytes: u64,
    /// How long the bytes of settled webhooks are kept, unless the budget needs the room before.
    #[serde(with = "moehog_runtime::duration")]
    pub retention: Duration,
    /// How long dead letters are kept.
    #[serde(with = "moehog_runtime::duration")]
    pub dead_letter_retention: Duration,
    /// Bytes of one segment; 0 takes 1/64 of the budget, between 1 and 256 MiB.
    pub segment_bytes: u64,
    /// How often records are synced.
    #[serde(with = "moehog_runtime::duration")]
    pub sync_records_every: Duration,
    /// Most bytes of webhooks that wait to be written at one moment.
    pub queue_bytes: usize,
    /// Names of the sources that are configured: each has room for its share before it has sent anything.
    #[serde(skip)]
    pub sources: Vec<String>,
    /// Where the time comes from.
    #[serde(skip)]
    pub clock: Clock,
}

impl Config {
    /// Every key of the section with its default, as TOML.
    pub const DEFAULTS: &str = include_str!("../../config.default.toml");

    /// Bytes of one segment.
    #[must_use]
    pub fn segment(&self) -> u64 {
        match self.segment_bytes {
            0 => (self.budget_bytes / 64).clamp(MIB, 256 * MIB),
            bytes => bytes,
        }
    }

    /// The same, with a budget that a file system of `size` bytes could ever hold, and segments of which it holds
    /// enough.
    #[must_use]
    pub(super) fn within(self, size: u64) -> Self {
        // a file system keeps some to itself: ext4 a twentieth for the superuser
        let most = size - size / 20;
        if self.budget_bytes <= most {
            return self;
        }
        let smaller = Self { budget_bytes: most, ..self };
        Self { segment_bytes: smaller.segment().min(most / MIN_SEGMENTS), ..smaller }
    }

    /// The budget that would be in force on this machine, where the file system of `dir` could not hold the configured one.
    ///
    /// # Errors
    ///
    /// The file system does not say what it holds.
    pub fn smaller_budget(&self) -> io::Result<Option<u64>> {
        let there = self.dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        let size = RealDisk::file_system_size(there)?;
        let within = size.map(|size| self.clone().within(size).budget_bytes);
        Ok(within.filter(|bytes| *bytes < self.budget_bytes))
    }

    /// Bytes that are kept for records, cancellations and rewrites.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        2 * self.segment()
    }

    /// Bytes that appends may fill.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.budget_bytes.saturating_sub(self.reserve())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: "./moehog-data".into(),
            budget_bytes: 10 * 1024 * MIB,
            retention: Duration::from_secs(7 * 86_400),
            dead_letter_retention: Duration::from_secs(30 * 86_400),
            segment_bytes: 0,
            sync_records_every: Duration::from_secs(1),
            queue_bytes: 256 * 1024 * 1024,
            sources: Vec::new(),
            clock: Clock::default(),
        }
    }
}

/// Tells the time: what the machine's clock shows, and how much has passed, which no one can set.
#[derive(Clone)]
pub struct Clock {
    shows: Arc<dyn Fn() -> i64 + Send + Sync>,
    passed: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// A clock that shows `now` milliseconds since the epoch and does not jump.
    pub fn new(now: impl Fn() -> i64 + Clone + Send + Sync + 'static) -> Self {
        let passes = now.clone();
        Self::set_by_hand(now, move || Duration::from_millis(passes().unsigned_abs()))
    }

    /// A clock that shows `shows` milliseconds since the epoch, while `passed` has passed since some moment.
    pub fn set_by_hand(
        shows: impl Fn() -> i64 + Send + Sync + 'static,
        passed: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self { shows: Arc::new(shows), passed: Arc::new(passed) }
    }

    /// What it shows, milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.shows)()
    }

    /// What has passed.
    #[must_use]
    pub fn passed(&self) -> Duration {
        (self.passed)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        let began = Instant::now();
        Self::set_by_hand(moehog_runtime::epoch_ms, move || began.elapsed())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Whole {
        journal: Config,
    }

    #[test]
    fn a_budget_that_the_file_system_cannot_hold_is_told_before_the_directory_is_there() {
        let there = tempfile::tempdir().unwrap();
        let config =
            |budget_bytes: u64| Config { dir: there.path().join("not/yet"), budget_bytes, ..Config::default() };
        assert_eq!(config(64 * MIB).smaller_budget().unwrap(), None);
        let smaller = config(u64::MAX / 2).smaller_budget().unwrap().unwrap();
        let size = RealDisk::file_system_size(there.path()).unwrap().unwrap();
        assert_eq!(smaller, size - size / 20);
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let written: Whole = moehog_runtime::load(Config::DEFAULTS, None, []).unwrap();
        assert_eq!(format!("{:?}", written.journal), format!("{:?}", Config::default()));
        assert_eq!(written.journal.segment(), 160 * MIB);
    }
}
