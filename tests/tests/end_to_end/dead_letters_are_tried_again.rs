use std::fs;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use moehog_tests::{Deployment, Setup, Shape, get, post, within};
use serde_json::{Value, json};

use super::world::{KEY, SOON, command, dead_letters, posthog, stream, taken};

const WEBHOOKS: u64 = 4;
const EVENTS: u64 = 400;
/// The others of each webhook are delivered at once.
const BAD: u64 = 312;

/// A rule that names the person by an attribute that is not there, and the one that was meant.
const MISTAKE: &str =
    "[[rule]]\nwhen = \"EventAttribute['plan'] == 'gold'\"\ndistinct_id = \"{{ EventAttribute['nobody'] }}\"\n";
const MENDED: &str =
    "[[rule]]\nwhen = \"EventAttribute['plan'] == 'gold'\"\ndistinct_id = \"{{ EventAttribute['member'] }}\"\n";

/// A webhook of a hundred events, 78 of them of people with the plan that the rule is about; every tenth says no time.
fn webhook(number: u64) -> String {
    let events: Vec<Value> = (0..EVENTS / WEBHOOKS)
        .map(|place| {
            let person = number * EVENTS / WEBHOOKS + place;
            let plan = if place < BAD / WEBHOOKS { "gold" } else { "free" };
            let mut event = json!({
                "event_name": "Renewed", "event_uuid": format!("00000000-0000-4000-8000-{person:012}"),
                "event_time": 1_790_000_000 + person, "uid": format!("user-{person}"),
                "event_attributes": {"plan": plan, "member": format!("member-{person}")},
            });
            if place % 10 == 0 {
                event["event_time"].take();
            }
            event
        })
        .collect();
    json!({ "events": events }).to_string()
}

struct Day {
    moehog: Deployment,
    posthog: moehog_emulator::posthog::Running,
    directory: tempfile::TempDir,
    /// All webhooks had arrived by then.
    arrived_by: Timestamp,
}

