//! One request, from its head to its answer.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, Method, Request, header, request::Parts};
use http_body::Body;
use moehog_proto::journal::{EntryHeader, Kind};
use moehog_runtime::{SLOWED, Said, Shown, network_of};
use moehog_telemetry::trace;
use tokio::time::{Instant, sleep_until};
use tracing::{Span, field::Empty, info_span, record_all};

use super::{
    Answer, Ingest, Refusal, answers,
    auth::{KeyWatch, Origin, Source},
    feedback, limits,
    places::{Share, Standing},
    refusal::Help,
    request,
    route::{Route, is_asked_of_posthog},
    store::{Received, Taken},
};
use crate::{config::CAPTURE, metrics::RouteLabel};

/// What is read of the body of one refused request among many, so that its sender gets to read the answer.
const MAX_DRAINED_OF_MANY: usize = 64 * 1024;

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
        let failed = Refused { refusal: Refusal::Internal, unread: true };
        let (mut answer, receipt, error) = match outcome.unwrap_or(Err(failed)) {
            Ok(taken) => {
                let refused = taken.is_refused().then_some("unprocessable");
                (answers::of_stored(taken.receipt, &taken.trace, &taken.said), Some(taken.receipt), refused)
            }
            Err(Refused { refusal, unread }) => {
                self.metrics.refused(label, refusal);
                let mut answer = self.refuse(peer, &parts, refusal);
                if unread {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                (answer, None, Some(refusal.code()))
            }
        };
        if parts.method == Method::GET {
            // what a cache answers is not taken
            answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
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

    /// What a refused request is told, and whether late. After many of its address whose sender has shown nothing, a further one is late,
    /// and one that may not send is told only that.
    fn told(&self, refusal: Refusal, standing: Standing, address: IpAddr) -> (Refusal, bool) {
        let is_strangers = standing == Standing::Stranger && refusal.is_its_senders_doing();
        if !is_strangers && !refusal.is_failed_authentication() {
            return (refusal, false);
        }
        let counted = self.failures.lock().count(address, Instant::now());
        if let Some(Said { failures, addresses }) = counted.say {
            tracing::warn!(
                failures,
                addresses,
                "requests showed no right secret, more than a few from one address: each further one of it is answered a second late"
            );
        }
        let only_that = counted.too_many && refusal.is_failed_authentication();
        (if only_that { Refusal::TooManyFailures } else { refusal }, counted.too_many)
    }

    async fn take<B>(
        self: &Arc<Self>,
        peer: IpAddr,
        label: RouteLabel,
        parts: &Parts,
        mut body: Pin<&mut B>,
        span: &mut Span,
    ) -> Result<Taken, Refused>
    where
        B: Body<Data = Bytes>,
    {
        let address = self.origin(peer).sender(&parts.headers).unwrap_or(peer);
        let admitted = self.admit(peer, parts);
        let standing = admitted.as_ref().map_or(Standing::Stranger, |admitted| admitted.standing);
        let mut request = self.requests.share(standing, network_of(address));
        let (begun, has_place) = (Instant::now(), request.grow(1));
        let received = match (admitted, has_place) {
            (Ok(admitted), Ok(())) => self.receive(label, parts, (admitted, &mut request), body.as_mut(), span).await,
            (Err(refusal), _) | (Ok(_), Err(refusal)) => Err(refusal),
        };
        let (refusal, rest) = match received {
            Ok(received) => match self.store(label, received).await {
                Ok(taken) => return Ok(taken),
                Err(refusal) => (refusal, None),
            },
            Err(refusal) => (refusal, Some(body)),
        };
        let (refusal, late) = self.told(refusal, request.standing(), address);
        let most = match refusal {
            Refusal::Stalled | Refusal::BrokenOff => 0,
            _ if parts.headers.contains_key(header::EXPECT) => 0,
            // there is no place to wait for the rest of it
            _ if has_place.is_err() => 0,
            _ if late => MAX_DRAINED_OF_MANY,
            _ => 2 * self.http.max_body_bytes,
        };
        let unread = match rest {
            Some(rest) => !limits::drain(rest, most).await,
            None => false,
        };
        drop(request);
        if late && parts.extensions.get::<Shown>().is_none_or(Shown::may_wait) {
            sleep_until(begun + SLOWED).await;
        }
        Err(Refused { refusal, unread })
    }

    /// Looks at all that can be known before the body.
    fn admit<'a>(&'a self, peer: IpAddr, parts: &'a Parts) -> Result<Admitted<'a>, Refusal> {
        let path = parts.uri.path();
        let unknown = if is_asked_of_posthog(path) { Refusal::AskedOfPostHog } else { Refusal::UnknownPath };
        let route = Route::find(path).ok_or(unknown)?;
        let is_get = parts.method == Method::GET;
        if !is_get && parts.method != Method::POST {
            return Err(Refusal::Method);
        }
        let (source, standing) = match route {
            Route::In(name) if is_get => {
                let (source, standing) = self.senders.admit_get(name, self.origin(peer), &parts.uri, &parts.headers)?;
                (Some(source), standing)
            }
            Route::Capture if is_get => return Err(Refusal::Method),
            Route::Capture => (None, self.senders.capture.admit(self.origin(peer), &parts.uri, &parts.headers)?),
            Route::In(name) => {
                let source = self
                    .senders
                    .source(name)
                    .ok_or_else(|| self.senders.unknown(self.origin(peer), &parts.uri, &parts.headers))?;
                (Some(source), source.admit(self.origin(peer), &parts.uri, &parts.headers)?)
            }
        };
        Ok(Admitted { route, source, standing })
    }

    /// Reads the body to its end.
    async fn receive<B>(
        &self,
        label: RouteLabel,
        parts: &Parts,
        (Admitted { route, source, standing }, request): (Admitted<'_>, &mut Share),
        body: Pin<&mut B>,
        span: &mut Span,
    ) -> Result<Received, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        let shown = parts.extensions.get::<Shown>();
        if standing > Standing::Stranger {
            shown.into_iter().for_each(Shown::is_right);
        }
        let (trace, received) = trace::receive(&parts.headers, || request_span(parts, route));
        *span = received;
        let mut held = self.bodies.share(standing, request.address());
        let mut rises = |held: &mut Share, standing| {
            held.rises_to(standing);
            request.rises_to(standing);
            shown.into_iter().for_each(Shown::is_right);
        };
        let mut keys = source.is_none().then(|| KeyWatch::new(&self.senders.capture, &parts.headers));
        let mut signature = source.map(|source| source.watch(&parts.headers)).transpose()?.flatten();
        // who shows nothing learns first that it must
        request::check_coding(&parts.headers)?;
        let body = limits::read(body, self.limits, &mut held, |piece, held| {
            signature.iter_mut().for_each(|signature| signature.feed(piece));
            if let Some(keys) = &mut keys
                && keys.finds(piece)?
            {
                rises(held, Standing::Key);
            }
            Ok(())
        })
        .await?;
        if let Some(signature) = signature {
            signature.judge().then_some(()).ok_or(Refusal::SignatureWrong)?;
            rises(&mut held, Standing::Secret);
        }
        let keeps = source.map_or(self.senders.capture.keeps(), Source::keeps);
        let header = EntryHeader {
            kind: Kind::Webhook.into(),
            source: source.map_or(CAPTURE, |source| &source.name).to_string(),
            route: label.text().to_string(),
            content_type: request::content_type(&parts.headers),
            content_encoding: request::content_encoding(&parts.headers),
            received_at_ms: moehog_runtime::epoch_ms(),
            origin: None,
            destination: match source {
                Some(source) => source.destination.clone(),
                // empty where only the whole of the body says it
                None => keys.as_mut().and_then(|keys| keys.destination.take()).unwrap_or_default(),
            },
            idempotency_key: request::idempotency_key(&parts.headers, keeps.is_keyed),
            trace: Some(trace),
            api_key: String::new(),
            routed: Vec::new(),
            method: request::method(&parts.method),
            query: request::query(parts, |value| self.senders.is_secret(source, value)),
            headers: request::headers(&keeps.headers, &parts.headers),
            keyed: keeps.is_keyed,
        };
        let key = keys.and_then(|keys| keys.key(&body));
        let prefers = feedback::preferred_seconds(&parts.headers);
        Ok(Received { header, body, key, plain: None, at: Instant::now(), held, prefers })
    }
}

/// A request that was refused.
struct Refused {
    refusal: Refusal,
    /// A part of its body was not read, so that no other request can come on its connection. A proxy that is not told would send one.
    unread: bool,
}

/// A request that may send, as far as that is known without its body.
struct Admitted<'a> {
    route: Route<'a>,
    /// None for the capture paths.
    source: Option<&'a Source>,
    standing: Standing,
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
        otel.name = format!("{} {pattern}", parts.method),
        otel.status_code = Empty,
        http.request.method = parts.method.as_str(),
        http.route = pattern,
        http.response.status_code = Empty,
        url.path = parts.uri.path(),
        url.scheme = "http",
        error.r#type = Empty,
        moehog.receipt = Empty,
    )
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
