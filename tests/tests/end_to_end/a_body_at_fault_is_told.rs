use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream as in_order};
use moehog_tests::{Deployment, Setup, Shape, connector, get, streams, within};
use serde_json::Value;

use super::world::{KEY, SOON, arrived, by_person, capture, dead_letters, posthog, refused, stream, taken};

/// Source: PostHog, "MoEngage" tutorial, request body (read 2026-11-24), as a person pastes it: the key is filled in.
const TUTORIAL: &str = r#"{
  "api_key": "phc_tests",
  "event": "moengage_event_name",
  "distinct_id": "{{user_id}}",
  "properties": {
    "source": "moengage",
    "campaign_name": "{{campaign_name}}",
    "email": "{{email}}"
  }
}"#;

/// How many answers came to this, by the gateway's own count.
async fn feedback(moehog: &Deployment, outcome: &str) -> anyhow::Result<u64> {
    let page = get(moehog.admin()?, "/metrics").await?.text();
    let series = format!("moehog_gateway_feedback_total{{outcome=\"{outcome}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    Ok(line.with_context(|| format!("{series}in {page}"))?.trim().parse()?)
}

async fn the_tutorials_body_as_it_is(shape: Shape) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(shape, &posthog.url(), KEY).expect("dead letters")).await?;
    let answer = capture(&moehog, TUTORIAL).await?;
    let receipt = refused(&answer)?;
    let json = answer.json();
    ensure!(json["code"] == "unresolved_placeholder" && json["field"] == "distinct_id", "{json}");
    ensure!(json["remedy"].as_str().is_some_and(|remedy| remedy.contains("UserAttribute['ID']")), "{json}");
    ensure!(json["reasons"][0]["detail"].as_str().is_some_and(|detail| detail.contains("`distinct_id`")), "{json}");

    // the same again is no second dead letter
    let again = capture(&moehog, TUTORIAL).await?;
    ensure!(refused(&again)? == receipt && again.json()["times"] == 2, "{}", again.text());
    moehog.drained(SOON).await?;
    let letters = dead_letters(&moehog).await?;
    ensure!(letters.len() == 1 && letters[0]["receipt"] == receipt.as_str(), "{letters:?}");
    ensure!(letters[0]["reason"] == "unresolved_placeholder", "{letters:?}");
    ensure!(posthog.books().unique() == 0, "a placeholder became a person");

    // filled as MoEngage would, it is taken at once
    taken(&capture(&moehog, TUTORIAL.replace("{{user_id}}", "user_42")).await?)?;
    arrived(&posthog, 1, SOON).await?;
    ensure!(feedback(&moehog, "refused").await? == 1 && feedback(&moehog, "mapped").await? == 1, "one of each");
    moehog.finish().await
}

#[tokio::test]
async fn the_tutorials_body_with_its_placeholders_unfilled_is_refused_by_one_process() -> anyhow::Result<()> {
    the_tutorials_body_as_it_is(Shape::One).await
}

#[tokio::test]
async fn the_tutorials_body_with_its_placeholders_unfilled_is_refused_by_three_processes() -> anyhow::Result<()> {
    the_tutorials_body_as_it_is(Shape::Three).await
}

#[tokio::test]
async fn a_bad_event_among_a_hundred_of_streams_is_a_dead_letter_and_the_batch_is_taken() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY).expect("dead letters")).await?;
    let ids: Vec<_> = (0..100).map(|number| format!("person-{number}")).collect();
    let mut batch: Value = serde_json::from_str(&streams(&ids))?;
    batch["events"][57]["uid"] = "{{user_id}}".into();
    let receipt = taken(&stream(&moehog, batch.to_string()).await?)?;
    moehog.drained(SOON).await?;
    let stored = by_person(&posthog);
    ensure!(stored.len() == 99 && !stored.contains_key("person-57"), "{} of 99 persons", stored.len());
    let letters = dead_letters(&moehog).await?;
    ensure!(letters.len() == 1 && letters[0]["receipt"] == receipt.as_str(), "{letters:?}");
    ensure!(letters[0]["reason"] == "unresolved_placeholder" && letters[0]["position"] == 57, "{letters:?}");
    // nothing can be read of this one, and Streams would only send it again
    taken(&stream(&moehog, "{\"events\": [").await?)?;
    moehog.finish().await
}

