//! What a caller can make a server keep, over real sockets: streams, calls, items, bytes, time. Callers that break the rules are
//! played by [`Peer`], which writes HTTP/2 by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use moehog_proto::{
    Channel,
    transformer::{TransformRequest, TransformResponse, TransformerService, Webhook, client, server},
};
use moehog_transport::{ClientConfig, Held, Server, ServerBounds, ServerConfig, connect, never_left};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, body::Body, codegen::Service, service::Routes};

const SOON: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

/// Answers with the number of webhooks; takes a second, or makes an answer of a megabyte, when the first body says so.
struct Echo;

#[tonic::async_trait]
impl TransformerService for Echo {
    async fn transform(&self, request: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
        let held = request.extensions().get::<Held>().cloned().unwrap();
        let request = request.into_inner();
        let mut answer =
            TransformResponse { mapping_revision: request.webhooks.len().to_string(), ..Default::default() };
        match request.webhooks.first().map(|webhook| &webhook.body[..]) {
            Some(b"slow") => tokio::time::sleep(Duration::from_secs(1)).await,
            Some(b"large") => {
                held.add(1 << 20)?;
                answer.instance = "x".repeat(1 << 20);
            }
            _ => {}
        }
        Ok(Response::new(answer))
    }
}

fn serve(bounds: ServerBounds) -> SocketAddr {
    serve_with(ServerConfig { bounds, ..ServerConfig::default() })
}

fn serve_with(config: ServerConfig) -> SocketAddr {
    let listener = Server::bind(([127, 0, 0, 1], 0).into(), config).unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(listener.serve(Routes::new(server(Echo)), &[], CancellationToken::new()));
    addr
}

fn channel(addr: SocketAddr) -> Channel {
    connect(&format!("list://{addr}").parse().unwrap(), &ClientConfig::default()).channel
}

fn request(count: usize, body: impl Into<Bytes>) -> TransformRequest {
    let webhook = Webhook { body: body.into(), ..Webhook::default() };
    TransformRequest { webhooks: vec![webhook; count], ..TransformRequest::default() }
}

async fn call(channel: &Channel, request: TransformRequest) -> Result<String, Status> {
    let mut client = client(channel.clone());
    let answer = timeout(SOON, client.transform(request)).await.expect("a call ends")?;
    Ok(answer.into_inner().mapping_revision)
}

/// One end of an HTTP/2 connection.
struct Peer(TcpStream);

#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

impl Peer {
    /// Connects, and takes so many bytes of an answer.
    async fn connect(addr: SocketAddr, window: u32) -> Self {
        let mut peer = Self(TcpStream::connect(addr).await.unwrap());
        peer.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        peer.send(SETTINGS, 0, 0, &settings).await;
        peer
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Opens a stream for a Transform call.
    async fn open(&mut self, stream: u32) {
        let mut block = vec![0x83, 0x86];
        let mut header = |name: &[u8], value: &str| {
            block.extend(name);
            block.push(u8::try_from(value.len()).unwrap());
            block.extend(value.as_bytes());
        };
        header(&[0x04], "/moehog.transformer.v1.TransformerService/Transform");
        header(&[0x01], "localhost");
        header(b"\0\x0ccontent-type", "application/grpc");
        self.send(HEADERS, END_HEADERS, stream, &block).await;
    }

    /// The next frame; none once the connection is closed.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        timeout(SOON, self.0.read_exact(&mut head)).await.expect("a frame comes").ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], stream, payload })
    }

    /// The first frame of this kind.
    async fn find(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection is open");
            if frame.kind == kind {
                return frame;
            }
        }
    }
}

