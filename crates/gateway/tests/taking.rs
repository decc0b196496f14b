//! What is taken, and how it lies in the journal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use bytes::Bytes;
use moehog_proto::journal::Kind;
use support::{Setup, TUTORIAL, gzip, post, with};

#[tokio::test]
async fn a_capture_body_is_answered_200_on_every_path_and_lies_in_the_journal_as_it_came() {
    let gateway = Setup::default().start();
    for path in ["/capture", "/e", "/i/v0/e", "/batch", "/track"] {
        for path in [path.to_string(), format!("{path}/"), format!("{path}/?ip=1")] {
            let reply = gateway.send(post(&path, TUTORIAL)).await;
            assert_eq!((reply.status.as_u16(), &reply.json["status"]), (200, &"Ok".into()), "{path}");
            let entry = gateway.entry(&reply).await;
            assert_eq!(entry.body, TUTORIAL);
            let header = entry.header;
            assert_eq!((header.source.as_str(), header.route.as_str()), ("capture", "capture"));
            assert_eq!((header.destination.as_str(), header.api_key.as_str()), ("eu", "phc_eu"));
            assert_eq!(header.kind, i32::from(Kind::Webhook));
            assert_eq!(reply.json["trace_id"], header.trace.unwrap().trace_id_text());
        }
    }
    assert_eq!(gateway.lane("capture", "eu").await.len(), 15);
}

#[tokio::test]
async fn a_sources_body_is_taken_whatever_its_syntax() {
    let gateway = Setup::default().start();
    let before = now_ms();
    for body in [&b"{\"events\":[]}"[..], b"", b"\xff\xfe not json", b"{\"name\": \"Joe \"the king\"\"}", b"a=b"] {
        let request = with(post("/v1/in/shop", body), "authorization", "Bearer tok-old");
        let reply = gateway.send(request).await;
        let entry = gateway.entry(&reply).await;
        assert_eq!(entry.body, body);
        assert_eq!((entry.header.source.as_str(), entry.header.route.as_str()), ("shop", "in"));
        assert_eq!((entry.header.destination.as_str(), entry.header.api_key.as_str()), ("eu", ""));
        assert!((before..=now_ms()).contains(&entry.header.received_at_ms));
    }
    assert_eq!(gateway.entry(&gateway.send(post("/v1/in/open/", "x")).await).await.header.destination, "default");
}

