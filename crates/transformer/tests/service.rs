//! A client over the real stack: in this process, and over a socket.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::time::{Duration, Instant};

use moehog_proto::{
    event::TraceContext,
    transformer::{
        TransformRequest, Webhook, client, mapped_event::Outcome, server, transformed_webhook::Result as Made,
    },
};
use moehog_runtime::Cores;
use moehog_transformer::{Config, DEFAULTS, Mapping, Rules, Transformer};
use moehog_transport::{ClientConfig, Server, ServerBounds, ServerConfig, connect, never_left};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

fn streams(events: usize) -> Webhook {
    let event =
        |n| format!(r#"{{"event_name":"Email Sent","event_uuid":"e{n}","event_time":1766620800,"uid":"u{n}"}}"#);
    let list: Vec<_> = (0..events).map(event).collect();
    Webhook {
        receipt: format!("1-{events}-1"),
        source: "shop".to_string(),
        received_at_ms: 1_787_220_672_345,
        body: format!(r#"{{"events":[{}]}}"#, list.join(",")).into(),
        ..Webhook::default()
    }
}

fn request(webhooks: Vec<Webhook>, max_response_bytes: u64) -> TransformRequest {
    TransformRequest { webhooks, max_response_bytes, ..TransformRequest::default() }
}

/// How many events each webhook gave; none for a rejection.
fn counts(response: &moehog_proto::transformer::TransformResponse) -> Vec<Option<usize>> {
    let count = |made: &Option<Made>| match made.as_ref().unwrap() {
        Made::Mapped(mapped) => Some(mapped.events.len()),
        Made::Rejection(_) => None,
    };
    response.webhooks.iter().map(|webhook| count(&webhook.result)).collect()
}

#[tokio::test]
async fn an_answer_holds_whole_webhooks_in_order_while_there_is_room() {
    let link = moehog_transport::in_process(server(Transformer::new(&Mapping::default(), Rules::default())));
    let mut client = client(link.channel);
    let all = || vec![streams(3), Webhook::default(), streams(5), streams(2)];

    let whole = client.transform(request(all(), 0)).await.unwrap().into_inner();
    assert_eq!(counts(&whole), [Some(3), None, Some(5), Some(2)]);
    assert_eq!(whole.mapping_revision, "builtin-3");

    // one is answered however little room there is, and what is left is asked again until nothing is
    let mut rest = all();
    let mut answered = Vec::new();
    while !rest.is_empty() {
        let part = client.transform(request(rest.clone(), 1)).await.unwrap().into_inner();
        assert_eq!(part.webhooks.len(), 1);
        rest.remove(0);
        answered.extend(part.webhooks);
    }
    assert_eq!(answered, whole.webhooks);

    let three = client.transform(request(all(), 4_000)).await.unwrap().into_inner();
    assert_eq!(three.webhooks[..], whole.webhooks[..3]);

    let nothing = client.transform(request(Vec::new(), 0)).await.unwrap().into_inner();
    assert_eq!((nothing.webhooks.len(), nothing.mapping_revision.as_str()), (0, "builtin-3"));
}

#[tokio::test]
async fn an_answer_for_which_there_is_no_room_is_refused_as_if_it_had_not_been_asked() {
    let bounds = ServerBounds { connection_bytes: 20_000, ..ServerBounds::default() };
    let listener =
        Server::bind(([127, 0, 0, 1], 0).into(), ServerConfig { bounds, ..ServerConfig::default() }).unwrap();
    let address = format!("list://{}", listener.local_addr().unwrap()).parse().unwrap();
    let routes = Routes::new(server(Transformer::new(&Mapping::default(), Rules::default())));
    tokio::spawn(listener.serve(routes, &[], CancellationToken::new()));
    let mut client = client(connect(&address, &ClientConfig::default()).channel);
    assert_eq!(counts(client.transform(request(vec![streams(1)], 0)).await.unwrap().get_ref()), [Some(1)]);
    let status = client.transform(request(vec![streams(100)], 0)).await.unwrap_err();
    assert!(never_left(&status) && status.message().contains("no room"), "{status:?}");
    assert_eq!(counts(client.transform(request(vec![streams(1)], 0)).await.unwrap().get_ref()), [Some(1)]);
}

#[tokio::test]
async fn events_continue_the_trace_of_their_webhook() {
    let mut client =
        client(moehog_transport::in_process(server(Transformer::new(&Mapping::default(), Rules::default()))).channel);
    let trace = TraceContext::from_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    let webhook = Webhook { trace: trace.clone(), ..streams(1) };
    let answer = client.transform(request(vec![webhook], 0)).await.unwrap().into_inner();
    let Some(Made::Mapped(mapped)) = &answer.webhooks[0].result else { panic!("rejected") };
    let Some(Outcome::Event(event)) = &mapped.events[0].outcome else { panic!("no event") };
    assert_eq!((event.trace.as_ref(), event.receipt.as_str()), (trace.as_ref(), "1-1-1"));
    let json: serde_json::Value = serde_json::from_slice(&event.json).unwrap();
    assert_eq!(json["properties"]["moehog"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

/// The worker thread of this test's runtime is the only one: what blocks it would be done before anything is asked here.
#[tokio::test]
async fn what_rules_do_holds_back_no_neighbour() {
    let mut rules = "[[rule]]\n".to_string();
    for number in 0..200 {
        rules.push_str(&format!("properties.a{number} = \"{{{{ event | upper | lower }}}}\"\n"));
    }
    let transformer = Transformer::new(&Mapping::default(), Rules::read(&rules, None).unwrap());
    let mut client = client(moehog_transport::in_process(server(transformer)).channel);
    let slow =
        tokio::spawn(async move { client.transform(request(vec![streams(100)], 0)).await.unwrap().into_inner() });
    let mut turns = 0_u64;
    while !slow.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns > 100, "{turns} turns while it ran");
    assert_eq!(counts(&slow.await.unwrap()), [Some(100)]);
}

/// The worker thread of this test's runtime is the only one: what blocks it would hold back the neighbour.
#[tokio::test]
async fn a_large_body_holds_back_no_neighbour() {
    let mut client =
        client(moehog_transport::in_process(server(Transformer::new(&Mapping::default(), Rules::default()))).channel);
    let mut large = client.clone();
    let mut body = b"[".to_vec();
    body.extend(
        b"{\"event\":\"a\",\"distinct_id\":\"u\",\"properties\":{\"a\":\""
            .iter()
            .chain(&[b'x'; 2_000])
            .chain(b"\"}},")
            .copied()
            .collect::<Vec<_>>()
            .repeat(9_999),
    );
    body.extend(b"{}]");
    let webhook = Webhook { body: body.into(), ..Webhook::default() };
    let large = tokio::spawn(async move { large.transform(request(vec![webhook], 0)).await.unwrap().into_inner() });
    tokio::task::yield_now().await;

    let mut answered = 0;
    while !large.is_finished() {
        let began = Instant::now();
        client.transform(request(vec![streams(1)], 0)).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(2));
        answered += 1;
    }
    assert!(answered > 5, "neighbours answered meanwhile: {answered}");
    assert_eq!(counts(&large.await.unwrap()), [Some(10_000)]);
}

#[tokio::test]
async fn a_server_answers_over_its_socket_and_stops() {
    let environment = [("MOEHOG__GRPC__LISTEN", "127.0.0.1:0"), ("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0")];
    let environment = environment.map(|(name, value)| (name.to_string(), value.to_string()));
    let config: Config = moehog_runtime::load(DEFAULTS, None, environment).unwrap();
    let server =
        moehog_transformer::bind(&config, moehog_transformer::open(&config.mapping, Cores::all()).unwrap()).unwrap();
    let (grpc, admin) = (server.grpc_addr().unwrap(), server.admin_addr().unwrap());
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(server.serve(shutdown.clone()));

    let address = format!("list://{grpc}").parse().unwrap();
    let mut client = client(moehog_transport::connect(&address, &moehog_transport::ClientConfig::default()).channel);
    let answer = client.transform(request(vec![streams(7)], 0)).await.unwrap().into_inner();
    assert_eq!(counts(&answer), [Some(7)]);
    assert!(get(admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(admin, "/livez").await.starts_with("HTTP/1.1 200"));

    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), served).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(grpc).await.is_err());
}

async fn get(addr: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
