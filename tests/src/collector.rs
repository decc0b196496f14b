//! An OpenTelemetry collector: takes spans by gRPC and by HTTP and keeps them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body, extract::State, http::StatusCode, routing};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::ResourceSpans,
};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

mod tree;

pub use tree::tree;

/// What a process told of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The `service.name` of the process.
    pub service: String,
    /// The `service.instance.id` of the process.
    pub instance: String,
    /// The operation.
    pub name: String,
    /// `SERVER`, `CLIENT`, `PRODUCER`, `CONSUMER` or `INTERNAL`.
    pub kind: &'static str,
    /// When it began, nanoseconds since the epoch.
    pub began_at: u64,
    /// The trace, in hexadecimal.
    pub trace_id: String,
    /// The span, in hexadecimal.
    pub span_id: String,
    /// Its parent, in hexadecimal; empty where it has none.
    pub parent_id: String,
    /// Traces and spans that it is linked to, in hexadecimal.
    pub links: Vec<(String, String)>,
    /// What is said of it, as text.
    pub attributes: BTreeMap<String, String>,
    /// Its status is an error.
    pub is_error: bool,
}

#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    grpc: SocketAddr,
    http: SocketAddr,
    spans: Spans,
    tasks: [JoinHandle<()>; 2],
}

impl Collector {
    /// Listens on two free ports.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let (grpc, http) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let (addresses, spans) = ((grpc.local_addr()?, http.local_addr()?), Spans::default());
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(spans.clone()));
        let router = Router::new().route("/v1/traces", routing::post(take)).with_state(spans.clone());
        // both end with the test; a process that cannot reach them complains in its own log
        let tasks = [
            tokio::spawn(async move { drop(server.serve_with_incoming(TcpIncoming::from(grpc)).await) }),
            tokio::spawn(async move { drop(axum::serve(http, router).await) }),
        ];
        Ok(Self { grpc: addresses.0, http: addresses.1, spans, tasks })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`, with the protocol `grpc`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`, with the protocol `http/protobuf`.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Every span so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every span of a trace so far, in the order they began.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        let mut spans: Vec<_> = self.spans().into_iter().filter(|span| span.trace_id == trace_id).collect();
        spans.sort_by_key(|span| span.began_at);
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Spans {
    fn take(&self, request: ExportTraceServiceRequest) {
        let spans = request.resource_spans.into_iter().flat_map(spans);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
    }
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn take(State(spans): State<Spans>, body: body::Bytes) -> StatusCode {
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => {
            spans.take(request);
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

fn spans(of: ResourceSpans) -> impl Iterator<Item = Span> {
    let about = texts(of.resource.map(|resource| resource.attributes).unwrap_or_default());
    let known = move |name: &str| about.get(name).cloned().unwrap_or_default();
    let (service, instance) = (known("service.name"), known("service.instance.id"));
    of.scope_spans.into_iter().flat_map(|scope| scope.spans).map(move |span| Span {
        service: service.clone(),
        instance: instance.clone(),
        kind: span.kind().as_str_name().trim_start_matches("SPAN_KIND_"),
        name: span.name,
        began_at: span.start_time_unix_nano,
        trace_id: hexadecimal(&span.trace_id),
        span_id: hexadecimal(&span.span_id),
        parent_id: hexadecimal(&span.parent_span_id),
        links: span.links.iter().map(|link| (hexadecimal(&link.trace_id), hexadecimal(&link.span_id))).collect(),
        attributes: texts(span.attributes),
        is_error: span.status.is_some_and(|status| status.code == 2),
    })
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::BoolValue(is_so) => is_so.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |pair: KeyValue| Some((pair.key, text(pair.value?.value?)));
    attributes.into_iter().filter_map(pair).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
