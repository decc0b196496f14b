//! What strangers may do with the ports of a gateway that runs, over plain sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod doubles;
mod support;

use std::{collections::HashSet, io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use doubles::Workers;
use moehog_gateway::{Config, Gateway};
use moehog_journal::{Journal, memory::Memory};
use ring::hmac;
use support::TUTORIAL;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

const SOON: Duration = Duration::from_secs(20);
const KEY: &str = "phc_of_the_project";

struct Running {
    journal: Arc<Memory>,
    http: SocketAddr,
    admin: SocketAddr,
    _stop: DropGuard,
}

impl Running {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let all = [
            ("HTTP__LISTEN", "127.0.0.1:0"),
            ("ADMIN__LISTEN", "127.0.0.1:0"),
            ("HTTP__ANSWER_IDLE", "300ms"),
            ("DESTINATIONS__DEFAULT__API_KEY", KEY),
            ("SOURCES__SHOP__TOKENS", r#"["token-of-the-shop"]"#),
            ("SOURCES__CRM", r#"{ tokens = ["token-of-the-crm"], header = "x-key" }"#),
            ("SOURCES__MAIL__BASIC", r#"[{ user = "moengage", password = "word-to-pass" }]"#),
            ("SOURCES__NEAR__FROM", r#"["192.0.2.7"]"#),
        ];
        let pairs = all.iter().chain(settings).map(|(name, value)| (format!("MOEHOG__{name}"), (*value).to_string()));
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, pairs).unwrap();
        let journal = Arc::new(Memory::new());
        let (transformer, delivery) = Workers::default().links();
        let gateway = Gateway::bind_on(Some(journal.clone()), config, transformer, delivery).await.unwrap();
        let (http, admin, stop) = (gateway.http_addr(), gateway.admin_addr(), CancellationToken::new());
        tokio::spawn(gateway.serve(stop.clone()));
        Self { journal, http, admin, _stop: stop.drop_guard() }
    }

    fn taken(&self) -> u64 {
        self.journal.stats().ledger.book.taken
    }
}

/// Writes the bytes and reads all that comes until the other side closes.
async fn say(addr: SocketAddr, bytes: &[u8]) -> String {
    say_from([127, 0, 0, 1], addr, bytes).await
}

async fn connect_from(address: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(addr).await.unwrap()
}

async fn say_from(address: [u8; 4], addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect_from(address, addr).await;
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    // what was not read when it is closed makes that a reset
    let _reset = timeout(SOON, stream.read_to_end(&mut said)).await.expect("it is closed");
    String::from_utf8_lossy(&said).into_owned()
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: moehog.example\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}").into()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Asks without reading the answers, until the other side reads no more; then how long until it closes.
async fn unread(addr: SocketAddr, path: &str) -> Duration {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    let requests = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(200).into_bytes();
    while timeout(Duration::from_millis(100), stream.write_all(&requests)).await.is_ok_and(|written| written.is_ok()) {}
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        // nothing can be written to a connection that was reset
        if stream.try_write(b"GET").is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn answers_that_nobody_reads_end_their_connection() {
    let gateway = Running::start(&[]).await;
    let took = unread(gateway.http, "/livez").await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_thousand_silent_strangers_leave_room_for_a_sender_and_for_a_probe_of_the_admin_port() {
    let gateway = Running::start(&[("HTTP__MAX_CONNECTIONS", "100")]).await;
    let mut silent = Vec::new();
    for port in [gateway.http, gateway.admin] {
        for number in 0..300_u16 {
            let mut stream = connect_from([127, 1, 0, (number % 250) as u8 + 1], port).await;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: ").await.unwrap();
            silent.push(stream);
        }
    }
    for _ in 0..20 {
        let sent =
            say(gateway.http, &request("POST", "/v1/in/shop", "authorization: token-of-the-shop\r\n", "{}")).await;
        assert_eq!(status(&sent), 200, "{sent}");
        let probed = say(gateway.admin, &request("GET", "/livez", "", "")).await;
        assert_eq!(status(&probed), 200, "{probed}");
    }
}

#[tokio::test]
async fn a_connection_of_a_proxy_stays_whatever_strangers_sent_on_it_and_open_beside_it() {
    let gateway =
        Running::start(&[("HTTP__MAX_CONNECTIONS", "16"), ("HTTP__TRUSTED_PROXIES", r#"["127.3.0.1"]"#)]).await;
    let ask = async |stream: &mut TcpStream, token: &str| {
        let head = format!("authorization: Bearer {token}\r\nx-forwarded-for: 192.0.2.1\r\ncontent-length: 2");
        let request = format!("POST /v1/in/shop HTTP/1.1\r\nhost: moehog.example\r\n{head}\r\n\r\n{{}}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 4096];
        let read = timeout(SOON, stream.read(&mut answer)).await.unwrap().unwrap();
        status(&String::from_utf8_lossy(&answer[..read]))
    };
    // more than strangers of one address may have
    let mut proxied = Vec::new();
    for _ in 0..6 {
        proxied.push(connect_from([127, 3, 0, 1], gateway.http).await);
    }
    for stream in &mut proxied {
        assert_eq!(ask(stream, "of-nobody-at-all").await, 401);
    }
    let mut silent = Vec::new();
    for last in 0..100 {
        silent.push(connect_from([127, 3, 1, last + 1], gateway.http).await);
    }
    for stream in &mut proxied {
        assert_eq!(ask(stream, "token-of-the-shop").await, 200);
    }
}

#[tokio::test]
async fn strangers_fill_their_part_and_senders_with_a_secret_have_the_rest() {
    let gateway = Running::start(&[("HTTP__MAX_IN_FLIGHT", "32")]).await;
    let mut waiting = Vec::new();
    for path in ["/capture/", "/e/"].repeat(40) {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: moehog.example\r\ncontent-length: 1000\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let filled = async {
        while status(&say(gateway.http, &request("POST", "/capture/", "", "{}")).await) != 503 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, filled).await.expect("strangers have no more room");
    let sender = say(gateway.http, &request("POST", "/v1/in/shop", "authorization: token-of-the-shop\r\n", "{}")).await;
    assert_eq!(status(&sender), 200, "{sender}");
    for lifted in [format!("/capture/?api_key={KEY}"), format!("/e/?token={KEY}")] {
        let with_key = say(gateway.http, &request("POST", &lifted, "", &TUTORIAL.replace("phc_eu", KEY))).await;
        assert_eq!(status(&with_key), 200, "{with_key}");
    }
}

#[tokio::test]
async fn a_scanner_learns_no_source_no_version_and_no_key_and_gets_answers_that_are_documented() {
    let gateway = Running::start(&[]).await;
    let words = [
        "v1", "in", "shop", "crm", "mail", "near", "api", "admin", "metrics", "capture", "..", "%2e%2e", "", "status",
        "e", "batch", "i", "v0", "livez", "default", "receipts", "flags",
    ];
    let mut paths = Vec::new();
    for first in words {
        for second in words {
            paths.extend(words.map(|third| format!("/{first}/{second}/{third}")));
        }
    }
    let documented: HashSet<u16> = {
        let readme = include_str!("../../../README.md");
        readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")?.0.parse().ok()).collect()
    };
    let secrets = [KEY, "token-of", "word-to-pass", env!("CARGO_PKG_VERSION"), "192.0.2.7", "x-key"];
    let mut of_sources = HashSet::new();
    let methods = ["POST", "GET", "PUT", "OPTIONS", "TRACE", "FOO"];
    let headers = ["", "authorization: Bearer x\r\n", "x-forwarded-for: 127.0.0.1\r\n"];
    // many requests on a connection, as scanners do, and as many of an address as are answered at once
    for (number, chunk) in paths.chunks(19).enumerate() {
        let mut bytes = Vec::new();
        for (at, path) in chunk.iter().enumerate() {
            let (method, header) = (methods[(number + at) % methods.len()], headers[at % headers.len()]);
            bytes.extend(
                format!("{method} {path} HTTP/1.1\r\nhost: moehog.example\r\n{header}content-length: 0\r\n\r\n")
                    .into_bytes(),
            );
        }
        bytes.extend(request("POST", "/last", "", ""));
        let address = [127, 2, (number / 250) as u8, (number % 250) as u8 + 1];
        let said = say_from(address, gateway.http, &bytes).await;
        let lower = said.to_ascii_lowercase();
        for secret in secrets {
            assert!(!lower.contains(secret), "{secret} is in {said}");
        }
        assert!(!lower.contains("server:") && !lower.contains("moehog/"), "{said}");
        for answer in said.split("HTTP/1.1 ").skip(1) {
            let status: u16 = answer[..3].parse().unwrap();
            assert!(documented.contains(&status), "{status} is not documented: {answer}");
        }
    }
    for name in ["shop", "crm", "mail", "near", "nobody", "SHOP"] {
        let said = say(gateway.http, &request("POST", &format!("/v1/in/{name}"), "", "{}")).await;
        assert!(!said.contains(name) || name == "near" && !said.contains("sources.near"), "{said}");
        of_sources.insert(said.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n"));
    }
    assert_eq!(of_sources.len(), 1, "one is told from another: {of_sources:#?}");
    assert_eq!(gateway.taken(), 0);
}

#[tokio::test]
async fn a_head_of_100_kib_is_too_long() {
    let gateway = Running::start(&[]).await;
    let padded =
        |bytes: usize| format!("x-padding: {}\r\nauthorization: Bearer token-of-the-shop\r\n", "x".repeat(bytes));
    let taken = say(gateway.http, &request("POST", "/v1/in/shop", &padded(16 * 1024), "{}")).await;
    assert_eq!(status(&taken), 200, "{taken}");
    let refused = say(gateway.http, &request("POST", "/v1/in/shop", &padded(100 * 1024), "{}")).await;
    assert_eq!(status(&refused), 431, "{refused}");
}

#[tokio::test]
async fn who_still_sends_when_it_is_refused_reads_why() {
    let gateway = Running::start(&[]).await;
    for _ in 0..20 {
        assert_eq!(status(&say(gateway.http, &request("POST", "/v1/in/shop", "", "{}")).await), 401);
    }
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    let head = "POST /v1/in/shop HTTP/1.1\r\nhost: moehog.example\r\ncontent-length: 10000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..20 {
        stream.write_all(&[b' '; 15_000]).await.unwrap();
        sleep(Duration::from_millis(70)).await;
    }
    let mut said = Vec::new();
    timeout(SOON, stream.read_to_end(&mut said)).await.unwrap().expect("it is no reset");
    let said = String::from_utf8_lossy(&said);
    assert_eq!(status(&said), 429, "{said}");
    assert!(said.to_ascii_lowercase().contains("connection: close"), "{said}");
}

#[tokio::test]
async fn a_signed_body_is_taken_and_no_other() {
    let signature = r#"{ secrets = ["the secret of the sender"], header = "x-signature", prefix = "sha256=" }"#;
    let gateway = Running::start(&[("SOURCES__ALERTS__SIGNATURE", signature)]).await;
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"the secret of the sender");
    let signed = |body: &str| {
        hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let post = async |body: &str, shown: Option<String>| {
        let header = shown.map(|shown| format!("x-signature: sha256={shown}\r\n")).unwrap_or_default();
        let said = say(gateway.http, &request("POST", "/v1/in/alerts", &header, body)).await;
        let code =
            said.split("\"error\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_string();
        (status(&said), code)
    };
    let body = r#"{"alert_id":"1"}"#;
    assert_eq!(post(body, Some(signed(body))).await, (200, String::new()));
    assert_eq!(post(body, Some(signed("another"))).await, (401, "signature_wrong".into()));
    assert_eq!(post(body, None).await, (401, "token_missing".into()));
    for name in ["alerts", "nobody"] {
        let unreadable = request("POST", &format!("/v1/in/{name}"), "content-encoding: br\r\n", body);
        assert_eq!(status(&say(gateway.http, &unreadable).await), 401, "{name} is told from others");
    }
    assert_eq!(gateway.taken(), 1);
    // who has shown the token is told what else is missing
    let gateway = Running::start(&[("SOURCES__SHOP__SIGNATURE", signature)]).await;
    let token = "authorization: Bearer token-of-the-shop\r\n";
    let unsigned = say(gateway.http, &request("POST", "/v1/in/shop", token, body)).await;
    assert!(status(&unsigned) == 401 && unsigned.contains("\"signature_wrong\""), "{unsigned}");
}

#[tokio::test]
async fn a_proxy_says_whose_a_connection_is_and_nobody_else_does() {
    let settings = [
        ("HTTP__PROXY_PROTOCOL", "true"),
        ("HTTP__TRUSTED_PROXIES", r#"["127.0.0.1"]"#),
        ("SOURCES__NEAR__FROM", r#"["192.0.2.7"]"#),
    ];
    let gateway = Running::start(&settings).await;
    let said = async |before: &str| {
        let bytes = [before.as_bytes(), &request("POST", "/v1/in/near", "", "{}")].concat();
        say(gateway.http, &bytes).await
    };
    let right = said("PROXY TCP4 192.0.2.7 127.0.0.1 40000 8080\r\n").await;
    assert_eq!(status(&right), 200, "{right}");
    assert_eq!(status(&said("PROXY TCP4 192.0.2.8 127.0.0.1 40000 8080\r\n").await), 401);
    assert_eq!(said("").await, "", "without it nobody is answered");
    let mut stranger = connect_from([127, 0, 0, 5], gateway.http).await;
    stranger.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 8080\r\n").await.unwrap();
    let mut answer = Vec::new();
    // closed over what was not read: a reset, or nothing
    let _reset = timeout(SOON, stranger.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(answer.is_empty());
    assert_eq!(gateway.taken(), 1);
}
