//! A small HTTP client: a connection a request, and the time its answer took.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// From the start of the request to the last byte of the answer.
    pub took: Duration,
}

impl Answer {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The receipt of a 200.
    #[must_use]
    pub fn receipt(&self) -> Option<String> {
        (self.status == 200).then(|| self.json()["receipt"].as_str().map(str::to_string)).flatten()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Posts a body. No header is added but `Host` and the length.
///
/// # Errors
///
/// No answer came.
pub async fn post(
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> io::Result<Answer> {
    send(addr, Method::POST, path, headers, body.into()).await
}

/// Gets a page.
///
/// # Errors
///
/// No answer came.
pub async fn get(addr: SocketAddr, path: &str) -> io::Result<Answer> {
    send(addr, Method::GET, path, &[], Bytes::new()).await
}

/// Makes a request on a connection of its own.
///
/// # Errors
///
/// No answer came.
pub async fn send(
    addr: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> io::Result<Answer> {
    let begun = Instant::now();
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", addr.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).map_err(io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    driver.abort();
    Ok(Answer { status, headers, body, took: begun.elapsed() })
}
