//! A file that was edited wrongly meets a process that starts: it stays, unready, and nothing is lost or mapped
//! otherwise.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context, ensure};
use moehog_tests::{Deployment, Dns, Service, Setup, Shape, get, within};
use serde_json::json;

use super::world::{KEY, SOON, arrived, dead_letters, event_of, posthog, stream, taken};

const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PERSONS: u64 = 12;

fn purchase(person: &str) -> String {
    json!({"events": [{"event_name": "Purchased", "event_time": 1_767_225_600, "uid": person}]}).to_string()
}

/// Renames purchases: the built-in mapping would not.
const RIGHT: &str = "[[rule]]\nwhen = \"event == 'Purchased'\"\nevent = \"bought\"\n";
const WRONG: &str = "[[rule\n";

fn setup(posthog: &str, mapping: &Path) -> anyhow::Result<Setup> {
    let mut setup = Setup::new(Shape::Three, posthog, KEY)
        .set("mapping.reread_every", "50ms")
        .set("secrets.reread_every", "50ms")
        .set("mapping.file", mapping.to_str().context("a path in UTF-8")?);
    for expected in ["moehog_transport", "moehog_relay", "waits until the file is right", "mapping file is wrong"] {
        setup = setup.expect(expected);
    }
    Ok(setup)
}

/// No Transform call counted against a webhook, and none of them is dead.
async fn nobody_is_blamed(moehog: &Deployment) -> anyhow::Result<()> {
    let metrics = get(moehog.admin()?, "/metrics").await?.text();
    let died = metrics.lines().find(|line| line.starts_with("moehog_relay_transform_calls_total{outcome=\"died\"}"));
    ensure!(died.is_none(), "a call counted as a death: {died:?}");
    ensure!(dead_letters(moehog).await?.is_empty(), "a webhook is dead");
    Ok(())
}

#[tokio::test]
async fn a_transformer_that_meets_a_broken_mapping_is_unready_and_its_webhooks_wait_for_the_right_one()
-> anyhow::Result<()> {
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("mapping.toml");
    fs::write(&file, RIGHT)?;
    let mut moehog = Deployment::start(setup(&posthog.url(), &file)?).await?;
    let admin = moehog.admin_of(Service::Transformer)?;
    let metric = async |line: &str| anyhow::Ok(get(admin, "/metrics").await?.text().lines().any(|it| it == line));
    for line in [
        "moehog_transformer_mapping_reloads_total{outcome=\"refused\"} 0",
        "moehog_transformer_mapping_outdated 0",
        "moehog_runtime_waiting_for_files 0",
    ] {
        ensure!(metric(line).await?, "no `{line}` before anything happened");
    }

    // hours before: the running one goes on with the last good file
    fs::write(&file, WRONG)?;
    within(SOON, "the mistake shows", async || {
        let counted = metric("moehog_transformer_mapping_reloads_total{outcome=\"refused\"} 1").await.ok()?;
        (counted && metric("moehog_transformer_mapping_outdated 1").await.ok()?).then_some(())
    })
    .await?;
    ensure!(get(admin, "/readyz").await?.status == 200, "the last good mapping serves");

    moehog.stop(Service::Transformer).await?;
    moehog.spawn(Service::Transformer)?;
    let why = within(SOON, "it waits", async || {
        let answer = get(admin, "/readyz").await.ok()?;
        (answer.status == 503 && !answer.text().contains("starting")).then(|| answer.text())
    })
    .await?;
    ensure!(why.contains("mapping.toml cannot be used") && why.contains("line 1"), "{why}");
    ensure!(get(admin, "/livez").await?.status == 200 && metric("moehog_runtime_waiting_for_files 1").await?);
    for number in 0..PERSONS {
        taken(&stream(&moehog, purchase(&format!("person-{number}"))).await?)?;
    }
    // long enough for three deaths of each
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let waiting = moehog.ask("/api/status").await?["ledger"]["webhooks"]["waiting"].as_u64();
    ensure!(waiting == Some(PERSONS), "{waiting:?} wait");
    nobody_is_blamed(&moehog).await?;

    fs::write(&file, RIGHT)?;
    moehog.ready(Service::Transformer, SOON).await?;
    arrived(&posthog, PERSONS, SOON).await?;
    for number in 0..PERSONS {
        event_of(&posthog, &format!("person-{number}"), "bought")?;
    }
    nobody_is_blamed(&moehog).await?;
    moehog.drained(SOON).await?;
    moehog.finish().await
}

