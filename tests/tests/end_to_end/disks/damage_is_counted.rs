//! One file of a journal is damaged between the end of a process and the next start: what is lost is counted, no more.

use std::{
    collections::HashSet,
    fs, io, mem,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::Running;
use moehog_tests::{
    Damage, Deployment, Load, Sender, Sent, Service, Setup, Shape, judge, repeated_receipts, shared_uuids, within,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::super::world::{KEY, SOON, by_person, dead_receipts, from_soak, posthog};

/// Rounds over one directory: damage meets what earlier damage left.
const ROUNDS_OF_A_DIRECTORY: u64 = 10;
const LOST: &str = "the book of webhooks that were let go is lost";

/// How the process ends before the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGTERM: every file is sealed.
    Stop,
    /// SIGKILL when nothing is under way.
    Kill,
    /// SIGKILL while webhooks are being taken.
    KillUnderLoad,
}

/// What a round does before the damage.
#[derive(Debug, Clone, Copy)]
struct Plan {
    own_ids: bool,
    some_were_delivered: bool,
    /// PostHog is well all along, so that events are delivered up to the end of the process.
    delivers: bool,
    end: End,
}

impl Plan {
    fn draw(chance: &mut StdRng) -> Self {
        Self {
            own_ids: chance.random(),
            some_were_delivered: chance.random(),
            delivers: chance.random_ratio(1, 5),
            end: [End::Stop, End::Kill, End::Kill, End::KillUnderLoad, End::KillUnderLoad][chance.random_range(0..5)],
        }
    }
}

/// Webhooks in moehog's own books.
#[derive(Debug, Clone, Copy, Default)]
struct Books {
    taken: i64,
    damaged: i64,
    unconfirmed: i64,
}

/// What rounds came to.
#[derive(Debug, Default)]
struct Tally {
    answered: i64,
    /// Not at PostHog, and taken before a mark.
    lost_below: i64,
    /// Not at PostHog, and taken later.
    lost_above: i64,
    damaged: i64,
    unconfirmed: i64,
}

/// A journal that is damaged again and again.
struct Patient {
    directory: PathBuf,
    posthog: Running,
    moehog: Deployment,
    sent: Vec<Sent>,
    lost: HashSet<usize>,
    books: Books,
    /// Segments of which a file was damaged.
    damaged: HashSet<String>,
}

impl Patient {
    async fn start(directory: PathBuf, seed: u64) -> anyhow::Result<Self> {
        let mut chance = StdRng::seed_from_u64(seed);
        let posthog = posthog()?;
        let mut setup = Setup::new(Shape::One, &posthog.url(), KEY).set("journal.budget_bytes", "33554432");
        // what is delivered is let go now and then
        setup = setup.set("journal.retention", ["3s", "7d"][chance.random_range(0..2)]);
        setup = setup.set("journal.sync_records_every", ["200ms", "200ms", "1s"][chance.random_range(0..3)]);
        for expected in ["moehog_journal", "moehog_relay", "moehog_delivery", "moehog_transport"] {
            setup = setup.expect(expected);
        }
        setup.journal = Some(directory.join("journal"));
        let moehog = Deployment::start(setup).await?;
        Ok(Self {
            directory,
            posthog,
            moehog,
            sent: Vec::new(),
            lost: HashSet::new(),
            books: Books::default(),
            damaged: HashSet::new(),
        })
    }

    async fn round(&mut self, seed: u64) -> anyhow::Result<Tally> {
        let mut chance = StdRng::seed_from_u64(seed);
        let plan = Plan::draw(&mut chance);
        let from = self.sent.len();
        if plan.some_were_delivered {
            self.burst(plan, &mut chance).await?;
            self.moehog.settled(SOON).await?;
        }
        if !plan.delivers {
            self.posthog.down().await;
        }
        self.burst(plan, &mut chance).await?;
        let above = self.sent.len();
        self.end(plan, &mut chance).await?;
        let was_delivered = if plan.delivers { self.delivered(from) } else { 0 };

        let journal = self.moehog.journal_directory();
        let damage = Damage::draw(&journal, &mut chance)?;
        let words = format!("{plan:?}, {damage}");
        copy(&journal, &self.directory.join("undamaged"))?;
        damage.apply(&journal).with_context(|| words.clone())?;
        copy(&journal, &self.directory.join("damaged"))?;

        let line = self.moehog.log().lines().len();
        self.posthog.up()?;
        let begun = Instant::now();
        self.moehog.heal().await.with_context(|| format!("start after {words}"))?;
        let took = begun.elapsed();
        self.moehog.drained(SOON).await.with_context(|| format!("deliver after {words}"))?;
        let round = Round { from, above, was_delivered, line };
        let tally = self.compare(&round, &damage).await.with_context(|| words.clone())?;
        println!("seed {seed}, {words}: {tally:?}, started in {took:?}");
        Ok(tally)
    }

    /// Takes some webhooks and waits for the answers.
    async fn burst(&mut self, plan: Plan, chance: &mut StdRng) -> anyhow::Result<()> {
        let load = Load { own_ids: plan.own_ids, ..Load::new(4, chance.random()) };
        let sender = Sender::load(self.moehog.http()?, KEY, load);
        let count = chance.random_range(10..100);
        within(SOON, "webhooks are taken", async || (sender.taken() >= count).then_some(())).await?;
        self.sent.extend(sender.stop().await?);
        Ok(())
    }

    /// Ends the process when two marks were written while webhooks came: the second was begun after the burst was
    /// answered.
    async fn end(&mut self, plan: Plan, chance: &mut StdRng) -> anyhow::Result<()> {
        let busy = plan.end == End::KillUnderLoad;
        let (connections, pause) = if busy { (4, Duration::ZERO) } else { (1, Duration::from_millis(30)) };
        let load = Load { own_ids: plan.own_ids, pause, ..Load::new(connections, chance.random()) };
        let sender = Sender::load(self.moehog.http()?, KEY, load);
        for _ in 0..2 {
            let marks = self.moehog.journal_directory().join("marks");
            let before = modified(&marks);
            within(SOON, "a mark", async || modified(&marks).filter(|now| Some(*now) != before)).await?;
        }
        let sent = match plan.end {
            End::KillUnderLoad => {
                self.moehog.kill(Service::Moehog)?;
                sender.stop().await?
            }
            End::Kill | End::Stop => sender.stop().await?,
        };
        match plan.end {
            End::Stop => self.moehog.stop(Service::Moehog).await?,
            End::Kill => self.moehog.kill(Service::Moehog)?,
            End::KillUnderLoad => {}
        }
        self.sent.extend(sent);
        Ok(())
    }

    /// How many webhooks from this one on are at PostHog.
    fn delivered(&self, from: usize) -> usize {
        let stored = by_person(&self.posthog);
        self.sent[from..].iter().filter(|sent| sent.persons.iter().all(|person| stored.contains_key(person))).count()
    }

    /// The senders' book and PostHog's against moehog's.
    async fn compare(&mut self, round: &Round, damage: &Damage) -> anyhow::Result<Tally> {
        let (stored, lost_before) = (by_person(&self.posthog), mem::take(&mut self.lost));
        let mut judgement = judge(&self.sent, &stored, &dead_receipts(&self.moehog).await?, &[]);
        judgement.lost.clear();
        judgement.keep()?;
        let repeated = repeated_receipts(&self.sent);
        ensure!(repeated.is_empty(), "{} receipts were given out twice, the first {}", repeated.len(), repeated[0]);
        let shared = shared_uuids(&self.posthog);
        ensure!(shared.is_empty(), "{} uuids of several events, the first {}", shared.len(), shared[0]);

        for (number, sent) in self.sent.iter().enumerate().filter(|(_, sent)| sent.status == Some(200)) {
            match sent.persons.iter().filter(|person| stored.contains_key(*person)).count() {
                0 => drop(self.lost.insert(number)),
                count => ensure!(count == sent.persons.len(), "webhook {number} is there in part"),
            }
        }
        ensure!(lost_before.is_subset(&self.lost), "what was counted as lost came all the same");
        let lost: Vec<_> = self.lost.difference(&lost_before).copied().collect();
        let of_round = &self.sent[round.from..];
        let (answered, unanswered) = (count(of_round, Some(200)), count(of_round, None));
        let lost_below = lost.iter().filter(|number| **number < round.above).count() as i64;
        let books = Books::read(&self.moehog).await?;
        let (before, carried_was_lost) = (mem::replace(&mut self.books, books), self.has_logged(round.line, LOST));
        let tally = Tally {
            answered,
            lost_below,
            lost_above: lost.len() as i64 - lost_below,
            damaged: books.damaged - before.damaged,
            unconfirmed: books.unconfirmed - before.unconfirmed,
        };
        // the other file of the segment may have told of what this one did
        let both = !self.damaged.insert(damage.name.split('.').next().unwrap_or_default().to_string());
        if carried_was_lost {
            ensure!(lost.is_empty(), "{tally:?}: lost, and nothing but a book was damaged");
            return Ok(tally);
        }
        let slack = if both { i64::MAX / 2 } else { unanswered + round.was_delivered as i64 };
        tally.adds_up(damage.hides_the_last(), slack)?;
        let taken = books.taken - before.taken;
        // what came after the mark and was delivered may be forgotten
        let forgotten = if damage.hides_the_last() { round.was_delivered as i64 } else { 0 };
        let expected = answered - tally.lost_above - forgotten..=answered.saturating_add(slack);
        ensure!(expected.contains(&taken), "{tally:?}: moehog says that it took {taken}, expected {expected:?}");
        Ok(tally)
    }

    /// Whether a line from this one on holds `text`.
    fn has_logged(&self, line: usize, text: &str) -> bool {
        self.moehog.log().lines()[line..].iter().any(|line| line.text.contains(text))
    }
}

/// What is to be known of a round to judge it.
struct Round {
    /// Its first webhook.
    from: usize,
    /// The first that may not have been below the last mark.
    above: usize,
    /// How many of it PostHog had when the process ended, settled or not.
    was_delivered: usize,
    /// The first line of the log after the damage.
    line: usize,
}

impl Books {
    async fn read(moehog: &Deployment) -> anyhow::Result<Self> {
        let status = moehog.ask("/api/status").await?;
        let webhooks = &status["ledger"]["webhooks"];
        let number = |name: &str| webhooks[name].as_i64().with_context(|| format!("no `{name}` in {webhooks}"));
        Ok(Self { taken: number("taken")?, damaged: number("damaged")?, unconfirmed: number("unconfirmed")? })
    }
}

impl Tally {
    /// What was lost is counted: below the mark as damaged, above it at least as unconfirmed unless so much is gone
    /// that they are `hidden`. Nothing is counted that was not lost, but for `slack` webhooks: not answered, or not yet
    /// recorded.
    fn adds_up(&self, hidden: bool, slack: i64) -> anyhow::Result<()> {
        let (lost, counted) = (self.lost_below + self.lost_above, self.damaged + self.unconfirmed);
        ensure!(self.damaged >= self.lost_below, "{self:?}: lost below the mark and not counted");
        ensure!(hidden || counted >= lost, "{self:?}: lost above the mark and not counted");
        ensure!(counted <= lost.saturating_add(slack), "{self:?}: counted, and not lost (slack {slack})");
        Ok(())
    }

    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.lost_below += other.lost_below;
        self.lost_above += other.lost_above;
        self.damaged += other.damaged;
        self.unconfirmed += other.unconfirmed;
    }
}

fn count(sent: &[Sent], status: Option<u16>) -> i64 {
    sent.iter().filter(|sent| sent.status == status).count() as i64
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

/// Copies a directory's files over whatever is there.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[tokio::test]
async fn exactly_below_a_mark_and_as_unconfirmed_above_it() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 6)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    let mut total = Tally::default();
    for number in (0..rounds).step_by(ROUNDS_OF_A_DIRECTORY as usize) {
        let directory = tempfile::Builder::new().prefix("moehog-damage-").tempdir()?;
        let mut patient = Patient::start(directory.path().to_path_buf(), seed + number).await?;
        for number in number..rounds.min(number + ROUNDS_OF_A_DIRECTORY) {
            match patient.round(seed + number).await {
                Ok(tally) => total.add(&tally),
                Err(error) => {
                    let kept = directory.keep();
                    return Err(error.context(format!("seed {}, see {}", seed + number, kept.display())));
                }
            }
        }
        patient.moehog.finish().await?;
    }
    println!("{rounds} rounds: {total:?}");
    Ok(())
}
