//! The whole gateway over sockets: from a webhook to a settled entry, the admin API, and the stop.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod doubles;
mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use doubles::Workers;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use moehog_gateway::{Config, Gateway};
use moehog_journal::{
    Journal,
    memory::{Appends, Memory},
};
use moehog_proto::{JournalId, Receipt};
use serde_json::{Value, json};
use support::{TUTORIAL, gzip};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

struct Process {
    journal: Arc<Memory>,
    http: SocketAddr,
    admin: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
}

impl Process {
    async fn start(workers: Workers) -> Self {
        Self::start_with(workers, &[]).await
    }

    async fn start_with(workers: Workers, settings: &[(&str, &str)]) -> Self {
        let listen = [
            ("MOEHOG__HTTP__LISTEN", "127.0.0.1:0"),
            ("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0"),
            ("MOEHOG__HTTP__ALLOW_LOCAL", "true"),
        ];
        let pairs = listen.iter().chain(settings).map(|(name, value)| ((*name).to_string(), (*value).to_string()));
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, pairs).unwrap();
        let journal = Arc::new(Memory::new());
        let (transformer, delivery) = workers.links();
        let gateway = Gateway::bind_on(Some(journal.clone()), config, transformer, delivery).await.unwrap();
        let (http, admin, stop) = (gateway.http_addr(), gateway.admin_addr(), CancellationToken::new());
        let served = tokio::spawn(gateway.serve(stop.clone()));
        Self { journal, http, admin, stop, served }
    }

    async fn capture(&self, body: impl Into<Bytes>) -> (StatusCode, Value) {
        ask(self.http, support::post("/capture/", body)).await
    }

    async fn admin(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header("host", "localhost").body(Full::default()).unwrap();
        ask(self.admin, request).await
    }

    /// The statuses of `/`, `/livez` and `/readyz` of the public port, and of the admin port's `/readyz`.
    async fn probed(&self) -> [u16; 4] {
        let mut statuses = [0; 4];
        for (status, path) in statuses.iter_mut().zip(["/", "/livez", "/readyz"]) {
            let [got, head] = [Method::GET, Method::HEAD].map(|method| send(self.http, probe(method, path)));
            let (got, head) = tokio::join!(got, head);
            assert_eq!((head.status(), head.body().len()), (got.status(), 0), "{path}");
            let word = if got.status() == StatusCode::OK { "ok\n" } else { "unavailable\n" };
            assert_eq!(
                (got.body(), got.headers()["cache-control"].to_str().unwrap()),
                (&Bytes::from(word), "no-store"),
                "{path}"
            );
            *status = got.status().as_u16();
        }
        statuses[3] = self.admin("/readyz").await.0.as_u16();
        statuses
    }

    /// Waits until nothing waits.
    async fn settled(&self, entries: u64) {
        let settled = async {
            while self.journal.stats().ledger.book.settled < entries {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, settled).await.expect("all entries are settled");
    }
}

fn probe(method: Method, path: &str) -> Request<Full<Bytes>> {
    // as a load balancer asks: by the address, with nothing to show
    Request::builder().method(method).uri(path).header("host", "10.0.0.7:8080").body(Full::default()).unwrap()
}