#[tokio::test]
async fn beside_a_transformer_that_works_a_waiting_one_costs_nobody_anything() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("mapping.toml");
    fs::write(&file, RIGHT)?;
    // a headless Service leaves it out of the name; this one does not
    let dns = Dns::start(&[Ipv4Addr::LOCALHOST, SECOND])?;
    let moehog = Deployment::start(setup(&posthog.url(), &file)?.transformers_by_name(&dns)?).await?;
    fs::write(&file, WRONG)?;
    let mut second = moehog.replica(Service::Transformer, SECOND).await?;
    for number in 0..PERSONS {
        taken(&stream(&moehog, purchase(&format!("person-{number}"))).await?)?;
    }
    arrived(&posthog, PERSONS, SOON).await?;
    nobody_is_blamed(&moehog).await?;
    ensure!(get(second.admin, "/readyz").await?.status == 503, "the second one is ready");
    moehog.drained(SOON).await?;
    second.process.stop(SOON).await?;
    moehog.finish().await
}

#[tokio::test]
async fn a_gateway_whose_token_is_missing_takes_nothing_until_it_is_there_and_a_delivery_holds_what_has_no_key()
-> anyhow::Result<()> {
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let (token, key) = (directory.path().join("token"), directory.path().join("key"));
    fs::write(&token, "token-of-the-sender")?;
    let mapping = directory.path().join("mapping.toml");
    fs::write(&mapping, RIGHT)?;
    let mut setup = setup(&posthog.url(), &mapping)?.expect("moehog_runtime");
    setup.file = format!(
        "[sources.default]\ndestination = \"shop\"\ntokens = [{{ file = {token:?} }}]\n[posthog]\nhost = \"{}\"\n",
        posthog.url()
    );
    let mut moehog = Deployment::start(setup).await?;
    fs::write(&token, "\n")?;
    moehog.stop(Service::Gateway).await?;
    moehog.spawn(Service::Gateway)?;
    let (http, admin) = (moehog.http()?, moehog.admin()?);
    let why = within(SOON, "the gateway waits", async || {
        let answer = get(admin, "/readyz").await.ok()?;
        (answer.status == 503 && !answer.text().contains("starting")).then(|| answer.text())
    })
    .await?;
    ensure!(why.contains("sources.default.tokens[0] cannot be read from") && why.contains("nothing is in it"), "{why}");
    ensure!(get(http, "/").await.is_err(), "the public port is open");
    fs::write(&token, "token-of-the-sender")?;
    moehog.ready(Service::Gateway, SOON).await?;

    // a destination whose key is not there yet: the delivery starts, and it alone is held
    moehog.stop(Service::Delivery).await?;
    moehog.reconfigure(|setup| setup.section(&format!("[destinations.shop]\napi_key = {{ file = {key:?} }}\n")))?;
    moehog.launch(Service::Delivery).await?;
    let headers = [("authorization", "Bearer token-of-the-sender")];
    let answer = moehog_tests::post(http, "/v1/in/default", &headers, purchase("person-0")).await?;
    taken(&answer)?;
    let delivery = moehog.admin_of(Service::Delivery)?;
    within(SOON, "the missing file is counted", async || {
        let metrics = get(delivery, "/metrics").await.ok()?.text();
        let refused = metrics
            .lines()
            .find_map(|it| it.strip_prefix("moehog_runtime_secret_reads_total{outcome=\"refused\"} "))?;
        (refused != "0").then_some(())
    })
    .await?;
    fs::write(&key, KEY)?;
    arrived(&posthog, 1, SOON).await?;
    moehog.drained(SOON).await?;
    moehog.finish().await
}
