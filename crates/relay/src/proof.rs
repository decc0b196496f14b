//! Whether a transformer died of a webhook, or hangs with it: told from who answers, and never from a call that broke.
//!
//! Every answer names the process that gave it. Those that answered before the call are asked again: one that is gone has died,
//! where the call broke; where it ran out of time and all of them answer meanwhile, the one that has the webhook lives, and it
//! is the webhook that does not end.

use std::{collections::HashSet, convert::Infallible, time::Duration};

use futures::future::join_all;
use moehog_proto::transformer::{TransformRequest, TransformerServiceClient};
use moehog_transport::Replicas;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::deadline::{bounded, with_deadline};

/// Longest wait for the answer to a call without webhooks.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longest time that a transformer which a webhook killed may take to be back; a supervisor waits longer after each death.
const RESTART: Duration = Duration::from_secs(60);
/// How long others must answer, and it not, until one has died: the way to it may be broken for a moment.
const GONE_FOR: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(100);

/// The transformers, as those whose names are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    pub(crate) client: TransformerServiceClient<moehog_proto::Channel>,
    pub(crate) replicas: Replicas,
    pub(crate) cut: CancellationToken,
}

impl Witness {
    /// Names of those that answer now.
    pub(crate) async fn living(&self) -> HashSet<String> {
        let ask = |_| {
            let mut client = self.client.clone();
            async move {
                let request = with_deadline(TransformRequest::default(), DEADLINE, &Span::none());
                bounded(DEADLINE, &self.cut, client.transform(request)).await
            }
        };
        // calls go to whom has the fewest under way: so many reach each of them
        let answers = join_all((0..2 * self.replicas.count()).map(ask)).await;
        answers.into_iter().flatten().map(|answer| answer.instance).filter(|name| !name.is_empty()).collect()
    }

    /// Waits for `call`, which has so much time, and gives those that answered in the last third of it too.
    pub(crate) async fn beside<T>(&self, deadline: Duration, call: impl Future<Output = T>) -> (T, HashSet<String>) {
        let seen = Mutex::new(HashSet::new());
        let ask = async {
            sleep(deadline * 2 / 3).await;
            loop {
                let living = self.living().await;
                seen.lock().extend(living);
                sleep(POLL).await;
            }
        };
        let done = tokio::select! {
            done = call => done,
            never = ask => { let never: Infallible = never; match never {} }
        };
        (done, seen.into_inner())
    }

    /// Whether one of those that answered before does no more, and others do.
    pub(crate) async fn has_died(&self, before: &HashSet<String>) -> bool {
        let until = Instant::now() + RESTART;
        let (mut seen, mut answers_since) = (HashSet::new(), None);
        while Instant::now() < until && !self.cut.is_cancelled() {
            let living = self.living().await;
            if !living.is_empty() {
                answers_since.get_or_insert_with(Instant::now);
            }
            seen.extend(living);
            if before.is_subset(&seen) {
                return false;
            }
            if answers_since.is_some_and(|since| since.elapsed() >= GONE_FOR) {
                return true;
            }
            sleep(POLL).await;
        }
        false
    }
}
