use anyhow::{Context, ensure};
use moehog_tests::{Deployment, Setup, Shape, TOKEN, eventually, post, within};
use serde_json::{Value, json};

use super::world::{KEY, SOON, arrived, by_person, command, posthog, posthog_with, stream, taken, with_route};

const EU: &str = "phc_of_eu";

/// A Streams batch in which every second person is European.
fn batch(number: u64) -> String {
    let event = |at: u64| {
        let number = number * 100 + at;
        json!({
            "event_name": "Purchased", "event_code": "Purchased", "event_time": 1_767_225_600 + number, "uid": format!("person-{number}"),
            "event_uuid": format!("00000000-0000-4000-8000-{number:012x}"),
            "event_attributes": {"amount": "49.90"}, "user_attributes": {"region": if at.is_multiple_of(2) { "EU" } else { "US" }},
        })
    };
    json!({"events": (0..100).map(event).collect::<Vec<_>>()}).to_string()
}

/// Three services, whose mapping sends Europeans to the project `eu`.
fn routed(main: &str, eu: &str, directory: &tempfile::TempDir) -> anyhow::Result<Setup> {
    let mapping = directory.path().join("mapping.toml");
    std::fs::write(&mapping, "[[rule]]\nwhen = \"UserAttribute['region'] == 'EU'\"\ndestination = \"eu\"\n")?;
    let setup = Setup::new(Shape::Three, main, KEY)
        .expect("dead letters")
        .section(&format!("[sources.shop]\ntokens = [\"{TOKEN}\"]\n"));
    Ok(with_route(setup, EU, eu, &mapping))
}

#[tokio::test]
async fn a_project_that_is_down_stops_the_others_events_not_and_loses_none_of_its_own() -> anyhow::Result<()> {
    let (main, eu, directory) = (posthog()?, posthog_with([EU])?, tempfile::tempdir()?);
    let mut moehog = Deployment::start(routed(&main.url(), &eu.url(), &directory)?).await?;
    for expected in ["moehog_relay", "moehog_delivery"] {
        moehog.expect(expected);
    }
    eu.down().await;
    let mut receipts = Vec::new();
    for number in 0..20 {
        receipts.push(taken(&stream(&moehog, batch(number)).await?)?);
    }
    arrived(&main, 1000, SOON).await?;
    ensure!(
        by_person(&main).keys().all(|person| !person.ends_with(['0', '2', '4', '6', '8'])),
        "a European left the EU"
    );
    eventually(SOON, "lanes that wait", Some(vec![("eu".to_string(), 20)]), async || {
        let status = moehog.ask("/api/status").await.ok()?;
        let lanes = status["lanes"].as_array()?.iter().filter(|lane| lane["unsettled"] != 0);
        lanes.map(|lane| Some((lane["destination"].as_str()?.to_string(), lane["unsettled"].as_u64()?))).collect()
    })
    .await?;

    // each event is found from the receipt that its sender has; the first was tried before the circuit opened
    let first = &receipts[0];
    let entry = moehog.ask(&format!("/api/receipts/{first}")).await?;
    let handed = entry["events"][0]["routed_to"].as_str().context("a receipt")?.to_string();
    ensure!(entry["settled"] == true && entry["events"][0]["reason"] == "routed", "{entry}");
    let page = command(&moehog, &["receipt", first])?;
    ensure!(page.contains(&format!("event #0  filtered  routed, as {handed}")), "{page}");
    let there = within(SOON, "it was tried", async || {
        let there = moehog.ask(&format!("/api/receipts/{handed}")).await.ok()?;
        there["events"].as_array().is_some_and(|events| !events.is_empty()).then_some(there)
    })
    .await?;
    ensure!(there["origin"] == first.as_str() && there["header"]["destination"] == "eu", "{there}");
    ensure!(there["mapped"].as_array().map(Vec::len) == Some(50), "it shows the events of others: {there}");
    ensure!(there["events"].as_array().map(Vec::len) == Some(50) && there["settled"] == false, "{there}");

    let keeper = moehog.keeper();
    moehog.kill(keeper)?;
    moehog.launch(keeper).await?;
    eu.up()?;
    moehog.drained(SOON).await?;
    let stored = by_person(&eu);
    ensure!(stored.len() == 1000 && stored.values().all(|count| *count == 1), "{} persons", stored.len());
    ensure!(main.books().unique() == 1000, "{} events went to the other project", main.books().unique());
    let settled: Value = moehog.ask(&format!("/api/receipts/{handed}")).await?;
    ensure!(settled["events"][0]["state"] == "delivered", "{settled}");
    moehog.finish().await
}

#[tokio::test]
async fn who_waits_or_asks_is_told_what_became_of_it_in_the_project_of_its_rule() -> anyhow::Result<()> {
    let (main, eu, directory) = (posthog()?, posthog_with([EU])?, tempfile::tempdir()?);
    let moehog = Deployment::start(routed(&main.url(), &eu.url(), &directory)?).await?;
    let token = format!("Bearer {TOKEN}");
    let headers = [("content-type", "application/json"), ("prefer", "wait=3"), ("authorization", token.as_str())];
    let mut body: Value = serde_json::from_str(&batch(0))?;
    let one = body["events"][0].take();
    let answer = post(moehog.http()?, "/v1/in/default", &headers, one.to_string()).await?;
    taken(&answer)?;
    let json = answer.json();
    ensure!(
        json["state"] == "settled" && json["events"]["delivered"] == 1 && json["events"]["filtered"] == 0,
        "{json}"
    );
    ensure!(eu.books().unique() == 1 && main.books().unique() == 0, "it is in the other project");

    // a source that names no such route: the event is a dead letter that says what to do
    let receipt = taken(&post(moehog.http()?, "/v1/in/shop", &headers, one.to_string()).await?)?;
    moehog.drained(SOON).await?;
    let entry = moehog.ask(&format!("/api/receipts/{receipt}")).await?;
    ensure!(entry["events"][0]["reason"] == "rule_destination", "{entry}");
    ensure!(
        entry["events"][0]["detail"].as_str().is_some_and(|detail| detail.contains("sources.NAME.routes")),
        "{entry}"
    );
    moehog.finish().await
}

/// The command follows its event into the other lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_event_is_followed_to_the_project_of_its_rule() -> anyhow::Result<()> {
    let (main, eu, directory) = (posthog()?, posthog_with([EU])?, tempfile::tempdir()?);
    let setup = routed(&main.url(), &eu.url(), &directory)?;
    std::fs::write(directory.path().join("mapping.toml"), "[[rule]]\ndestination = \"eu\"\n")?;
    let moehog = Deployment::start(setup).await?;
    let url = format!("http://{}/v1/in/default", moehog.http()?);
    let said = command(&moehog, &["send-test", "--url", &url, "--token", TOKEN, "--timeout", "20s"])?;
    for step in ["taken", "routed", "delivered"] {
        ensure!(said.lines().any(|line| line.starts_with(step)), "no `{step}` in {said}");
    }
    ensure!(eu.books().unique() == 1 && main.books().unique() == 0, "{said}");
    moehog.finish().await
}
