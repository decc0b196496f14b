use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Action, Rule, Running};
use moehog_tests::{Deployment, Sender, Service, Setup, Shape, judge, within};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::world::{KEY, SOON, by_person, dead_receipts, from_soak, posthog, posthog_with, with_route};

const SENDERS: u64 = 6;

/// One round: load, a kill at a moment that the seed draws, a restart while the load goes on, and the books compared.
async fn round(shape: Shape, victims: &[Service], seed: u64) -> anyhow::Result<()> {
    let posthog = posthog()?;
    killed(Setup::new(shape, &posthog.url(), KEY), &posthog, victims, seed).await
}

async fn killed(mut setup: Setup, posthog: &Running, victims: &[Service], seed: u64) -> anyhow::Result<()> {
    let mut chance = StdRng::seed_from_u64(seed);
    // now and then an answer is lost or late, so that a kill meets retries as well
    let mut lost = Rule::always(Action::AnswerLost);
    lost.when.probability = Some(0.05);
    posthog.faults().add(lost);
    // what a worker that is gone looks like from the others, and what a lost answer does
    for expected in ["moehog_relay", "moehog_delivery", "moehog_transport", "torn", "recover"] {
        setup = setup.expect(expected);
    }
    let mut moehog = Deployment::start(setup).await?;
    let sender = Sender::start(moehog.http()?, KEY, SENDERS, seed);
    within(SOON, "the load is under way", async || (sender.taken() > 50).then_some(())).await?;
    tokio::time::sleep(Duration::from_millis(chance.random_range(0..700))).await;

    let mut kills = Vec::new();
    for victim in victims {
        if victim.keeps_journal() {
            kills.push(Instant::now());
        }
        moehog.kill(*victim)?;
    }
    tokio::time::sleep(Duration::from_millis(chance.random_range(0..400))).await;
    moehog.heal().await?;
    let taken = sender.taken();
    within(SOON, "webhooks are taken again", async || (sender.taken() > taken + 50).then_some(())).await?;
    // a refusal binds a process that lives two more seconds
    let sent = sender.stop().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    moehog.drained(Duration::from_secs(90)).await?;

    let judgement = judge(&sent, &by_person(posthog), &dead_receipts(&moehog).await?, &kills);
    println!("seed {seed}, {victims:?}: {} taken, {} undecided", judgement.taken, judgement.undecided);
    judgement.keep().with_context(|| format!("seed {seed}, {victims:?} killed"))?;
    let refused = sent.iter().filter(|sent| sent.status.is_some_and(|status| status != 200)).count();
    ensure!(!kills.is_empty() || refused == 0, "{refused} refused though only workers were killed (seed {seed})");
    moehog.finish().await
}

#[tokio::test]
async fn of_each_service_in_turn_and_of_all_at_once() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 2)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    let all = [Service::Gateway, Service::Transformer, Service::Delivery];
    // the slice for CI takes the whole deployment and the service that keeps the journal
    let victims: [&[Service]; 4] = [&all, &all[..1], &all[1..2], &all[2..]];
    for (number, victims) in (0..rounds).zip(victims.into_iter().cycle()) {
        round(Shape::Three, victims, seed + number).await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_the_one_process() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 2)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    for number in 0..rounds.div_ceil(2) {
        round(Shape::One, &[Service::Moehog], seed + 1_000 + number).await?;
    }
    Ok(())
}

/// Webhooks whose rules pick the project are handed from lane to lane: a kill meets that as well.
#[tokio::test]
async fn on_the_way_to_the_project_that_a_rule_picks() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 2)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    let directory = tempfile::tempdir()?;
    let mapping = directory.path().join("mapping.toml");
    // ids are hexadecimal
    fs::write(&mapping, "[[rule]]\nsource = \"default\"\nwhen = \"uid < '8'\"\ndestination = \"eu\"\n")?;
    for number in 0..rounds {
        let posthog = posthog_with([KEY, "phc_of_eu"])?;
        let setup = Setup::new(Shape::Three, &posthog.url(), KEY);
        let setup = with_route(setup, "phc_of_eu", &posthog.url(), &mapping);
        let all = [Service::Gateway, Service::Transformer, Service::Delivery];
        let victims = if number % 2 == 0 { &all[..1] } else { &all[..] };
        killed(setup, &posthog, victims, seed + 2_000 + number).await?;
        let events = posthog.books().events();
        let routed: Vec<_> =
            events.iter().filter(|event| event.properties()["moehog"]["source"] == "default").collect();
        ensure!(routed.len() > 50, "{} events were routed: the test shows nothing", routed.len());
        let strays =
            routed.iter().filter(|event| (event.distinct_id.as_str() < "8") != (&*event.key == "phc_of_eu")).count();
        ensure!(strays == 0, "{strays} of {} events are in the other project", routed.len());
    }
    Ok(())
}
