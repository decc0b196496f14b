use anyhow::ensure;
use moehog_tests::{Deployment, Setup, Shape, streams};

use super::world::{KEY, SOON, by_person, posthog, stream, taken};

#[tokio::test]
async fn the_same_streams_batch_twice_leaves_one_copy() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    let ids: Vec<_> = (0..100).map(|number| format!("7b1cbe0e-5f5c-4f0e-9a7e-{number:012x}")).collect();
    let body = streams(&ids);
    for _ in 0..2 {
        taken(&stream(&moehog, body.clone()).await?)?;
    }
    moehog.drained(SOON).await?;
    let stored = by_person(&posthog);
    ensure!(
        stored.len() == 100 && stored.values().all(|count| *count == 1),
        "{} of 100 by PostHog's key",
        posthog.books().unique()
    );
    ensure!(posthog.books().counts().arrivals == 200, "the second batch never came: the test shows nothing");
    moehog.finish().await
}
