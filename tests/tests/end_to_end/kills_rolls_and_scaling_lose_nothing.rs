use std::{
    fmt,
    ops::AddAssign,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Action, ResetAt, Rule, Running};
use moehog_tests::{BAD, Deployment, Fleets, Load, Move, Sender, Sent, Service, Setup, judge, within};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::Mutex;

use super::world::{KEY, SOON, by_person, dead_letters, from_soak, posthog};

const TRANSFORMERS: usize = 2;
const DELIVERIES: usize = 4;
const SENDERS: u64 = 6;

/// What PostHog does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PostHog {
    IsWell,
    LosesAnswers,
    Answers503,
    ResetsConnections,
    IsSlow,
    IsDown,
}

/// What a round does, all at once, each after a moment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    deliveries: Move,
    transformers: Option<Move>,
    kills_gateway: bool,
    posthog: PostHog,
}

impl Plan {
    fn draw(chance: &mut StdRng) -> Self {
        let posthog = [
            PostHog::IsWell,
            PostHog::LosesAnswers,
            PostHog::Answers503,
            PostHog::ResetsConnections,
            PostHog::IsSlow,
            PostHog::IsDown,
        ];
        Self {
            deliveries: draw(DELIVERIES, chance),
            transformers: chance.random_ratio(2, 3).then(|| draw(TRANSFORMERS, chance)),
            kills_gateway: chance.random(),
            posthog: posthog[chance.random_range(0..posthog.len())],
        }
    }
}

/// One move of a fleet of this size.
fn draw(size: usize, chance: &mut StdRng) -> Move {
    match chance.random_range(0..5) {
        0 => Move::Kill(chance.random_range(1..=size)),
        1 => Move::Restart,
        2 => Move::Roll(chance.random_range(1..=size)),
        3 if chance.random() => Move::Scale(chance.random_range(size + 1..=size + 2)),
        3 => Move::Scale(chance.random_range(1..size)),
        _ => Move::Pause(Duration::from_millis(chance.random_range(500..3_000))),
    }
}

/// What rounds came to.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    webhooks: usize,
    events: u64,
    dead: u64,
    /// Copies that PostHog stored beside the first.
    resent: u64,
    kills: usize,
    /// Webhooks without a 200 while the gateway was down.
    refused: usize,
    undecided: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.webhooks += other.webhooks;
        self.events += other.events;
        self.dead += other.dead;
        self.resent += other.resent;
        self.kills += other.kills;
        self.refused += other.refused;
        self.undecided += other.undecided;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { webhooks, events, dead, resent, kills, refused, undecided } = self;
        write!(
            formatter,
            "{webhooks} webhooks taken, {events} events at PostHog, {dead} dead letters of bad events, {resent} copies \
             sent again, {kills} processes killed, {refused} webhooks without a 200 while the gateway was down, of which \
             {undecided} events arrived"
        )
    }
}

/// Time in which the gateway could not answer.
type Down = Option<(Instant, Instant)>;

/// One round: load, what the plan says, and when all is settled the three books compared.
async fn round(seed: u64) -> anyhow::Result<Tally> {
    let mut chance = StdRng::seed_from_u64(seed);
    let plan = Plan::draw(&mut chance);
    let posthog = posthog()?;
    posthog.set_latency(Duration::from_millis(20));
    posthog.faults().add(Rule::refuse(BAD, "invalid event could not be processed"));
    // the gateway is killed too
    let adapt = |setup: Setup| setup.expect("torn").expect("recover");
    let fleets = Fleets::start((&posthog.url(), KEY), (TRANSFORMERS, DELIVERIES), adapt).await?;
    let Fleets { moehog, mut transformers, mut deliveries } = fleets;
    let load = Load { pause: Duration::from_millis(2), bad: true, ..Load::new(SENDERS, seed) };
    let sender = Sender::load(moehog.http()?, KEY, load);
    within(SOON, "the load is under way", async || (sender.taken() > 50).then_some(())).await?;

    let moehog = Mutex::new(moehog);
    let mut own = || StdRng::seed_from_u64(chance.random());
    let (mut one, mut two, mut three, mut four) = (own(), own(), own(), own());
    let (_, _, down, ()) = tokio::try_join!(
        async {
            moment(&mut one).await;
            deliveries.make(plan.deliveries, &mut one, &moehog).await.context("deliveries")
        },
        async {
            moment(&mut two).await;
            let Some(made) = plan.transformers else { return Ok(()) };
            transformers.make(made, &mut two, &moehog).await.context("transformers")
        },
        async {
            moment(&mut three).await;
            if plan.kills_gateway { kill_gateway(&moehog, &mut three).await.map(Some) } else { Ok(None) }
        },
        async {
            moment(&mut four).await;
            trouble(&posthog, plan.posthog).await
        },
    )?;
    let taken = sender.taken();
    within(SOON, "webhooks are taken", async || (sender.taken() > taken + 50).then_some(())).await?;
    let moehog = moehog.into_inner();
    let sent = sender.drain(&moehog, Duration::from_secs(60)).await?;

    let mut tally = compare(&posthog, &moehog, &sent, down).await?;
    tally.kills = usize::from(down.is_some());
    for made in [Some(plan.deliveries), plan.transformers] {
        tally.kills += if let Some(Move::Kill(count)) = made { count } else { 0 };
    }
    println!("seed {seed}: {plan:?}: {tally}");
    moehog.finish().await?;
    transformers.finish().await?;
    deliveries.finish().await?;
    Ok(tally)
}

async fn moment(chance: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(chance.random_range(0..1_000))).await;
}

