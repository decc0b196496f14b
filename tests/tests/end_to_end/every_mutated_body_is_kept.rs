use std::fs;

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use moehog_tests::{Deployment, Setup, Shape, root};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::world::{KEY, SOON, posthog, stream};

const BODIES: u64 = 400;

/// The bodies of the transformer's cases.
fn bodies() -> anyhow::Result<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    for case in fs::read_dir(root().join("crates/transformer/testdata/cases"))? {
        let case: Value = serde_json::from_str(&fs::read_to_string(case?.path())?)?;
        bodies.extend(case["body"].as_str().map(|body| body.as_bytes().to_vec()));
    }
    ensure!(bodies.len() > 20, "{} bodies", bodies.len());
    Ok(bodies)
}

fn mutated(random: &mut StdRng, bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut body = bodies[random.random_range(0..bodies.len())].clone();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=body.len());
        match random.random_range(0..4) {
            0 => body.truncate(at),
            1 => body.insert(at, b"\"{}[],:\\\0\xff\xe9%&="[random.random_range(0..14)]),
            2 => drop(body.drain(at..(at + random.random_range(0..9)).min(body.len()))),
            _ => {
                let from = &bodies[random.random_range(0..bodies.len())];
                let piece = random.random_range(0..=from.len());
                body.splice(at..at, from[piece..(piece + 20).min(from.len())].iter().copied());
            }
        }
    }
    body
}

/// Whatever comes is answered with a receipt, 200 or 422, and the receipt gives it back byte for byte.
#[tokio::test]
async fn whatever_was_answered_with_a_receipt_is_given_back_byte_for_byte() -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(1);
    let (bodies, posthog) = (bodies()?, posthog()?);
    let moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY)).await?;
    let mut refused = 0;
    for _ in 0..BODIES {
        let body = mutated(&mut random, &bodies);
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
