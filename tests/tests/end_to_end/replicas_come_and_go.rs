use std::{net::Ipv4Addr, time::Duration};

use anyhow::ensure;
use moehog_emulator::posthog::Running;
use moehog_tests::{Deployment, Dns, Sender, Service, Setup, Shape, delivered, judge, within};

use super::world::{KEY, SOON, by_person, dead_receipts, posthog};

const SENDERS: u64 = 6;
const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A gateway that finds its deliveries by a name, of which it knows one so far, and a load.
async fn start(posthog: &Running, seed: u64) -> anyhow::Result<(Dns, Deployment, Sender)> {
    posthog.set_latency(Duration::from_millis(50));
    let dns = Dns::start(&[FIRST])?;
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .set("limits.concurrency", "2")
        .set("relay.deliver_max_events", "20")
        .expect("moehog_transport")
        .expect("moehog_relay")
        .deliveries_by_name(&dns)?;
    let moehog = Deployment::start(setup).await?;
    let sender = Sender::start(moehog.http()?, KEY, SENDERS, seed);
    within(SOON, "the load is under way", async || (sender.taken() > 50).then_some(())).await?;
    Ok((dns, moehog, sender))
}

/// Waits until the gateway has taken over what the name server says.
async fn known(moehog: &Deployment, hosts: &[Ipv4Addr]) -> anyhow::Result<()> {
    moehog_tests::known(moehog.log(), moehog.grpc(Service::Delivery)?.port(), hosts, SOON).await
}

async fn end(posthog: &Running, moehog: Deployment, sender: Sender) -> anyhow::Result<()> {
    let sent = sender.stop().await?;
    moehog.drained(Duration::from_secs(90)).await?;
    judge(&sent, &by_person(posthog), &dead_receipts(&moehog).await?, &[]).keep()?;
    let refused = sent.iter().filter(|sent| sent.status != Some(200)).count();
    ensure!(refused == 0, "{refused} webhooks were refused");
    moehog.finish().await
}

#[tokio::test]
async fn each_carries_its_share_and_one_that_leaves_loses_and_repeats_nothing() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let (dns, moehog, sender) = start(&posthog, 1).await?;
    let mut second = moehog.replica(Service::Delivery, SECOND).await?;
    let third = moehog.replica(Service::Delivery, THIRD).await?;
    dns.set(&[FIRST, SECOND, THIRD]);
    known(&moehog, &[FIRST, SECOND, THIRD]).await?;
    for replica in [&second, &third] {
        within(SOON, &format!("{} carries events", replica.host), async || {
            (delivered(replica.admin).await.unwrap_or(0) > 100).then_some(())
        })
        .await?;
    }
    // as a rolling update does it: out of the name first, then SIGTERM
    dns.set(&[FIRST, THIRD]);
    known(&moehog, &[FIRST, THIRD]).await?;
    second.process.stop(SOON).await?;
    let before = delivered(third.admin).await?;
    within(SOON, "the others go on", async || (delivered(third.admin).await.unwrap_or(0) > before + 100).then_some(()))
        .await?;
    let repeated: u64 = posthog.books().copies().values().map(|copies| copies - 1).sum();
    ensure!(repeated == 0, "{repeated} events were sent twice");
    end(&posthog, moehog, sender).await
}

#[tokio::test]
async fn one_that_stops_answering_holds_up_its_own_calls_only() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let (dns, moehog, sender) = start(&posthog, 2).await?;
    let second = moehog.replica(Service::Delivery, SECOND).await?;
    dns.set(&[FIRST, SECOND]);
    within(SOON, "the second carries events", async || {
        (delivered(second.admin).await.unwrap_or(0) > 100).then_some(())
    })
    .await?;
    second.process.pause()?;
    let before = posthog.books().unique();
    within(SOON, "the first goes on", async || (posthog.books().unique() > before + 1_000).then_some(())).await?;
    second.process.resume()?;
    end(&posthog, moehog, sender).await
}

#[tokio::test]
async fn one_that_is_killed_and_still_named_costs_no_webhook() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let (dns, moehog, sender) = start(&posthog, 3).await?;
    let mut second = moehog.replica(Service::Delivery, SECOND).await?;
    dns.set(&[FIRST, SECOND]);
    within(SOON, "the second carries events", async || {
        (delivered(second.admin).await.unwrap_or(0) > 100).then_some(())
    })
    .await?;
    second.process.kill()?;
    let before = posthog.books().unique();
    within(SOON, "the first goes on", async || (posthog.books().unique() > before + 1_000).then_some(())).await?;
    let again = moehog.replica(Service::Delivery, SECOND).await?;
    within(SOON, "it is used again", async || (delivered(again.admin).await.unwrap_or(0) > 100).then_some(())).await?;
    end(&posthog, moehog, sender).await
}
