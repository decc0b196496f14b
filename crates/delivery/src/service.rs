//! The gRPC face: one call, its requests, its verdicts.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use jiff::Timestamp;
use moehog_proto::{
    Blame, Reason,
    delivery::{
        Answer, Degraded, DeliverRequest, DeliverResponse, Delivered, DeliveryService, EventVerdict, Hold, Retry,
        Verdict,
    },
    event::{Event, TraceContext},
};
use moehog_runtime::Cores;
use moehog_telemetry::trace;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    Config,
    destination::{Destination, Destinations, NoDestination},
    metrics::Metrics,
    posthog::{self, Checks, Client, ClientError, Envelope, KeyState, Outcome, Post, judge, judge_v1},
    spans::Spans,
    split::{self, Split},
    turns::{Taken, Turn},
};

/// No request is begun later than this into a call.
const LAST_REQUEST: Duration = Duration::from_secs(60);
/// A call is answered by then with what is known.
const ANSWER_BY: Duration = Duration::from_secs(90);

/// Sends events to PostHog, and says what became of each. It tries once: every retry is the caller's.
#[derive(Debug, Clone)]
pub struct Delivery(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    destinations: Destinations,
    client: Client,
    checks: Checks,
    metrics: Metrics,
    timeout: Duration,
    last_request: Duration,
    answer_by: Duration,
    max_request_bytes: usize,
    cores: Cores,
}

impl Delivery {
    /// Makes the service. Set up telemetry before.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be made: see [`ClientError`].
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        let of_destinations = config.destinations.values().filter_map(|destination| destination.host.as_ref());
        for host in of_destinations.chain([&config.posthog.host]).filter(|host| host.is_in_clear()) {
            let (name, port) = host.server();
            tracing::warn!(
                host = format!("{name}:{port}"),
                "events and project keys go to this PostHog in clear: write https:// before it, or be sure of the network in between"
            );
        }
        Ok(Self(Arc::new(Inner {
            destinations: Destinations::new(config),
            client: Client::new(&config.posthog)?,
            checks: Checks::new(&config.posthog),
            metrics: Metrics::new(),
            timeout: config.posthog.timeout,
            last_request: LAST_REQUEST,
            answer_by: ANSWER_BY,
            max_request_bytes: config.posthog.max_request_bytes,
            cores: Cores::all(),
        })))
    }
}

#[tonic::async_trait]
impl DeliveryService for Delivery {
    /// Sends one destination's events.
    ///
    /// # Cancel safety
    ///
    /// A caller that leaves ends the request under way and starts no other.
    async fn deliver(&self, request: Request<DeliverRequest>) -> Result<Response<DeliverResponse>, Status> {
        let _in_flight = InFlight::new(&self.0.metrics);
        let caller = trace::extract_metadata(request.metadata());
        let DeliverRequest { destination, events } = request.into_inner();
        let response = self.0.deliver(caller, &destination, &events).await?;
        self.0.metrics.verdicts(&response.verdicts);
        Ok(Response::new(response))
    }
}

impl Inner {
    async fn deliver(
        &self,
        caller: Option<TraceContext>,
        name: &str,
        events: &[Event],
    ) -> Result<DeliverResponse, Status> {
        let began = Instant::now();
        let destination = match self.destinations.find(name) {
            Ok(destination) => destination,
            Err(none) => return Ok(none.for_all(events)),
        };
        let Taken { turn, waited_ms } = destination.turns.take().await;
        let response = match &turn {
            None => NoDestination::Overloaded.for_all(events),
            Some(turn) => self.deliver_to(&destination, turn, began, caller, events).await?,
        };
        Ok(DeliverResponse { load: Some(destination.turns.load(waited_ms)), ..response })
    }

