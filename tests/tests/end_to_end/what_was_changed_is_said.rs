use anyhow::{Context, ensure};
use moehog_tests::{Deployment, Service, Setup, Shape, TOKEN, get, post};
use serde_json::{Value, json};

use super::world::{KEY, SOON, command, event_of, posthog, taken};

/// A body of which five things are not as its marketer meant them.
const BODY: &str = r#"{"event":"Purchased","distinct_id":"ada","timestamp":"27/11/2026 10:00",
  "properties":{"revenue":"{{EventAttribute['Revenue']}}","amount":"12 €"},"colour":"red",}"#;

/// The transformer's counts of what was said, of all notes and properties.
async fn counted(moehog: &Deployment) -> anyhow::Result<Vec<String>> {
    let admin = moehog.admin_of(Service::Transformer).or_else(|_one_process| moehog.admin())?;
    let page = get(admin, "/metrics").await?.text();
    let ours = page.lines().filter(|line| line.starts_with("moehog_transformer_") && !line.contains("_seconds"));
    Ok(ours.map(str::to_string).collect())
}

async fn on_the_event_in_the_answer_the_receipt_and_the_metrics(shape: Shape) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(shape, &posthog.url(), KEY)).await?;
    let token = format!("Bearer {TOKEN}");
    let headers = [("content-type", "application/json"), ("authorization", &*token), ("prefer", "wait=3")];
    let answer = post(moehog.http()?, "/v1/in/default", &headers, BODY).await?;
    let receipt = taken(&answer)?;
    moehog.drained(SOON).await?;

    let note =
        |code: &str, property: &str, original: &str| json!({"code": code, "property": property, "original": original});
    let expected = [
        note("dropped_placeholder", "revenue", "{{EventAttribute['Revenue']}}"),
        note("ignored_field", "colour", "red"),
        note("ambiguous_date", "timestamp", "27/11/2026 10:00"),
        note("kept_text", "amount", "12 €"),
    ];
    let event = event_of(&posthog, "ada", "Purchased")?;
    let origin = &event.properties()["moehog"];
    ensure!(origin["time"] == "received" && origin["repaired"] == json!(["trailing_comma"]), "{origin}");
    ensure!(origin["notes"] == json!(expected), "{origin}");

    let told: Vec<Value> = serde_json::from_value(answer.json()["notes"].clone())?;
    for note in &expected {
        let is_it =
            |told: &Value| note.as_object().is_some_and(|note| note.iter().all(|(key, value)| told[key] == *value));
        ensure!(told.iter().any(|told| is_it(told) && told["position"] == 0), "{}", answer.text());
    }

    let before = counted(&moehog).await?;
    for series in [
        r#"notes_total{source="default",note="ambiguous_date",weight="changed"} 1"#,
        r#"noted_properties_total{source="default",note="kept_text",property="amount"} 1"#,
    ] {
        ensure!(before.iter().any(|line| line.ends_with(series)), "{series} is not among\n{}", before.join("\n"));
    }
    for _ in 0..2 {
        let page = command(&moehog, &["receipt", &receipt])?;
        let line = page.lines().find(|line| line.contains("ambiguous_date:")).context("the receipt says it")?;
        ensure!(line.contains("timestamp, was `27/11/2026 10:00`"), "{page}");
    }
    let after = counted(&moehog).await?;
    let moved: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    ensure!(moved.is_empty(), "looking at a receipt moved {moved:?}");
    moehog.finish().await
}

#[tokio::test]
async fn what_was_changed_is_said_by_one_process() -> anyhow::Result<()> {
    on_the_event_in_the_answer_the_receipt_and_the_metrics(Shape::One).await
}

#[tokio::test]
async fn what_was_changed_is_said_by_three_processes() -> anyhow::Result<()> {
    on_the_event_in_the_answer_the_receipt_and_the_metrics(Shape::Three).await
}
