use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Action, Rule, Running, StoredEvent};
use moehog_tests::{Deployment, Setup, Shape, tutorial};
use serde_json::{Value, json};

use super::world::{KEY, SOON, arrived, capture, event_of, posthog, taken};

/// What must hold of each event, whoever sent it.
fn check(event: &StoredEvent) -> anyhow::Result<()> {
    let json: Value = event.json();
    ensure!(event.has_own_uuid, "no uuid of its own: {json}");
    ensure!(json.get("sent_at").is_none(), "sent_at moves time: {json}");
    ensure!(json.get("$set").is_none(), "$set stands outside properties: {json}");
    ensure!(json.get("api_key").is_none(), "the key stands in the event: {json}");
    ensure!(json["properties"]["$geoip_disable"] == json!(true), "every person would live where moehog runs: {json}");
    ensure!(json["properties"]["$lib"] == json!("moehog"), "not signed: {json}");
    ensure!(json["properties"]["moehog"]["receipt"].is_string(), "no receipt: {json}");
    ensure!(json["timestamp"].is_string(), "no timestamp: {json}");
    Ok(())
}

async fn send_and_check(moehog: &Deployment, posthog: &Running, person: &str, before: u64) -> anyhow::Result<()> {
    for body in tutorial(KEY, person) {
        taken(&capture(moehog, body).await?)?;
    }
    arrived(posthog, before + 3, SOON).await?;

    let campaign = event_of(posthog, person, "moengage_event_name")?;
    check(&campaign)?;
    let properties = campaign.properties();
    ensure!(properties["source"] == "moengage" && properties["campaign_name"] == "Winter Sale", "{properties:?}");
    ensure!(properties["email"] == "ada@example.com", "{properties:?}");

    let purchase = event_of(posthog, person, "purchase_completed")?;
    check(&purchase)?;
    let raw = String::from_utf8(purchase.raw.to_vec())?;
    // the amount as a number, digit by digit as it came
    for wanted in [r#""amount":49.90,"#, r#""product_name":"Blue Shirt""#, r#""currency":"EUR""#] {
        ensure!(raw.replace(": ", ":").contains(wanted), "no {wanted} in {raw}");
    }

    let identify = event_of(posthog, person, "$identify")?;
    check(&identify)?;
    let set = &identify.properties()["$set"];
    ensure!(*set == json!({"email": "ada@example.com", "name": "Ada Lovelace", "moengage_segment": "Loyal"}), "{set}");
    let stored = posthog.books().person(KEY, person);
    let name = stored.and_then(|stored| stored.properties.get("name").cloned());
    ensure!(name == Some(json!("Ada Lovelace")), "the person is {name:?}");
    Ok(())
}

async fn deployed_as(shape: Shape) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut moehog = Deployment::start(Setup::new(shape, &posthog.url(), KEY)).await?;
    send_and_check(&moehog, &posthog, "user_42", 0).await?;

    // a restart of everything sends nothing anew and changes no uuid
    moehog.drained(SOON).await?;
    let uuids: BTreeMap<_, _> =
        posthog.books().events().iter().map(|event| (event.event.clone(), event.uuid)).collect();
    for service in moehog.services().iter().rev() {
        moehog.stop(*service).await?;
    }
    moehog.heal().await?;
    send_and_check(&moehog, &posthog, "user_43", 3).await?;
    let events = posthog.books().arrivals();
    ensure!(events.len() == 6, "{} arrivals of six events", events.len());
    for event in events.iter().filter(|event| event.distinct_id == "user_42") {
        ensure!(uuids[&event.event] == event.uuid, "{} changed its uuid", event.event);
    }
    moehog.finish().await
}

#[tokio::test]
async fn through_one_process() -> anyhow::Result<()> {
    deployed_as(Shape::One).await
}

#[tokio::test]
async fn through_three_processes() -> anyhow::Result<()> {
    deployed_as(Shape::Three).await
}

/// Killed between the answer and the delivery, the next start makes the same events of the same webhooks.
#[tokio::test]
async fn under_the_same_uuid_after_a_kill() -> anyhow::Result<()> {
    let posthog = posthog()?;
    posthog.faults().add(Rule::always(Action::AnswerLost));
    let setup = Setup::new(Shape::One, &posthog.url(), KEY).expect("posthog").expect("circuit").expect("delivery");
    let mut moehog = Deployment::start(setup).await?;
    // a person each: behind an event that is tried again nothing of its person is sent
    for (number, person) in ["user_44", "user_45", "user_46"].into_iter().enumerate() {
        let body = tutorial(KEY, person).into_iter().nth(number).context("three bodies")?;
        taken(&capture(&moehog, body).await?)?;
    }
    arrived(&posthog, 3, SOON).await?;
    let before: Vec<_> = posthog.books().events();
    moehog.kill_all()?;
    posthog.faults().clear();
    let arrivals = posthog.books().counts().arrivals;
    moehog.heal().await?;
    let again = posthog.books().wait_until(SOON, |books| books.counts().arrivals >= arrivals + 3).await;
    ensure!(again, "the webhooks were not delivered again after the kill");
    moehog.drained(SOON).await?;
    for event in before {
        let now = event_of(&posthog, &event.distinct_id, &event.event)?;
        ensure!(now.uuid == event.uuid, "{} changed its uuid over the kill", event.event);
    }
    ensure!(posthog.books().unique() == 3, "{} events of three", posthog.books().unique());
    moehog.finish().await
}
