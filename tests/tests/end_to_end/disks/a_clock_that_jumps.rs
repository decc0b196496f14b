//! The machine's clock is set far ahead and far back under load.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::ensure;
use moehog_emulator::posthog::{Action, Rule};
use moehog_tests::{
    BAD, Deployment, FakeClock, Load, Sender, Service, Setup, Shape, judge, shared_uuids, skip, within,
};

use super::super::world::{KEY, SOON, by_person, dead_letters, dead_receipts, from_soak, posthog};

/// How long each jump lasts: some passes of maintenance.
const JUMP: Duration = Duration::from_secs(3);

#[tokio::test]
#[ignore = "needs libfaketime: cargo xtask soak disks"]
async fn deletes_no_dead_letter_and_loses_nothing() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 1)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    for number in 0..rounds.div_ceil(100) {
        round(seed + number).await?;
    }
    Ok(())
}

async fn round(seed: u64) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let clock = match FakeClock::new(directory.path()) {
        Ok(clock) => clock,
        Err(error) => return skip("a clock that jumps", &error),
    };
    let posthog = posthog()?;
    posthog.faults().add(Rule::refuse(BAD, "invalid event could not be processed"));
    let mut lost = Rule::always(Action::AnswerLost);
    lost.when.probability = Some(0.1);
    // a rule for the events is asked after the one that refuses bad ones, not before it
    lost.when.min_events = Some(1);
    posthog.faults().add(lost);
    let mut setup = clock.sets(Setup::new(Shape::One, &posthog.url(), KEY)).set("journal.budget_bytes", "268435456");
    for expected in ["the clock has jumped", "moehog_relay", "moehog_delivery", "moehog_transport"] {
        setup = setup.expect(expected);
    }
    let mut moehog = Deployment::start(setup).await?;
    let load = Load { bad: true, pause: Duration::from_millis(10), ..Load::new(3, seed) };
    let sender = Sender::load(moehog.http()?, KEY, load);
    let kept =
        within(SOON, "dead letters", async || dead_receipts(&moehog).await.ok().filter(|receipts| receipts.len() >= 5))
            .await?;
    // sealed files are what may be deleted
    moehog.stop(Service::Moehog).await?;
    moehog.heal().await?;
    let mut kills = Vec::new();
    for offset in ["+31d", "-400d"] {
        clock.set(offset)?;
        tokio::time::sleep(JUMP).await;
        clock.set("+0")?;
        tokio::time::sleep(JUMP).await;
        // and a process that starts with a wrong clock, which is then set right
        clock.set(offset)?;
        kills.push(Instant::now());
        moehog.kill(Service::Moehog)?;
        moehog.heal().await?;
        tokio::time::sleep(JUMP).await;
        clock.set("+0")?;
        tokio::time::sleep(JUMP).await;
    }
    let taken = sender.taken();
    within(SOON, "webhooks are taken", async || (sender.taken() > taken + 50).then_some(())).await?;
    let sent = sender.drain(&moehog, Duration::from_secs(90)).await?;

    let receipts = dead_receipts(&moehog).await?;
    let judgement = judge(&sent, &by_person(&posthog), &receipts, &kills);
    judgement.keep()?;
    let gone: HashSet<_> = kept.difference(&receipts).collect();
    ensure!(gone.is_empty(), "{} dead letters of {} are gone (seed {seed})", gone.len(), kept.len());
    let journal = moehog.ask("/api/status").await?["journal"].clone();
    ensure!(journal["dead_letters_dropped"] == 0, "dead letters were dropped: {journal}");
    ensure!(moehog.log().count("the clock has jumped") > 0, "no process saw a jump: the test shows nothing");
    let shared = shared_uuids(&posthog);
    ensure!(shared.is_empty(), "{} uuids under two keys, the first {} (seed {seed})", shared.len(), shared[0]);
    println!("seed {seed}: {} taken, {} dead letters kept", judgement.taken, dead_letters(&moehog).await?.len());
    moehog.finish().await
}
