//! The calls to the transformer and to delivery: each with a deadline, each ends in a value.

use std::{collections::HashSet, sync::Arc};

use moehog_journal::{Claim, RecordError};
use moehog_proto::{
    Blame, Channel, Reason, Sequence,
    delivery::{DeliverRequest, DeliverResponse, DeliveryServiceClient},
    transformer::{TransformRequest, TransformResponse, TransformerServiceClient},
};
use moehog_runtime::{chain, epoch_ms};
use moehog_telemetry::trace;
use moehog_transport::Replicas;
use tokio::{runtime::Handle, sync::RwLock, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::Status;
use tracing::{Instrument, Span};

use crate::{
    Config,
    deadline::{bounded, with_deadline},
    lane::DeliverEnd,
    mappings::Mappings,
    metrics::{self, Outcome},
    poison::{Alone, Failure},
    proof::Witness,
    webhook::request_bytes,
};

/// A call of at most so many bytes is little work where it is answered in this process: some hundred microseconds.
const SMALL_BYTES: usize = 64 * 1024;

/// The ways out of the relay.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub(crate) transformer: TransformerServiceClient<Channel>,
    pub(crate) delivery: DeliveryServiceClient<Channel>,
    pub(crate) config: Arc<Config>,
    /// Held shared by every Transform call, and alone by one whose webhook was there when a process died: should the
    /// process die again, it is known of what.
    pub(crate) turns: Arc<RwLock<()>>,
    /// Held by a call with a webhook that is suspected: of two at a time nobody could tell which of them a transformer died of.
    pub(crate) suspects: Arc<tokio::sync::Mutex<()>>,
    pub(crate) transformers: Replicas,
    pub(crate) mappings: Arc<Mappings>,
    /// Where calls are made that are much work.
    pub(crate) workers: Handle,
    /// The services live in this process.
    pub(crate) same_process: bool,
    /// Cuts off what is under way at the end of the grace.
    pub(crate) cut: CancellationToken,
}

/// Why a Transform call gave no answer.
#[derive(Debug)]
pub(crate) enum TransformError {
    Failed(Failure),
    /// The call could not be noted, so it was not made.
    NotNoted(RecordError),
}

impl Calls {
    /// Calls the transformer. The journal knows of the call while it is under way.
    pub(crate) async fn transform(
        self,
        claim: Arc<dyn Claim>,
        (sequences, taken): (Vec<Sequence>, Alone),
        mut request: TransformRequest,
        span: Span,
    ) -> Result<TransformResponse, TransformError> {
        let _suspect = match taken.suspect {
            true => Some(self.suspects.clone().lock_owned().await),
            false => None,
        };
        let _turn = if taken.exclusive {
            Turn::Alone(self.turns.clone().write_owned().await)
        } else {
            Turn::Shared(self.turns.clone().read_owned().await)
        };
        let witness = self.witness();
        let before = if taken.suspect { witness.living().await } else { HashSet::new() };
        if taken.suspect && before.is_empty() {
            // who answers nobody would not answer this webhook either, and what it then died of would be said to be the webhook
            return Err(TransformError::Failed(Failure::NeverLeft));
        }
        let began = Instant::now();
        let webhooks = request.webhooks.len();
        let bytes = request.webhooks.iter().map(request_bytes).sum();
        if self.same_process {
            claim.transform_started(&sequences).await.map_err(TransformError::NotNoted)?;
        }
        let deadline = self.config.transform_deadline;
        request.known_revisions = self.mappings.known();
        let request = with_deadline(request, deadline, &span);
        let (workers, cut, mut transformer) = (self.workers_for(bytes), self.cut.clone(), self.transformer.clone());
        let calling = async move { bounded(deadline, &cut, transformer.transform(request)).await };
        let calling = Box::pin(somewhere(workers, calling.instrument(span.clone())));
        let (result, meanwhile) = match taken.suspect {
            true => witness.beside(deadline, calling).await,
            false => (calling.await, HashSet::new()),
        };
        let ran_out = began.elapsed() >= deadline * 9 / 10;
        trace::called(&span, result.as_ref().err());
        drop(span);
        if self.same_process
            && let Err(error) = claim.transform_ended(&sequences).await
        {
            tracing::debug!(error = %chain(&error), "end of a transform call was not noted");
        }
        let failure = match result {
            Ok(mut response) if fits(&response, webhooks) => {
                if let Some(mapping) = response.mapping.take() {
                    self.mappings.keep(mapping);
                }
                metrics::transform_call(Outcome::Answered, webhooks, began.elapsed());
                return Ok(response);
            }
            // the same webhook would be answered so again
            Ok(_) => Failure::Died { is_proven: taken.suspect },
            Err(status) if !self.may_have_begun(&status) => Failure::NeverLeft,
            Err(status) => {
                tracing::debug!(code = ?status.code(), message = status.message(), webhooks, "transform call died");
                let is_proven = !before.is_empty()
                    && match ran_out {
                        true => before.is_subset(&meanwhile),
                        false => witness.has_died(&before).await,
                    };
                Failure::Died { is_proven }
            }
        };
        let outcome = if failure == Failure::NeverLeft { Outcome::NeverLeft } else { Outcome::Died };
        metrics::transform_call(outcome, webhooks, began.elapsed());
        Err(TransformError::Failed(failure))
    }