#[tokio::test]
async fn a_batch_of_a_hundred_with_a_byte_that_is_no_utf8_is_delivered_whole_and_the_repair_counted()
-> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    let ids: Vec<_> = (0..100).map(|number| format!("person-{number}")).collect();
    let mut batch: Value = serde_json::from_str(&streams(&ids))?;
    batch["events"][57]["event_attributes"]["note"] = "caf?".into();
    let body: Vec<u8> = batch.to_string().bytes().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
    ensure!(body.contains(&0xe9) && String::from_utf8(body.clone()).is_err(), "it is UTF-8");
    taken(&stream(&moehog, body).await?)?;
    moehog.drained(SOON).await?;
    ensure!(by_person(&posthog).len() == 100, "{} of 100 persons", by_person(&posthog).len());
    let marked = posthog
        .books()
        .events()
        .iter()
        .filter(|event| {
            event.properties()["moehog"]["repaired"].as_array().is_some_and(|names| names.contains(&"utf8".into()))
        })
        .count();
    ensure!(marked == 100, "{marked} events say that their body was repaired");
    let metrics = get(moehog.admin()?, "/metrics").await?.text();
    let counted = metrics.lines().any(|line| line.contains("repaired_utf8") && line.ends_with(" 1"));
    ensure!(counted, "the repair is not counted");
    moehog.finish().await
}

#[tokio::test]
async fn who_prefers_to_wait_is_told_that_posthog_has_it() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY)).await?;
    let body = connector(KEY, "ada", "00000000-0000-4000-8000-000000000001");
    let headers = [("content-type", "application/json"), ("prefer", "wait=3")];
    let answer = moehog_tests::post(moehog.http()?, "/capture/", &headers, body).await?;
    taken(&answer)?;
    let json = answer.json();
    ensure!(json["state"] == "settled" && json["events"]["delivered"] == 1, "{json}");
    ensure!(posthog.books().unique() == 1, "told before PostHog had it");
    moehog.finish().await
}

#[tokio::test]
async fn with_posthog_down_and_ten_thousand_waiting_it_is_told_too_and_all_else_is_taken() -> anyhow::Result<()> {
    const WEBHOOKS: u64 = 10_000;
    let posthog = posthog()?;
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY).expect("moehog_relay").expect("moehog_delivery");
    let moehog = Deployment::start(setup).await?;
    posthog.down().await;
    let uuid = |number: u64| format!("00000000-0000-4000-8000-{number:012x}");
    taken(&capture(&moehog, connector(KEY, "first", &uuid(0))).await?)?;
    within(SOON, "the first is mapped, and waits", async || {
        let lanes = moehog.ask("/api/status").await.ok()?;
        (lanes["ledger"]["events"]["in_flight"].as_u64() == Some(1)).then_some(())
    })
    .await?;
    let sent = in_order::iter(1..=WEBHOOKS).map(async |number| {
        // one in a hundred is at fault
        let is_at_fault = number % 100 == 0;
        let person = if is_at_fault { "{{user_id}}".to_string() } else { format!("person-{number}") };
        let answer = capture(&moehog, connector(KEY, &person, &uuid(number))).await?;
        if is_at_fault && answer.status == 422 { refused(&answer).map(|_| ()) } else { taken(&answer).map(|_| ()) }
    });
    sent.buffer_unordered(16).try_for_each(async |_| Ok(())).await?;
    // what waits for PostHog is mapped, and puts no answer off
    ensure!(feedback(&moehog, "refused").await? > 0, "no fault was told");
    posthog.up()?;
    moehog.drained(Duration::from_secs(60)).await?;
    ensure!(posthog.books().unique() == 1 + WEBHOOKS - WEBHOOKS / 100, "{}", posthog.books().unique());
    ensure!(dead_letters(&moehog).await?.len() as u64 == WEBHOOKS / 100, "each of the others is a dead letter");
    moehog.finish().await
}
