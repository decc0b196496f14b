//! Real calls over real sockets, and in process: what a caller learns when the other end is gone, panics or stops.

use std::time::Duration;

use moehog_proto::{
    Channel,
    transformer::{TransformRequest, TransformResponse, TransformerService, Webhook, client, server},
};
use moehog_transport::{Address, ClientConfig, Server, ServerConfig, connect, in_process, never_left};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, service::Routes};

/// Answers with its name; panics, or takes a second, when the body says so.
struct Echo;

#[tonic::async_trait]
impl TransformerService for Echo {
    async fn transform(&self, request: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
        match request.get_ref().webhooks.first().map(|webhook| &webhook.body[..]) {
            Some(b"panic") => panic!("asked to"),
            Some(b"slow") => tokio::time::sleep(Duration::from_secs(1)).await,
            _ => {}
        }
        Ok(Response::new(TransformResponse { mapping_revision: "echo".to_string(), ..Default::default() }))
    }
}

fn request(body: &'static str) -> TransformRequest {
    TransformRequest { webhooks: vec![Webhook { body: body.into(), ..Default::default() }], ..Default::default() }
}

async fn call(channel: &Channel, body: &'static str) -> Result<String, Status> {
    let mut client = client(channel.clone());
    let call = timeout(Duration::from_secs(10), client.transform(request(body)));
    call.await.expect("a call ends").map(|response| response.into_inner().mapping_revision)
}

fn serve(server: Server, shutdown: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let routes = Routes::new(moehog_proto::transformer::server(Echo));
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        server.serve(routes, &["moehog.transformer.v1.TransformerService"], shutdown).await.expect("serves")
    })
}

#[tokio::test]
async fn a_call_to_nobody_never_left_and_the_channel_finds_the_service_when_it_comes() {
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let channel = connect(&format!("list://{addr}").parse::<Address>().unwrap(), &ClientConfig::default()).channel;
    let status = call(&channel, "").await.unwrap_err();
    assert!(never_left(&status), "{status:?}");

    let shutdown = CancellationToken::new();
    let served = serve(Server::bind(addr, ServerConfig::default()).unwrap(), &shutdown);
    assert_eq!(call(&channel, "").await.unwrap(), "echo");
    shutdown.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_call_whose_connection_breaks_may_have_arrived() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("list://{}", listener.local_addr().unwrap());
    let channel = connect(&address.parse().unwrap(), &ClientConfig::default()).channel;
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(stream);
    });
    let status = call(&channel, "").await.unwrap_err();
    assert!(!never_left(&status), "{status:?}");
    accepted.await.unwrap();
}

#[tokio::test]
async fn a_call_under_way_ends_while_the_server_stops() {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), ServerConfig::default()).unwrap();
    let address = format!("list://{}", server.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let served = serve(server, &shutdown);
    let channel = connect(&address.parse().unwrap(), &ClientConfig::default()).channel;
    assert_eq!(call(&channel, "").await.unwrap(), "echo");
    let slow = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel, "slow").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    shutdown.cancel();
    assert_eq!(slow.await.unwrap().unwrap(), "echo");
    timeout(Duration::from_secs(5), served).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_drain_is_left_after_the_grace() {
    let config = ServerConfig { grace: Duration::from_millis(200), ..ServerConfig::default() };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), config).unwrap();
    let address = format!("list://{}", server.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let served = serve(server, &shutdown);
    let channel = connect(&address.parse().unwrap(), &ClientConfig::default()).channel;
    let slow = tokio::spawn(async move { call(&channel, "slow").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    shutdown.cancel();
    timeout(Duration::from_millis(800), served).await.expect("the server does not wait for the slow call").unwrap();
    slow.abort();
}

#[tokio::test]
async fn a_panic_in_this_process_costs_its_call_only() {
    let channel = in_process(server(Echo)).channel;
    let status = call(&channel, "panic").await.unwrap_err();
    assert!(!never_left(&status), "{status:?}");
    assert_ne!(status.code(), Code::Ok);
    assert_eq!(call(&channel, "").await.unwrap(), "echo");
}

/// The worker thread of this test's runtime is the only one: a caller that never waits would have it for ever.
#[tokio::test]
async fn calls_in_this_process_that_end_at_once_hold_back_no_neighbour() {
    let channel = in_process(server(Echo)).channel;
    let neighbour = tokio::spawn(async {});
    let mut calls = 0;
    while !neighbour.is_finished() && calls < 10_000 {
        assert_eq!(call(&channel, "").await.unwrap(), "echo");
        calls += 1;
    }
    assert!(neighbour.is_finished(), "no turn beside {calls} calls");
}

#[tokio::test]
async fn in_this_process_bytes_are_the_same_and_many_calls_at_once_are_not_mixed_up() {
    struct Mirror;

    #[tonic::async_trait]
    impl TransformerService for Mirror {
        async fn transform(&self, request: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
            tokio::task::yield_now().await;
            let body = &request.get_ref().webhooks[0].body;
            Ok(Response::new(TransformResponse {
                mapping_revision: format!("{:?} {}", body.as_ptr(), body.len()),
                ..Default::default()
            }))
        }
    }

    let client = client(in_process(server(Mirror)).channel);
    let calls = (1..200).map(|length| {
        let (mut client, body) = (client.clone(), bytes::Bytes::from(vec![b'x'; length]));
        let expected = format!("{:?} {length}", body.as_ptr());
        let request = TransformRequest { webhooks: vec![Webhook { body, ..Default::default() }], ..Default::default() };
        async move { (client.transform(request).await.unwrap().into_inner().mapping_revision, expected) }
    });
    for (answer, expected) in futures::future::join_all(calls).await {
        assert_eq!(answer, expected);
    }
}

/// A replica that was left out is used again as soon as it is there, where there is no other.
#[tokio::test]
async fn when_every_replica_was_gone_the_first_that_is_back_is_used() {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let addrs = listeners.map(|listener| listener.local_addr().unwrap());
    let address: Address = format!("list://{},{}", addrs[0], addrs[1]).parse().unwrap();
    let channel = connect(&address, &ClientConfig::default()).channel;
    for _ in 0..5 {
        assert!(never_left(&call(&channel, "").await.unwrap_err()));
    }
    let shutdown = CancellationToken::new();
    let served = serve(Server::bind(addrs[1], ServerConfig::default()).unwrap(), &shutdown);
    for _ in 0..5 {
        assert_eq!(call(&channel, "").await.unwrap(), "echo");
    }
    shutdown.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_link_says_how_many_replicas_it_leads_to() {
    let link = connect(&"list://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3".parse().unwrap(), &ClientConfig::default());
    assert_eq!(link.replicas.count(), 1, "one, until the address is resolved");
    let resolved = async {
        while link.replicas.count() != 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), resolved).await.expect("all three are counted");
}
