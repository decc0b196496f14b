use anyhow::ensure;
use moehog_tests::{Deployment, Setup, Shape, connector};
use serde_json::Value;

use super::world::{KEY, SOON, arrived, capture, command, posthog, refused, stream, taken};

#[tokio::test]
async fn with_the_reason_and_the_bytes_as_they_came() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY).expect("dead letters")).await?;
    let unfilled = connector(KEY, "{{user_id}}", "00000000-0000-4000-8000-000000000001");
    let placeholder = refused(&capture(&moehog, unfilled.clone()).await?)?;
    let unreadable = taken(&stream(&moehog, "{\"events\": [").await?)?;
    taken(&capture(&moehog, connector(KEY, "person", "00000000-0000-4000-8000-000000000002")).await?)?;
    arrived(&posthog, 1, SOON).await?;
    moehog.drained(SOON).await?;
    ensure!(posthog.books().unique() == 1, "an unresolved placeholder became a person");

    let table = command(&moehog, &["dead-letters", "list"])?;
    ensure!(table.contains(&placeholder) && table.contains(&unreadable), "both receipts are listed:\n{table}");
    let json: Value = serde_json::from_str(&command(&moehog, &["dead-letters", "list", "--json"])?)?;
    ensure!(json.as_array().is_some_and(|list| list.len() == 2), "{json}");
    let shown = command(&moehog, &["dead-letters", "show", &placeholder])?;
    ensure!(shown.contains("distinct_id") && shown.contains("{{user_id}}"), "what is wrong is shown:\n{shown}");
    let shown = command(&moehog, &["dead-letters", "show", &unreadable, "--json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    ensure!(shown.to_string().contains("unreadable"), "{shown}");
    moehog.finish().await
}
