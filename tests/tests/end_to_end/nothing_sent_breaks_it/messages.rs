use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use moehog_emulator::{
    mutated,
    posthog::{Config, PostHog},
};
use moehog_proto::{
    delivery::DeliverRequest,
    event::{Event, Header, TraceContext},
    transformer::{Mapping, TransformRequest, Webhook},
};
use moehog_tests::{Deployment, Service, Setup, Shape, cases, from_soak};
use prost::Message as _;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use tokio::{net::TcpSocket, time::timeout};

use super::{super::world::KEY, talk};

/// Messages for 100 of those that [`requests`](super::requests) sends.
const SHARE: u64 = 60;
/// Messages in a test run.
const FEW: u64 = 2_400;
/// By then a call has been answered, whatever was said in it.
const HANGS: Duration = Duration::from_secs(30);

/// gRPC's codes for what is a fault of whoever answers.
const UNKNOWN: &str = "2";
/// The same, but for what tonic says of messages that it cannot read.
const INTERNAL: &str = "13";
/// What it says of them.
const CALLERS_FAULT: [&str; 3] = ["decod", "compress", "Missing%20request%20message"];

const RULES: &str = "[[rule]]\nwhen = \"event == 'Purchased'\"\nproperties = { amount = \"{{ EventAttribute['purchase_amount'] | number }}\" }\n";

fn trace(chance: &mut StdRng) -> Option<TraceContext> {
    chance.random_ratio(1, 2).then(|| TraceContext {
        trace_id_high: chance.random(),
        trace_id_low: chance.random(),
        span_id: chance.random(),
        flags: chance.random(),
        tracestate: "a=1".to_string(),
    })
}

/// What the gateway asks the transformer, some of it damaged inside.
fn transform(bodies: &[Vec<u8>], chance: &mut StdRng) -> TransformRequest {
    let mut webhooks = Vec::new();
    for _ in 0..chance.random_range(0..4) {
        let body = bodies.choose(chance).cloned().unwrap_or_default();
        let body = mutated(&body, bodies, 4, chance).into();
        let encodings = ["", "", "", "gzip", "br", "identity", "deflate, zstd"];
        let queries = ["", "event=a&distinct_id=u", "%ff=%&&=&[]", "data={\"event\":"];
        let header = Header { name: "x-a".to_string(), value: "\u{0}\"".to_string() };
        webhooks.push(Webhook {
            receipt: "0f2a-1".to_string(),
            origin_receipt: String::new(),
            received_at_ms: if chance.random_ratio(1, 8) { chance.random() } else { 1_764_000_000_000 },
            source: "default".to_string(),
            route: String::new(),
            content_type: "application/json".to_string(),
            content_encoding: encodings[chance.random_range(0..encodings.len())].to_string(),
            api_key: KEY.to_string(),
            trace: trace(chance),
            body,
            origin_shown: String::new(),
            method: if chance.random_ratio(1, 4) { "GET".to_string() } else { String::new() },
            query: queries[chance.random_range(0..queries.len())].to_string(),
            headers: if chance.random_ratio(1, 4) { vec![header] } else { Vec::new() },
            idempotency_key: if chance.random_ratio(1, 4) { "order-7".to_string() } else { String::new() },
        });
    }
    let mapping = chance.random_ratio(1, 4).then(|| Mapping {
        revision: chance.random::<u64>().to_string(),
        text: mutated(RULES.as_bytes(), bodies, 3, chance).into(),
    });
    let max_response_bytes = if chance.random_ratio(1, 4) { chance.random() } else { 4 << 20 };
    TransformRequest { webhooks, max_response_bytes, mapping, known_revisions: vec![String::new()], only_looks: false }
}

/// What it asks delivery.
fn deliver(bodies: &[Vec<u8>], chance: &mut StdRng) -> DeliverRequest {
    let mut events = Vec::new();
    for position in 0..chance.random_range(0..4) {
        let uuid: [u8; 16] = chance.random();
        let json =
            br#"{"event":"a","distinct_id":"u-1","uuid":"7b1cbe0e-5f5c-4f0e-9a7e-3c1d1d8d5a11","properties":{}}"#;
        let json = if chance.random_ratio(1, 2) { json.to_vec() } else { mutated(json, bodies, 3, chance) };
        events.push(Event {
            position,
            ordinal: chance.random_range(0..2),
            uuid: uuid[..if chance.random_ratio(1, 8) { 3 } else { 16 }].to_vec().into(),
            distinct_id: "u-1".to_string(),
            name: "a".to_string(),
            trace: trace(chance),
            json: json.into(),
            receipt: "0f2a-1".to_string(),
            destination: String::new(),
            historical: chance.random_ratio(1, 4),
        });
    }
    let destinations = ["default", "default", "default", "nobody", ""];
    DeliverRequest { destination: destinations[chance.random_range(0..destinations.len())].to_string(), events }
}

