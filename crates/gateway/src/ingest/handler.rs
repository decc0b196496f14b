//! One request, from its head to its answer.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, request::Parts};
use http_body::Body;
use moehog_journal::{AppendError, NewEntry};
use moehog_proto::{
    Receipt,
    event::TraceContext,
    journal::{EntryHeader, Kind},
};
use moehog_runtime::chain;
use moehog_telemetry::trace::{self, Operation};
use tokio::time::{Instant, timeout_at};
use tracing::{Span, field::Empty, info_span, record_all};

use super::{
    Answer, Ingest, Refusal,
    answers::{self, Help},
    auth::Origin,
    feedback::{self, Listening, Plan, Said},
    limits::{self, Share},
    refused::Refused,
    route::Route,
};
use crate::{config::CAPTURE, metrics::RouteLabel};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest header value that an entry keeps.
const MAX_KEPT_BYTES: usize = 256;
/// A plain body up to this size is scanned at once.
const MAX_SCANNED_AT_ONCE: usize = 256 * 1024;
/// A compressed body up to this size is decompressed at once: gzip makes at most a thousand times as much of it.
const MAX_INFLATED_AT_ONCE: usize = 4 * 1024;
/// What is read of the body of one refused request among many, so that its sender gets to read the answer.
const MAX_DRAINED_OF_MANY: usize = 64 * 1024;

/// A webhook that is all here, on its way into the journal.
struct Received {
    header: EntryHeader,
    body: Bytes,
    /// When the last byte came.
    at: Instant,
    held: Share,
    /// Seconds that the sender asks to wait until it is settled.
    prefers: Option<u64>,
}

/// A webhook that the journal holds.
struct Taken {
    receipt: Receipt,
    trace: TraceContext,
    said: Said,
}

/// What came of an append.
enum Appended {
    /// It is durable, and its answer may wait.
    Now(Receipt, Option<Listening>),
    /// The same body was refused a moment ago.
    Before(Refused),
}

impl Ingest {
    /// Answers one request of the public listener.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the body's last byte, nothing was taken. Dropped later (a sender that hangs up), the webhook is
    /// taken all the same.
    pub async fn handle<B>(self: Arc<Self>, peer: IpAddr, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let label = match Route::find(parts.uri.path()) {
            Some(Route::Capture) => RouteLabel::Capture,
            Some(Route::In(_)) => RouteLabel::In,
            None => RouteLabel::None,
        };
        let waiting = Waiting { ingest: &self, label, answered: false };
        let mut span = Span::none();
        let outcome = AssertUnwindSafe(self.take(peer, label, &parts, pin!(body), &mut span)).catch_unwind().await;
        let (answer, receipt, error) = match outcome.unwrap_or(Err(Refusal::Internal)) {
            Ok(taken) => {
                let refused = matches!(taken.said, Said::Refused(_)).then_some("unprocessable");
                (answers::of_stored(taken.receipt, &taken.trace, &taken.said), Some(taken.receipt), refused)
            }
            Err(refusal) => {
                self.metrics.refused(label, refusal);
                (self.refuse(peer, &parts, refusal), None, Some(refusal.code()))
            }
        };
        waiting.answered();
        record_all!(
            span,
            http.response.status_code = answer.status().as_u16(),
            moehog.receipt = receipt.map(display),
            otel.status_code = answer.status().is_server_error().then_some("ERROR"),
            error.r#type = error,
        );
        answer
    }

    fn refuse(&self, peer: IpAddr, parts: &Parts, refusal: Refusal) -> Answer {
        let help = match (refusal, Route::find(parts.uri.path())) {
            (refusal, Some(Route::Capture)) => self.senders.capture.help(refusal),
            (refusal, Some(Route::In(name))) => self
                .senders
                .source(name)
                .map_or_else(Help::default, |source| source.help(refusal, self.origin(peer), &parts.headers)),
            _ => Help::default(),
        };
        refusal.answer(&help)
    }

