//! Somebody else fills the file system of the journal, and gives the room back.

use std::time::{Duration, Instant};

use anyhow::ensure;
use moehog_tests::{Deployment, Sender, Setup, Shape, SmallDisk, judge, skip, within};

use super::super::world::{KEY, SOON, by_person, dead_receipts, from_soak, posthog};

const BYTES: u64 = 64 << 20;

#[tokio::test]
async fn and_nothing_is_lost_and_nothing_refused_when_it_has_gone() -> anyhow::Result<()> {
    let (rounds, seed) = (from_soak("MOEHOG_SOAK_ROUNDS", 1)?, from_soak("MOEHOG_SOAK_SEED", 1)?);
    for number in 0..rounds.div_ceil(30) {
        round(seed + number).await?;
    }
    Ok(())
}

async fn round(seed: u64) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = match SmallDisk::mount(&directory.path().join("disk"), BYTES) {
        Ok(disk) => disk,
        Err(error) => return skip("a neighbour fills the disk", &error),
    };
    let posthog = posthog()?;
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY);
    for expected in ["moehog_journal", "moehog_gateway", "moehog_relay", "moehog_delivery", "moehog_transport"] {
        setup = setup.expect(expected);
    }
    setup.journal = Some(directory.path().join("disk").join("journal"));
    setup.through = disk.through();
    let moehog = Deployment::start(setup).await?;
    let sender = Sender::start(moehog.http()?, KEY, 4, seed);
    let mut full = Vec::new();
    for time in 0..3 {
        let taken = sender.taken();
        within(SOON, "webhooks are taken", async || (sender.taken() > taken + 50).then_some(())).await?;
        // the second time nothing can be delivered, so nothing gives way
        if time == 1 {
            posthog.down().await;
        }
        let begun = Instant::now();
        disk.fill()?;
        if time == 1 {
            let mut last = sender.taken();
            within(SOON, "the full disk shows", async || {
                tokio::time::sleep(Duration::from_millis(200)).await;
                (std::mem::replace(&mut last, sender.taken()) == last).then_some(())
            })
            .await?;
        } else {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        disk.empty()?;
        full.push((begun, Instant::now()));
        posthog.up()?;
    }
    let taken = sender.taken();
    within(SOON, "webhooks are taken at the end", async || (sender.taken() > taken + 100).then_some(())).await?;
    let sent = sender.stop().await?;
    moehog.drained(Duration::from_secs(60)).await?;
    judge(&sent, &by_person(&posthog), &dead_receipts(&moehog).await?, &[]).keep()?;

    let refused: Vec<_> = sent.iter().filter(|sent| sent.status != Some(200)).collect();
    let meanwhile = |(from, until): &(Instant, Instant)| {
        refused.iter().filter(|sent| sent.ended >= *from && sent.begun <= *until).count()
    };
    println!(
        "seed {seed}: {} taken, {} refused, {:?} of them while the disk was full",
        sent.len() - refused.len(),
        refused.len(),
        full.iter().map(meanwhile).collect::<Vec<_>>()
    );
    ensure!(meanwhile(&full[1]) > 0, "none was refused though nothing could give way: the test shows nothing");
    let late = refused.iter().filter_map(|sent| {
        let behind = full.iter().rev().find(|(from, _)| sent.begun >= *from);
        behind
            .is_none_or(|(_, until)| sent.begun > *until)
            .then(|| (sent.status, behind.map(|full| sent.begun - full.1)))
    });
    let late: Vec<_> = late.collect();
    ensure!(late.is_empty(), "{} refused with room on the disk, the first {:?} (seed {seed})", late.len(), late[0]);
    moehog.finish().await
}