/// A message in its frame: now and then the frame, the protobuf or both are damaged.
fn framed(message: &[u8], others: &[Vec<u8>], chance: &mut StdRng) -> Bytes {
    let message = if chance.random_ratio(1, 2) { mutated(message, others, 3, chance) } else { message.to_vec() };
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let whole = [&[0][..], &length, &message].concat();
    if chance.random_ratio(1, 10) { mutated(&whole, others, 2, chance).into() } else { whole.into() }
}

/// Some calls over one connection, and how each ended.
async fn conversation(
    addr: SocketAddr,
    delivery: bool,
    bodies: Arc<Vec<Vec<u8>>>,
    mut chance: StdRng,
) -> anyhow::Result<Vec<String>> {
    let socket = TcpSocket::new_v4()?;
    let stream = socket.connect(addr).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut ends = Vec::new();
    for _ in 0..chance.random_range(1..30) {
        let (path, message) = match delivery {
            true => ("/moehog.delivery.v1.DeliveryService/Deliver", deliver(&bodies, &mut chance).encode_to_vec()),
            false => {
                ("/moehog.transformer.v1.TransformerService/Transform", transform(&bodies, &mut chance).encode_to_vec())
            }
        };
        let mut request = Request::post(format!("http://{addr}{path}")).header("te", "trailers");
        if chance.random_ratio(19, 20) {
            request = request.header("content-type", "application/grpc");
        }
        for (name, values) in [
            ("grpc-timeout", ["10S", "1n", "99999999999H", "x"]),
            ("grpc-encoding", ["identity", "gzip", "", "zstd"]),
            ("traceparent", ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0-0-0", "", "ff"]),
        ] {
            if chance.random_ratio(1, 20) {
                request = request.header(name, values[chance.random_range(0..values.len())]);
            }
        }
        let request = request.body(Full::new(framed(&message, &bodies, &mut chance)))?;
        let Ok(answer) = timeout(HANGS, sender.send_request(request)).await.context("no answer")? else {
            // a connection may be closed over what was said on it
            ends.push("closed".to_string());
            break;
        };
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        ensure!(status < 500 || status == 503, "{status}: {headers:?}");
        let Ok(body) = timeout(HANGS, answer.into_body().collect()).await.context("half an answer")? else {
            ends.push("reset".to_string());
            continue;
        };
        let trailers = body.trailers().cloned().unwrap_or_default();
        let of = |name| trailers.get(name).or(headers.get(name)).and_then(|value| value.to_str().ok());
        let (code, said) = (of("grpc-status").unwrap_or("none"), of("grpc-message").unwrap_or_default());
        let is_callers_fault = CALLERS_FAULT.iter().any(|fault| said.contains(fault));
        ensure!(code != UNKNOWN && (code != INTERNAL || is_callers_fault), "{code}: {said}");
        ends.push(if status == 200 { code.to_string() } else { status.to_string() });
    }
    driver.abort();
    Ok(ends)
}

#[tokio::test]
async fn mutated_messages() -> anyhow::Result<()> {
    let first = from_soak("MOEHOG_SOAK_SEED", 1)?;
    let said = from_soak("MOEHOG_SOAK_ROUNDS", FEW * 100 / SHARE)? * SHARE / 100;
    let bodies = Arc::new(cases()?);
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config::counts())?.start();
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .expect("gRPC callers were turned away")
        .expect("are mapped by another mapping than before");
    let mut moehog = Deployment::start(setup).await?;
    let (transformer, delivery) = (moehog.grpc(Service::Transformer)?, moehog.grpc(Service::Delivery)?);
    let services = [Service::Transformer, Service::Delivery];
    let answers = talk(&mut moehog, &services, said, first, |mut chance| {
        let delivers = chance.random_ratio(1, 3);
        conversation(if delivers { delivery } else { transformer }, delivers, bodies.clone(), chance)
    })
    .await?;
    let well = answers.get("0").copied().unwrap_or_default();
    ensure!(well * 10 > said && well * 10 < said * 9, "{well} of {said} are answered well: it shows little");
    moehog.finish().await
}
