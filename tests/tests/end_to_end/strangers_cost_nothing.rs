use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use moehog_tests::{Attack, Deployment, Setup, Shape, streams};
use tokio::time::sleep;

use super::world::{IN_TIME, KEY, from_soak, posthog, stream, taken};

/// Seconds of each attack.
const FEW: u64 = 2;
/// Connections of strangers: of each kind more than there is room for.
const CONNECTIONS: usize = 240;

/// A gateway that is small, so that a few hundred strangers could fill it.
fn setup(posthog: &str) -> Setup {
    Setup::new(Shape::One, posthog, KEY)
        .set("http.max_in_flight", "128")
        .set("http.max_connections", "200")
        .set("http.max_held_bytes", "100000000")
        .set("http.answer_idle", "1s")
        .expect("requests showed no right secret")
}

/// Sends with a token, and says how long the slowest and the median answer took.
async fn honest(moehog: &Deployment, lasts: Duration) -> anyhow::Result<(Duration, Duration)> {
    let (until, mut took) = (Instant::now() + lasts, Vec::new());
    while Instant::now() < until {
        let begun = Instant::now();
        let answer = stream(moehog, streams(&[format!("honest-{}", took.len())])).await.context("is answered")?;
        taken(&answer)?;
        took.push(begun.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    took.sort_unstable();
    Ok((*took.last().context("sent")?, took[took.len() / 2]))
}

#[tokio::test]
async fn beside_a_sender_with_a_token() -> anyhow::Result<()> {
    let lasts = Duration::from_secs(from_soak("MOEHOG_SOAK_ROUNDS", FEW)?);
    let mut failed = Vec::new();
    for attack in Attack::ALL {
        let posthog = posthog()?;
        let moehog = Deployment::start(setup(&posthog.url())).await?;
        let connections = if attack == Attack::HalfBodies { CONNECTIONS / 10 } else { CONNECTIONS };
        let strangers = attack.begin(moehog.http()?, connections);
        // they are all there
        sleep(Duration::from_millis(700)).await;
        match honest(&moehog, lasts).await {
            Ok((slowest, median)) => {
                println!("{attack:?}: median {median:?}, slowest {slowest:?}");
                if slowest > IN_TIME {
                    failed.push(format!("{attack:?}: an answer took {slowest:?}"));
                }
            }
            Err(error) => failed.push(format!("{attack:?}: {error:#}")),
        }
        drop(strangers);
        let cut = moehog.drained(Duration::from_secs(60)).await;
        ensure!(cut.is_ok() || !failed.is_empty(), "{attack:?}: {cut:?}");
        if failed.is_empty() {
            moehog.finish().await?;
        }
    }
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}