    fn origin(&self, peer: IpAddr) -> Origin<'_> {
        Origin { peer, trusted: &self.http.trusted_proxies }
    }

    /// What a refused request is told: after many that may not send, a further one is told only that.
    fn told(&self, refusal: Refusal, peer: IpAddr, headers: &HeaderMap) -> Refusal {
        if !refusal.is_failed_authentication() {
            return refusal;
        }
        let address = self.origin(peer).sender(headers).unwrap_or(peer);
        let too_many = self.failures.lock().count(address, Instant::now());
        if too_many { Refusal::TooManyFailures } else { refusal }
    }

    async fn take<B>(
        self: &Arc<Self>,
        peer: IpAddr,
        label: RouteLabel,
        parts: &Parts,
        mut body: Pin<&mut B>,
        span: &mut Span,
    ) -> Result<Taken, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        let mut request = self.requests.share();
        let received = match request.grow(1) {
            Ok(()) => self.receive(peer, label, parts, body.as_mut(), span).await,
            Err(refusal) => Err(refusal),
        };
        let told = |refusal| self.told(refusal, peer, &parts.headers);
        match received {
            Ok(received) => self.store(label, received).await.map_err(told),
            Err(refusal) => {
                let refusal = told(refusal);
                let most = match refusal {
                    Refusal::Stalled | Refusal::BrokenOff => 0,
                    Refusal::TooManyFailures => MAX_DRAINED_OF_MANY,
                    _ => 2 * self.http.max_body_bytes,
                };
                if most > 0 && !parts.headers.contains_key(header::EXPECT) {
                    limits::drain(body, most).await;
                }
                Err(refusal)
            }
        }
    }

    /// Admits the sender and reads the body to its end.
    async fn receive<B>(
        &self,
        peer: IpAddr,
        label: RouteLabel,
        parts: &Parts,
        body: Pin<&mut B>,
        span: &mut Span,
    ) -> Result<Received, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        let route = Route::find(parts.uri.path()).ok_or(Refusal::UnknownPath)?;
        if parts.method != Method::POST {
            return Err(Refusal::Method);
        }
        let source = match route {
            Route::Capture => {
                self.senders.capture.admit(self.origin(peer), &parts.uri, &parts.headers)?;
                None
            }
            Route::In(name) => {
                let source = self.senders.source(name).ok_or_else(|| self.senders.unknown(&parts.headers))?;
                source.admit(self.origin(peer), &parts.uri, &parts.headers)?;
                Some(source)
            }
        };
        if !readable(&parts.headers) {
            return Err(Refusal::Encoding);
        }
        let (trace, received) = trace::receive(&parts.headers, || request_span(parts, route));
        *span = received;
        let mut held = self.bodies.share();
        let body = limits::read(body, self.limits, &mut held).await?;
        let header = EntryHeader {
            kind: Kind::Webhook.into(),
            source: source.map_or(CAPTURE, |source| &source.name).to_string(),
            route: label.text().to_string(),
            content_type: kept(parts.headers.get(header::CONTENT_TYPE)),
            content_encoding: kept(parts.headers.get(header::CONTENT_ENCODING)),
            received_at_ms: now_ms(),
            origin: None,
            destination: source.map(|source| source.destination.clone()).unwrap_or_default(),
            idempotency_key: kept(parts.headers.get(IDEMPOTENCY_KEY)),
            trace: Some(trace),
            api_key: String::new(),
            routed: Vec::new(),
        };
        let prefers = feedback::preferred_seconds(&parts.headers);
        Ok(Received { header, body, at: Instant::now(), held, prefers })
    }

    async fn store(self: &Arc<Self>, label: RouteLabel, received: Received) -> Result<Taken, Refusal> {
        let (at, bytes) = (received.at, received.body.len());
        let trace = received.header.trace.clone().unwrap_or_default();
        let (key_wanted, gzip) = (label == RouteLabel::Capture, limits::is_gzip(&received.body));
        let at_once = if gzip { MAX_INFLATED_AT_ONCE } else { MAX_SCANNED_AT_ONCE };
        let outcome = if bytes <= at_once || !(key_wanted || gzip) {
            // nothing is waited for between the last byte and the append: a sender that hangs up cancels nothing
            let key =
                limits::inspect(&received.body, self.limits.max_bytes, key_wanted, at + self.http.append_deadline)?;
            self.append(received, key.as_deref()).await
        } else {
            let appended = tokio::spawn(self.clone().append_inspected(received, key_wanted));
            appended.await.unwrap_or(Err(Refusal::Internal))
        };
        let outcome = match outcome {
            Ok(Appended::Now(receipt, listening)) => {
                Ok((receipt, self.feedback.said(&*self.journal, at, receipt, listening).await))
            }
            Ok(Appended::Before(refused)) => Ok((refused.receipt, Said::Refused(refused))),
            Err(refusal) => Err(refusal),
        };
        self.metrics.answered(label, at.elapsed());
        let (receipt, said) = outcome?;
        match said {
            Said::Refused(_) => self.metrics.unprocessable(label),
            Said::Taken | Said::Waited { .. } => self.metrics.taken(label, bytes),
        }
        Ok(Taken { receipt, trace, said })
    }

    /// Inspects a large body on a thread of its own, then appends it. On a task of its own, so that it ends whether or not
    /// the sender waits for it.
    async fn append_inspected(self: Arc<Self>, received: Received, key_wanted: bool) -> Result<Appended, Refusal> {
        let deadline = received.at + self.http.append_deadline;
        let inspected = async {
            let (body, max_bytes) = (received.body.clone(), self.limits.max_bytes);
            let inspect = move || limits::inspect(&body, max_bytes, key_wanted, deadline);
            self.inspections.run(inspect).await.unwrap_or(Err(Refusal::Internal))
        };
        let key = timeout_at(deadline, inspected).await.unwrap_or(Err(Refusal::Overloaded))?;
        self.append(received, key.as_deref()).await
    }

    async fn append(&self, received: Received, key: Option<&str>) -> Result<Appended, Refusal> {
        let Received { mut header, body, at, held, prefers } = received;
        if header.source == CAPTURE {
            header.destination = self.senders.capture.destination(key)?;
            header.api_key = key.unwrap_or_default().to_string();
        }
        let wanted = match self.feedback.plan(&*self.journal, &header, &body, prefers) {
            Plan::Append(wanted) => wanted,
            Plan::Again(refused) => return Ok(Appended::Before(refused)),
        };
        let operation = Operation::Append { bytes: body.len() as i64 };
        let mut appending = trace::message(header.trace.as_ref(), operation, &header.source, None);
        // whatever comes of the webhook later, in this process or the next, continues the append
        if let Some(context) = appending.context() {
            header.trace = Some(context);
        }
        let (entry, deadline) = (NewEntry { header, body }, at + self.http.append_deadline);
        let (appended, listening) = match wanted {
            None => (self.journal.append(entry, deadline).await, None),
            Some(wait) => match self.journal.append_watched(entry, deadline).await {
                Ok((receipt, watch)) => (Ok(receipt), Some(Listening { wait, watch })),
                Err(error) => (Err(error), None),
            },
        };
        drop(held);
        self.outage.note(&appended);
        let appended = appended.map_err(|error| Refusal::from(&error));
        match &appended {
            Ok(receipt) if !appending.is_none() => appending.set("messaging.message.id", receipt.to_string()),
            Ok(_) => {}
            Err(refusal) => {
                appending.set("error.type", refusal.code());
                appending.fail();
            }
        }
        Ok(Appended::Now(appended?, listening))
    }
}