/// The head of a message of so many bytes.
fn head(bytes: u32) -> Vec<u8> {
    [&[0][..], &bytes.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_connection_opens_no_more_streams_than_it_may_and_keeps_those_it_has() {
    let addr = serve(ServerBounds { streams: 8, ..ServerBounds::default() });
    let mut peer = Peer::connect(addr, 65_535).await;
    for stream in 0..20 {
        peer.open(2 * stream + 1).await;
    }
    for stream in 8..20 {
        let reset = peer.find(RST_STREAM).await;
        assert_eq!(reset.stream, 2 * stream + 1);
        assert_eq!(reset.payload, REFUSED_STREAM.to_be_bytes(), "the caller may send it again");
    }
    peer.send(DATA, END_STREAM, 1, &head(0)).await;
    assert_eq!(peer.find(DATA).await.stream, 1, "a stream that was taken is answered");
    let channel = channel(addr);
    // until the server has said how many, it is taken to allow a hundred
    assert_eq!(call(&channel, request(1, "")).await.unwrap(), "1");
    let calls = (0..50).map(|_| call(&channel, request(1, "")));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok), "a caller by the rules keeps back what is more: {answers:?}");
}

#[tokio::test]
async fn a_call_over_what_may_be_under_way_is_refused_unread_and_taken_once_another_ends() {
    let channel = channel(serve(ServerBounds { calls: 2, ..ServerBounds::default() }));
    let slow = [(); 2].map(|()| {
        let channel = channel.clone();
        tokio::spawn(async move { call(&channel, request(1, "slow")).await })
    });
    tokio::time::sleep(SHORT).await;
    let status = call(&channel, request(1, "")).await.unwrap_err();
    assert!(never_left(&status) && status.code() == Code::ResourceExhausted, "{status:?}");
    for slow in slow {
        assert_eq!(slow.await.unwrap().unwrap(), "1");
    }
    assert_eq!(call(&channel, request(1, "")).await.unwrap(), "1");
}

#[tokio::test]
async fn a_call_of_too_many_webhooks_is_refused_and_names_the_bound() {
    let channel = channel(serve(ServerBounds { items: 100, ..ServerBounds::default() }));
    assert_eq!(call(&channel, request(100, "")).await.unwrap(), "100");
    let status = call(&channel, request(101, "")).await.unwrap_err();
    assert!(never_left(&status) && status.message().contains("100 events or webhooks"), "{status:?}");
    assert_eq!(call(&channel, request(1, "")).await.unwrap(), "1", "the connection goes on");
}

#[tokio::test]
async fn bytes_of_messages_are_bounded_and_free_once_the_call_has_ended() {
    let bounds = ServerBounds { connection_bytes: 1 << 20, ..ServerBounds::default() };
    let channel = channel(serve(bounds));
    for _ in 0..5 {
        assert_eq!(call(&channel, request(1, vec![7; 1_000_000])).await.unwrap(), "1");
        for too_large in [request(1, vec![7; 2_000_000]), request(2000, "")] {
            let status = call(&channel, too_large).await.unwrap_err();
            assert!(never_left(&status) && status.message().contains("no room"), "{status:?}");
        }
    }
}

