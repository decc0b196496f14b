use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use moehog_emulator::mutated;
use moehog_tests::{Deployment, Setup, Shape, cases};
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::world::{KEY, SOON, posthog, stream};

const BODIES: u64 = 400;

/// Whatever comes is answered with a receipt, 200 or 422, and the receipt gives it back byte for byte.
#[tokio::test]
async fn whatever_was_answered_with_a_receipt_is_given_back_byte_for_byte() -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(1);
    let (bodies, posthog) = (cases()?, posthog()?);
    let moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY).expect("dead letters")).await?;
    let mut refused = 0;
    for _ in 0..BODIES {
        let body = mutated(bodies.choose(&mut random).context("a body")?, &bodies, 3, &mut random);
        let answer = stream(&moehog, body.clone()).await?;
        ensure!(matches!(answer.status, 200 | 422), "{}: {}", answer.status, answer.text());
        refused += u64::from(answer.status == 422);
        let receipt = answer.json()["receipt"].as_str().context("a receipt")?.to_string();
        let entry = moehog.ask(&format!("/api/receipts/{receipt}")).await?;
        let kept = STANDARD.decode(entry["body"]["base64"].as_str().context("a body")?)?;
        ensure!(
            kept == body,
            "{receipt} gives {:?} for {:?}",
            String::from_utf8_lossy(&kept),
            String::from_utf8_lossy(&body)
        );
    }
    moehog.drained(SOON).await?;
    ensure!(refused > BODIES / 10, "{refused} of {BODIES} were refused: the test shows little");
    for event in posthog.books().events() {
        ensure!(
            !event.distinct_id.trim().is_empty() && !event.distinct_id.contains("{{"),
            "a person is {:?}",
            event.distinct_id
        );
    }
    moehog.finish().await
}
