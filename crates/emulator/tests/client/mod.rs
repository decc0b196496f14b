//! A client that sends what it is told and reads what comes.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use moehog_emulator::posthog::{Config, PostHog, Running};
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) fn start(config: Config) -> Running {
    PostHog::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).unwrap().start()
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<String>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) struct Call<'a> {
    posthog: &'a Running,
    method: Method,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Bytes,
}

pub(crate) fn call<'a>(posthog: &'a Running, method: Method, path: &'a str) -> Call<'a> {
    Call { posthog, method, path, headers: Vec::new(), body: Bytes::new() }
}

pub(crate) async fn post(posthog: &Running, path: &str, body: impl Into<Bytes>) -> Answer {
    call(posthog, Method::POST, path).body(body).send().await.unwrap()
}

pub(crate) async fn get(posthog: &Running, path: &str) -> Answer {
    call(posthog, Method::GET, path).send().await.unwrap()
}

impl<'a> Call<'a> {
    pub(crate) fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends over a connection of its own; an error is a connection that broke.
    pub(crate) async fn send(self) -> io::Result<Answer> {
        let stream = TcpStream::connect(self.posthog.addr()).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(self.method).uri(self.path).header("host", "posthog");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).unwrap();
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, content_type) = (response.status().as_u16(), header("content-type").unwrap_or_default());
        let retry_after = header("retry-after");
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer { status, body: String::from_utf8(body.to_vec()).unwrap(), content_type, retry_after })
    }
}

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// An event that passes, with these members replaced or added; `null` takes one out.
pub(crate) fn event(changes: Value) -> Value {
    let mut event = serde_json::json!({"api_key": "phc_a", "event": "opened", "distinct_id": "u"});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(event.as_object_mut().unwrap().remove(name)),
            value => drop(event.as_object_mut().unwrap().insert(name.clone(), value.clone())),
        }
    }
    event
}
