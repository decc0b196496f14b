use std::collections::BTreeMap;

use anyhow::ensure;
use moehog_emulator::posthog::Rule;
use moehog_tests::{Deployment, Setup, Shape, streams};

use super::world::{KEY, SOON, arrived, posthog, stream, taken};

#[tokio::test]
async fn and_leaves_one_event_each() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY);
    for expected in ["moehog_relay", "moehog_delivery"] {
        setup = setup.expect(expected);
    }
    let moehog = Deployment::start(setup).await?;
    taken(&stream(&moehog, streams(&["first".to_string()])).await?)?;
    arrived(&posthog, 1, SOON).await?;

    posthog.faults().add(Rule::answer_lost().times(1));
    let ids: Vec<_> = (0..50).map(|number| format!("person-{number}")).collect();
    taken(&stream(&moehog, streams(&ids)).await?)?;
    moehog.drained(SOON).await?;
    ensure!(posthog.books().unique() == 51, "{} of 51 by PostHog's key", posthog.books().unique());
    let mut copies = BTreeMap::<_, Vec<_>>::new();
    for event in posthog.books().arrivals() {
        copies.entry(event.distinct_id.clone()).or_default().push(event.raw.clone());
    }
    let resent: Vec<_> = copies.values().filter(|copies| copies.len() > 1).collect();
    ensure!(!resent.is_empty(), "nothing was sent again: the test shows nothing");
    for copies in resent {
        ensure!(copies.iter().all(|copy| *copy == copies[0]), "a retry changed bytes: {copies:?}");
    }
    moehog.finish().await
}