#[tokio::test]
async fn what_the_sender_says_of_its_body_is_kept() {
    let gateway = Setup::default().start();
    let request = with(post("/capture/", TUTORIAL), "content-type", "application/json; charset=utf-8");
    let request = with(with(request, "idempotency-key", "order-7"), "content-encoding", "identity");
    let request = with(request, "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let reply = gateway.send(request).await;
    let header = gateway.entry(&reply).await.header;
    assert_eq!(header.content_type, "application/json; charset=utf-8");
    assert_eq!((header.content_encoding.as_str(), header.idempotency_key.as_str()), ("identity", "order-7"));
    assert_eq!(reply.json["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(header.trace.unwrap().trace_id_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn a_body_without_a_type_and_with_a_broken_byte_is_taken() {
    let gateway = Setup::default().start();
    let reply = gateway.send(post("/capture/", TUTORIAL)).await;
    assert_eq!(gateway.entry(&reply).await.header.content_type, "");
    let mut body = TUTORIAL.as_bytes().to_vec();
    let at = TUTORIAL.find("user_42").unwrap();
    body[at] = 0xff;
    let reply = gateway.send(post("/capture/", body.clone())).await;
    assert_eq!(gateway.entry(&reply).await.body, body);
    let form = with(post("/capture/", "api_key=phc_us&event=e"), "content-type", "application/x-www-form-urlencoded");
    assert_eq!(gateway.entry(&gateway.send(form).await).await.header.destination, "us");
    // {"api_key":"phc_us","event":"e"}
    for data in
        ["%7B%22api_key%22%3A%22phc_us%22%2C%22event%22%3A%22e%22%7D", "eyJhcGlfa2V5IjoicGhjX3VzIiwiZXZlbnQiOiJlIn0%3D"]
    {
        let form = with(post("/e/", format!("data={data}")), "content-type", "application/x-www-form-urlencoded");
        let header = gateway.entry(&gateway.send(form).await).await.header;
        assert_eq!((header.destination.as_str(), header.api_key.as_str()), ("us", "phc_us"));
    }
}

#[tokio::test]
async fn a_compressed_body_is_kept_compressed_and_its_key_found() {
    let gateway = Setup::default().start();
    for filler in [0, 100_000] {
        let noise = support::noise(filler);
        let body = gzip(format!(r#"{{"noise":"{noise}","token":"phc_us"}}"#).as_bytes());
        for encoding in ["gzip", "X-GZIP"] {
            let reply = gateway.send(with(post("/batch/", body.clone()), "content-encoding", encoding)).await;
            let entry = gateway.entry(&reply).await;
            assert_eq!((entry.body, entry.header.destination.as_str()), (Bytes::from(body.clone()), "us"));
            assert_eq!(entry.header.content_encoding, encoding);
        }
        assert_eq!(gateway.entry(&gateway.send(post("/e", body)).await).await.header.destination, "us");
    }
}

#[tokio::test]
async fn what_is_no_coding_of_the_body_is_none() {
    let gateway = Setup::default().start();
    for encoding in ["UTF-8", "utf8", "none", "8bit", "identity, UTF-8", "application/json", "iso-8859-1", ""] {
        let reply = gateway.send(with(post("/capture/", TUTORIAL), "content-encoding", encoding)).await;
        let header = gateway.entry(&reply).await.header;
        assert_eq!(header.content_encoding, encoding);
    }
    let body = gzip(TUTORIAL.as_bytes());
    let reply = gateway.send(with(post("/capture/", body.clone()), "content-encoding", "gzip, identity")).await;
    assert_eq!(gateway.entry(&reply).await.body, body);
}

#[tokio::test]
async fn a_corrupt_gzip_body_of_a_known_sender_is_taken() {
    let gateway = Setup::default().start();
    let whole = gzip(br#"{"events":[{"event_name":"Email Opened"}]}"#);
    for body in [&whole[..whole.len() - 5], b"\x1f\x8b\x08nonsense", b"no gzip at all"] {
        let request = with(post("/v1/in/shop", body.to_vec()), "authorization", "Bearer tok-new");
        let reply = gateway.send(with(request, "content-encoding", "gzip")).await;
        assert_eq!(gateway.entry(&reply).await.body, body);
    }
}

#[tokio::test]
async fn a_body_of_25_megabytes_is_taken_and_its_key_found_at_the_end() {
    let gateway = Setup::default().start();
    let event =
        format!(r#"{{"event":"e","distinct_id":"d","properties":{{"token":"push","text":"{}"}}}}"#, "x".repeat(1000));
    let body = format!(r#"{{"batch":[{}],"api_key":"phc_us"}}"#, vec![event; 24_000].join(","));
    assert!(body.len() > 25_000_000);
    let body = Bytes::from(body);
    let reply = gateway.send(post("/batch/", body.clone())).await;
    let entry = gateway.entry(&reply).await;
    assert!(entry.body == body);
    assert_eq!(entry.header.destination, "us");
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together() {
    let gateway = Setup::default().start();
    let (pieces, request) = support::streamed("/capture/");
    let (reply, ()) = tokio::join!(gateway.send(request), async move {
        for piece in TUTORIAL.as_bytes().chunks(7) {
            pieces.send(Bytes::from_static(piece)).await.unwrap();
        }
    });
    assert_eq!(gateway.entry(&reply).await.body, TUTORIAL);
}

#[tokio::test]
async fn without_a_destination_the_bodys_key_is_the_destination() {
    let setup = Setup { destinations: [].into(), sources: [].into(), ..Setup::default() };
    let gateway = setup.start();
    let entry = gateway.entry(&gateway.send(post("/capture/", TUTORIAL)).await).await;
    assert_eq!((entry.header.destination.as_str(), entry.header.api_key.as_str()), ("key:phc_eu", "phc_eu"));
    assert_eq!(gateway.entry(&gateway.send(post("/v1/in/default", "{}")).await).await.header.source, "default");
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