/// The span of a request.
fn request_span(parts: &Parts, route: Route<'_>) -> Span {
    let pattern = match route {
        Route::Capture => parts.uri.path(),
        Route::In(_) => "/v1/in/{source}",
    };
    info_span!(
        "gateway.receive",
        otel.kind = "server",
        otel.name = format!("POST {pattern}"),
        otel.status_code = Empty,
        http.request.method = "POST",
        http.route = pattern,
        http.response.status_code = Empty,
        url.path = parts.uri.path(),
        url.scheme = "http",
        error.r#type = Empty,
        moehog.receipt = Empty,
    )
}

/// Whether the body comes in an encoding that the transformer reads.
fn readable(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let known = |encoding: &HeaderValue| {
        let encoding = encoding.as_bytes().trim_ascii();
        [&b"gzip"[..], b"x-gzip", b"identity", b""].iter().any(|known| encoding.eq_ignore_ascii_case(known))
    };
    encodings.next().is_none_or(known) && encodings.next().is_none()
}

fn kept(value: Option<&HeaderValue>) -> String {
    let text = value.map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default();
    text[..text.floor_char_boundary(MAX_KEPT_BYTES)].to_string()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Counts a sender that hung up before its answer.
struct Waiting<'a> {
    ingest: &'a Ingest,
    label: RouteLabel,
    answered: bool,
}

impl Waiting<'_> {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.ingest.metrics.hung_up(self.label);
        }
    }
}

/// Whether appends fail: said once when it begins and once when it ends, whatever the number of webhooks.
#[derive(Debug, Default)]
pub(super) struct Outage(AtomicBool);

impl Outage {
    fn note(&self, appended: &Result<Receipt, AppendError>) {
        match appended {
            Ok(_) if self.0.load(Ordering::Relaxed) => {
                if self.0.swap(false, Ordering::Relaxed) {
                    tracing::info!("webhooks are taken again");
                }
            }
            Ok(_) | Err(AppendError::Closed) => {}
            Err(error) => {
                if !self.0.swap(true, Ordering::Relaxed) {
                    tracing::warn!(error = %chain(error), "webhooks are refused with 503");
                }
            }
        }
    }
}
