//! What a load balancer that probes the public port is told: whether webhooks sent there would be kept.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, ensure};
use moehog_tests::{Deployment, Service, Setup, Shape, SmallDisk, connector, get, post, skip, tutorial, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::world::{KEY, SOON, capture, posthog, taken};

/// The statuses of `/`, `/livez`, `/readyz` on the public port, and of `/readyz` on the admin port.
async fn probed(moehog: &Deployment) -> anyhow::Result<[u16; 4]> {
    let http = moehog.http()?;
    let mut statuses = [0; 4];
    for (status, path) in statuses.iter_mut().zip(["/", "/livez", "/readyz"]) {
        *status = get(http, path).await?.status;
    }
    statuses[3] = get(moehog.admin()?, "/readyz").await?.status;
    Ok(statuses)
}

/// Posts webhooks of many kilobytes until one is refused, and gives the code.
async fn refused(moehog: &Deployment) -> anyhow::Result<String> {
    let filler = "x".repeat(200_000);
    let mut number = 0;
    within(Duration::from_secs(60), "a webhook is refused", async || {
        number += 1;
        let body = connector(KEY, &format!("filler-{number}"), &format!("00000000-0000-4000-8000-{number:012x}"));
        let answer = capture(moehog, body.replace("Winter Sale", &filler)).await.ok()?;
        (answer.status == 503).then(|| answer.json()["error"].as_str().unwrap_or_default().to_string())
    })
    .await
}

#[tokio::test]
async fn a_gateway_whose_disk_fails_is_unready_until_it_works_again_though_nobody_sends_to_it() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = match SmallDisk::mount(&directory.path().join("disk"), 24 << 20) {
        Ok(disk) => disk,
        Err(error) => return skip("an unready gateway whose disk fails", &error),
    };
    for shape in [Shape::Three, Shape::One] {
        let posthog = posthog()?;
        let mut setup = Setup::new(shape, &posthog.url(), KEY).set("journal.budget_bytes", "16777216");
        for expected in ["moehog_journal", "moehog_gateway", "moehog_relay", "moehog_delivery"] {
            setup = setup.expect(expected);
        }
        setup.journal = Some(directory.path().join("disk").join(format!("{shape:?}")));
        setup.through = disk.through();
        let moehog = Deployment::start(setup).await?;
        taken(&capture(&moehog, tutorial(KEY, "before")[0].clone()).await?)?;
        ensure!(probed(&moehog).await? == [200; 4], "{shape:?}: {:?}", probed(&moehog).await?);

        // what is delivered would give way
        posthog.down().await;
        disk.fill()?;
        within(Duration::from_secs(60), "the disk fails, and goes on failing", async || {
            let code = refused(&moehog).await.ok()?;
            // it tries by itself every second
            tokio::time::sleep(Duration::from_millis(2500)).await;
            (code == "disk_failed" && probed(&moehog).await.ok()? == [503, 200, 503, 503]).then_some(())
        })
        .await?;
        let why = get(moehog.admin()?, "/readyz").await?.text();
        ensure!(why.contains("disk fails"), "{why}");

        disk.empty()?;
        posthog.up()?;
        within(SOON, "it is ready again", async || (probed(&moehog).await.ok()? == [200; 4]).then_some(())).await?;
        taken(&capture(&moehog, tutorial(KEY, "after")[0].clone()).await?)?;
        moehog.finish().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_whose_journal_is_full_stays_ready_and_probes_are_no_webhooks() -> anyhow::Result<()> {
    // nobody listens there: PostHog is away
    let mut setup = Setup::new(Shape::Three, "http://127.0.0.1:9", KEY).set("journal.budget_bytes", "8388608");
    for expected in ["moehog_gateway", "moehog_journal", "moehog_relay", "moehog_delivery"] {
        setup = setup.expect(expected);
    }
    let mut moehog = Deployment::start(setup).await?;
    let code = refused(&moehog).await?;
    // the capture routes' share of it, since another source is configured
    ensure!(code == "source_full", "{code}");
    let counted = || async {
        let metrics = get(moehog.admin()?, "/metrics").await?.text();
        let requests = metrics.lines().filter(|line| line.starts_with("moehog_gateway_requests_total"));
        anyhow::Ok(requests.map(str::to_string).collect::<BTreeSet<_>>())
    };
    let before = counted().await?;
    for _ in 0..20 {
        ensure!(probed(&moehog).await? == [200; 4], "{:?}", probed(&moehog).await?);
    }
    ensure!(!before.is_empty() && counted().await? == before, "probes are counted as webhooks");
    let waiting = moehog.ask("/api/status").await?["ledger"]["webhooks"]["waiting"].to_string();
    moehog.stop(Service::Gateway).await?;
    let left =
        moehog.log().last(|line| Some((line.field("webhooks")?, line.field("by_destination")?, line.field("remedy")?)));
    let (webhooks, by_destination, remedy) = left.context("it does not say what waits")?;
    ensure!(
        webhooks == waiting && by_destination == format!("default {waiting}"),
        "{webhooks}: {by_destination}, not {waiting}"
    );
    ensure!(remedy.contains("same directory") && remedy.contains("Scale in"), "{remedy}");
    moehog.finish().await
}

#[tokio::test]
async fn a_gateway_that_stops_says_so_while_what_is_under_way_ends_and_its_public_port_is_closed() -> anyhow::Result<()>
{
    let posthog = posthog()?;
    let mut moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY)).await?;
    let (http, admin) = (moehog.http()?, moehog.admin()?);
    let [body, ..] = tutorial(KEY, "under_way");
    let mut under_way = TcpStream::connect(http).await?;
    let head = format!("POST /capture/ HTTP/1.1\r\nhost: {http}\r\ncontent-length: {}\r\n\r\n", body.len());
    under_way.write_all(head.as_bytes()).await?;
    under_way.write_all(&body.as_bytes()[..10]).await?;
    // it has been accepted once a later one is answered
    ensure!(get(http, "/readyz").await?.status == 200, "not ready");

    let probing = async {
        within(SOON, "it says that it stops", async || (get(admin, "/readyz").await.ok()?.status == 503).then_some(()))
            .await?;
        within(SOON, "the public port is closed", async || TcpStream::connect(http).await.is_err().then_some(()))
            .await?;
        ensure!(get(admin, "/readyz").await?.status == 503 && get(admin, "/livez").await?.status == 200);
        ensure!(post(http, "/capture/", &[], "{}").await.is_err(), "a webhook is answered by one that stops");
        under_way.write_all(&body.as_bytes()[10..]).await?;
        let mut answer = String::new();
        under_way.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(())
    };
    let (stopped, probed) = tokio::join!(moehog.stop(Service::Gateway), probing);
    stopped.and(probed)?;
    ensure!(moehog.log().count("nothing waits in the journal") == 1, "it does not say that nothing waits");
    moehog.finish().await
}
