use std::{collections::BTreeMap, process::Command};

use anyhow::ensure;
use minijinja::{Environment, Value};
use moehog_tests::{Deployment, Setup, Shape, binary};

use super::world::{KEY, SOON, event_of, posthog, stream, taken};

/// What `moehog connector` writes, filled as MoEngage would fill it.
fn filled() -> anyhow::Result<String> {
    let mut command = Command::new(binary("moehog")?);
    command.args(["connector", "--body", "--url", "https://your.host/v1/in/default", "--event", "purchase_completed"]);
    command.args(["--uuid-from", "EventAttribute['Order ID']", "--time-from", "EventAttribute['Ordered At']"]);
    command.args([
        "--property",
        "amount=EventAttribute['Value']:number",
        "--property",
        "item=EventAttribute['Item Names']",
    ]);
    command.args(["--user-property", "email=UserAttribute['Email (Standard)']"]);
    let body = String::from_utf8(command.output()?.stdout)?.replace("{% MOE_NOT_SEND(\"no ID\") %}", "");
    let user = BTreeMap::from([("ID", "user_42"), ("Email (Standard)", "ada@example.com")]);
    let event = [
        ("Order ID", "A-1"),
        ("Ordered At", "2026-08-20 10:11:12"),
        ("Value", "49.90"),
        ("Item Names", "a \"lamp\"\n"),
    ];
    let objects = BTreeMap::from([("UserAttribute", user), ("EventAttribute", BTreeMap::from(event))]);
    Ok(Environment::new().render_str(&body, Value::from(objects))?)
}

#[tokio::test]
async fn a_rerun_of_what_connector_writes_is_one_event_with_its_types_time_and_person() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    let body = filled()?;
    for _ in 0..2 {
        taken(&stream(&moehog, body.clone()).await?)?;
    }
    moehog.drained(SOON).await?;
    ensure!(posthog.books().counts().arrivals == 2, "the rerun never came: the test shows nothing");
    ensure!(posthog.books().unique() == 1, "{} by PostHog's key", posthog.books().unique());
    let event = event_of(&posthog, "user_42", "purchase_completed")?;
    let properties = event.properties();
    ensure!(properties["amount"] == 49.9 && properties["item"] == "a \"lamp\"\n", "{properties:?}");
    ensure!(properties["$set"]["email"] == "ada@example.com", "{properties:?}");
    ensure!(event.timestamp.to_string() == "2026-08-20T10:11:12Z", "{}", event.timestamp);
    moehog.finish().await
}
