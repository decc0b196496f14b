use std::{collections::BTreeSet, time::Instant};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Action, Rule};
use moehog_tests::{Collector, Deployment, Service, Setup, Shape, Span, connector, post, tree, within};

use super::world::{KEY, SOON, arrived, posthog, taken};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Posts one webhook that belongs to [`TRACE`].
async fn post_traced(moehog: &Deployment) -> anyhow::Result<String> {
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("content-type", "application/json"), ("traceparent", &*traceparent)];
    let body = connector(KEY, "user_42", "0d2f7f5e-3b0c-4b3e-9c5e-3f4f0a5f9b11");
    let answer = post(moehog.http()?, "/capture/", &headers, body).await?;
    assert_eq!(answer.json()["trace_id"], TRACE, "the answer names the sender's trace");
    taken(&answer)
}

/// Each span but those of the sender hangs on another.
fn connected(spans: &[Span]) -> anyhow::Result<()> {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.as_str()).collect();
    for span in spans {
        let is_known = span.parent_id == PARENT || ids.contains(span.parent_id.as_str());
        ensure!(is_known, "{} of {} hangs on an unknown span:\n{}", span.name, span.service, tree(spans));
    }
    Ok(())
}

async fn reaches_posthog(protocol: &str, endpoint: &str, collector: &Collector) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .variable("OTEL_BSP_SCHEDULE_DELAY", "200");
    let moehog = Deployment::start(setup).await?;
    post_traced(&moehog).await?;
    arrived(&posthog, 1, SOON).await?;
    moehog.drained(SOON).await?;
    // stopped well, each flushes what it still holds: now the tree is whole
    moehog.finish().await?;
    let spans = collector.trace(TRACE);
    connected(&spans)?;
    let services: BTreeSet<_> = spans.iter().map(|span| &*span.service).collect();
    ensure!(services == ["moehog-delivery", "moehog-gateway", "moehog-transformer"].into(), "{services:?}");

    let event = &posthog.books().events()[0];
    assert_eq!(event.properties()["moehog"]["trace_id"], TRACE);
    let exchanges = posthog.books().exchanges();
    let request = exchanges.iter().find(|exchange| exchange.stored == 1).expect("the request with the event");
    let sent = request.header("traceparent").expect("a traceparent on PostHog's request");
    let request = spans.iter().find(|span| span.name == "POST").context("a span of PostHog's request")?;
    assert_eq!(sent, format!("00-{TRACE}-{}-01", request.span_id), "PostHog's spans continue the request's");
    Ok(())
}

#[tokio::test]
async fn and_reaches_posthog() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    reaches_posthog("grpc", &collector.url(), &collector).await
}

#[tokio::test]
async fn and_is_exported_by_http_as_well() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    reaches_posthog("http/protobuf", &collector.http_url(), &collector).await
}

#[tokio::test]
async fn and_stays_whole_when_the_gateway_is_killed_between_two_attempts() -> anyhow::Result<()> {
    let (posthog, collector) = (posthog()?, Collector::start().await?);
    let mut busy =
        Rule::always(Action::Answer { status: 503, body: String::new(), retry_after: Some("3".to_string()) });
    busy.times = Some(1);
    posthog.faults().add(busy);
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .variable("OTEL_BSP_SCHEDULE_DELAY", "100")
        .expect("moehog_relay");
    let mut moehog = Deployment::start(setup).await?;
    let receipt = post_traced(&moehog).await?;
    let has = |name: &str, service: &str| {
        let spans = collector.trace(TRACE);
        spans.iter().any(|span| span.name == name && span.service == service)
    };
    within(SOON, "the spans of the first attempt", async || {
        let deliver = "moehog.delivery.v1.DeliveryService/Deliver";
        (has("attempt", "moehog-delivery") && has(deliver, "moehog-gateway")).then_some(())
    })
    .await?;
    moehog.kill(Service::Gateway)?;
    moehog.heal().await?;
    arrived(&posthog, 1, SOON).await?;
    moehog.drained(SOON).await?;
    moehog.finish().await?;

    let spans = collector.trace(TRACE);
    connected(&spans)?;
    let text = tree(&spans);
    println!("{text}");
    let readme = include_str!("../../../README.md");
    ensure!(readme.contains(&text), "README shows another trace than this:\n{text}");
    speaks_conventions(&spans, &receipt)?;
    links_lead_to_the_calls_and_back(&spans)
}

