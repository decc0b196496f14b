use std::collections::BTreeSet;

use moehog_tests::{Collector, Deployment, Setup, Shape, connector, post, within};

use super::world::{KEY, SOON, arrived, posthog, taken};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn and_reaches_posthog() -> anyhow::Result<()> {
    let (posthog, collector) = (posthog()?, Collector::start().await?);
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .variable("OTEL_BSP_SCHEDULE_DELAY", "200");
    let moehog = Deployment::start(setup).await?;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("content-type", "application/json"), ("traceparent", &*traceparent)];
    let body = connector(KEY, "user_42", "0d2f7f5e-3b0c-4b3e-9c5e-3f4f0a5f9b11");
    let answer = post(moehog.http()?, "/capture/", &headers, body).await?;
    taken(&answer)?;
    assert_eq!(answer.json()["trace_id"], TRACE, "the answer names the sender's trace");
    arrived(&posthog, 1, SOON).await?;

    let wanted: BTreeSet<_> = ["moehog-gateway", "moehog-transformer", "moehog-delivery"].map(String::from).into();
    within(SOON, "one trace under three service names", async || {
        let spans = collector.spans();
        let of_trace = spans.iter().filter(|span| span.trace_id == TRACE);
        let services: BTreeSet<_> = of_trace.map(|span| span.service.clone()).collect();
        services.is_superset(&wanted).then_some(())
    })
    .await?;

    // stopped well, each flushes what it still holds: now the tree is whole
    moehog.finish().await?;
    let spans: Vec<_> = collector.spans().into_iter().filter(|span| span.trace_id == TRACE).collect();
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.as_str()).collect();
    for span in &spans {
        let is_known = span.parent_id == PARENT || ids.contains(span.parent_id.as_str());
        assert!(is_known, "{} of {} hangs on an unknown span: {spans:#?}", span.name, span.service);
    }
    let event = &posthog.books().events()[0];
    assert_eq!(event.properties()["moehog"]["trace_id"], TRACE);
    let exchanges = posthog.books().exchanges();
    let request = exchanges.iter().find(|exchange| exchange.stored == 1).expect("the request with the event");
    let sent = request.header("traceparent").expect("a traceparent on PostHog's request");
    assert!(sent.contains(TRACE), "a call that carries one trace belongs to it: {sent}");
    Ok(())
}