#[tokio::test]
async fn a_message_that_says_it_is_larger_than_the_room_is_refused_at_its_head() {
    let addr =
        serve(ServerBounds { connection_bytes: 1 << 20, silence: LONG, message: LONG, ..ServerBounds::default() });
    let mut peer = Peer::connect(addr, 65_535).await;
    peer.open(1).await;
    peer.send(DATA, 0, 1, &head(2 << 20)).await;
    assert_eq!(peer.find(HEADERS).await.stream, 1);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_held_until_its_caller_goes() {
    let addr = serve(ServerBounds { held_bytes: 3 << 19, ..ServerBounds::default() });
    let mut peer = Peer::connect(addr, 1000).await;
    peer.open(1).await;
    peer.send(DATA, END_STREAM, 1, &[&head(9)[..], b"\x0a\x07\x52\x05large"].concat()).await;
    assert_eq!(peer.find(HEADERS).await.stream, 1);
    let channel = channel(addr);
    let status = call(&channel, request(1, "large")).await.unwrap_err();
    assert!(never_left(&status) && status.message().contains("all together"), "{status:?}");
    drop(peer);
    let answered = async {
        while call(&channel, request(1, "large")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, answered).await.expect("its room is free");
}

#[tokio::test]
async fn an_answer_that_is_not_taken_in_time_is_dropped() {
    let addr = serve(ServerBounds { held_bytes: 3 << 19, calls: 1, answer: 2 * SHORT, ..ServerBounds::default() });
    let mut peer = Peer::connect(addr, 0).await;
    peer.open(1).await;
    peer.send(DATA, END_STREAM, 1, &[&head(9)[..], b"\x0a\x07\x52\x05large"].concat()).await;
    assert_eq!(peer.find(HEADERS).await.stream, 1);
    let channel = channel(addr);
    let status = call(&channel, request(1, "large")).await.unwrap_err();
    assert!(never_left(&status), "{status:?}");
    tokio::time::sleep(3 * SHORT).await;
    assert_eq!(call(&channel, request(1, "large")).await.unwrap(), "1", "the peer is still there, and holds nothing");
}

#[tokio::test]
async fn a_message_that_does_not_come_or_only_trickles_ends_its_call() {
    for (bounds, trickles) in [
        (ServerBounds { silence: SHORT, message: LONG, ..ServerBounds::default() }, false),
        (ServerBounds { silence: LONG, message: 3 * SHORT, ..ServerBounds::default() }, true),
    ] {
        let mut peer = Peer::connect(serve(bounds), 65_535).await;
        peer.open(1).await;
        peer.open(3).await;
        peer.send(DATA, 0, 1, &head(1000)).await;
        if trickles {
            for _ in 0..10 {
                tokio::time::sleep(SHORT / 10).await;
                peer.send(DATA, 0, 1, b"\x0a").await;
            }
        }
        let mut ended = [peer.find(HEADERS).await.stream, peer.find(HEADERS).await.stream];
        ended.sort_unstable();
        assert_eq!(ended, [1, 3], "one had begun its message, one had not");
    }
}

#[tokio::test]
async fn a_connection_that_sends_no_http2_is_closed_and_one_that_does_is_not() {
    let addr = serve(ServerBounds { preface: SHORT, ..ServerBounds::default() });
    let mut http2 = Peer::connect(addr, 65_535).await;
    for begun in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
        let mut silent = TcpStream::connect(addr).await.unwrap();
        silent.write_all(begun).await.unwrap();
        let closed = timeout(SOON, silent.read_to_end(&mut Vec::new())).await;
        drop(closed.expect("it is closed"));
    }
    http2.open(1).await;
    http2.send(DATA, END_STREAM, 1, &head(0)).await;
    assert_eq!(http2.find(DATA).await.stream, 1);
}

#[tokio::test]
async fn one_connection_more_than_there_may_be_is_closed_and_those_before_it_go_on() {
    let addr = serve(ServerBounds { connections: 2, ..ServerBounds::default() });
    let (first, second) = (channel(addr), Peer::connect(addr, 65_535).await);
    assert_eq!(call(&first, request(1, "")).await.unwrap(), "1");
    let mut third = TcpStream::connect(addr).await.unwrap();
    let closed = timeout(SOON, third.read_to_end(&mut Vec::new())).await.expect("it is closed");
    assert!(closed.is_err() || closed.is_ok_and(|bytes| bytes == 0));
    assert_eq!(call(&first, request(1, "")).await.unwrap(), "1");
    drop(second);
    let next = channel(addr);
    let answered = async {
        while call(&next, request(1, "")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, answered).await.expect("its place is free");
}

#[tokio::test]
async fn reflection_answers_only_where_it_is_asked_for() {
    for (reflection, status) in [(false, Some("12")), (true, None)] {
        let mut channel = channel(serve_with(ServerConfig { reflection, ..ServerConfig::default() }));
        let request = http::Request::post("http://a/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        let answer = timeout(SOON, channel.call(request)).await.expect("a call ends").unwrap();
        let told = answer.headers().get("grpc-status").map(|value| value.to_str().unwrap());
        assert_eq!(told, status, "reflection = {reflection}");
    }
}
