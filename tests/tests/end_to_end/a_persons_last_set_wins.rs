use std::time::Duration;

use anyhow::ensure;
use moehog_emulator::posthog::Rule;
use moehog_tests::{Deployment, Setup, Shape, purchase};
use serde_json::json;

use super::world::{KEY, capture, posthog, taken};

const STEPS: u64 = 40;
const PERSONS: u64 = 5;

#[tokio::test]
async fn though_requests_fail_on_the_way() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY);
    for expected in ["moehog_relay", "moehog_delivery"] {
        setup = setup.expect(expected);
    }
    let moehog = Deployment::start(setup).await?;
    let mut flaky = Rule::status(503);
    flaky.when.probability = Some(0.3);
    posthog.faults().add(flaky);
    posthog.set_latency(Duration::from_millis(5));
    for step in 1..=STEPS {
        for person in 0..PERSONS {
            let uuid = format!("00000000-0000-4000-8000-{:012x}", step * 100 + person);
            taken(&capture(&moehog, purchase(KEY, &format!("person-{person}"), &uuid, step)).await?)?;
        }
    }
    moehog.drained(Duration::from_secs(90)).await?;
    for person in 0..PERSONS {
        let stored = posthog.books().person(KEY, &format!("person-{person}"));
        let step = stored.and_then(|stored| stored.properties.get("step").cloned());
        ensure!(step == Some(json!(STEPS)), "person {person} ends with step {step:?}, the last was {STEPS}");
    }
    ensure!(posthog.books().counts().statuses.contains_key(&503), "nothing failed on the way: the test shows nothing");
    moehog.finish().await
}
