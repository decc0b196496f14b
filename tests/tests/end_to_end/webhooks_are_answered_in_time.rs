use std::time::{Duration, Instant};

use anyhow::ensure;
use moehog_tests::{Deployment, Setup, Shape, connector, streams};

use super::world::{IN_TIME, KEY, arrived, capture, posthog, stream, taken};

/// A Streams batch of 25 MB: 100 events with a long attribute each.
fn heavy() -> String {
    let ids: Vec<_> = (0..100).map(|number| format!("heavy-{number}")).collect();
    let filler = format!("\"campaign_name\":\"{}\"", "x".repeat(250_000));
    streams(&ids).replace("\"campaign_name\":\"Winter Sale\"", &filler)
}

#[tokio::test]
async fn while_a_batch_of_25_mb_is_transformed() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    let body = heavy();
    ensure!(body.len() > 25_000_000, "{} bytes are not 25 MB", body.len());
    let begun = Instant::now();
    let (large, small) = tokio::join!(stream(&moehog, body), async {
        let mut slowest = Duration::ZERO;
        let mut number = 0;
        // until well behind the large one's mapping
        while begun.elapsed() < Duration::from_secs(6) {
            let body = connector(KEY, &format!("small-{number}"), &format!("00000000-0000-4000-8000-{number:012x}"));
            let answer = capture(&moehog, body).await?;
            taken(&answer)?;
            slowest = slowest.max(answer.took);
            number += 1;
        }
        anyhow::Ok((slowest, number))
    });
    taken(&large?)?;
    let (slowest, number) = small?;
    ensure!(number > 100, "only {number} webhooks beside the large one");
    ensure!(slowest < IN_TIME, "a webhook beside the large one was answered after {slowest:?}");
    arrived(&posthog, number + 100, Duration::from_secs(60)).await?;
    moehog.finish().await
}