async fn send(addr: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (parts, body) = timeout(SOON, sender.send_request(request)).await.unwrap().unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn ask(addr: SocketAddr, request: Request<Full<Bytes>>) -> (StatusCode, Value) {
    let answer = send(addr, request).await;
    let json = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
    (answer.status(), json)
}

#[tokio::test]
async fn a_webhook_goes_through_both_workers_until_it_is_settled() {
    let process = Process::start(Workers::default()).await;
    let (status, answer) = process.capture(TUTORIAL).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &"Ok".into()));
    process.settled(1).await;
    let (status, status_view) = process.admin("/api/status?recount=true").await;
    assert_eq!(status, StatusCode::OK);
    let webhooks = json!({ "taken": 1, "settled": 1, "waiting": 0, "damaged": 0, "unconfirmed": 0 });
    assert_eq!(status_view["ledger"]["webhooks"], webhooks);
    assert_eq!(status_view["ledger"]["events"]["delivered"], 1);
    assert_eq!(status_view["ledger"], status_view["recount"]);
    process.stop.cancel();
    timeout(SOON, process.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_shown_with_its_bytes_and_no_key() {
    let process = Process::start(Workers { reject: Some("unreadable_json") }).await;
    let body = gzip(br#"{"api_key":"phc_0123456789abcdef","event":"#);
    let (_, answer) = process.capture(body.clone()).await;
    let (status, refused) = process.capture(r#"{"api_key":"phc_0123456789abcdef","event":2}"#).await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &"unreadable_json".into()));
    process.settled(2).await;

    let (status, page) = process.admin("/api/dead-letters?limit=1").await;
    assert_eq!(status, StatusCode::OK);
    let (letters, next) = (page["dead_letters"].as_array().unwrap(), page["next"].as_str().unwrap());
    assert_eq!((letters.len(), &letters[0]["receipt"]), (1, &refused["receipt"]));
    let (_, page) = process.admin(&format!("/api/dead-letters?limit=1&before={next}&source=capture")).await;
    let letter = &page["dead_letters"][0];
    assert_eq!((&letter["receipt"], &letter["reason"]), (&answer["receipt"], &"unreadable_json".into()));
    assert_eq!(letter["destination"], "key:…cdef");
    assert!(!page.to_string().contains("phc_"), "{page}");
    assert_eq!(process.admin("/api/dead-letters?source=other").await.1["dead_letters"], serde_json::json!([]));

    let receipt = answer["receipt"].as_str().unwrap();
    let (status, shown) = process.admin(&format!("/api/receipts/{receipt}")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(shown["decompressed"]["text"], r#"{"api_key":"phc_0123456789abcdef","event":"#);
    assert_eq!((&shown["body"]["bytes"], &shown["body"]["text"]), (&body.len().into(), &Value::Null));
    assert_eq!(shown["body"]["base64"], base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &body));
    assert_eq!((&shown["events"][0]["state"], &shown["settled"]), (&"dead".into(), &true.into()));
    assert!(!shown["header"].to_string().contains("phc_"), "{shown}");

    let unknown = process.journal.receipt_of(99).to_string();
    let of_0_1 = |journal| Receipt::plain(journal, 1).to_string();
    let other_journal = of_0_1(JournalId(!process.journal.id().0));
    for (text, status, error, message) in [
        ("1-1-0000", StatusCode::BAD_REQUEST, "malformed_receipt", "mistyped"),
        ("1-1", StatusCode::BAD_REQUEST, "malformed_receipt", "three hexadecimal parts"),
        (unknown.as_str(), StatusCode::NOT_FOUND, "unknown_receipt", "no webhook has this receipt"),
        (other_journal.as_str(), StatusCode::NOT_FOUND, "other_journal", "ask the others"),
        (of_0_1(process.journal.id()).as_str(), StatusCode::NOT_FOUND, "other_life", "of another life of this journal"),
    ] {
        let (refused, answer) = process.admin(&format!("/api/receipts/{text}")).await;
        assert_eq!((refused, &answer["error"]), (status, &error.into()), "{text}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{answer}");
    }
    let next = process.admin(&format!("/api/dead-letters?before={other_journal}")).await;
    assert_eq!((next.0, &next.1["error"]), (StatusCode::NOT_FOUND, &"other_journal".into()));
}

#[tokio::test]
async fn the_admin_api_of_a_loopback_listener_is_read_by_loopback_names_only() {
    let process = Process::start(Workers::default()).await;
    for path in ["/api/status", "/api/dead-letters"] {
        let rebound = Request::get(path).header("host", "evil.example:9080").body(Full::default()).unwrap();
        assert_eq!(ask(process.admin, rebound).await.0, StatusCode::FORBIDDEN);
        let forwarded = Request::get(path).header("host", "localhost").header("x-forwarded-for", "192.0.2.1");
        assert_eq!(ask(process.admin, forwarded.body(Full::default()).unwrap()).await.0, StatusCode::FORBIDDEN);
        assert_eq!(process.admin(path).await.0, StatusCode::OK);
    }
    assert_eq!(process.admin("/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn probes_are_answered_by_the_disk_and_not_by_what_fills_the_journal() {
    let process = Process::start(Workers::default()).await;
    assert_eq!(process.probed().await, [200; 4]);
    process.journal.set_appends(Appends::Full);
    assert_eq!(process.capture(TUTORIAL).await.1["error"], "journal_full");
    assert_eq!(process.probed().await, [200; 4]);
    process.journal.set_appends(Appends::Fail);
    assert_eq!(process.capture(TUTORIAL).await.1["error"], "disk_failed");
    assert_eq!(process.probed().await, [503, 200, 503, 503]);
    process.journal.set_appends(Appends::Work);
    assert_eq!(process.probed().await, [200; 4]);
    // nothing else is a probe
    for (method, path) in
        [(Method::POST, "/"), (Method::POST, "/readyz"), (Method::GET, "/metrics"), (Method::GET, "/api/status")]
    {
        assert_eq!(send(process.http, probe(method, path)).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn what_sheds_webhooks_does_not_shed_probes() {
    let process = Process::start_with(Workers::default(), &[("MOEHOG__HTTP__MAX_IN_FLIGHT", "1")]).await;
    process.journal.set_appends(Appends::Hang);
    let webhook = || {
        let http = process.http;
        tokio::spawn(async move { ask(http, support::post("/capture/", TUTORIAL)).await })
    };
    // either comes first
    let (mut one, mut other) = (webhook(), webhook());
    let ((status, shed), under_way) = tokio::select! {
        shed = &mut one => (shed.unwrap(), other),
        shed = &mut other => (shed.unwrap(), one),
    };
    assert_eq!((status.as_u16(), &shed["error"]), (503, &"overloaded".into()));
    assert_eq!(process.probed().await, [200; 4]);
    process.journal.set_appends(Appends::Work);
    assert_eq!(under_way.await.unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn a_stop_answers_the_requests_under_way_and_refuses_new_ones() {
    let process = Process::start(Workers::default()).await;
    assert_eq!(process.admin("/readyz").await.0, StatusCode::OK);
    process.journal.set_appends(Appends::Hang);
    let http = process.http;
    let under_way = tokio::spawn(async move { ask(http, support::post("/capture/", TUTORIAL)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    process.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(process.admin("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(TcpStream::connect(http).await.is_err());
    process.journal.set_appends(Appends::Work);
    assert_eq!(under_way.await.unwrap().0, StatusCode::OK);
    timeout(SOON, process.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_a_sender_who_writes_first_learns_why_it_is_refused() {
    let process = Process::start(Workers::default()).await;
    let mut stream = TcpStream::connect(process.http).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let request =
            format!("POST /e HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{TUTORIAL}", TUTORIAL.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        let read = timeout(SOON, stream.read(&mut buffer)).await.unwrap().unwrap();
        answers.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
    }
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 OK\r\n")), "{answers:?}");

    // 40 MB, written whole before the answer is read
    let mut stream = TcpStream::connect(process.http).await.unwrap();
    let head = format!("POST /e HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", 40 << 20);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 40 << 20]).await.unwrap();
    let mut answer = [0; 12];
    timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_sender_whose_connection_breaks_after_the_last_byte_has_sent_its_webhook() {
    let process = Process::start(Workers::default()).await;
    process.journal.set_appends(Appends::Hang);
    let mut stream = TcpStream::connect(process.http).await.unwrap();
    let request =
        format!("POST /e HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{TUTORIAL}", TUTORIAL.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(100)).await;
    process.journal.set_appends(Appends::Work);
    process.settled(1).await;
}

#[tokio::test]
async fn a_sender_that_closes_its_side_after_the_last_byte_is_answered() {
    let process = Process::start(Workers::default()).await;
    let mut stream = TcpStream::connect(process.http).await.unwrap();
    let request =
        format!("POST /e HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{TUTORIAL}", TUTORIAL.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_body_that_drips_does_not_hold_up_the_stop() {
    let process = Process::start(Workers::default()).await;
    let mut stream = TcpStream::connect(process.http).await.unwrap();
    stream.write_all(b"POST /e HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    process.stop.cancel();
    timeout(SOON, process.served).await.unwrap().unwrap().unwrap();
    assert_eq!(process.journal.stats().ledger.book.taken, 0);
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_stops_the_start() {
    for (name, value, says) in [
        ("MOEHOG__SOURCES__CAPTURE__DESTINATION", "default", "capture paths"),
        ("MOEHOG__SOURCES__SHOP__DESTINATION", "a b", "not a name"),
        ("MOEHOG__SOURCES__SHOP__TOKENS", "[\"\"]", "sources.shop.tokens[0] is empty"),
        ("MOEHOG__SOURCES__SHOP__BASIC", "[{ user = \"a:b\", password = \"c\" }]", "shop.basic[0].user holds a colon"),
        ("MOEHOG__SOURCES__SHOP__BASIC", "[{ user = \"a\", password = \"\" }]", "shop.basic[0].password is empty"),
        ("MOEHOG__DESTINATIONS__EU__API_KEY", "", "empty"),
        ("MOEHOG__HTTP__APPEND_DEADLINE", "3s", "append_deadline"),
    ] {
        let pairs = [("MOEHOG__HTTP__LISTEN", "127.0.0.1:0"), ("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0"), (name, value)];
        let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, pairs).unwrap();
        let (transformer, delivery) = Workers::default().links();
        let error = Gateway::bind_on(Some(Arc::new(Memory::new())), config, transformer, delivery).await.unwrap_err();
        assert!(format!("{error:#}").contains(says), "{error:#}");
        assert_eq!(error.downcast_ref(), Some(&moehog_runtime::Exit::Configuration), "{error:#}");
    }
}
