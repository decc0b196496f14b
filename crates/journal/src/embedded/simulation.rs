//! Seeded histories of the log on a disk that forgets, tears, fills and fails, held against independent books.
//!
//! `SIMULATION.md` beside the crate's `src` has its plan: what is drawn, what is checked, what is not.
//!
//! `MOEHOG_SIM_SEED` runs one history and says what it does; `MOEHOG_SIM_HISTORIES` says how many are run instead of the
//! default slice, and `MOEHOG_SIM_FIRST` from which seed on.

use std::{
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use parking_lot::Mutex;

mod appends;
mod caches;
mod check;
mod damage;
mod decide;
mod draw;
mod history;
mod lines;
mod lost;
mod model;
mod restart;
mod revise;
mod threaded;
mod world;

use self::history::History;
pub(super) use self::lines::Lines;

/// Steps of one history.
const STEPS: u64 = 240;

/// Histories in an ordinary test run.
const HISTORIES: u64 = 300;

/// What came to pass in all histories: a simulation that meets none of what it is for would prove nothing.
type Coverage = BTreeMap<&'static str, u64>;

/// What every slice of histories must meet.
const MET: [&str; 44] = [
    "append acknowledged",
    "append given up before it was written",
    "append given up during its sync",
    "append failed",
    "append refused for want of room",
    "record stored",
    "record failed",
    "transform began",
    "segment of 4 or more",
    "oversized body",
    "clean stop",
    "kill",
    "power cut",
    "death during open",
    "death during maintenance",
    "refused webhook came back",
    "power cut undid a record",
    "raw of a settled webhook dropped",
    "full disk",
    "webhook damaged",
    "append behind one that failed",
    "disk became well",
    "handed on",
    "budget changed",
    "clean stop after a fault",
    "clock jumped",
    "first group of a segment failed",
    "handed on while the disk was full",
    "step without a warning",
    "appends while something is under way",
    "dead letter tried again",
    "dead letter discarded",
    "maintenance while a segment ends",
    "all that was settled expired",
    "glitch",
    "flipped bit",
    "zeroed sector",
    "file cut",
    "file removed",
    "older copy of a file",
    "directory put back",
    "copy ran beside",
    "segments merged",
    "retention and sources changed",
];

#[test]
fn histories_lose_nothing() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("MOEHOG_SIM_SEED") {
        println!("{:#?}", history(seed, true));
        return;
    }
    let histories = number("MOEHOG_SIM_HISTORIES").unwrap_or(HISTORIES);
    let first = number("MOEHOG_SIM_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let met = Mutex::new(Coverage::new());
    let run = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed - first >= histories {
                break;
            }
            let seed = Seed(seed);
            let coverage = history(seed.0, false);
            let mut met = met.lock();
            coverage.into_iter().for_each(|(what, count)| *met.entry(what).or_default() += count);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(run))));
    let met = met.into_inner();
    println!("{histories} histories: {met:#?}");
    for what in MET {
        assert!(met.get(what).is_some_and(|count| *count > 0), "no history met: {what}");
    }
}

fn history(seed: u64, verbose: bool) -> Coverage {
    let lines = Lines::new(verbose);
    tracing::subscriber::with_default(lines.clone(), || History::new(seed, lines, verbose).run(STEPS))
}

/// Says which history it was when it fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed: MOEHOG_SIM_SEED={} cargo test -p moehog-journal histories_lose_nothing", self.0);
        }
    }
}
