//! A directory that is there twice: no receipt is given out by both, and no two events get one uuid.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::ensure;
use moehog_emulator::posthog::Running;
use moehog_tests::{
    Deployment, Load, Sender, Sent, Service, Setup, Shape, judge, repeated_receipts, shared_uuids, within,
};

use super::super::world::{KEY, SOON, by_person, dead_receipts, from_soak, posthog};

/// Webhooks that each life of the journal takes at least.
const MANY: usize = 60;

fn setup(posthog: &Running) -> Setup {
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY).set("journal.budget_bytes", "67108864");
    // PostHog is down now and then, and a copy of what is being written misses some of it
    for expected in ["moehog_journal", "moehog_relay", "moehog_delivery", "moehog_transport"] {
        setup = setup.expect(expected);
    }
    setup
}

/// Bodies without ids: moehog makes the uuids.
fn sender(moehog: &Deployment, seed: u64) -> anyhow::Result<Sender> {
    Ok(Sender::load(moehog.http()?, KEY, Load { own_ids: false, ..Load::new(4, seed) }))
}

async fn takes_many(sender: &Sender) -> anyhow::Result<()> {
    let taken = sender.taken();
    within(SOON, "webhooks are taken", async || (sender.taken() >= taken + MANY).then_some(())).await
}

/// As a person does it, without the lock.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    // a file that is renamed or removed meanwhile is no fault of the copy
    let status = Command::new("cp").arg("-r").arg(from).arg(to).stderr(Stdio::null()).status()?;
    ensure!(to.is_dir(), "cp ended with {status}");
    Ok(fs::remove_file(to.join("lock"))?)
}

async fn compare(sent: &[Sent], posthog: &Running, moehog: &[&Deployment]) -> anyhow::Result<()> {
    for one in moehog {
        one.drained(SOON).await?;
        ensure!(dead_receipts(one).await?.is_empty(), "dead letters");
    }
    judge(sent, &by_person(posthog), &[].into(), &[]).keep()?;
    let repeated = repeated_receipts(sent);
    ensure!(repeated.is_empty(), "{} of {} receipts twice, the first {}", repeated.len(), sent.len(), repeated[0]);
    let shared = shared_uuids(posthog);
    ensure!(shared.is_empty(), "{} uuids of several events, the first {}", shared.len(), shared[0]);
    Ok(())
}

async fn copied_while_it_runs(seed: u64) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let original = Deployment::start(setup(&posthog)).await?;
    // what waits is delivered by both
    posthog.down().await;
    let first = sender(&original, seed)?;
    takes_many(&first).await?;
    let journal = directory.path().join("journal");
    copy(&original.journal_directory(), &journal)?;
    let other = Deployment::start(Setup { journal: Some(journal), ..setup(&posthog) }).await?;
    let second = sender(&other, seed + 1)?;
    takes_many(&second).await?;
    posthog.up()?;
    takes_many(&first).await?;
    takes_many(&second).await?;
    let mut sent = first.stop().await?;
    sent.extend(second.stop().await?);
    compare(&sent, &posthog, &[&original, &other]).await?;
    let copies = posthog.books().counts();
    ensure!(copies.arrivals > copies.unique, "nothing that waited was copied: the test shows nothing");
    original.finish().await?;
    other.finish().await
}

async fn restored_in_place(seed: u64) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let mut setup = setup(&posthog);
    let journal = directory.path().join("journal");
    setup.journal = Some(journal.clone());
    let mut moehog = Deployment::start(setup).await?;
    let mut sent = Vec::new();
    let before = sender(&moehog, seed)?;
    takes_many(&before).await?;
    sent.extend(before.stop().await?);
    let process = moehog.process(Service::Moehog)?;
    process.pause()?;
    let snapshot = directory.path().join("snapshot");
    copy(&journal, &snapshot)?;
    process.resume()?;

    let between = sender(&moehog, seed + 1)?;
    takes_many(&between).await?;
    sent.extend(between.stop().await?);
    // what waited would be lost with the directory; that is no fault
    moehog.settled(SOON).await?;
    moehog.kill(Service::Moehog)?;
    fs::remove_dir_all(&journal)?;
    fs::rename(&snapshot, &journal)?;
    moehog.heal().await?;
    let after = sender(&moehog, seed + 2)?;
    takes_many(&after).await?;
    sent.extend(after.stop().await?);
    compare(&sent, &posthog, &[&moehog]).await?;
    moehog.finish().await
}

#[tokio::test]
async fn of_a_directory_that_was_copied_while_it_was_written_to() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 1)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    for number in 0..rounds.div_ceil(30) {
        copied_while_it_runs(seed + 2 * number).await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_a_snapshot_that_was_put_in_place_of_the_directory() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 1)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    for number in 0..rounds.div_ceil(30) {
        restored_in_place(seed + 3 * number).await?;
    }
    Ok(())
}
