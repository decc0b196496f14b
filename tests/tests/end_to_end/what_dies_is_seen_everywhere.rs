use std::{collections::BTreeMap, process::Command};

use anyhow::ensure;
use moehog_emulator::posthog::Rule;
use moehog_tests::{Deployment, Log, Process, Setup, Shape, binary, eventually, from_soak, get, streams};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::world::{KEY, SOON, arrived, posthog, stream, taken};

const WORDS: &str = "invalid event could not be processed";
const BATCHES: u64 = 12;

/// Counts by source and reason.
type Sums = BTreeMap<String, u64>;

/// A storm of events of which some are good, some refused by PostHog, and some of which no event can be made.
async fn one_sum_in_tail_status_and_log(shape: Shape) -> anyhow::Result<()> {
    let seed = from_soak("MOEHOG_SEED", 25)?;
    println!("MOEHOG_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let posthog = posthog()?;
    posthog.faults().add(Rule::refuse("refused-person", WORDS));
    let moehog = Deployment::start(Setup::new(shape, &posthog.url(), KEY).expect("dead letters")).await?;
    let (log, printed) = (moehog.log().clone(), Log::default());
    let mut follow = Command::new(binary("moehog")?);
    follow.args(["tail", "--json", "--show-persons", "--admin", &moehog.admin()?.to_string()]);
    let mut tail = Process::start("tail", follow, &printed)?;
    eventually(SOON, "the tail begins", true, async || printed.count("from now on") > 0).await?;

    let (mut good, mut bad) = (0, 0);
    for batch in 0..BATCHES {
        let mut ids: Vec<_> = (0..chance.random_range(5..20)).map(|at| format!("person-{batch}-{at}")).collect();
        good += ids.len() as u64;
        for at in 0..chance.random_range(0..4) {
            // a placeholder that nobody filled is no person
            ids.push(format!("{{{{UserAttribute['ID{at}']}}}}"));
            bad += 1;
        }
        if batch % 3 == 1 {
            ids.push(format!("refused-person-{batch}"));
            bad += 1;
        }
        taken(&stream(&moehog, streams(&ids)).await?)?;
    }
    arrived(&posthog, good, SOON).await?;
    moehog.drained(SOON).await?;

    let states = || -> Sums {
        let lines = printed.lines();
        let states = lines.iter().filter_map(|line| line.field("state"));
        states.fold(Sums::new(), |mut sums, state| {
            *sums.entry(state).or_default() += 1;
            sums
        })
    };
    let counted = |state: &str| states().get(state).copied().unwrap_or_default();
    eventually(SOON, "what the tail says is dead", bad, async || counted("dead")).await?;
    ensure!(counted("delivered") == posthog.books().unique() && posthog.books().unique() == good, "{:?}", states());
    ensure!(counted("waiting") >= 1, "what was refused first waits for evidence: {:?}", states());
    let mut of_tail = Sums::new();
    for line in printed.lines().iter().filter(|line| line.field("state").as_deref() == Some("dead")) {
        *of_tail.entry(line.field("reason").unwrap_or_default()).or_default() += 1;
    }

    let status = get(moehog.admin()?, "/api/status").await?.json();
    let dead = status["dead_since_start"].as_array().cloned().unwrap_or_default();
    let of_status: Sums =
        dead.iter().filter_map(|dead| Some((dead["reason"].as_str()?.to_string(), dead["events"].as_u64()?))).collect();
    ensure!(of_tail == of_status && of_tail.len() == 2, "tail {of_tail:?}, status {of_status:?}");
    ensure!(status["ledger"]["events"]["dead"] == bad, "{}", status["ledger"]);
    let screen = Command::new(binary("moehog")?).args(["status", "--admin", &moehog.admin()?.to_string()]).output()?;
    let screen = String::from_utf8(screen.stdout)?;
    ensure!(of_status.iter().all(|(reason, count)| screen.contains(&format!("{count}  default {reason}"))), "{screen}");
    ensure!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");

    // the rest is said when the process ends
    moehog.finish().await?;
    let mut of_log = Sums::new();
    for line in log.lines() {
        if let (Some(reason), Some(events), Some(_)) =
            (line.field("reason"), line.field("events"), line.field("first_receipt"))
        {
            *of_log.entry(reason).or_default() += events.parse::<u64>()?;
        }
    }
    ensure!(of_log == of_tail, "log {of_log:?}, tail {of_tail:?}");
    let is_ended = async || tail.ended().is_ok_and(|ended| ended.is_some());
    eventually(SOON, "the tail ends with its gateway", true, is_ended).await
}

#[tokio::test]
async fn with_equal_sums_in_one_process() -> anyhow::Result<()> {
    one_sum_in_tail_status_and_log(Shape::One).await
}

#[tokio::test]
async fn with_equal_sums_in_three_processes() -> anyhow::Result<()> {
    one_sum_in_tail_status_and_log(Shape::Three).await
}
