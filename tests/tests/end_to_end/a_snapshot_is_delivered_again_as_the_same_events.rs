//! What deploy/README.md says of backups: a snapshot of a running gateway's volume has every webhook that was answered 200 before it,
//! and what it delivers a second time is one event still.

use std::{collections::HashMap, fs, path::Path};

use anyhow::ensure;
use moehog_tests::{Deployment, Service, Setup, Shape, tutorial};

use super::world::{KEY, SOON, by_person, capture, posthog, taken};

const PERSONS: usize = 40;
/// Of the tutorial's bodies, which have neither an id nor a time of their own.
const BODIES: usize = 3;

/// Copies the journal as it is at one moment: the process that writes it stands still meanwhile.
fn snapshot(moehog: &mut Deployment, to: &Path) -> anyhow::Result<()> {
    let from = moehog.journal_directory();
    let process = moehog.process(Service::Moehog)?;
    process.pause()?;
    fs::create_dir(to)?;
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    process.resume()
}

fn whole(stored: &HashMap<String, usize>) -> bool {
    stored.len() == PERSONS && stored.values().all(|events| *events == BODIES)
}

#[tokio::test]
async fn webhooks_that_waited_in_it_arrive_from_it_and_collapse_with_those_of_the_original() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let setup = Setup::new(Shape::One, &posthog.url(), KEY).expect("moehog_relay");
    let mut moehog = Deployment::start(setup.clone()).await?;
    posthog.down().await;
    for number in 0..PERSONS {
        for body in tutorial(KEY, &format!("person-{number}")) {
            taken(&capture(&moehog, body).await?)?;
        }
    }
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("journal");
    snapshot(&mut moehog, &copy)?;

    posthog.up()?;
    moehog.drained(SOON).await?;
    moehog.finish().await?;
    let stored = by_person(&posthog);
    ensure!(whole(&stored), "the original delivered {stored:?}");

    let restored = Deployment::start(Setup { journal: Some(copy), ..setup }).await?;
    restored.drained(SOON).await?;
    restored.finish().await?;
    let arrivals = usize::try_from(posthog.books().counts().arrivals)?;
    ensure!(arrivals == 2 * PERSONS * BODIES, "{arrivals} events came: the snapshot had not all of them");
    let stored = by_person(&posthog);
    ensure!(whole(&stored), "after the snapshot PostHog has {stored:?}");
    Ok(())
}
