//! Asks the admin ports of running gateways.

use std::{io, path::Path, time::Duration};

use anyhow::Context;
use moehog_runtime::{Exit, Secret};
use moehog_transport::Address;
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use crate::cli::Running;

/// Longest wait for a connection: one of several gateways may be gone.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// The wait for an answer that does not end by itself.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Longest silence of one: thrice what a gateway lets pass between signs of life.
const SILENCE: Duration = Duration::from_secs(30);

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

/// An answer of a gateway that goes on.
#[derive(Debug)]
pub(crate) struct Stream {
    answer: Response,
    base: Url,
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
    /// It said nothing for too long.
    #[error("the gateway at {base} is silent (does it still run?)")]
    Silent { base: Url },
    /// Something else is there.
    #[error("the answer of {base} ({status}) is not a gateway's")]
    Strange { base: Url, status: StatusCode },
    /// It says why not.
    #[error("{message}")]
    Refused { status: StatusCode, error: String, message: String },
}

impl AskError {
    /// Whether another gateway, or the same one a moment later, may know what this one does not.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Lookup { .. } | Self::Nobody | Self::NoAnswer { .. } | Self::Silent { .. } => true,
            Self::Strange { .. } => false,
            Self::Refused { status, .. } => *status == StatusCode::NOT_FOUND || status.is_server_error(),
        }
    }

    /// How much it says of a receipt, to be compared: the gateway that did not answer may be the one that knows, the one whose
    /// journal the receipt is of knows more than the others, and one of moehog 0.1 cannot read the receipts of a newer one.
    fn knows(&self) -> u8 {
        match self {
            Self::Nobody | Self::Lookup { .. } => 0,
            Self::Refused { error, .. } if error == "malformed_receipt" => 1,
            Self::Refused { error, .. } if error == "other_journal" => 2,
            Self::Refused { .. } | Self::Strange { .. } => 3,
            Self::NoAnswer { .. } | Self::Silent { .. } => 4,
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
        find_entry(self.all().await?, receipt).await
    }
}

impl Gateway {
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, AskError> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = self.ask(self.client.get(url).timeout(ANSWER)).await?;
        self.read(answer).await
    }

    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, AskError> {
        let answer = self.ask(self.client.post(self.at(path)).json(body).timeout(ANSWER)).await?;
        self.read(answer).await
    }

    /// An answer that goes on until one side ends it.
    pub(crate) async fn stream(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Stream, AskError> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = self.ask(self.client.get(url).timeout(FOREVER)).await?;
        if !answer.status().is_success() {
            let status = answer.status();
            return Err(self.read(answer).await.err().unwrap_or(AskError::Strange { base: self.base.clone(), status }));
        }
        Ok(Stream { answer, base: self.base.clone() })
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn ask(&self, mut request: reqwest::RequestBuilder) -> Result<Response, AskError> {
        let base = self.base.clone();
        if let Some(token) = &self.token {
            request = request.bearer_auth(&*token.expose());
        }
        request.send().await.map_err(|source| AskError::NoAnswer { base, source: source.without_url() })
    }

    async fn read(&self, answer: Response) -> Result<Value, AskError> {
        let base = self.base.clone();
        let status = answer.status();
        let Ok(body) = answer.json::<Value>().await else { return Err(AskError::Strange { base, status }) };
        if !status.is_success() {
            let text =
                |field, otherwise: &str| body.get(field).and_then(Value::as_str).unwrap_or(otherwise).to_string();
            let (error, message) = (text("error", ""), text("message", "the gateway refused"));
            return Err(AskError::Refused { status, error, message });
        }
        Ok(body)
    }
}

impl Stream {
    /// The next bytes; none once it has ended. It waits for [`SILENCE`] at most: a gateway gives signs of life.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, AskError> {
        match tokio::time::timeout(SILENCE, self.answer.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk.map(|chunk| chunk.to_vec())),
            Ok(Err(source)) => Err(AskError::NoAnswer { base: self.base.clone(), source: source.without_url() }),
            Err(_silent) => Err(AskError::Silent { base: self.base.clone() }),
        }
    }
}

/// Asks one after the other, and fails with what the one says that knows most.
async fn find_entry(gateways: Vec<Gateway>, receipt: &str) -> Result<(Gateway, Value), AskError> {
    let mut why = AskError::Nobody;
    for gateway in gateways {
        match gateway.get(&["api", "receipts", receipt], &[]).await {
            Ok(entry) => return Ok((gateway, entry)),
            Err(error) if error.knows() > why.knows() => why = error,
            Err(_knows_no_more) => {}
        }
    }
    Err(why)
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::{Json, Router, routing::get};
    use serde_json::json;

    use super::*;

    /// A gateway that says this of every receipt.
    async fn saying(status: u16, answer: Value) -> Gateway {
        let status = StatusCode::from_u16(status).unwrap();
        let routes = Router::new().route("/api/receipts/{receipt}", get(move || async move { (status, Json(answer)) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        at(address)
    }

    fn at(address: SocketAddr) -> Gateway {
        let client = client().no_proxy().build().unwrap();
        Gateway { client, base: format!("http://{address}").parse().unwrap(), token: None }
    }

    async fn other_journal() -> Gateway {
        saying(404, json!({"error": "other_journal", "message": "ask the others"})).await
    }

    async fn failure(gateways: Vec<Gateway>) -> AskError {
        find_entry(gateways, "r").await.unwrap_err()
    }

    #[tokio::test]
    async fn the_gateway_whose_journal_the_receipt_is_of_is_found_among_others() {
        let knows = saying(200, json!({"receipt": "r"})).await;
        let base = knows.base.clone();
        let gateways = vec![other_journal().await, other_journal().await, knows, other_journal().await];
        let (gateway, entry) = find_entry(gateways, "r").await.unwrap();
        assert_eq!((gateway.base, entry), (base, json!({"receipt": "r"})));
    }

    #[tokio::test]
    async fn where_none_knows_it_the_one_is_quoted_that_says_most() {
        for (error, message) in [("unknown_receipt", "not kept"), ("other_life", "put back")] {
            let own = || saying(404, json!({"error": error, "message": message}));
            let why = failure(vec![other_journal().await, own().await, other_journal().await]).await;
            assert!(why.to_string() == message && why.may_pass(), "{why}");
        }
        let of_0_1 = saying(400, json!({"error": "malformed_receipt", "message": "not a receipt"})).await;
        assert_eq!(failure(vec![of_0_1.clone(), other_journal().await]).await.to_string(), "ask the others");
        assert_eq!(failure(vec![of_0_1]).await.to_string(), "not a receipt");
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let why = failure(vec![other_journal().await, at(gone), other_journal().await]).await;
        assert!(matches!(why, AskError::NoAnswer { .. }), "it may be the one that knows: {why}");
        assert!(matches!(failure(Vec::new()).await, AskError::Nobody));
    }
}
