//! A PostHog that knows one project, and what the tests ask of it.

use std::{collections::HashSet, io, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Config, PostHog, Running, StoredEvent};
use moehog_tests::{Answer, Deployment, Setup, TOKEN, binary, get, post};
use serde_json::Value;

pub(crate) use moehog_tests::{by_person, from_soak};

/// The key of the one project.
pub(crate) const KEY: &str = "phc_tests";
/// How long anything that is not an outage may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Promise 2: an answer comes within this of the last byte.
pub(crate) const IN_TIME: Duration = Duration::from_secs(2);

/// Starts a PostHog that knows [`KEY`].
pub(crate) fn posthog() -> io::Result<Running> {
    posthog_with([KEY])
}

/// Starts a PostHog that knows these keys.
pub(crate) fn posthog_with<const N: usize>(keys: [&str; N]) -> io::Result<Running> {
    Ok(PostHog::bind(([127, 0, 0, 1], 0).into(), Config::with_keys(keys))?.start())
}

/// Lets mapping rules send events of the source `default` to the destination `eu`, which has this key and host.
pub(crate) fn with_route(setup: Setup, key: &str, host: &str, mapping: &Path) -> Setup {
    let mut setup = setup
        .section(&format!("[destinations.eu]\napi_key = \"{key}\"\nhost = \"{host}\"\n"))
        .variable("MOEHOG__MAPPING__FILE", &mapping.display().to_string());
    setup.file = setup.file.replacen("[sources.default]\n", "[sources.default]\nroutes = [\"eu\"]\n", 1);
    setup
}

/// Posts a capture body.
pub(crate) async fn capture(moehog: &Deployment, body: impl Into<bytes::Bytes>) -> anyhow::Result<Answer> {
    Ok(post(moehog.http()?, "/capture/", &[("content-type", "application/json")], body).await?)
}

/// Posts to the source `default`.
pub(crate) async fn stream(moehog: &Deployment, body: impl Into<bytes::Bytes>) -> anyhow::Result<Answer> {
    let token = format!("Bearer {TOKEN}");
    let headers = [("content-type", "application/json"), ("authorization", &*token)];
    Ok(post(moehog.http()?, "/v1/in/default", &headers, body).await?)
}

/// The receipt of an answer that must be a 200.
pub(crate) fn taken(answer: &Answer) -> anyhow::Result<String> {
    answer.receipt().with_context(|| format!("answered {}: {}", answer.status, answer.text()))
}

/// The receipt of the dead letter of an answer that must be a 422.
pub(crate) fn refused(answer: &Answer) -> anyhow::Result<String> {
    ensure!(answer.status == 422, "answered {}: {}", answer.status, answer.text());
    Ok(answer.json()["receipt"].as_str().context("a receipt")?.to_string())
}

/// Waits until PostHog has so many events, distinct by its key.
pub(crate) async fn arrived(posthog: &Running, events: u64, deadline: Duration) -> anyhow::Result<()> {
    let all = posthog.books().wait_until(deadline, |books| books.unique() >= events).await;
    ensure!(all, "{} of {events} events at PostHog after {deadline:?}", posthog.books().unique());
    Ok(())
}

/// The one event of a person.
pub(crate) fn event_of(posthog: &Running, person: &str, name: &str) -> anyhow::Result<std::sync::Arc<StoredEvent>> {
    let mut events = posthog.books().events();
    events.retain(|event| event.distinct_id == person && event.event == name);
    ensure!(events.len() == 1, "{} events `{name}` of {person}", events.len());
    Ok(events.remove(0))
}

/// Runs a command of `moehog` that asks a running one, as a person does, and gives what it prints.
pub(crate) fn command(moehog: &Deployment, arguments: &[&str]) -> anyhow::Result<String> {
    let admin = moehog.admin()?.to_string();
    let output = Command::new(binary("moehog")?).args(arguments).args(["--admin", &admin]).output()?;
    let (text, complaint) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
    ensure!(output.status.success(), "{arguments:?} ended with {}: {complaint}", output.status);
    Ok(text)
}

/// Every dead letter, from the admin API, newest first.
pub(crate) async fn dead_letters(moehog: &Deployment) -> anyhow::Result<Vec<Value>> {
    let answer = get(moehog.admin()?, "/api/dead-letters?limit=1000").await?;
    ensure!(answer.status == 200, "dead letters answered {}: {}", answer.status, answer.text());
    let json = answer.json();
    Ok(json["dead_letters"].as_array().context("a list of dead letters")?.clone())
}

/// Receipts that have a dead letter.
pub(crate) async fn dead_receipts(moehog: &Deployment) -> anyhow::Result<HashSet<String>> {
    let letters = dead_letters(moehog).await?;
    Ok(letters.iter().filter_map(|letter| letter["receipt"].as_str().map(str::to_string)).collect())
}
