//! A backfill and live events of one project, through a PostHog that fails on the way and a process that is killed.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Exchange, Rule};
use moehog_tests::{Deployment, Service, Setup, Shape};
use serde_json::{Value, json};

use super::world::{KEY, SOON, arrived, capture, posthog, taken};

const BODIES: usize = 12;
const PERSONS: usize = 4;

/// A batch of one event, as an SDK sends it. Odd ones are history: each person has both kinds.
fn batch(number: usize) -> String {
    let mut batch = json!({"api_key": KEY, "batch": [{
        "event": format!("event {number:02}"), "distinct_id": format!("person-{}", number / 2 % PERSONS),
        "uuid": format!("00000000-0000-4000-8000-{number:012x}"), "timestamp": "2026-08-19T10:00:00Z",
        "properties": {"$lib": "posthog-python"},
    }]});
    if number % 2 == 1 {
        batch["historical_migration"] = true.into();
    }
    batch.to_string()
}

/// What a request says of itself, and which events stand in it.
fn read(request: &Exchange) -> anyhow::Result<(bool, Vec<String>)> {
    let body: Value = serde_json::from_slice(&request.body)?;
    let events = body["batch"].as_array().context("a batch")?;
    let names = events.iter().map(|event| event["event"].as_str().unwrap_or_default().to_string());
    Ok((body["historical_migration"] == true, names.collect()))
}

async fn history_travels_apart(shape: Shape, keeper: Service) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut setup = Setup::new(shape, &posthog.url(), KEY);
    for expected in ["moehog_relay", "moehog_delivery", "moehog_transport", "torn", "recover"] {
        setup = setup.expect(expected);
    }
    let mut moehog = Deployment::start(setup).await?;
    taken(&capture(&moehog, batch(0)).await?)?;
    arrived(&posthog, 1, SOON).await?;

    posthog.faults().add(Rule::status(503));
    for number in 1..BODIES {
        taken(&capture(&moehog, batch(number)).await?)?;
    }
    let failed = |books: &moehog_emulator::posthog::Books| {
        books.exchanges().iter().any(|request| request.status == Some(503) && read(request).is_ok_and(|read| read.0))
    };
    ensure!(posthog.books().wait_until(SOON, failed).await, "no history was refused: the test shows nothing");
    // what waits for its second try stands in the journal alone
    moehog.kill(keeper)?;
    posthog.faults().clear();
    moehog.heal().await?;
    moehog.drained(SOON).await?;

    let number_of = |name: &str| name.trim_start_matches("event ").parse::<usize>();
    let mut lanes = BTreeMap::new();
    for event in posthog.books().arrivals() {
        let number = number_of(&event.event)?;
        ensure!(
            event.historical == (number % 2 == 1),
            "{} arrived with historical = {}",
            event.event,
            event.historical
        );
        lanes.entry((event.distinct_id.clone(), event.historical)).or_insert_with(Vec::new).push(number);
    }
    ensure!(posthog.books().unique() == BODIES as u64, "{} of {BODIES} events", posthog.books().unique());
    for ((person, historical), numbers) in lanes {
        ensure!(numbers.is_sorted(), "{person}, history {historical}: {numbers:?}");
    }
    for request in posthog.books().exchanges().iter().filter(|request| request.route == "/batch") {
        let (historical, names) = read(request)?;
        for name in names {
            ensure!((number_of(&name)? % 2 == 1) == historical, "{name} in a request with history {historical}");
        }
    }
    moehog.finish().await
}

#[tokio::test]
async fn through_one_process() -> anyhow::Result<()> {
    history_travels_apart(Shape::One, Service::Moehog).await
}

#[tokio::test]
async fn through_three_processes() -> anyhow::Result<()> {
    history_travels_apart(Shape::Three, Service::Gateway).await
}
