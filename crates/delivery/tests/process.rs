//! The binary: ports, probes, the trace that goes on to PostHog, the stop.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use common::*;
use moehog_proto::event::TraceContext;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended by itself
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Starts the binary against `posthog` and gives it with its gRPC and admin addresses.
fn start_process(posthog: &str, more: &[(&str, &str)]) -> (Process, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_moehog-delivery"))
        .env("MOEHOG__GRPC__LISTEN", "127.0.0.1:0")
        .env("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0")
        .env("MOEHOG__POSTHOG__HOST", posthog)
        .env("MOEHOG__DESTINATIONS__SHOP__API_KEY", KEY)
        // spans are made, and go nowhere
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .envs(more.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let listening: serde_json::Value = loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "ended before it listened");
        if line.contains("\"listening\"") {
            break serde_json::from_str(&line).unwrap();
        }
    };
    // keep the pipe open and empty
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    let address = |name: &str| listening[name].as_str().unwrap().to_string();
    (Process(child), address("grpc"), address("admin"))
}

fn remote(grpc: &str) -> moehog_proto::delivery::DeliveryServiceClient<moehog_proto::Channel> {
    let address = format!("list://{grpc}").parse().unwrap();
    let link = moehog_transport::connect(&address, &moehog_transport::ClientConfig::default());
    moehog_proto::delivery::client(link.channel)
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn the_process_delivers_goes_on_with_the_trace_and_finishes_its_call_when_told_to_stop() {
    let posthog = posthog();
    let (mut process, grpc, admin) = start_process(&posthog.url(), &[]);
    let client = remote(&grpc);
    let mut sent = events(2);
    for event in &mut sent {
        event.trace =
            Some(TraceContext { trace_id_high: 7, trace_id_low: 9, span_id: 3, flags: 1, ..Default::default() });
    }
    assert_eq!(words(&deliver(&client, "shop", &sent).await), ["delivered"; 2]);
    let exchanges = posthog.books().exchanges();
    let traceparent = exchanges[0].header("traceparent").expect("the trace goes on");
    assert!(traceparent.starts_with("00-00000000000000070000000000000009-"), "{traceparent}");
    assert!(traceparent.ends_with("-01") && !traceparent.contains("0000000000000003"), "{traceparent}");

    assert!(get(&admin, "/readyz").starts_with("HTTP/1.1 200"));
    let metrics = get(&admin, "/metrics");
    assert!(metrics.contains("moehog_delivery_events_total{verdict=\"delivered\"} 2"), "{metrics}");
    assert!(metrics.contains("moehog_delivery_requests_total{answer=\"2xx\"} 1"), "{metrics}");
    assert!(metrics.contains("moehog_delivery_concurrency{destination=\"shop\"} 16"), "{metrics}");
    assert!(metrics.contains("moehog_delivery_concurrency_max{destination=\"shop\"} 16"), "{metrics}");
    assert!(!metrics.contains(KEY));

    posthog.set_latency(Duration::from_millis(700));
    let last = tokio::spawn({
        let (client, sent) = (client.clone(), events(5));
        async move { deliver(&client, "shop", &sent).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(words(&last.await.unwrap()), ["delivered"; 5]);
    let status = tokio::task::spawn_blocking(move || process.0.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_event_whose_trace_is_not_recorded_sends_no_traceparent() {
    let posthog = posthog();
    let (_process, grpc, _) = start_process(&posthog.url(), &[]);
    let mut sent = events(1);
    sent[0].trace = Some(TraceContext { trace_id_low: 9, span_id: 3, flags: 0, ..Default::default() });
    assert_eq!(words(&deliver(&remote(&grpc), "shop", &sent).await), ["delivered"]);
    assert_eq!(posthog.books().exchanges()[0].header("traceparent"), None);
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_used_for_hosts_outside_and_not_for_this_machine() {
    let posthog = posthog();
    for (host, proxy) in [("http://posthog.invalid", posthog.url()), (&posthog.url(), "http://127.0.0.1:9".to_string())]
    {
        let (_process, grpc, _) = start_process(host, &[("HTTP_PROXY", &proxy), ("http_proxy", &proxy)]);
        assert_eq!(words(&deliver(&remote(&grpc), "shop", &events(1)).await), ["delivered"], "{host}");
    }
}

#[test]
fn a_mistake_in_the_configuration_and_a_taken_port_have_exit_codes_of_their_own() {
    let run = |name: &str, value: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_moehog-delivery"))
            .env("MOEHOG__GRPC__LISTEN", "127.0.0.1:0")
            .env("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0")
            .env(name, value)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, words) = run("MOEHOG__POSTHOG__HOSTT", "x");
    assert!(code == Some(2) && words.contains("hostt"), "{code:?} {words}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, words) = run("MOEHOG__GRPC__LISTEN", &addr);
    assert!(code == Some(3) && words.contains(&addr), "{code:?} {words}");
}