    /// Sends a call's events now that it is its turn. The call began at `began`.
    async fn deliver_to(
        &self,
        destination: &Destination,
        turn: &Turn,
        began: Instant,
        caller: Option<TraceContext>,
        events: &[Event],
    ) -> Result<DeliverResponse, Status> {
        let key = destination.key.state(&self.client, &destination.host, &self.checks, &destination.label).await;
        let taken = match key {
            KeyState::Good => (Verdict::Delivered(Delivered {}), Reason::default()),
            KeyState::Unverified => (Verdict::Degraded(Degraded::default()), Reason::word("unverified_key")),
            KeyState::Unreachable(why) => {
                let why = Reason::new(Blame::Destination, "no_connection", why);
                return Ok(all(events, Verdict::Retry(Retry::default()), &why));
            }
            KeyState::Wrong(why) => return Ok(all(events, Verdict::Hold(Hold::default()), &why)),
        };
        let spans = Spans::begin(caller.as_ref(), &destination.label, events);
        let faults = posthog::object_faults(&self.cores, events).await;
        let faults = faults.map_err(|error| Status::internal(format!("look at a call's events: {error}")))?;
        let converted = match destination.v1.is_spoken() {
            true => posthog::convert(&self.cores, events).await,
            false => Ok(Vec::new()),
        };
        let converted = converted.map_err(|error| Status::internal(format!("convert a call's events: {error}")))?;
        let fits_v1 = converted.iter().map(Option::is_some).collect();
        let mut split = Split::new(events, &faults, fits_v1, self.max_request_bytes, taken);
        let mut answers = Vec::new();
        while began.elapsed() < self.last_request
            && let Some(request) = split.next()
        {
            let left = self.answer_by.saturating_sub(began.elapsed());
            let v1 = request.v1.then(|| destination.v1.begin(request.events.iter().map(|index| &events[*index])));
            let json = |index: &usize| match v1.and_then(|_| converted.get(*index)?.clone()) {
                Some(converted) => converted,
                None => events[*index].json.clone(),
            };
            let batch = Batch { v1, historical: request.historical, events: request.events.iter().map(json).collect() };
            let ended = self.send(destination, turn, batch, &spans, left, &mut answers).await?;
            let answer = u32::try_from(answers.len()).unwrap_or(u32::MAX);
            let Some(attempt) = v1 else {
                split.record(request, judge(&ended), answer);
                continue;
            };
            if destination.v1.may_fall_back() && posthog::has_no_v1(&ended, destination.v1.is_known()) {
                destination.v1.is_missing(&destination.label);
                self.metrics.fallbacks.increment(1);
                split.fall_back(request);
                continue;
            }
            let outcome = judge_v1(&ended);
            if let Outcome::Judged(results) = &outcome {
                destination.v1.answered();
                self.metrics.results(results);
            }
            let again = split::to_be_sent_again(&request, &outcome, events);
            destination.v1.is_unfinished(attempt, again);
            split.record(request, outcome, answer);
        }
        let verdicts = split.into_verdicts();
        spans.end(&verdicts, &answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        Ok(DeliverResponse { verdicts, answers, load: None })
    }

    /// Makes one request and notes it in `answers`.
    async fn send(
        &self,
        destination: &Destination,
        turn: &Turn,
        batch: Batch,
        spans: &Spans,
        left: Duration,
        answers: &mut Vec<Answer>,
    ) -> Result<Result<posthog::Answer, posthog::Failure>, Status> {
        let Batch { v1, historical, events } = batch;
        let count = events.len();
        let key = destination.key.text();
        let envelope = if v1.is_some() { Envelope::V1(Timestamp::now()) } else { Envelope::Classic(key) };
        let encoded = posthog::encode(&self.cores, envelope, historical, events)
            .await
            .map_err(|error| Status::internal(format!("compress a request: {error}")))?;
        let mut span = spans.request(&destination.host, count, encoded.body.len());
        let mut headers = match v1 {
            None => HeaderMap::new(),
            Some(attempt) => attempt
                .headers(key, Timestamp::now())
                .ok_or_else(|| Status::internal("a project key that cannot stand in a header"))?,
        };
        trace::inject(span.context(), &mut headers);
        let (started_at, began) = (Timestamp::now(), Instant::now());
        let wire_bytes = encoded.body.len();
        let timeout = self.timeout.min(left);
        let (path, whole_bytes) = match v1 {
            None => (posthog::CLASSIC_PATH, None),
            Some(_) => (posthog::V1_PATH, Some(1024 + count * posthog::ANSWER_BYTES_PER_EVENT)),
        };
        let post = Post { path, headers, body: encoded.body, timeout, whole_bytes };
        let request = turn.begin_request();
        let ended = self.client.batch(&destination.host, key, post).await;
        let took = began.elapsed();
        turn.end_request(request, encoded.json_bytes, posthog::judge_load(&ended, timeout == self.timeout));
        self.metrics.request(&ended, took, count, encoded.json_bytes, wire_bytes);
        let (status, body) = match &ended {
            Ok(answer) => (answer.status.as_u16(), answer.body.clone()),
            Err(failure) => (0, failure.to_string()),
        };
        Spans::requested(&mut span, status, ended.as_ref().err().map(posthog::Failure::kind));
        answers.push(Answer {
            started_at_ms: started_at.as_millisecond(),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            status: status.into(),
            body,
            events: u32::try_from(count).unwrap_or(u32::MAX),
        });
        Ok(ended)
    }
}

/// What goes into one request.
struct Batch {
    /// It is one of v1.
    v1: Option<posthog::Attempt>,
    /// Its events are history.
    historical: bool,
    /// In the form of the API.
    events: Vec<bytes::Bytes>,
}

/// The same verdict for every event of a call in which nothing was sent.
fn all(events: &[Event], verdict: Verdict, why: &Reason) -> DeliverResponse {
    let mut each = EventVerdict::default();
    each.give(verdict, why);
    DeliverResponse { verdicts: vec![each; events.len()], answers: Vec::new(), load: None }
}

impl NoDestination {
    fn for_all(self, events: &[Event]) -> DeliverResponse {
        match self {
            Self::Hold(why) => all(events, Verdict::Hold(Hold::default()), &why),
            Self::Overloaded => {
                let retry = Retry { overloaded: true, ..Retry::default() };
                all(events, Verdict::Retry(retry), &Reason::word("overloaded"))
            }
        }
    }
}

/// Counts a call while it is under way, also when it is dropped.
struct InFlight<'a>(&'a Metrics);

impl<'a> InFlight<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.calls.increment(1);
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.calls.decrement(1);
    }
}

#[cfg(test)]
mod tests;
