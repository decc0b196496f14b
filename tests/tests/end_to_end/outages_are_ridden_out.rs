use std::time::Duration;

use anyhow::ensure;
use moehog_tests::{Deployment, Sender, Service, Setup, Shape, judge, within};

use super::world::{IN_TIME, KEY, SOON, by_person, capture, dead_receipts, posthog, taken};

fn three(posthog: &str) -> Setup {
    let mut setup = Setup::new(Shape::Three, posthog, KEY);
    for expected in ["moehog_relay", "moehog_delivery", "moehog_transport"] {
        setup = setup.expect(expected);
    }
    setup
}

/// Stopping any one process, in good order, while webhooks come in.
async fn stopping(service: Service) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut moehog = Deployment::start(three(&posthog.url())).await?;
    let sender = Sender::start(moehog.http()?, KEY, 4, 7);
    within(SOON, "the load is under way", async || (sender.taken() > 30).then_some(())).await?;
    moehog.stop(service).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    moehog.heal().await?;
    let before = sender.taken();
    within(SOON, "webhooks are taken again", async || (sender.taken() > before + 30).then_some(())).await?;
    let sent = sender.stop().await?;
    moehog.drained(Duration::from_secs(60)).await?;
    let judgement = judge(&sent, &by_person(&posthog), &dead_receipts(&moehog).await?, &[]);
    judgement.keep()?;
    moehog.finish().await
}

#[tokio::test]
async fn stopping_the_gateway_loses_nothing() -> anyhow::Result<()> {
    stopping(Service::Gateway).await
}

#[tokio::test]
async fn stopping_the_transformer_loses_nothing() -> anyhow::Result<()> {
    stopping(Service::Transformer).await
}

#[tokio::test]
async fn stopping_delivery_loses_nothing() -> anyhow::Result<()> {
    stopping(Service::Delivery).await
}

#[tokio::test]
async fn with_workers_and_posthog_down_webhooks_are_answered_and_arrive_later() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut moehog = Deployment::start(three(&posthog.url())).await?;
    posthog.down().await;
    moehog.kill(Service::Transformer)?;
    moehog.kill(Service::Delivery)?;
    let mut slowest = Duration::ZERO;
    for number in 0..200 {
        let person = format!("person-{number}");
        let body = moehog_tests::connector(KEY, &person, &format!("00000000-0000-4000-8000-{number:012x}"));
        let answer = capture(&moehog, body).await?;
        taken(&answer)?;
        slowest = slowest.max(answer.took);
    }
    ensure!(slowest < IN_TIME, "an answer took {slowest:?} while nothing but the gateway ran");
    ensure!(posthog.books().unique() == 0, "PostHog was not down");
    moehog.heal().await?;
    posthog.up()?;
    moehog.drained(Duration::from_secs(60)).await?;
    let stored = by_person(&posthog);
    ensure!(stored.len() == 200 && stored.values().all(|count| *count == 1), "{} of 200 persons", stored.len());
    moehog.finish().await
}

/// A paused process keeps its ports and answers nothing: worse than a dead one.
#[tokio::test]
async fn a_paused_delivery_delays_and_loses_nothing() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut moehog = Deployment::start(three(&posthog.url())).await?;
    taken(&capture(&moehog, moehog_tests::connector(KEY, "before", "00000000-0000-4000-8000-000000000001")).await?)?;
    super::world::arrived(&posthog, 1, SOON).await?;
    moehog.process(Service::Delivery)?.pause()?;
    let answer =
        capture(&moehog, moehog_tests::connector(KEY, "during", "00000000-0000-4000-8000-000000000002")).await?;
    taken(&answer)?;
    ensure!(answer.took < IN_TIME, "answered after {:?}", answer.took);
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(posthog.books().unique() == 1, "delivery was not paused");
    moehog.process(Service::Delivery)?.resume()?;
    super::world::arrived(&posthog, 2, SOON).await?;
    moehog.finish().await
}
