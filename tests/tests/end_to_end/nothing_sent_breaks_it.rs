//! Requests and gRPC messages that were right and are damaged at random: nothing panics, hangs, grows or answers 5xx, but 503.

mod messages;
mod requests;

use std::{collections::BTreeMap, future::Future};

use anyhow::{Context, ensure};
use moehog_tests::{Deployment, Service};
use rand::{SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

/// Conversations at once: more than there are cores, so that damage of one meets work of others.
const AT_ONCE: u64 = 32;
/// What memory may grow by from a tenth of the way to its end, beside half of what it was.
const GROWTH: u64 = 32 << 20;

/// How often each answer came.
type Answers = BTreeMap<String, u64>;

/// Holds conversations of further seeds until so many things were said, and looks that memory stays flat.
async fn talk<F>(
    moehog: &mut Deployment,
    services: &[Service],
    said: u64,
    first: u64,
    conversation: impl Fn(StdRng) -> F,
) -> anyhow::Result<Answers>
where
    F: Future<Output = anyhow::Result<Vec<String>>> + Send + 'static,
{
    let (mut talks, mut answers) = (JoinSet::new(), Answers::new());
    let (mut heard, mut seed, mut warm) = (0, first, None);
    while heard < said {
        while talks.len() < AT_ONCE as usize {
            let at = seed;
            let conversation = conversation(StdRng::seed_from_u64(at));
            talks.spawn(async move { conversation.await.with_context(|| format!("seed {at}")) });
            seed += 1;
        }
        let all = talks.join_next().await.context("a conversation ends")??;
        for answer in all? {
            heard += 1;
            *answers.entry(answer).or_default() += 1;
        }
        if warm.is_none() && heard > said / 10 {
            warm = Some(resident(moehog, services)?);
        }
    }
    let end = resident(moehog, services)?;
    println!("{heard} from seed {first}: {answers:?}; memory {warm:?} and {end:?}");
    for (warm, end) in warm.unwrap_or_default().into_iter().zip(end) {
        ensure!(end <= warm + warm / 2 + GROWTH, "memory went from {warm} to {end} bytes");
    }
    Ok(answers)
}

fn resident(moehog: &mut Deployment, services: &[Service]) -> anyhow::Result<Vec<u64>> {
    services.iter().map(|service| moehog.process(*service)?.resident_bytes()).collect()
}