    fn witness(&self) -> Witness {
        let (client, replicas) = (self.transformer.clone(), self.transformers.clone());
        Witness { client, replicas, cut: self.cut.clone() }
    }

    /// Calls delivery.
    pub(crate) async fn deliver(mut self, request: DeliverRequest, span: Span) -> DeliverEnd {
        let (began, started_at_ms, events) = (Instant::now(), epoch_ms(), request.events.len());
        let bytes = request.events.iter().map(|event| event.json.len()).sum();
        let deadline = self.config.deliver_deadline;
        let request = with_deadline(request, deadline, &span);
        let (workers, cut) = (self.workers_for(bytes), self.cut.clone());
        let calling = async move { bounded(deadline, &cut, self.delivery.deliver(request)).await };
        let result: Result<DeliverResponse, Status> = somewhere(workers, calling.instrument(span.clone())).await;
        trace::called(&span, result.as_ref().err());
        drop(span);
        let (outcome, end) = match result {
            Ok(response) => (Outcome::Answered, DeliverEnd::Answered { response, took: began.elapsed() }),
            Err(status) if moehog_transport::never_left(&status) => {
                (Outcome::NeverLeft, DeliverEnd::NeverLeft { why: no_answer("delivery_not_reached", &status) })
            }
            Err(status) => {
                (Outcome::Died, DeliverEnd::Died { why: no_answer("delivery_died", &status), started_at_ms })
            }
        };
        metrics::deliver_call(outcome, events, began.elapsed());
        end
    }

    /// Where a call of so many bytes is made, if not here. One to another process is no more than its messages, which its connection
    /// reads and writes on the threads of the first call.
    fn workers_for(&self, bytes: usize) -> Option<Handle> {
        (self.same_process && bytes > SMALL_BYTES).then(|| self.workers.clone())
    }

    /// A call that was cut off at the end of the grace says nothing of its webhooks.
    fn may_have_begun(&self, status: &Status) -> bool {
        !(moehog_transport::never_left(status) || self.cut.is_cancelled())
    }
}

#[expect(dead_code, reason = "held while the call is under way")]
enum Turn {
    Shared(tokio::sync::OwnedRwLockReadGuard<()>),
    Alone(tokio::sync::OwnedRwLockWriteGuard<()>),
}

fn no_answer(code: &str, status: &Status) -> Reason {
    Reason::new(Blame::Moehog, code, told(status))
}

/// The answer holds whole webhooks from the first on, at least one.
fn fits(response: &TransformResponse, webhooks: usize) -> bool {
    (1..=webhooks).contains(&response.webhooks.len())
}

/// Makes a call on `workers`, or here, so that nobody else is woken for it.
async fn somewhere<T: Send + 'static>(
    workers: Option<Handle>,
    call: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let Some(workers) = workers else { return call.await };
    let call = AbortOnDropHandle::new(workers.spawn(call));
    call.await.unwrap_or_else(|_panic| Err(Status::internal("the call panicked")))
}

fn told(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
