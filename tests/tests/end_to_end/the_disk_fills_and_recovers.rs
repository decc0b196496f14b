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
