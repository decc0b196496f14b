use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Action, Rule};
use moehog_tests::{Deployment, Setup, Shape, connector};
use serde_json::Value;

use super::world::{KEY, SOON, arrived, capture, command, event_of, posthog, taken};

#[tokio::test]
async fn from_the_webhook_to_posthogs_answers_and_from_the_event_back() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut busy = Rule::always(Action::Answer { status: 503, body: String::new(), retry_after: None });
    busy.times = Some(1);
    posthog.faults().add(busy);
    let moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY).expect("moehog_relay")).await?;
    let body = connector(KEY, "person", "00000000-0000-4000-8000-000000000001");
    let named = taken(&capture(&moehog, body.clone()).await?)?;
    arrived(&posthog, 1, SOON).await?;
    moehog.drained(SOON).await?;

    let event = event_of(&posthog, "person", "campaign_sent")?;
    let back = event.properties()["moehog"]["receipt"].as_str().context("the event names its receipt")?.to_string();
    ensure!(back == named, "the answer named {named}, the event names {back}");

    let page = command(&moehog, &["receipt", &back])?;
    for part in [&*body, "delivered", "503", "200", "maps to #0"] {
        ensure!(page.contains(part), "`{part}` is not shown:\n{page}");
    }
    let json: Value = serde_json::from_str(&command(&moehog, &["receipt", &back, "--json"])?)?;
    ensure!(json["mapped"][0]["event"]["distinct_id"] == "person", "{json:#}");
    ensure!(json["mapped"][0]["event"]["uuid"] == "00000000-0000-4000-8000-000000000001", "{json:#}");
    let moehog_of = |event: &Value| event["properties"]["moehog"].clone();
    ensure!(moehog_of(&json["mapped"][0]["event"]) == event.properties()["moehog"], "{json:#}");
    let statuses: Vec<_> =
        json["attempts"].as_array().into_iter().flatten().map(|attempt| &attempt["status"]).collect();
    ensure!(statuses == [503, 200], "{json:#}");
    let by_uuid = command(&moehog, &["receipt", "00000000-0000-4000-8000-000000000001"])?;
    ensure!(by_uuid == page, "by the event's uuid:\n{by_uuid}");
    ensure!(json["header"]["trace_id"] == event.properties()["moehog"]["trace_id"], "{json:#}");
    moehog.finish().await
}
