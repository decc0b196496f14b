//! What a process cost, as the operating system counts it.

use std::{
    collections::BTreeMap,
    fs,
    ops::{Add, Sub},
};

use anyhow::Context;
use serde::Serialize;

/// Processor time by thread name, in seconds. Threads that ended are in `total` alone.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cpu {
    /// Of the process, user and system, from its start.
    pub total: f64,
    /// Of its living threads, added up by name.
    pub threads: BTreeMap<String, f64>,
    /// How often one of its living threads had waited and was woken.
    pub wakes: u64,
}

impl Cpu {
    /// What a process has used so far.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("a measured process has ended")?;
        let (mut threads, mut wakes) = (BTreeMap::new(), 0);
        for task in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
            // a thread may end between the listing and the reading
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
            if let Some((name, seconds)) = parse(&stat) {
                *threads.entry(name).or_default() += seconds;
            }
            wakes += fs::read_to_string(task.path().join("status")).ok().and_then(|status| waits(&status)).unwrap_or(0);
        }
        Ok(Self { total: parse(&stat).context("read /proc/PID/stat")?.1, threads, wakes })
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        let before = |name: &str| earlier.threads.get(name).copied().unwrap_or(0.0);
        let threads = self.threads.iter().map(|(name, seconds)| (name.clone(), (seconds - before(name)).max(0.0)));
        let wakes = self.wakes.saturating_sub(earlier.wakes);
        Self { total: self.total - earlier.total, threads: threads.collect(), wakes }
    }
}

impl Add for Cpu {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.total += other.total;
        self.wakes += other.wakes;
        for (name, seconds) in other.threads {
            *self.threads.entry(name).or_default() += seconds;
        }
        self
    }
}

/// Name and processor time from a `stat` line; the name stands in parentheses and may hold anything.
fn parse(stat: &str) -> Option<(String, f64)> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(") ")?;
    // fields 14 and 15 of the line, 12th and 13th behind the name
    let mut fields = rest.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some((name.to_string(), ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// How often a thread gave up its core of its own accord, from its `status`.
fn waits(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// Memory of a process in bytes: now, and the most it ever had.
///
/// # Errors
///
/// It has ended.
pub fn memory(process: u32) -> anyhow::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("a measured process has ended")?;
    let field = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_string())?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_name_may_hold_parentheses_and_spaces() -> anyhow::Result<()> {
        let stat = "7 (commit) (1) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        let (name, seconds) = parse(stat).context("parses")?;
        assert_eq!(name, "commit) (1");
        assert!((seconds - 300.0 / rustix::param::clock_ticks_per_second() as f64).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn work_is_seen_and_so_is_memory() -> anyhow::Result<()> {
        let before = Cpu::of(std::process::id())?;
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        let used = Cpu::of(std::process::id())? - before;
        assert!(used.total > 0.0, "{used:?}");
        let (now, peak) = memory(std::process::id())?;
        assert!(now > 0 && peak >= now);
        Ok(())
    }
}
