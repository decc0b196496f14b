//! The calls to the transformer and to delivery: each with a deadline, each ends in a value.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use moehog_journal::{Claim, RecordError};
use moehog_proto::{
    Channel, Sequence,
    delivery::{DeliverRequest, DeliverResponse, DeliveryServiceClient},
    transformer::{TransformRequest, TransformResponse, TransformerServiceClient},
};
use moehog_runtime::chain;
use moehog_telemetry::trace;
use tokio::{sync::RwLock, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, Span};

use crate::{
    Config,
    lane::DeliverEnd,
    metrics::{self, Outcome},
    poison::Failure,
};

/// Longest wait for the empty Transform call that shows whether the transformer lives.
const ALIVE_DEADLINE: Duration = Duration::from_secs(2);
/// Longest time that a transformer which a webhook killed may take to be back; a supervisor waits longer after each death.
const RESTART: Duration = Duration::from_secs(60);
const RESTART_POLL: Duration = Duration::from_millis(100);

/// The ways out of the relay.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub(crate) transformer: TransformerServiceClient<Channel>,
    pub(crate) delivery: DeliveryServiceClient<Channel>,
    pub(crate) config: Arc<Config>,
    /// Held shared by every Transform call, and alone by one whose webhook was there when a process died: should the
    /// process die again, it is known of what.
    pub(crate) turns: Arc<RwLock<()>>,
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
        mut self,
        claim: Arc<dyn Claim>,
        (sequences, exclusive): (Vec<Sequence>, bool),
        request: TransformRequest,
        span: Span,
    ) -> Result<TransformResponse, TransformError> {
        let _turn = if exclusive {
            Turn::Alone(self.turns.clone().write_owned().await)
        } else {
            Turn::Shared(self.turns.clone().read_owned().await)
        };
        let began = Instant::now();
        let webhooks = request.webhooks.len();
        claim.transform_started(&sequences).await.map_err(TransformError::NotNoted)?;
        let deadline = self.config.transform_deadline;
        let request = with_deadline(request, deadline, &span);
        let calling = bounded(deadline, &self.cut, self.transformer.transform(request));
        let result = calling.instrument(span.clone()).await;
        trace::called(&span, result.as_ref().err());
        drop(span);
        if let Err(error) = claim.transform_ended(&sequences).await {
            tracing::debug!(error = %chain(&error), "end of a transform call was not noted");
        }
        let failure = match result {
            Ok(response) if fits(&response, webhooks) => {
                metrics::transform_call(Outcome::Answered, webhooks, began.elapsed());
                return Ok(response);
            }
            Ok(_) => Failure::Died { alive: webhooks == 1 && self.alive().await },
            Err(status) if !self.may_have_begun(&status) => Failure::NeverLeft,
            Err(status) => {
                tracing::debug!(code = ?status.code(), message = status.message(), webhooks, "transform call died");
                Failure::Died { alive: webhooks == 1 && self.alive().await }
            }
        };
        let outcome = if failure == Failure::NeverLeft { Outcome::NeverLeft } else { Outcome::Died };
        metrics::transform_call(outcome, webhooks, began.elapsed());
        Err(TransformError::Failed(failure))
    }

    /// Whether the transformer answers a call without webhooks. One that is not reached is asked again while it may be
    /// starting: the process that a webhook kills is down right after, and must not pass for one that was down anyway.
    async fn alive(&mut self) -> bool {
        let until = Instant::now() + RESTART;
        loop {
            let request = with_deadline(TransformRequest::default(), ALIVE_DEADLINE, &Span::none());
            match bounded(ALIVE_DEADLINE, &self.cut, self.transformer.transform(request)).await {
                Ok(_) => return true,
                Err(status) if is_down(&status) && Instant::now() < until => {}
                Err(_) => return false,
            }
            if self.cut.run_until_cancelled(tokio::time::sleep(RESTART_POLL)).await.is_none() {
                return false;
            }
        }
    }

    /// Calls delivery.
    pub(crate) async fn deliver(mut self, request: DeliverRequest, span: Span) -> DeliverEnd {
        let (began, started_at_ms, events) = (Instant::now(), epoch_ms(), request.events.len());
        let deadline = self.config.deliver_deadline;
        let request = with_deadline(request, deadline, &span);
        let result: Result<DeliverResponse, Status> =
            bounded(deadline, &self.cut, self.delivery.deliver(request)).instrument(span.clone()).await;
        trace::called(&span, result.as_ref().err());
        drop(span);
        let (outcome, end) = match result {
            Ok(response) => (Outcome::Answered, DeliverEnd::Answered { response, took: began.elapsed() }),
            Err(status) if moehog_transport::never_left(&status) => {
                (Outcome::NeverLeft, DeliverEnd::NeverLeft { reason: told(&status) })
            }
            Err(status) => (Outcome::Died, DeliverEnd::Died { reason: told(&status), started_at_ms }),
        };
        metrics::deliver_call(outcome, events, began.elapsed());
        end
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

/// Nobody is there, or the connection broke: a proxy in between takes a call for a process that is down, and drops it.
fn is_down(status: &Status) -> bool {
    moehog_transport::never_left(status) || matches!(status.code(), Code::Unavailable | Code::Unknown)
}

/// The answer holds whole webhooks from the first on, at least one.
fn fits(response: &TransformResponse, webhooks: usize) -> bool {
    (1..=webhooks).contains(&response.webhooks.len())
}

fn with_deadline<T>(message: T, deadline: Duration, span: &Span) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    trace::inject_metadata(span, request.metadata_mut());
    request
}

async fn bounded<T>(
    deadline: Duration,
    cut: &CancellationToken,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match cut.run_until_cancelled(tokio::time::timeout(deadline, call)).await {
        Some(Ok(result)) => result.map(Response::into_inner),
        Some(Err(_elapsed)) => Err(Status::new(Code::DeadlineExceeded, format!("no answer within {deadline:?}"))),
        None => Err(Status::cancelled("the relay stops")),
    }
}

fn told(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// Milliseconds since the epoch.
pub(crate) fn epoch_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
