//! Histories drawn from a seed: destinations and transformers that fail in every way for any time, several lanes and persons, and
//! processes that die. When the world is well again all is settled, and dead is only what was made bad.
//!
//! `MOEHOG_RELAY_FIRST` and `MOEHOG_RELAY_HISTORIES` say which seeds run; one of its own prints its story with `--nocapture`.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moehog_journal::{DeadLetterQuery, Journal, Letters, Revision};
use moehog_proto::journal::{EventOutcome, EventState};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::{Instant, sleep};

use crate::{
    mood::{Mood, answer},
    rig::Rig,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Histories of every test run.
const FEW: u64 = 40;
const RULED: &str = "rule:main,eu,us";
const SOURCES: [&str; 3] = ["shop", "crm", "web"];

/// How the transformer is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mapping {
    Well,
    Down,
    Hangs,
    Late,
}

/// What a history is drawn from.
struct History {
    seed: u64,
    random: StdRng,
    rig: Rig,
    mood: Arc<Mutex<Mood>>,
    /// Requests of the moods of which nothing was taken.
    in_vain: Arc<AtomicU64>,
    /// Of each source: who is in the order of events is of one lane.
    persons: usize,
    /// Webhooks appended, and events of them that must die, by their reason.
    webhooks: usize,
    bad: BTreeMap<&'static str, usize>,
    may_be_bad: bool,
    /// Rules name the destinations of its events.
    is_routed: bool,
    is_flooded: bool,
    speaks: bool,
}

