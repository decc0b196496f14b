//! Where spans go: an OTLP collector, by gRPC or by HTTP, set up by the standard variables.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) turns it on, `OTEL_EXPORTER_OTLP_PROTOCOL` (or
//! `…_TRACES_PROTOCOL`) is `grpc` (default, mostly port 4317) or `http/protobuf` (4318), `…_HEADERS` and `…_TIMEOUT` are as
//! the standard says, `…_CERTIFICATE` is a PEM file of further authorities for an `https` endpoint.
//!
//! A collector that is down or slow costs spans, and nothing else: they wait in a bounded queue on a thread of their own and
//! are dropped when it is full. The log says once that it began and once that it ended.
//!
//! Source: OpenTelemetry, "OpenTelemetry Protocol Exporter", "Environment Variable Specification" (read 2026-11-27).

use std::{
    env, fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use tokio::runtime::Handle;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::metrics;

/// Whether the variables name a collector.
pub(crate) fn wanted() -> bool {
    let off = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value == "true")
        || env::var("OTEL_TRACES_EXPORTER").is_ok_and(|value| value == "none");
    of_traces("ENDPOINT").is_some() && !off
}

/// Makes the exporter that the variables ask for.
pub(crate) fn exporter() -> anyhow::Result<Watched> {
    let protocol = of_traces("PROTOCOL").unwrap_or_else(|| "grpc".to_string());
    let authorities = of_traces("CERTIFICATE")
        .map(|path| fs::read(&path).with_context(|| format!("OTEL_EXPORTER_OTLP_CERTIFICATE names {path}")))
        .transpose()?;
    let builder = opentelemetry_otlp::SpanExporter::builder();
    let exporter = match protocol.as_str() {
        "grpc" => {
            let tls = ClientTlsConfig::new().with_enabled_roots();
            let tls = authorities.iter().fold(tls, |tls, pem| tls.ca_certificate(Certificate::from_pem(pem)));
            let is_https = of_traces("ENDPOINT").is_some_and(|endpoint| endpoint.starts_with("https:"));
            let builder = builder.with_tonic().with_protocol(Protocol::Grpc);
            if is_https { builder.with_tls_config(tls) } else { builder }.build()
        }
        "http/protobuf" => {
            let client = Client::new(authorities.as_deref())?;
            builder.with_http().with_protocol(Protocol::HttpBinary).with_http_client(client).build()
        }
        other => bail!("OTEL_EXPORTER_OTLP_PROTOCOL is `{other}`: write grpc or http/protobuf"),
    };
    Ok(Watched { exporter: exporter.context("set up the OTLP exporter")?, fails: AtomicBool::new(false) })
}

/// A variable of the exporter: the one for traces, or the one for all signals.
fn of_traces(name: &str) -> Option<String> {
    [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
        .into_iter()
        .filter_map(env::var_os)
        .map(|value| value.to_string_lossy().into_owned())
        .find(|value| !value.is_empty())
}

/// The exporter, counted; says when it begins to fail and when that ends.
#[derive(Debug)]
pub(crate) struct Watched {
    exporter: opentelemetry_otlp::SpanExporter,
    fails: AtomicBool,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        metrics::spans_left(result.is_ok(), spans);
        let failed_before = self.fails.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => {
                tracing::warn!(%error, "spans cannot be exported and are dropped; nothing else is affected");
            }
            Ok(()) if failed_before => tracing::info!("spans are exported again"),
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Makes OTLP requests on the runtime, whatever thread they come from: spans are exported from one outside of it.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Client {
    fn new(authorities: Option<&[u8]>) -> anyhow::Result<Self> {
        // a second install fails, and then one is there
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let common = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| reqwest::Certificate::from_der(der));
        let mut trusted = common.collect::<Result<Vec<_>, _>>().context("read the common authorities")?;
        if let Some(pem) = authorities {
            trusted.extend(reqwest::Certificate::from_pem_bundle(pem).context("OTEL_EXPORTER_OTLP_CERTIFICATE")?);
        }
        let http = reqwest::Client::builder().tls_certs_only(trusted).build().context("set up the OTLP client")?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let request = reqwest::Request::try_from(request)?;
        let sent = self.runtime.spawn(async move {
            let answer = http.execute(request).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, answer.bytes().await?))
        });
        let (status, headers, body) = sent.await??;
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}
