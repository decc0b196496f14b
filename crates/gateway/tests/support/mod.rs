//! A gateway's ingest over a journal in memory, asked without a socket.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::BTreeMap, convert::Infallible, io::Write, net::IpAddr, num::NonZeroUsize, sync::Arc, time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use moehog_gateway::{Capture, Config, Destination, Feedback, Http, Ingest, Source};
use moehog_journal::{Entry, Journal, ReadLimit, memory::Memory};
use moehog_runtime::Secret;
use serde_json::Value;
use tokio::sync::mpsc;

pub(crate) const LOOPBACK: &str = "127.0.0.1";
pub(crate) const TUTORIAL: &str =
    r#"{"api_key":"phc_eu","event":"purchase_completed","distinct_id":"user_42","properties":{"amount":"49.90"}}"#;

pub(crate) fn http() -> Http {
    defaults().http
}

fn defaults() -> Config {
    moehog_runtime::load(Config::DEFAULTS, None, []).unwrap()
}

pub(crate) struct Setup {
    pub(crate) http: Http,
    pub(crate) capture: Capture,
    /// Off, unless a test has somebody who tells.
    pub(crate) feedback: Feedback,
    pub(crate) sources: BTreeMap<String, Source>,
    pub(crate) destinations: BTreeMap<String, Destination>,
}

/// Two sources (`shop` with tokens, `open` without) and two destinations, as a person might set up.
impl Default for Setup {
    fn default() -> Self {
        let secret = |text: &str| Secret::from(text.to_string());
        let shop = Source {
            destination: "eu".to_string(),
            tokens: vec![secret("tok-new"), secret("tok-old")],
            ..Source::default()
        };
        let key = |key: &str| Destination { api_key: Some(secret(key)), ..Destination::default() };
        Self {
            http: Http { allow_local: true, ..http() },
            capture: defaults().capture,
            feedback: Feedback { wait: Duration::ZERO, at_once: 0 },
            sources: BTreeMap::from([("shop".to_string(), shop), ("open".to_string(), Source::default())]),
            destinations: BTreeMap::from([("eu".to_string(), key("phc_eu")), ("us".to_string(), key("phc_us"))]),
        }
    }
}

impl Setup {
    pub(crate) fn start(self) -> Gateway {
        let journal = Arc::new(Memory::new());
        let Self { http, capture, feedback, sources, destinations } = self;
        let config = Config { http, capture, feedback, sources, destinations, ..defaults() };
        let ingest = Ingest::new((journal.clone(), None), &config);
        Gateway { journal, ingest: Arc::new(ingest) }
    }
}

pub(crate) struct Gateway {
    pub(crate) journal: Arc<Memory>,
    pub(crate) ingest: Arc<Ingest>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    /// The receipt's text.
    pub(crate) fn receipt(&self) -> &str {
        assert_eq!(self.status, StatusCode::OK, "{}", self.json);
        self.json["receipt"].as_str().unwrap()
    }

    /// A refusal's status and code.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status.as_u16(), self.json["error"].as_str().unwrap_or_default())
    }
}

impl Gateway {
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
    {
        self.send_from(LOOPBACK, request).await
    }

    pub(crate) async fn send_from<B>(&self, peer: &str, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
    {
        let peer: IpAddr = peer.parse().unwrap();
        let answer = self.ingest.clone().handle(peer, request).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.headers["content-type"], "application/json");
        Reply { status: parts.status, headers: parts.headers, json: serde_json::from_slice(&body).unwrap() }
    }

    /// The entry of an answered webhook.
    pub(crate) async fn entry(&self, reply: &Reply) -> Entry {
        self.journal.get(self.journal.receipt(reply.receipt()).unwrap()).await.unwrap().unwrap()
    }

    /// All entries of a lane.
    pub(crate) async fn lane(&self, source: &str, destination: &str) -> Vec<Entry> {
        let claim = self.journal.claim(source).await.unwrap();
        let limit = ReadLimit { max_entries: NonZeroUsize::MAX, max_bytes: usize::MAX };
        claim.read(destination, 0, limit).await.unwrap().entries
    }

    /// Webhooks that were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.journal.stats().ledger.book.taken
    }
}

pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path).header("host", "localhost:8080").body(Full::new(body.into())).unwrap()
}

pub(crate) fn with<B>(mut request: Request<B>, name: &'static str, value: &str) -> Request<B> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Text that gzip cannot make much smaller.
pub(crate) fn noise(bytes: usize) -> String {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (state >> 33) as u8 % 26)
    };
    (0..bytes).map(|_| next()).collect()
}

/// A body that comes as it is sent, of unknown length.
pub(crate) fn streamed(
    path: &str,
) -> (mpsc::Sender<Bytes>, Request<impl Body<Data = Bytes, Error = Infallible> + use<>>) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = futures::stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
        receiver.recv().await.map(|bytes| (Ok(Frame::data(bytes)), receiver))
    });
    let request = Request::post(path).header("host", "localhost").body(StreamBody::new(Box::pin(frames))).unwrap();
    (sender, request)
}