impl History {
    fn new(seed: u64, speaks: bool) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut rig = Rig::new();
        rig.config.horizon = 10 * MINUTE;
        rig.same_process = random.random_bool(0.3);
        if random.random_bool(0.3) {
            // most of what waits is in the journal alone
            rig.config.in_flight_bytes = 512 * 1024;
        }
        let (mood, in_vain) = (Arc::new(Mutex::new(Mood::Well)), Arc::<AtomicU64>::default());
        let persons = *[1, 5, 40, 1000].choose(&mut random).unwrap();
        rig.sink.script({
            let (mood, in_vain) = (mood.clone(), in_vain.clone());
            let (mut chance, mut seen) = (StdRng::seed_from_u64(seed + 1), HashSet::new());
            move |request| answer(*mood.lock(), request, &in_vain, (&mut chance, &mut seen))
        });
        let (may_be_bad, is_routed) = (random.random_bool(0.7), random.random_bool(0.3));
        let bad = BTreeMap::new();
        Self {
            seed,
            random,
            rig,
            mood,
            in_vain,
            persons,
            webhooks: 0,
            bad,
            may_be_bad,
            is_routed,
            is_flooded: false,
            speaks,
        }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.speaks {
            eprintln!("{}", what());
        }
    }

    /// A webhook of a few events.
    async fn append(&mut self, may_be_bad: bool) {
        let source = *SOURCES.choose(&mut self.random).unwrap();
        let events = *[1, 1, 1, 3, 30].choose(&mut self.random).unwrap();
        let mut lines: Vec<_> =
            (0..events).map(|_| format!("{source}{}", self.random.random_range(0..self.persons))).collect();
        lines.dedup();
        let number = self.webhooks;
        self.webhooks += 1;
        let destination = if self.is_routed { RULED } else { "default" };
        if self.is_routed {
            // each mapping sends it elsewhere
            for line in lines.iter_mut().filter(|_| self.random.random_bool(0.5)) {
                line.push_str(" >eu,us,eu,us,eu,us");
            }
        }
        if may_be_bad && self.random.random_bool(0.05) {
            let kinds = ["refused", "refused", "expired", "transform_failed"];
            // a transformer in the same process takes that along
            let kinds = &kinds[..if self.rig.same_process { 3 } else { 4 }];
            let kind = *kinds.choose(&mut self.random).unwrap();
            *self.bad.entry(kind).or_default() += 1;
            match kind {
                "transform_failed" => lines = vec!["@die".to_owned()],
                kind => {
                    let at = self.random.random_range(0..lines.len());
                    lines[at] = format!("{kind}{number}");
                }
            }
        }
        let sequence = self.rig.append_from(source, destination, lines.join("\n")).await;
        if lines.len() < 3 {
            self.say(|| format!("    webhook {sequence} of {source}: {lines:?}"));
        }
    }

    /// A webhook of each source, of persons of whom nothing waits behind what stepped aside.
    async fn append_new(&mut self) {
        for source in SOURCES {
            let persons = ["main", "eu", "us"].map(|name| match self.is_routed {
                true => format!("new{} to {name} >{name}", self.webhooks),
                false => format!("new{} to {name}", self.webhooks),
            });
            let destination = if self.is_routed { RULED } else { "default" };
            self.rig.append_from(source, destination, persons.join("\n")).await;
            self.webhooks += 1;
        }
    }

    /// A stranger posts bad events, more than memory may hold.
    async fn flood(&mut self) {
        let source = *SOURCES.choose(&mut self.random).unwrap();
        let destination = if self.is_routed { RULED } else { "default" };
        let webhooks = *[1, 3, 10, 50].choose(&mut self.random).unwrap();
        for _ in 0..webhooks {
            let number = self.webhooks;
            let lines: Vec<_> = (0..30).map(|line| format!("refused{number}-{line}")).collect();
            self.rig.append_from(source, destination, lines.join("\n")).await;
            self.webhooks += 1;
        }
        *self.bad.entry("refused").or_default() += 30 * webhooks;
        self.is_flooded = true;
        self.say(|| format!("a stranger posts {webhooks} webhooks of 30 bad events to {source}"));
    }

    /// Somebody has dead letters tried again: they are bad still.
    async fn retry(&mut self) {
        let query = DeadLetterQuery { limit: 10_000, ..DeadLetterQuery::default() };
        let mut letters: Vec<Letters> = Vec::new();
        for letter in self.rig.journal.dead_letters(query).await.unwrap() {
            if letters.last().is_none_or(|last| last.receipt != letter.receipt) && self.random.random_bool(0.5) {
                letters.push(Letters { receipt: letter.receipt, places: Vec::new() });
            }
        }
        self.say(|| format!("dead letters of {} webhooks are tried again", letters.len()));
        // they are mapped anew
        let again: HashSet<_> = letters.iter().map(|letters| letters.receipt.sequence).collect();
        self.rig.sink.state().sent.retain(|at, _| !again.contains(&at.0));
        self.rig.journal.revise(letters, Revision::Retry).await.unwrap();
    }

    /// Some time in which all may go wrong.
    async fn trouble(&mut self) {
        if self.random.random_bool(0.15) {
            self.retry().await;
        }
        let moods = [
            Mood::Well,
            Mood::Well,
            Mood::Refuses,
            Mood::RefusesOnce,
            Mood::Fails,
            Mood::Busy(*[0, 3_000, 300_000].choose(&mut self.random).unwrap()),
            Mood::Page,
            Mood::LosesAnswers,
        ];
        let mappings = [Mapping::Well, Mapping::Well, Mapping::Well, Mapping::Down, Mapping::Hangs, Mapping::Late];
        let (mood, mapping) = (*moods.choose(&mut self.random).unwrap(), *mappings.choose(&mut self.random).unwrap());
        let lasts = *[SECOND, 10 * SECOND, MINUTE, 5 * MINUTE].choose(&mut self.random).unwrap();
        let pause = *[SECOND / 20, SECOND, 20 * SECOND].choose(&mut self.random).unwrap();
        self.say(|| format!("{mood:?}, transformer {mapping:?} for {lasts:?}, a webhook each {pause:?}"));
        self.be(mood, mapping);
        if self.may_be_bad && self.random.random_bool(0.2) {
            self.flood().await;
        }
        let (until, before) = (Instant::now() + lasts, self.in_vain.load(Ordering::Relaxed));
        let (mut webhooks, mut deaths) = (0, 0);
        while Instant::now() < until {
            // of many that wait there is enough
            if webhooks < 200 {
                self.append(self.may_be_bad).await;
                webhooks += 1;
            }
            let pause = pause.min(until.saturating_duration_since(Instant::now())).max(SECOND / 100);
            sleep(pause).await;
            // once a minute
            if self.random.random_bool((pause.as_secs_f64() / 60.0).min(0.5)) {
                deaths += 1;
                self.die().await;
            }
        }
        if mood == Mood::Refuses {
            let spent = self.in_vain.load(Ordering::Relaxed) - before;
            let lanes = SOURCES.len() as u64 * if self.is_routed { 3 } else { 1 };
            // a process that begins has all to learn anew
            let most = lanes * (200 * (1 + deaths) + 60 * lasts.as_secs().div_ceil(60));
            assert!(spent <= most, "{spent} requests in {lasts:?} of which each is refused, {most} are enough");
        }
        if mood == Mood::RefusesOnce {
            // refused by chance, and by one that refuses everything within a minute after: nobody can tell that from a bad event
            self.be(Mood::Well, mapping);
            sleep(MINUTE).await;
        }
    }

    fn be(&mut self, mood: Mood, mapping: Mapping) {
        *self.mood.lock() = mood;
        let mut mapper = self.rig.mapper.0.lock();
        (mapper.down, mapper.hangs) = (mapping == Mapping::Down, mapping == Mapping::Hangs);
        mapper.takes = if mapping == Mapping::Late { 12 * SECOND } else { Duration::ZERO };
    }

    /// The process dies; sometimes the mapping is another when the next one begins.
    async fn die(&mut self) {
        self.rig.crash().await;
        let changes = self.random.random_bool(0.3);
        self.rig.mapper.0.lock().revision += u32::from(changes);
        self.say(|| format!("the process dies, and the mapping {}", if changes { "changes" } else { "stays" }));
        sleep(self.random.random_range(0..5) * SECOND).await;
        self.rig.start();
    }

    /// What is known of the webhooks that wait.
    async fn waiting(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        for sequence in 1..=self.webhooks as u64 {
            let progress = self.rig.progress(sequence).await;
            let is_open = |event: &EventOutcome| matches!(event.state(), EventState::Pending | EventState::Unspecified);
            if progress.events.is_empty() || progress.events.iter().any(is_open) {
                let events = progress.events.iter().map(|event| (event.attempts, event.state(), &event.reason));
                waiting.push(format!(
                    "{sequence}, tried for {} ms: {:?}",
                    progress.trying_ms,
                    events.collect::<Vec<_>>()
                ));
            }
        }
        waiting
    }

    async fn run(mut self) {
        self.rig.start();
        for _ in 0..self.random.random_range(1..6) {
            self.trouble().await;
        }
        self.say(|| "all is well".into());
        self.be(Mood::Well, Mapping::Well);
        let began = Instant::now();
        if self.random.random_bool(0.3) {
            self.retry().await;
        }
        // what is refused is judged beside what is taken, and what expires has its time
        while self.rig.journal.stats().ledger.waiting > 0 {
            if began.elapsed() > 180 * MINUTE {
                let (seed, waiting, lanes) = (self.seed, self.waiting().await, self.rig.status().lanes());
                panic!("seed {seed}: webhooks wait though all is well: {waiting:#?}, {lanes:?}");
            }
            self.append(false).await;
            if self.is_flooded {
                self.append_new().await;
            }
            // what lasts needs some evidence, not much
            sleep(if began.elapsed() < 10 * MINUTE { SECOND } else { 5 * SECOND }).await;
        }
        self.rig.check().await;
        let letters = self.rig.journal.dead_letters(DeadLetterQuery { limit: 10_000, ..DeadLetterQuery::default() });
        let mut dead = BTreeMap::new();
        for letter in letters.await.unwrap() {
            *dead.entry(letter.event.reason.clone()).or_insert(0) += 1;
        }
        self.rig.sink.each_went_to_one_place();
        let bad: BTreeMap<_, _> = self.bad.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        assert_eq!(dead, bad, "seed {}: dead by reason, and made bad", self.seed);
    }
}

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn histories_kill_nothing_but_what_is_bad() {
    let (first, count) = (variable("MOEHOG_RELAY_FIRST"), variable("MOEHOG_RELAY_HISTORIES"));
    let (first, count) = (first.unwrap_or(1), count.unwrap_or(if first.is_some() { 1 } else { FEW }));
    let mut failures = Vec::new();
    for seed in first..first + count {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let failed =
            std::panic::AssertUnwindSafe(|| runtime.block_on(async { History::new(seed, count == 1).run().await }));
        if let Err(cause) = std::panic::catch_unwind(failed) {
            failures.push(seed);
            eprintln!("failed: MOEHOG_RELAY_FIRST={seed} cargo test -p moehog-relay histories_kill_nothing");
            if count == 1 {
                std::panic::resume_unwind(cause);
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} histories failed: {failures:?}", failures.len());
}
