//! Asks the admin ports of running gateways.

use std::{io, path::Path, time::Duration};

use anyhow::Context;
use moehog_runtime::{Exit, Secret};
use moehog_transport::Address;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use crate::cli::Running;

/// Longest wait for a connection: one of several gateways may be gone.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Where gateways are, and how they are asked.
#[derive(Debug)]
pub(crate) struct Gateways {
    client: reqwest::Client,
    at: At,
    token: Option<Secret>,
}

#[derive(Debug)]
enum At {
    /// One gateway, perhaps under a path of a proxy.
    Url(Url),
    /// All replicas of an address.
    Address(Address),
}

/// The admin API of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    client: reqwest::Client,
    base: Url,
    token: Option<Secret>,
}

/// Why a gateway gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The name of the gateways.
    #[error("look up the gateways at {address}")]
    Lookup { address: String, source: io::Error },
    /// The name has no address.
    #[error("no gateway is at the address of --admin")]
    Nobody,
    /// It is not there, or hangs.
    #[error("ask the gateway at {base} (is it running? --admin names its admin address)")]
    NoAnswer { base: Url, source: reqwest::Error },
    /// Something else is there.
    #[error("the answer of {base} ({status}) is not a gateway's")]
    Strange { base: Url, status: StatusCode },
    /// It says why not.
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
}

impl AskError {
    /// Whether another gateway, or the same one a moment later, may know what this one does not.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Lookup { .. } | Self::Nobody | Self::NoAnswer { .. } => true,
            Self::Strange { .. } => false,
            Self::Refused { status, .. } => *status == StatusCode::NOT_FOUND || status.is_server_error(),
        }
    }
}

impl Gateways {
    pub(crate) fn new(running: &Running) -> anyhow::Result<Self> {
        let admin = &running.admin;
        let at = if ["http://", "https://"].iter().any(|scheme| admin.starts_with(scheme)) {
            admin.parse().ok().map(At::Url)
        } else {
            admin.parse().ok().map(At::Address)
        };
        let at = at.with_context(|| format!("--admin {admin} is not an address: HOST:PORT or dns://NAME:PORT"));
        let token = secret(running.admin_token.as_deref(), running.admin_token_file.as_deref())?;
        // plain HTTP to an admin port: no certificate is needed, and no proxy stands between
        let roots = std::iter::empty::<reqwest::Certificate>();
        let client = client().no_proxy().tls_certs_only(roots).connect_timeout(CONNECT).timeout(ANSWER);
        Ok(Self { client: client.build().context("make an HTTP client")?, at: at.context(Exit::Configuration)?, token })
    }

    /// Those there are at this moment.
    pub(crate) async fn all(&self) -> Result<Vec<Gateway>, AskError> {
        let gateway = |base: Url| Gateway { client: self.client.clone(), base, token: self.token.clone() };
        match &self.at {
            At::Url(base) => Ok(vec![gateway(base.clone())]),
            At::Address(address) => {
                let failed = |source| AskError::Lookup { address: address.to_string(), source };
                let hosts = address.replicas().await.map_err(failed)?;
                let bases: Option<Vec<Url>> = hosts.iter().map(|host| format!("http://{host}").parse().ok()).collect();
                let bases = bases.filter(|bases| !bases.is_empty()).ok_or(AskError::Nobody)?;
                Ok(bases.into_iter().map(gateway).collect())
            }
        }
    }

    /// A webhook, and the gateway that knows it: each knows only those that it took.
    pub(crate) async fn entry(&self, receipt: &str) -> Result<(Gateway, Value), AskError> {
        let mut why = None;
        for gateway in self.all().await? {
            match gateway.get(&["api", "receipts", receipt], &[]).await {
                Ok(entry) => return Ok((gateway, entry)),
                // one that did not answer may be the one that knows
                Err(error) if matches!(error, AskError::NoAnswer { .. }) || why.is_none() => why = Some(error),
                Err(_unknown_here_too) => {}
            }
        }
        Err(why.unwrap_or(AskError::Nobody))
    }
}

impl Gateway {
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, AskError> {
        let base = self.base.clone();
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(&*token.expose());
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(source) => return Err(AskError::NoAnswer { base, source: source.without_url() }),
        };
        let status = answer.status();
        let Ok(body) = answer.json::<Value>().await else { return Err(AskError::Strange { base, status }) };
        if !status.is_success() {
            let message = body.get("message").and_then(Value::as_str).unwrap_or("the gateway refused").to_string();
            return Err(AskError::Refused { status, message });
        }
        Ok(body)
    }
}

/// A client that shows nothing of itself yet.
pub(crate) fn client() -> reqwest::ClientBuilder {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// What a flag says, or the file that it names.
pub(crate) fn secret(text: Option<&str>, file: Option<&Path>) -> anyhow::Result<Option<Secret>> {
    let Some(file) = file else { return Ok(text.map(|text| text.to_string().into())) };
    let secret = Secret::read(file).with_context(|| format!("read the token in {}", file.display()));
    Ok(Some(secret.context(Exit::Configuration)?))
}
