use std::{collections::HashSet, io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use flate2::{Compression, write::GzEncoder};
use moehog_emulator::{
    mutated,
    posthog::{Config, PostHog},
};
use moehog_tests::{Deployment, Service, Setup, Shape, TOKEN, cases, from_soak, root};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time::timeout,
};

use super::{
    super::world::{KEY, SOON},
    talk,
};

/// Requests in a test run.
const FEW: u64 = 4_000;
/// By then a connection has been answered and closed, whatever was said on it.
const HANGS: Duration = Duration::from_secs(20);

const METHODS: [&str; 7] = ["POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "TRACE"];
const PATHS: [&str; 16] = [
    "/v1/in/default",
    "/v1/in/default",
    "/v1/in/mail",
    "/v1/in/signed",
    "/v1/in/nobody",
    "/capture/",
    "/batch",
    "/i/v0/e/?ip=1&_=1764000000",
    "/e/?compression=gzip-js&ver=1",
    "/capture/?api_key=phc_tests",
    "/livez",
    "/readyz",
    "/",
    "/api/status",
    "/api/dead-letters?limit=3&before=x",
    "/metrics",
];
const HEADERS: [(&str, &str); 26] = [
    ("content-type", "application/json"),
    ("content-type", "text/plain"),
    ("content-type", "application/x-www-form-urlencoded; charset=utf-16"),
    ("content-type", "multipart/form-data; boundary=x"),
    ("content-encoding", "gzip"),
    ("content-encoding", "gzip, gzip"),
    ("content-encoding", "deflate"),
    ("content-encoding", "br"),
    ("content-encoding", "zstd, deflate, br"),
    ("idempotency-key", "order-7"),
    ("authorization", "Bearer wrong-token-of-the-tests"),
    ("authorization", "Basic bW9lbmdhZ2U6d29yZC10by1wYXNzLXRlc3Rz"),
    ("authorization", "Basic !!!"),
    ("x-signature", "sha256=00"),
    ("x-moehog-token", "x"),
    ("x-forwarded-for", "127.0.0.1, 10.0.0.1:99999, [::1]"),
    ("forwarded", "for=\"[2001:db8::1]\""),
    ("host", "localhost"),
    ("host", "a.example, b.example"),
    ("origin", "null"),
    ("expect", "100-continue"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "a=1,b=2"),
    ("transfer-encoding", "chunked"),
    ("content-length", "7"),
    ("upgrade", "h2c"),
];

/// What a body is sent as.
fn packed(body: &[u8], headers: &mut Vec<u8>, chance: &mut StdRng) -> Vec<u8> {
    if !chance.random_ratio(1, 5) {
        return body.to_vec();
    }
    headers.extend(b"content-encoding: gzip\r\n");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let written = gzip.write_all(body).and_then(|()| gzip.finish());
    written.unwrap_or_default()
}

/// One request, which ends where it says that it does.
fn request(bodies: &[Vec<u8>], chance: &mut StdRng) -> Vec<u8> {
    let body = bodies.choose(chance).cloned().unwrap_or_default();
    let body = if chance.random_ratio(2, 3) { mutated(&body, bodies, 4, chance) } else { body };
    let (method, path) = match chance.random_ratio(1, 2) {
        true => ("POST", "/v1/in/default"),
        false => (METHODS[chance.random_range(0..METHODS.len())], PATHS[chance.random_range(0..PATHS.len())]),
    };
    let mut headers = format!("host: moehog.example\r\nauthorization: Bearer {TOKEN}\r\n").into_bytes();
    let mut body = packed(&body, &mut headers, chance);
    if chance.random_ratio(1, 8) {
        body = mutated(&body, bodies, 2, chance);
    }
    for _ in 0..chance.random_range(0..3) {
        let (name, value) = HEADERS[chance.random_range(0..HEADERS.len() - 3)];
        let mut value = value.as_bytes().to_vec();
        if chance.random_ratio(1, 3) {
            value = mutated(&value, &[], 2, chance);
            value.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        }
        headers.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    if chance.random_ratio(1, 50) {
        let long = "x".repeat(chance.random_range(1_000..600_000));
        headers.extend(format!("x-long: {long}\r\n").into_bytes());
    }
    if chance.random_ratio(1, 6) {
        headers.extend(b"transfer-encoding: chunked\r\n");
        let piece = chance.random_range(1..=body.len().max(1));
        let mut chunks = Vec::new();
        for chunk in body.chunks(piece) {
            chunks.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            chunks.extend([chunk, b"\r\n"].concat());
        }
        chunks.extend(b"0\r\n\r\n");
        body = chunks;
    } else {
        headers.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
    }
    let long = if chance.random_ratio(1, 50) { "/x".repeat(chance.random_range(1_000..60_000)) } else { String::new() };
    [format!("{method} {path}{long} HTTP/1.1\r\n").as_bytes(), &headers, b"\r\n", &body].concat()
}

/// One of which any byte may be wrong, also those that say where it ends.
fn broken(bodies: &[Vec<u8>], chance: &mut StdRng) -> Vec<u8> {
    let mut whole = request(bodies, chance);
    if chance.random_ratio(1, 2) {
        let (name, value) = HEADERS[chance.random_range(0..HEADERS.len())];
        let end = whole.windows(2).position(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
        drop(whole.splice(end..end, format!("{name}: {value}\r\n").into_bytes()));
    }
    let head = whole.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(whole.len());
    // a body's own damage is the other requests'
    let body = whole.split_off(head);
    [mutated(&whole, bodies, 3, chance), body].concat()
}

/// Some requests on one connection, whose end is said where it `ends`, and the status of each answer.
async fn conversation(
    (addr, ends): (SocketAddr, bool),
    bodies: Arc<Vec<Vec<u8>>>,
    mut chance: StdRng,
) -> anyhow::Result<Vec<String>> {
    let mut bytes = Vec::new();
    for _ in 0..chance.random_range(0..8) {
        bytes.extend(request(&bodies, &mut chance));
    }
    bytes.extend(broken(&bodies, &mut chance));
    let socket = TcpSocket::new_v4()?;
    // everybody is somebody else: nobody is slowed for what others guessed
    let [second, third, fourth] = [chance.random::<u8>(), chance.random(), chance.random_range(2..250)];
    socket.bind(SocketAddr::from(([127, second, third, fourth], 0)))?;
    let (mut reading, mut writing) = socket.connect(addr).await?.into_split();
    let mut said = Vec::new();
    let both = async {
        let write = async {
            writing.write_all(&bytes).await?;
            if ends { writing.shutdown().await } else { Ok(()) }
        };
        // it may be closed before all is read
        let (_written, _read) = tokio::join!(write, reading.read_to_end(&mut said));
    };
    let heard = timeout(HANGS, both).await;
    let tail = || String::from_utf8_lossy(&said[said.len().saturating_sub(300)..]).into_owned();
    ensure!(heard.is_ok(), "neither answered nor closed after {HANGS:?}; last: {}", tail());
    let mut statuses = Vec::new();
    for answer in String::from_utf8_lossy(&said).split("HTTP/1.1 ").skip(1) {
        let status: u16 = answer.get(..3).and_then(|digits| digits.parse().ok()).context("a status")?;
        ensure!(status < 500 || status == 503, "{answer}");
        // those below say that the answer is to come
        statuses.extend((status >= 200).then(|| status.to_string()));
    }
    Ok(statuses)
}

#[tokio::test]
async fn mutated_requests() -> anyhow::Result<()> {
    let (first, said) = (from_soak("MOEHOG_SOAK_SEED", 1)?, from_soak("MOEHOG_SOAK_ROUNDS", FEW)?);
    let bodies = Arc::new(cases()?);
    let posthog =
        PostHog::bind(([127, 0, 0, 1], 0).into(), Config { keys: Config::with_keys([KEY]).keys, ..Config::counts() })?
            .start();
    let setup = Setup::new(Shape::One, &posthog.url(), KEY)
        .section("[sources.mail]\nbasic = [{ user = \"moengage\", password = \"word-to-pass-tests\" }]\n")
        .section("[sources.signed]\nsignature = { secrets = [\"secret-of-the-tests\"], header = \"x-signature\", prefix = \"sha256=\" }\n")
        .set("http.keep_alive", "200ms")
        .set("http.body_idle", "300ms")
        .set("http.body_total", "1s")
        .expect("requests showed no right secret")
        .expect("dead letter");
    let mut moehog = Deployment::start(setup).await?;
    let (http, admin) = (moehog.http()?, moehog.admin()?);
    let answers = talk(&mut moehog, &[Service::Moehog], said, first, |mut chance| {
        // the admin port's patience is no setting
        let to = if chance.random_ratio(1, 10) { (admin, true) } else { (http, false) };
        conversation(to, bodies.clone(), chance)
    })
    .await?;
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let statuses: HashSet<_> = rows.flat_map(|(statuses, _)| statuses.split(", ")).collect();
    let undocumented: Vec<_> = answers.keys().filter(|status| !statuses.contains(&***status)).collect();
    ensure!(undocumented.is_empty(), "README has no row for {undocumented:?}");
    for (status, least) in [("200", 5), ("422", 20), ("400", 50), ("401", 50)] {
        let came = answers.get(status).copied().unwrap_or_default();
        ensure!(came * least > said, "{came} of {said} are {status}: it shows little");
    }
    moehog.drained(SOON).await?;
    moehog.finish().await
}