async fn kill_gateway(moehog: &Mutex<Deployment>, chance: &mut StdRng) -> anyhow::Result<(Instant, Instant)> {
    let mut moehog = moehog.lock().await;
    let from = Instant::now();
    moehog.kill(Service::Gateway)?;
    tokio::time::sleep(Duration::from_millis(chance.random_range(0..600))).await;
    moehog.launch(Service::Gateway).await?;
    Ok((from, Instant::now()))
}

async fn trouble(posthog: &Running, kind: PostHog) -> anyhow::Result<()> {
    let sometimes = |mut rule: Rule| {
        rule.when.probability = Some(0.1);
        posthog.faults().add(rule.named("trouble"));
    };
    match kind {
        PostHog::IsWell => return Ok(()),
        PostHog::LosesAnswers => {
            let mut lost = Rule::always(Action::AnswerLost);
            // a rule for the events is asked after the one that refuses bad ones, not before it
            lost.when.min_events = Some(1);
            sometimes(lost);
        }
        PostHog::Answers503 => sometimes(Rule::status(503)),
        PostHog::ResetsConnections => sometimes(Rule::always(Action::Reset { at: ResetAt::MidBody })),
        PostHog::IsSlow => sometimes(Rule::always(Action::Delay { ms: 1_000 })),
        PostHog::IsDown => posthog.down().await,
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    posthog.faults().remove("trouble");
    Ok(posthog.up()?)
}

/// The sender's book, the journal's and PostHog's.
async fn compare(posthog: &Running, moehog: &Deployment, sent: &[Sent], down: Down) -> anyhow::Result<Tally> {
    let letters = dead_letters(moehog).await?;
    let receipts = letters.iter().filter_map(|letter| letter["receipt"].as_str().map(str::to_string)).collect();
    let kills: Vec<_> = down.iter().map(|(from, _)| *from).collect();
    let judgement = judge(sent, &by_person(posthog), &receipts, &kills);
    judgement.keep()?;

    let answered: Vec<_> = sent.iter().filter(|sent| sent.status == Some(200)).collect();
    let refused: Vec<_> = sent.iter().filter(|sent| sent.status != Some(200)).collect();
    let excused = |sent: &Sent| down.is_some_and(|(from, until)| sent.ended >= from && sent.begun <= until);
    let odd: Vec<_> = refused.iter().filter(|sent| !excused(sent)).map(|sent| sent.status).collect();
    ensure!(odd.is_empty(), "{} webhooks without a 200 though the gateway ran, the first: {:?}", odd.len(), odd[0]);

    let ledger = moehog.ask("/api/status").await?["ledger"].clone();
    let count = |book: &Value, field: &str| book[field].as_u64().with_context(|| format!("no `{field}` in {book}"));
    let (webhooks, events) = (&ledger["webhooks"], &ledger["events"]);
    // one that was journaled and not answered, since its gateway was killed between, is in the journal too
    let unanswered = refused.iter().filter(|sent| sent.status.is_none()).count();
    let (least, most) = (answered.len() as u64, (answered.len() + unanswered) as u64);
    let taken = count(webhooks, "taken")?;
    ensure!((least..=most).contains(&taken), "{taken} webhooks in the journal, {least} to {most} at the sender");
    let counts = posthog.books().counts();
    let delivered = count(events, "delivered")? + count(events, "delivered_degraded")?;
    ensure!(delivered == counts.unique, "{delivered} delivered events in the journal, {} at PostHog", counts.unique);
    let known = |letter: &&Value| answered.iter().any(|sent| sent.receipt.as_deref() == letter["receipt"].as_str());
    let (dead, bad) = (letters.iter().filter(known).count(), answered.iter().map(|sent| sent.bad.len()).sum::<usize>());
    ensure!(dead == bad, "{dead} dead letters for {bad} bad events");
    ensure!(count(events, "dead")? == letters.len() as u64, "{} dead letters, but {events}", letters.len());
    Ok(Tally {
        webhooks: answered.len(),
        events: counts.unique,
        dead: letters.len() as u64,
        resent: counts.arrivals - counts.unique,
        kills: 0,
        refused: refused.len(),
        undecided: judgement.undecided,
    })
}

/// Two rounds; `cargo xtask soak rolls` has fifty.
#[tokio::test]
async fn in_seeded_rounds_under_load() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 2)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    let (begun, mut sum) = (Instant::now(), Tally::default());
    for seed in seed..seed + rounds {
        let again = || format!("seed {seed}; alone: cargo xtask soak rolls --rounds 1 --seed {seed}");
        sum += round(seed).await.with_context(again)?;
    }
    println!("{rounds} rounds in {:.0} s: {sum}", begun.elapsed().as_secs_f64());
    Ok(())
}

#[test]
fn fifty_seeds_make_every_move_of_both_fleets() {
    let plans: Vec<_> = (1..=50).map(|seed| Plan::draw(&mut StdRng::seed_from_u64(seed))).collect();
    let kind = |made: Move| format!("{made:?}").split('(').next().map(str::to_string);
    let kinds = |moves: Vec<Move>| moves.into_iter().map(kind).collect::<std::collections::HashSet<_>>();
    assert_eq!(kinds(plans.iter().map(|plan| plan.deliveries).collect()).len(), 5);
    assert_eq!(kinds(plans.iter().filter_map(|plan| plan.transformers).collect()).len(), 5);
    assert!(plans.iter().any(|plan| plan.kills_gateway));
    let troubles: std::collections::HashSet<_> = plans.iter().map(|plan| format!("{:?}", plan.posthog)).collect();
    assert_eq!(troubles.len(), 6);
}
