use std::time::{Duration, Instant};

use anyhow::ensure;
use moehog_tests::{Deployment, Sender, Service, Setup, Shape, SmallDisk, connector, judge, skip, within};

use super::world::{KEY, SOON, by_person, capture, dead_receipts, posthog, taken};

#[tokio::test]
async fn and_nothing_is_lost_nor_a_restart_needed() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = match SmallDisk::mount(&directory.path().join("disk"), 48 << 20) {
        Ok(disk) => disk,
        Err(error) => return skip("the disk fills and recovers", &error),
    };
    let posthog = posthog()?;
    let mut setup = Setup::new(Shape::Three, &posthog.url(), KEY).set("journal.budget_bytes", "67108864");
    for expected in ["moehog_journal", "moehog_gateway", "moehog_relay", "moehog_delivery", "moehog_transport"] {
        setup = setup.expect(expected);
    }
    setup.journal = Some(directory.path().join("disk").join("journal"));
    setup.through = disk.through();
    let mut moehog = Deployment::start(setup).await?;
    let sender = Sender::start(moehog.http()?, KEY, 4, 11);
    within(SOON, "webhooks are taken", async || (sender.taken() > 50).then_some(())).await?;

    // what is delivered would give way
    posthog.down().await;
    disk.fill()?;
    // what is allocated ahead may still be used; then it refuses
    let filler = "x".repeat(200_000);
    let mut number = 0;
    within(Duration::from_secs(60), "the full disk shows", async || {
        number += 1;
        let body = connector(KEY, &format!("filler-{number}"), &format!("00000000-0000-4000-8000-{number:012x}"));
        let answer = capture(&moehog, body.replace("Winter Sale", &filler)).await.ok()?;
        (answer.status == 503).then_some(())
    })
    .await?;
    disk.empty()?;
    posthog.up()?;
    let before = sender.taken();
    within(SOON, "webhooks are taken again without a restart", async || (sender.taken() > before + 100).then_some(()))
        .await?;

    let kill = Instant::now();
    moehog.kill(Service::Gateway)?;
    moehog.heal().await?;
    let before = sender.taken();
    within(SOON, "webhooks are taken after the kill", async || (sender.taken() > before + 50).then_some(())).await?;
    let sent = sender.stop().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    moehog.drained(Duration::from_secs(90)).await?;
    let mut stored = by_person(&posthog);
    stored.retain(|person, _| !person.starts_with("filler-"));
    judge(&sent, &stored, &dead_receipts(&moehog).await?, &[kill]).keep()?;
    moehog.finish().await
}

/// What was delivered gives way: a budget of a few megabytes takes many times as much.
#[tokio::test]
async fn delivered_webhooks_fill_the_budget_and_none_is_refused() -> anyhow::Result<()> {
    const BUDGET: u64 = 16 << 20;
    const BYTES: usize = 100_000;
    let posthog = posthog()?;
    let setup = Setup::new(Shape::One, &posthog.url(), KEY).set("journal.budget_bytes", &BUDGET.to_string());
    let moehog = Deployment::start(setup).await?;
    let filler = "x".repeat(BYTES);
    // three times the budget
    let count = 3 * BUDGET / BYTES as u64;
    for number in 0..count {
        let body = connector(KEY, &format!("person-{number}"), &format!("00000000-0000-4000-8000-{number:012x}"));
        let answer = capture(&moehog, body.replace("Winter Sale", &filler)).await?;
        ensure!(answer.status == 200, "webhook {number} of {count}: {} {}", answer.status, answer.text());
        taken(&answer)?;
        if number % 20 == 0 {
            // what is not yet delivered may fill it; that is another promise
            moehog.settled(SOON).await?;
        }
    }
    moehog.drained(SOON).await?;
    ensure!(posthog.books().unique() == count, "{} of {count}", posthog.books().unique());
    let used = moehog.ask("/api/status").await?["journal"]["used_bytes"].as_u64().unwrap_or(u64::MAX);
    ensure!(used <= BUDGET, "{used} bytes in use of {BUDGET}");
    moehog.finish().await
}

/// A budget above the volume, as a size change that failed leaves it: the volume is the bound, and delivered webhooks
/// give way in time.
#[tokio::test]
async fn a_budget_that_the_volume_cannot_hold_refuses_nothing_that_was_delivered_before() -> anyhow::Result<()> {
    const VOLUME: u64 = 24 << 20;
    const BYTES: usize = 250_000;
    let directory = tempfile::tempdir()?;
    let disk = match SmallDisk::mount(&directory.path().join("disk"), VOLUME) {
        Ok(disk) => disk,
        Err(error) => return skip("a budget above the volume", &error),
    };
    let posthog = posthog()?;
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY).set("journal.budget_bytes", "1073741824");
    setup = setup.expect("journal.budget_bytes is more than its file system could ever hold");
    setup.journal = Some(directory.path().join("disk").join("journal"));
    setup.through = disk.through();
    let moehog = Deployment::start(setup).await?;
    let numbers = moehog.log().last(|line| Some((line.field("configured")?, line.field("in_force")?)));
    ensure!(numbers == Some(("1073741824".to_string(), (VOLUME - VOLUME / 20).to_string())), "{numbers:?}");
    let filler = "x".repeat(BYTES);
    for number in 0..3 * VOLUME / BYTES as u64 {
        let body = connector(KEY, &format!("person-{number}"), &format!("00000000-0000-4000-8000-{number:012x}"));
        let answer = capture(&moehog, body.replace("Winter Sale", &filler)).await?;
        ensure!(answer.status == 200, "webhook {number}: {} {}", answer.status, answer.text());
        if number % 10 == 0 {
            moehog.settled(SOON).await?;
        }
    }
    let budget = moehog.ask("/api/status").await?["journal"]["budget_bytes"].as_u64();
    ensure!(budget == Some(VOLUME - VOLUME / 20), "{budget:?}");
    moehog.drained(SOON).await?;
    moehog.finish().await
}
