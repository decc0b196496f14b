use anyhow::ensure;
use moehog_emulator::posthog::Rule;
use moehog_tests::{Deployment, Setup, Shape, streams};

use super::world::{KEY, SOON, arrived, dead_letters, posthog, stream, taken};

const WORDS: &str = "invalid event could not be processed";

#[tokio::test]
async fn one_in_300_is_a_dead_letter_and_299_arrive() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY).expect("dead letters")).await?;
    // the first delivery pays for the check of the key
    taken(&stream(&moehog, streams(&["first".to_string()])).await?)?;
    arrived(&posthog, 1, SOON).await?;

    posthog.faults().add(Rule::refuse("person-217", WORDS));
    let before = posthog.books().counts().requests;
    let ids: Vec<_> = (0..300).map(|number| format!("person-{number}")).collect();
    let receipt = taken(&stream(&moehog, streams(&ids)).await?)?;
    moehog.drained(SOON).await?;
    ensure!(posthog.books().unique() == 300, "{} of 1 + 299 at PostHog", posthog.books().unique());
    let requests = posthog.books().counts().requests - before;
    ensure!(requests <= 20, "{requests} requests to find one bad event of 300");

    let letters = dead_letters(&moehog).await?;
    ensure!(letters.len() == 1, "{} dead letters: {letters:?}", letters.len());
    ensure!(letters[0]["receipt"] == receipt.as_str(), "{}", letters[0]);
    ensure!(letters[0].to_string().contains(WORDS), "PostHog's words are gone: {}", letters[0]);
    moehog.finish().await
}
