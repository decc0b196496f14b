//! Watches of the health service, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{net::SocketAddr, time::Duration};

use moehog_proto::{
    Channel,
    transformer::{TransformRequest, TransformResponse, TransformerService, client, server},
};
use moehog_transport::{ClientConfig, Server, ServerBounds, ServerConfig, connect, never_left};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};

const SOON: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(200);
const NAME: &str = "transformer";

struct Empty;

#[tonic::async_trait]
impl TransformerService for Empty {
    async fn transform(&self, _: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
        Ok(Response::new(TransformResponse::default()))
    }
}

fn serve(bounds: ServerBounds) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener =
        Server::bind(([127, 0, 0, 1], 0).into(), ServerConfig { bounds, ..ServerConfig::default() }).unwrap();
    let (addr, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let stopping = stop.clone();
    let served = async move { listener.serve(Routes::new(server(Empty)), &[NAME], stopping).await.unwrap() };
    (addr, stop, tokio::spawn(served))
}

fn channel(addr: SocketAddr) -> Channel {
    connect(&format!("list://{addr}").parse().unwrap(), &ClientConfig::default()).channel
}

async fn watch(channel: &Channel, name: &str) -> Result<Streaming<HealthCheckResponse>, Status> {
    let request = HealthCheckRequest { service: name.to_string() };
    let answer = timeout(SOON, HealthClient::new(channel.clone()).watch(request)).await.expect("it is answered");
    answer.map(Response::into_inner)
}

/// The next status that is told; none at the end.
async fn told(stream: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let next = timeout(SOON, stream.message()).await.expect("something is told").unwrap();
    next.map(|told| told.status())
}

#[tokio::test]
async fn a_watch_outlives_what_an_answer_may_take_and_ends_with_the_server() {
    let (addr, stop, served) = serve(ServerBounds { answer: SHORT, ..ServerBounds::default() });
    let channel = channel(addr);
    let mut streams = [watch(&channel, "").await.unwrap(), watch(&channel, NAME).await.unwrap()];
    for stream in &mut streams {
        assert_eq!(told(stream).await, Some(ServingStatus::Serving));
        let more = timeout(3 * SHORT, stream.message()).await;
        assert!(more.is_err(), "it goes on, and there is nothing new: {more:?}");
    }
    stop.cancel();
    for stream in &mut streams {
        assert_eq!(told(stream).await, Some(ServingStatus::NotServing));
        assert_eq!(told(stream).await, None);
    }
    timeout(SOON, served).await.expect("who watches holds up no stop").unwrap();
}

#[tokio::test]
async fn those_who_watch_take_no_place_of_a_call_and_are_not_too_many() {
    let bounds = ServerBounds { calls: 1, watches: 2, connection_bytes: 2000, ..ServerBounds::default() };
    let (addr, ..) = serve(bounds);
    let channel = channel(addr);
    // the message of one counts as 1 KB while it is read
    let mut one = watch(&channel, NAME).await.unwrap();
    let other = watch(&channel, NAME).await.unwrap();
    let refused = watch(&channel, NAME).await.unwrap_err();
    assert!(never_left(&refused) && refused.message().contains("2 callers watch"), "{refused:?}");
    client(channel.clone()).transform(TransformRequest::default()).await.unwrap();
    drop(other);
    assert_eq!(told(&mut one).await, Some(ServingStatus::Serving));
    let again = async {
        loop {
            match watch(&channel, NAME).await {
                Err(status) if never_left(&status) => tokio::time::sleep(Duration::from_millis(5)).await,
                other => return other,
            }
        }
    };
    timeout(SOON, again).await.expect("one that ended makes room").unwrap();
}
