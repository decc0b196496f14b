//! Asks the admin port of a running gateway.

use anyhow::{Context, bail};
use moehog_runtime::Secret;
use serde_json::Value;

use crate::cli::Running;

/// The admin API of a gateway.
pub(crate) struct Gateway {
    client: reqwest::Client,
    base: reqwest::Url,
    token: Option<Secret>,
}

impl Gateway {
    pub(crate) fn new(running: &Running) -> anyhow::Result<Self> {
        let admin = &running.admin;
        let text = if admin.contains("://") { admin.clone() } else { format!("http://{admin}") };
        let base = text.parse().with_context(|| format!("--admin {admin} is not an address"))?;
        // plain HTTP to an admin port: no certificate is needed, and no proxy stands between
        let roots = std::iter::empty::<reqwest::Certificate>();
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let client =
            reqwest::Client::builder().no_proxy().tls_certs_only(roots).build().context("make an HTTP client")?;
        Ok(Self { client, base, token: running.admin_token.clone().map(Secret::from) })
    }

    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let asked = format!("ask the gateway at {} (is it running? --admin names its admin address)", self.base);
        let mut request = self.client.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let answer = request.send().await.context(asked)?;
        let status = answer.status();
        let body: Value = answer.json().await.with_context(|| format!("read the gateway's answer ({status})"))?;
        if !status.is_success() {
            bail!("{}", body.get("message").and_then(Value::as_str).unwrap_or("the gateway refused"));
        }
        Ok(body)
    }
}
