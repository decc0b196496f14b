//! The HTTP client.

use std::{error::Error, fs, io, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use moehog_runtime::root_cause;
use reqwest::{Certificate, redirect};
use serde::Serialize;

use super::{Answer, Failure, Host, proxies};
use crate::config;

/// How much of an answer's body is read; a longer one costs its connection.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longest wait for an answer's body once its status is known.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are closed before the usual load balancer (60 s) does it in the middle of a request.
const IDLE: Duration = Duration::from_secs(50);

/// What one host says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A project there owns it.
    Known,
    /// None does.
    Unknown,
    /// It did not say: an old server, a timeout, something in between.
    Unclear(String),
    /// It was not reached.
    Unreachable(String),
}

/// Sends requests to PostHog. Connections are kept; redirects are not followed; the authorities of Mozilla's list are
/// compiled in, so that an image without any files can speak TLS.
#[derive(Debug)]
pub(crate) struct Client {
    outside: reqwest::Client,
    /// For hosts of this machine, which no proxy of the environment can reach.
    local: reqwest::Client,
    check_timeout: Duration,
}

/// A batch on its way.
#[derive(Debug)]
pub(crate) struct Post {
    /// Of the API, without the slash before it.
    pub(crate) path: &'static str,
    /// The trace, and what the API wants besides.
    pub(crate) headers: HeaderMap,
    /// Gzipped.
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
    /// All of the answer is wanted, up to so many bytes.
    pub(crate) whole_bytes: Option<usize>,
}

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of certificate authorities.
    #[error("read certificate authorities from {path}")]
    CaFile {
        /// `posthog.ca_file`.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A proxy of the environment.
    #[error("the variable {name} is not the address of a proxy, such as http://proxy.example:3128")]
    Proxy {
        /// `HTTPS_PROXY` and its like.
        name: &'static str,
    },
    /// TLS.
    #[error("set up the HTTP client")]
    Build(#[from] reqwest::Error),
}

#[derive(Serialize)]
struct FlagsRequest<'a> {
    token: &'a str,
    distinct_id: &'a str,
    geoip_disable: bool,
}

impl Client {
    /// Makes a client.
    ///
    /// # Errors
    ///
    /// The file of certificate authorities is unreadable, or a proxy variable is malformed.
    pub(crate) fn new(config: &config::PostHog) -> Result<Self, ClientError> {
        if let Some(name) = proxies::malformed(|name| std::env::var(name).ok()) {
            return Err(ClientError::Proxy { name });
        }
        // a second install fails, and then one is there
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let authorities = authorities(config)?;
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("moehog/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
                .tls_certs_only(authorities.clone())
                .connect_timeout(config.connect_timeout)
                .pool_idle_timeout(IDLE)
                .tcp_nodelay(true)
                .tcp_keepalive(Duration::from_secs(30))
                .http2_keep_alive_interval(Duration::from_secs(15))
                .http2_keep_alive_timeout(Duration::from_secs(10))
        };
        Ok(Self {
            outside: builder().build()?,
            local: builder().no_proxy().build()?,
            check_timeout: config.key_check_timeout,
        })
    }

    /// Posts a gzipped batch. `key` is cut out of what is kept of the answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts the request off; PostHog may have read it.
    pub(crate) async fn batch(&self, host: &Host, key: &str, post: Post) -> Result<Answer, Failure> {
        let Post { path, headers, body, timeout, whole_bytes } = post;
        let bytes = body.len();
        let request = self
            .to(host)
            .post(host.at(path))
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
            .headers(headers)
            .body(body);
        match tokio::time::timeout(timeout, request.send()).await {
            Err(_elapsed) => Err(Failure::Timeout),
            Ok(Err(error)) => Err(failure(error, bytes)),
            Ok(Ok(response)) => {
                let (status, headers) = (response.status(), response.headers().clone());
                let (body, is_whole) = start_of_body(response, whole_bytes.unwrap_or(MAX_BODY_BYTES)).await;
                let mut answer = Answer::new(status, &headers, &body, key, Timestamp::now());
                answer.whole = (is_whole && whole_bytes.is_some()).then_some(body);
                Ok(answer)
            }
        }
    }

    /// Asks `host` whether a project there owns `key`. Only a clear answer is a definite one. An older PostHog, which has no
    /// `/flags/`, has `/decide/`.
    ///
    /// Source: PostHog#54670 (capture says 200 to any key); `/flags/?v=2` and `/decide/?v=3` answer 401 to a key that no project
    /// of the region owns (read 2026-08-22).
    pub(crate) async fn knows_key(&self, host: &Host, key: &str) -> Finding {
        match self.ask(host, "flags/?v=2", key).await {
            Ok(finding) => finding,
            Err(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
                match self.ask(host, "decide/?v=3", key).await {
                    Ok(finding) => finding,
                    Err(status) => Finding::Unclear(format!("/flags/ answered 404, and /decide/ {}", status.as_u16())),
                }
            }
            Err(status) => Finding::Unclear(format!("/flags/ answered {}", status.as_u16())),
        }
    }

    /// The error is a status that says neither yes nor no.
    async fn ask(&self, host: &Host, path: &str, key: &str) -> Result<Finding, StatusCode> {
        let asked = FlagsRequest { token: key, distinct_id: "moehog-key-check", geoip_disable: true };
        let request = self.to(host).post(host.at(path)).timeout(self.check_timeout).json(&asked);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                return Ok(Finding::Unreachable(root_cause(&error.without_url())));
            }
            Err(error) => return Ok(Finding::Unclear(root_cause(&error.without_url()))),
        };
        let status = response.status();
        let (body, _is_whole) = start_of_body(response, MAX_BODY_BYTES).await;
        match status {
            StatusCode::UNAUTHORIZED => Ok(Finding::Unknown),
            StatusCode::OK if is_flags_answer(&body) => Ok(Finding::Known),
            status => Err(status),
        }
    }

    fn to(&self, host: &Host) -> &reqwest::Client {
        if host.is_local() { &self.local } else { &self.outside }
    }
}

/// Whether a 200 is really an answer of `/flags/`, and not some page; its start must do, since it may be long.
fn is_flags_answer(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.trim_start().starts_with('{') && ["\"flags\"", "\"featureFlags\""].iter().any(|name| text.contains(name))
}

fn authorities(config: &config::PostHog) -> Result<Vec<Certificate>, ClientError> {
    let mut authorities = Vec::with_capacity(webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        authorities.push(Certificate::from_der(der)?);
    }
    if !config.ca_file.as_os_str().is_empty() {
        let error = |source| ClientError::CaFile { path: config.ca_file.clone(), source };
        let pem = fs::read(&config.ca_file).map_err(|source| error(source.into()))?;
        let own = Certificate::from_pem_bundle(&pem).map_err(|source| error(source.into()))?;
        if own.is_empty() {
            return Err(error(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it").into()));
        }
        authorities.extend(own);
    }
    Ok(authorities)
}

fn failure(error: reqwest::Error, bytes: usize) -> Failure {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        Failure::Connect(root_cause(&error))
    } else if error.is_timeout() {
        Failure::Timeout
    } else {
        Failure::Broken { why: root_cause(&error), bytes }
    }
}

/// Up to about so many bytes of a body, and whether that is all of it.
async fn start_of_body(mut response: reqwest::Response, max_bytes: usize) -> (Bytes, bool) {
    let mut body = BytesMut::new();
    let read = async {
        while body.len() <= max_bytes {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    };
    // the status is known; a body that does not come changes nothing of that
    let is_whole = tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or(false);
    (body.freeze(), is_whole)
}