#[tokio::test]
async fn and_a_collector_that_never_answers_costs_nothing_but_spans() -> anyhow::Result<()> {
    let (posthog, silent) = (posthog()?, tokio::net::TcpListener::bind("127.0.0.1:0").await?);
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", silent.local_addr()?))
        .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
        .variable("OTEL_BSP_MAX_QUEUE_SIZE", "64")
        .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")
        .expect("spans cannot be exported");
    let moehog = Deployment::start(setup).await?;
    let began = Instant::now();
    for number in 0..200_u32 {
        let uuid = format!("00000000-0000-4000-8000-{number:012}");
        taken(&super::world::capture(&moehog, connector(KEY, "user_42", &uuid)).await?)?;
    }
    arrived(&posthog, 200, SOON).await?;
    within(SOON, "the log says that spans are dropped", async || {
        (moehog.log().count("spans cannot be exported") > 0).then_some(())
    })
    .await?;
    println!("200 webhooks in {:?}", began.elapsed());
    // each exits 0 within its grace
    moehog.finish().await
}

/// The names that dashboards and service maps are built on.
fn speaks_conventions(spans: &[Span], receipt: &str) -> anyhow::Result<()> {
    type Wanted<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let wanted: [Wanted<'_>; 9] = [
        (
            "POST /capture/",
            "SERVER",
            &[
                ("http.request.method", "POST"),
                ("http.route", "/capture/"),
                ("http.response.status_code", "200"),
                ("moehog.receipt", receipt),
            ],
        ),
        (
            "append capture",
            "PRODUCER",
            &[
                ("messaging.system", "moehog"),
                ("messaging.operation.type", "send"),
                ("messaging.destination.name", "capture"),
                ("messaging.message.id", receipt),
            ],
        ),
        ("receive capture", "CLIENT", &[("messaging.operation.type", "receive"), ("messaging.message.id", receipt)]),
        ("settle capture", "CLIENT", &[("messaging.operation.type", "settle"), ("moehog.events.delivered", "1")]),
        (
            "moehog.transformer.v1.TransformerService/Transform",
            "CLIENT",
            &[("rpc.system.name", "grpc"), ("rpc.response.status_code", "OK"), ("server.address", "127.0.0.1")],
        ),
        (
            "moehog.transformer.v1.TransformerService/Transform",
            "SERVER",
            &[("rpc.method", "moehog.transformer.v1.TransformerService/Transform")],
        ),
        ("moehog.delivery.v1.DeliveryService/Deliver", "SERVER", &[("rpc.response.status_code", "OK")]),
        (
            "POST",
            "CLIENT",
            &[("http.response.status_code", "503"), ("error.type", "503"), ("server.address", "127.0.0.1")],
        ),
        (
            "attempt",
            "INTERNAL",
            &[
                ("http.response.status_code", "200"),
                ("moehog.verdict", "delivered"),
                ("moehog.event.uuid", "0d2f7f5e-3b0c-4b3e-9c5e-3f4f0a5f9b11"),
            ],
        ),
    ];
    for (name, kind, attributes) in wanted {
        let says = |span: &&Span| {
            attributes.iter().all(|(key, value)| span.attributes.get(*key).is_some_and(|is| is == value))
        };
        let found = spans.iter().filter(|span| span.name == name && span.kind == kind).find(says);
        ensure!(found.is_some(), "no {kind} span `{name}` with {attributes:?} in {spans:#?}");
    }
    let errors = spans.iter().filter(|span| span.is_error).count();
    ensure!(errors == 2, "the failed request and its attempt are errors, nothing else: {spans:#?}");
    Ok(())
}

/// A webhook's and an event's own span name the call they were in, and the call names them.
fn links_lead_to_the_calls_and_back(spans: &[Span]) -> anyhow::Result<()> {
    for (member, call) in [("transform", "TransformerService/Transform"), ("attempt", "DeliveryService/Deliver")] {
        for span in spans.iter().filter(|span| span.name == member) {
            let (_, linked) = span.links.first().with_context(|| format!("{member} names no call"))?;
            let call = spans.iter().find(|other| other.span_id == *linked && other.name.ends_with(call));
            let call = call.with_context(|| format!("{member} names a call that is not there"))?;
            ensure!(call.kind == "SERVER" && !call.links.is_empty(), "{call:#?}");
        }
    }
    Ok(())
}
