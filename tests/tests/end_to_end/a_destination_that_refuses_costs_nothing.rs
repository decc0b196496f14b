//! A PostHog, a proxy or a firewall that answers 400 costs no good event, and few requests.

use std::time::Duration;

use anyhow::ensure;
use moehog_emulator::posthog::{Action, Rule, Running};
use moehog_tests::{Deployment, Setup, Shape, within};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::world::{KEY, SOON, arrived, dead_letters, from_soak, posthog, stream, taken};

const BAD: &str = "bad-person";

/// A Streams body with an event of each of these persons.
fn body(persons: impl Iterator<Item = String>) -> String {
    let event = |person: String| json!({"event_name": "Seen", "event_time": 1_767_225_600, "uid": person});
    json!({"events": persons.map(event).collect::<Vec<_>>()}).to_string()
}

fn requests(posthog: &Running) -> usize {
    posthog.books().exchanges().iter().filter(|exchange| exchange.route == "/batch").count()
}

fn refuses_bad() -> Rule {
    Rule::refuse(BAD, "this one is bad").on("/batch")
}

/// For so many seconds each of ten batches of 100 events a second; of every `bad`th event PostHog would say no anyway.
async fn everything_is_refused(bad: Option<u64>) -> anyhow::Result<()> {
    const EVENTS: u64 = 100;
    let seconds = from_soak("MOEHOG_SOAK_ROUNDS", 10)?;
    let posthog = posthog()?;
    let setup =
        Setup::new(Shape::One, &posthog.url(), KEY).expect("held").expect("moehog_relay").expect("moehog_delivery");
    let moehog = Deployment::start(setup).await?;
    taken(&stream(&moehog, body(["first".to_string()].into_iter())).await?)?;
    arrived(&posthog, 1, SOON).await?;
    posthog.faults().add(refuses_bad());
    let refuse = Action::Answer { status: 400, body: "no".to_string(), retry_after: None };
    posthog.faults().add(Rule::always(refuse).on("/batch").named("all"));
    let (began, before) = (Instant::now(), requests(&posthog));
    let is_bad = |number: u64| bad.is_some_and(|every| number % every == every / 2);
    let name = |number: u64| if is_bad(number) { format!("{BAD}-{number}") } else { format!("person-{number}") };
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        taken(&stream(&moehog, body((sent..sent + EVENTS).map(name))).await?)?;
        sent += EVENTS;
        sleep((began + Duration::from_millis(100) * (sent / EVENTS) as u32).saturating_duration_since(Instant::now()))
            .await;
    }
    let spent = requests(&posthog) - before;
    ensure!(spent <= 200, "{spent} requests in {seconds} s of which each was refused");
    ensure!(dead_letters(&moehog).await?.is_empty(), "an event is dead of what the destination did");
    let status = moehog.ask("/api/status").await?;
    let lane = &status["lanes"][0];
    let reason = lane["reason"].as_str().unwrap_or_default();
    ensure!(lane["state"] == "held" && reason.starts_with("refuses_everything"), "{lane:#}");
    // while a probe is under way nothing is waited for
    within(SOON, "the lane says when it tries again", async || {
        let status = moehog.ask("/api/status").await.ok()?;
        let lane = &status["lanes"][0];
        (lane["next_try_at"].is_string() && lane["waits_for"] == "destination").then_some(())
    })
    .await?;

    posthog.faults().remove("all");
    let is_dead = (0..sent).filter(|number| is_bad(*number)).count() as u64;
    // what is taken beside them shows that the bad ones are
    let mut good = 0;
    within(Duration::from_secs(300), "all is settled", async || {
        good += 1;
        taken(&stream(&moehog, body([format!("good-{good}")].into_iter())).await.ok()?).ok()?;
        sleep(Duration::from_millis(200)).await;
        let waiting = moehog.ask("/api/status").await.ok()?["ledger"]["webhooks"]["waiting"].as_u64()?;
        (waiting == 0).then_some(())
    })
    .await?;
    let (dead, unique) = (dead_letters(&moehog).await?, posthog.books().unique());
    ensure!(dead.len() as u64 == is_dead, "{} of {is_dead} bad ones are dead", dead.len());
    ensure!(unique == 1 + sent - is_dead + good, "{unique} events of {sent} and {good}, {is_dead} of them bad");
    println!("{sent} events in {seconds} s, {spent} requests, {is_dead} dead, as many as are bad");
    moehog.finish().await
}

#[tokio::test]
async fn everything_for_a_while_costs_no_event_and_few_requests() -> anyhow::Result<()> {
    everything_is_refused(None).await
}

#[tokio::test]
async fn everything_for_a_while_costs_none_but_the_bad_ones() -> anyhow::Result<()> {
    everything_is_refused(Some(1000)).await
}

#[tokio::test]
async fn one_event_in_three_hundred_costs_itself_and_few_requests() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY).expect("moehog_delivery").expect("dead letters");
    let moehog = Deployment::start(setup).await?;
    posthog.faults().add(refuses_bad());
    let name = |number: u64| if number == 123 { BAD.to_string() } else { format!("person-{number}") };
    taken(&stream(&moehog, body((0..300).map(name))).await?)?;
    arrived(&posthog, 299, SOON).await?;
    // the second refusal, beside one more that is taken
    taken(&stream(&moehog, body(["other".to_string()].into_iter())).await?)?;
    moehog.drained(SOON).await?;
    let spent = requests(&posthog);
    ensure!(spent <= 20, "{spent} requests");
    ensure!(dead_letters(&moehog).await?.len() == 1 && posthog.books().unique() == 300);
    moehog.finish().await
}
