use std::time::{Duration, Instant};

use anyhow::ensure;
use moehog_emulator::posthog::Rule;
use moehog_tests::{Deployment, Setup, Shape, connector, eventually, within};

use super::world::{IN_TIME, KEY, SOON, arrived, by_person, capture, posthog, posthog_with, taken};

const OTHER: &str = "phc_other";

fn uuid(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn two_destinations(posthog: &str, key: &str) -> Setup {
    Setup::new(Shape::One, posthog, key)
        .section(&format!("[destinations.other]\napi_key = \"{OTHER}\"\nhost = \"{posthog}\"\n"))
}

/// The tests' key belongs to the EU project; the deployment delivers to the US.
#[tokio::test]
async fn a_wrong_key_holds_names_the_other_region_and_everything_arrives_once_right() -> anyhow::Result<()> {
    let (us, eu) = (posthog_with([OTHER, "phc_right"])?, posthog_with([KEY])?);
    let setup = two_destinations(&us.url(), KEY)
        .set("posthog.regions.us", &us.url())
        .set("posthog.regions.eu", &eu.url())
        .set("posthog.key_check_retry", "1s")
        .set("relay.hold_probe_first", "300ms")
        .set("relay.hold_probe_max", "1s");
    let mut moehog = Deployment::start(setup).await?;
    moehog.expect("held");
    moehog.expect("key");
    for number in 0..20 {
        taken(&capture(&moehog, connector(KEY, &format!("held-{number}"), &uuid(number))).await?)?;
    }
    within(SOON, "the log says why and names the region", async || {
        let names = |line: &moehog_tests::Line| (line.complains() && line.text.contains("eu")).then_some(());
        moehog.log().last(names)
    })
    .await?;
    // another key's events flow meanwhile
    let begun = Instant::now();
    for number in 20..40 {
        taken(&capture(&moehog, connector(OTHER, &format!("flows-{number}"), &uuid(number))).await?)?;
    }
    arrived(&us, 20, SOON).await?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "the other lane took {:?}", begun.elapsed());
    eventually(SOON, "webhooks that wait", Some(20), async || {
        moehog.ask("/api/status").await.ok()?["ledger"]["webhooks"]["waiting"].as_u64()
    })
    .await?;
    let dropped = us.books().counts().dropped;
    ensure!(
        dropped.is_empty() || dropped.values().sum::<u64>() == 0,
        "sent with the wrong key and dropped: {dropped:?}"
    );

    let service = moehog.keeper();
    moehog.stop(service).await?;
    moehog.reconfigure(|setup| Setup { file: setup.file.replacen(KEY, "phc_right", 1), ..setup })?;
    moehog.launch(service).await?;
    moehog.drained(SOON).await?;
    let stored = by_person(&us);
    let held = (0..20).filter(|number| stored.get(&format!("held-{number}")) == Some(&1)).count();
    ensure!(held == 20, "{held} of the 20 held webhooks arrived with the right key");
    moehog.finish().await
}

#[tokio::test]
async fn a_destination_that_answers_503_slows_no_other_and_takes_no_memory() -> anyhow::Result<()> {
    let (broken, well) = (posthog_with([KEY])?, posthog_with([OTHER])?);
    let setup = Setup::new(Shape::One, &broken.url(), KEY)
        .section(&format!("[destinations.other]\napi_key = \"{OTHER}\"\nhost = \"{}\"\n", well.url()));
    let mut moehog = Deployment::start(setup).await?;
    for expected in ["moehog_relay", "moehog_delivery"] {
        moehog.expect(expected);
    }
    // both lanes are open, and memory has what two lanes need
    taken(&capture(&moehog, connector(KEY, "first", &uuid(1))).await?)?;
    taken(&capture(&moehog, connector(OTHER, "first", &uuid(2))).await?)?;
    arrived(&broken, 1, SOON).await?;
    arrived(&well, 1, SOON).await?;
    broken.faults().add(Rule::status(503).named("down"));
    let filler = "x".repeat(20_000);
    let service = moehog.keeper();
    for number in 10..110 {
        let body = connector(KEY, &format!("waits-{number}"), &uuid(number)).replace("Winter Sale", &filler);
        taken(&capture(&moehog, body).await?)?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = moehog.process(service)?.resident_bytes()?;
    // 100 MB more wait
    let (mut sent, mut slowest) = (1, Duration::ZERO);
    for number in 110..5_110 {
        let body = connector(KEY, &format!("waits-{number}"), &uuid(number)).replace("Winter Sale", &filler);
        taken(&capture(&moehog, body).await?)?;
        if number % 100 == 0 {
            let begun = Instant::now();
            taken(&capture(&moehog, connector(OTHER, &format!("flows-{number}"), &uuid(number + 100_000))).await?)?;
            sent += 1;
            arrived(&well, sent, SOON).await?;
            slowest = slowest.max(begun.elapsed());
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = moehog.process(service)?.resident_bytes()?;
    ensure!(slowest < IN_TIME, "the other lane's slowest event took {slowest:?}");
    // the relay may hold its share of bytes in flight, whatever waits
    ensure!(after < before + 60_000_000, "memory went from {before} to {after} while 100 MB more waited");
    broken.faults().clear();
    moehog.drained(Duration::from_secs(60)).await?;
    ensure!(broken.books().unique() == 5_101, "{} of 5,101 after the outage", broken.books().unique());
    moehog.finish().await
}

#[tokio::test]
async fn a_key_that_nobody_configured_is_refused_and_nothing_is_stored() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    let answer = capture(&moehog, connector("phc_stranger", "person", &uuid(1))).await?;
    ensure!(answer.status == 401, "answered {}: {}", answer.status, answer.text());
    let status = moehog.ask("/api/status").await?;
    ensure!(status["ledger"]["webhooks"]["taken"] == 0, "{}", status["ledger"]);
    moehog.finish().await
}
