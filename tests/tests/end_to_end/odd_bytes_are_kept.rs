use anyhow::ensure;
use moehog_tests::{Deployment, Setup, Shape, post, streams, tutorial};

use super::world::{KEY, SOON, arrived, event_of, posthog, stream, taken};

#[tokio::test]
async fn an_invalid_byte_in_a_batch_costs_no_event() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY).expect("utf-8")).await?;
    let ids: Vec<_> = (0..10).map(|number| format!("person-{number}")).collect();
    let mut body = streams(&ids).into_bytes();
    let at = body.windows(6).position(|window| window == b"Winter").expect("a text to break");
    body[at + 1] = 0xff;
    let receipt = taken(&stream(&moehog, body.clone()).await?)?;
    arrived(&posthog, 10, SOON).await?;
    let kept = moehog.ask(&format!("/api/receipts/{receipt}")).await;
    ensure!(
        kept.is_err() || kept.is_ok_and(|letter| letter["outcomes"] != serde_json::json!([])),
        "the receipt is known"
    );
    moehog.finish().await
}

#[tokio::test]
async fn a_body_without_a_content_type_is_read() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    let [_, purchase, _] = tutorial(KEY, "user_42");
    taken(&post(moehog.http()?, "/capture/", &[], purchase).await?)?;
    arrived(&posthog, 1, SOON).await?;
    event_of(&posthog, "user_42", "purchase_completed")?;
    moehog.finish().await
}