/// A day on which a mistake in the mapping killed 312 of 400 events, and the mapping is mended since.
async fn after_the_mistake(shape: Shape) -> anyhow::Result<Day> {
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("mapping.toml");
    fs::write(&file, MISTAKE)?;
    let path = file.to_str().context("a path in UTF-8")?;
    let setup = Setup::new(shape, &posthog.url(), KEY).set("mapping.file", path).set("mapping.reread_every", "20ms");
    let moehog = Deployment::start(setup.expect("dead letters")).await?;
    for number in 0..WEBHOOKS {
        taken(&stream(&moehog, webhook(number)).await?)?;
    }
    moehog.settled(SOON).await?;
    let arrived_by = Timestamp::now();
    let letters = dead_letters(&moehog).await?;
    ensure!(letters.len() as u64 == BAD, "{} dead letters", letters.len());
    ensure!(posthog.books().unique() == EVENTS - BAD, "{} events delivered", posthog.books().unique());
    fs::write(&file, MENDED)?;
    within(SOON, "the mended mapping is in use", async || {
        let receipt = letters[0]["receipt"].as_str()?;
        let entry = moehog.ask(&format!("/api/receipts/{receipt}")).await.ok()?;
        entry["mapped"].to_string().contains(r#"distinct_id":"member-"#).then_some(())
    })
    .await?;
    // what is dated by its arrival has an arrival that lies back
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    Ok(Day { moehog, posthog, directory, arrived_by })
}

impl Day {
    /// Each event is there once, the neighbours were sent once, and every time is the one that it had.
    async fn check_repaired(self, is_killed: bool) -> anyhow::Result<()> {
        self.moehog.drained(SOON).await?;
        let letters = dead_letters(&self.moehog).await?;
        ensure!(letters.is_empty(), "{} dead letters are left: {}", letters.len(), letters[0]);
        let books = self.posthog.books();
        let (events, arrivals) = (books.events(), books.arrivals());
        ensure!(events.len() as u64 == EVENTS, "{} events", events.len());
        let neighbours = arrivals.iter().filter(|event| event.distinct_id.starts_with("user-")).count() as u64;
        ensure!(neighbours == EVENTS - BAD, "{neighbours} arrivals of neighbours");
        ensure!(is_killed || arrivals.len() as u64 == EVENTS, "{} arrivals", arrivals.len());
        for event in events {
            let (_, person) = event.distinct_id.split_once('-').context("a person")?;
            let person: i64 = person.parse()?;
            let id = format!("00000000-0000-4000-8000-{person:012}");
            ensure!(event.has_own_uuid && event.properties()["event_uuid"] == id, "{event:?}");
            match person % (EVENTS / WEBHOOKS) as i64 % 10 {
                0 => ensure!(event.timestamp <= self.arrived_by, "dated anew: {event:?}"),
                _ => ensure!(event.timestamp.as_second() == 1_790_000_000 + person, "{event:?}"),
            }
        }
        // the mapping file is there until then
        self.moehog.finish().await?;
        Ok(self.directory.close()?)
    }
}

async fn by_a_command(shape: Shape) -> anyhow::Result<()> {
    let day = after_the_mistake(shape).await?;
    let looked = command(&day.moehog, &["dead-letters", "retry", "--dry-run", "--source", "default"])?;
    ensure!(looked == "312 events of 4 webhooks would be tried again\n", "{looked}");
    let nothing = command(&day.moehog, &["dead-letters", "retry", "--reason", "unreadable_json"])?;
    ensure!(nothing.starts_with("no dead letters"), "{nothing}");
    let said = command(&day.moehog, &["dead-letters", "retry", "--since", "2026-11-01"])?;
    ensure!(said.starts_with("312 events of 4 webhooks tried again"), "{said}");
    day.check_repaired(false).await
}

#[tokio::test]
async fn by_a_command_in_one_process() -> anyhow::Result<()> {
    by_a_command(Shape::One).await
}

#[tokio::test]
async fn by_a_command_in_three_processes() -> anyhow::Result<()> {
    by_a_command(Shape::Three).await
}

#[tokio::test]
async fn by_the_api() -> anyhow::Result<()> {
    let day = after_the_mistake(Shape::Three).await?;
    let headers = [("content-type", "application/json")];
    let ask = async |body: Value| {
        let answer = post(day.moehog.admin()?, "/api/dead-letters/retry", &headers, body.to_string()).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(answer.json())
    };
    let done = ask(json!({})).await?;
    ensure!((&done["events"], &done["webhooks"]) == (&json!(BAD), &json!(WEBHOOKS)), "{done}");
    ensure!(done["next"].is_null(), "{done}");
    let wrong = post(day.moehog.admin()?, "/api/dead-letters/retry", &headers, r#"{"sorce":"x"}"#.to_string()).await?;
    ensure!(wrong.status == 400 && wrong.text().contains("unknown field `sorce`"), "{}", wrong.text());
    for (path, status, code) in [
        ("/api/dead-letters?limit=abc", 400, "malformed_request"),
        ("/api/dead-letters/retry", 405, "other_method"),
        ("/api/nope", 404, "unknown_path"),
    ] {
        let answer = get(day.moehog.admin()?, path).await?;
        ensure!(answer.status == status && answer.json()["error"] == code, "{path}: {}", answer.text());
    }
    for none in [r#"{"receipts":[]}"#, "[]", "null"] {
        let refused = post(day.moehog.admin()?, "/api/dead-letters/discard", &headers, none.to_string()).await?;
        ensure!(refused.status == 400, "{none} is not all: {}", refused.text());
    }
    // no page of another site can ask for it
    let form = [("content-type", "text/plain")];
    let strange = post(day.moehog.admin()?, "/api/dead-letters/discard", &form, "{}".to_string()).await?;
    ensure!(strange.status == 400, "{}: {}", strange.status, strange.text());
    day.check_repaired(false).await
}

async fn though_all_die_in_the_middle(shape: Shape) -> anyhow::Result<()> {
    let mut day = after_the_mistake(shape).await?;
    day.moehog.expect("moehog_relay");
    day.moehog.expect("moehog_delivery");
    day.moehog.expect("moehog_transport");
    for wait in [0, 30, 150] {
        command(&day.moehog, &["dead-letters", "retry"])?;
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        day.moehog.kill_all()?;
        day.moehog.heal().await?;
    }
    day.check_repaired(true).await
}

#[tokio::test]
async fn though_one_process_dies_in_the_middle() -> anyhow::Result<()> {
    though_all_die_in_the_middle(Shape::One).await
}

#[tokio::test]
async fn though_three_processes_die_in_the_middle() -> anyhow::Result<()> {
    though_all_die_in_the_middle(Shape::Three).await
}

#[tokio::test]
async fn and_what_was_discarded_is_off_the_list_for_good() -> anyhow::Result<()> {
    let mut day = after_the_mistake(Shape::One).await?;
    let refused = command(&day.moehog, &["dead-letters", "discard"]);
    ensure!(refused.is_err(), "which ones is to be said");
    let lines = command(&day.moehog, &["dead-letters", "export"])?;
    ensure!(lines.lines().count() as u64 == BAD, "{} lines", lines.lines().count());
    let letter: Value = serde_json::from_str(lines.lines().next().context("a line")?)?;
    let receipt = letter["receipt"].as_str().context("a receipt")?.to_string();
    let said = command(&day.moehog, &["dead-letters", "discard", &receipt])?;
    ensure!(said == "78 events of 1 webhook discarded\n", "{said}");
    let letters = dead_letters(&day.moehog).await?;
    ensure!(letters.len() as u64 == BAD - BAD / WEBHOOKS, "{} dead letters", letters.len());
    day.moehog.kill_all()?;
    day.moehog.heal().await?;
    command(&day.moehog, &["dead-letters", "retry"])?;
    day.moehog.drained(SOON).await?;
    let unique = day.posthog.books().unique();
    ensure!(unique == EVENTS - BAD / WEBHOOKS, "{unique} events");
    let events = day.moehog.ask("/api/status").await?["ledger"]["events"].clone();
    ensure!((&events["dead"], &events["discarded"]) == (&json!(0), &json!(BAD / WEBHOOKS)), "{events}");
    day.moehog.finish().await
}
