//! Both sides show a certificate, and one that is renewed in place is used from the next connection on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use moehog_proto::{
    Channel,
    transformer::{TransformRequest, TransformResponse, TransformerService, client, server},
};
use moehog_transport::{Address, Callers, ClientConfig, Server, ServerConfig, TlsConfig, connect, never_left};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

struct Echo;

#[tonic::async_trait]
impl TransformerService for Echo {
    async fn transform(&self, _: Request<TransformRequest>) -> Result<Response<TransformResponse>, Status> {
        Ok(Response::new(TransformResponse { mapping_revision: "echo".to_string(), ..Default::default() }))
    }
}

/// An authority, and what it signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// Writes a certificate for `name`, its key and this authority to a directory.
    fn write(&self, directory: &Path, name: &str) -> TlsConfig {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_string()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let config =
            TlsConfig { cert: directory.join("tls.crt"), key: directory.join("tls.key"), ca: directory.join("ca.crt") };
        fs::write(&config.cert, certificate.pem()).unwrap();
        fs::write(&config.key, key.serialize_pem()).unwrap();
        fs::write(&config.ca, &self.pem).unwrap();
        config
    }
}

fn serve(tls: &TlsConfig) -> (SocketAddr, CancellationToken) {
    serve_callers(tls, &[])
}

/// A worker that lets in these callers.
fn serve_callers(tls: &TlsConfig, callers: &[&str]) -> (SocketAddr, CancellationToken) {
    let callers: Vec<_> = callers.iter().map(ToString::to_string).collect();
    let config = ServerConfig {
        tls: tls.open().unwrap(),
        callers: Callers::try_from(callers).unwrap(),
        ..ServerConfig::default()
    };
    let listener = Server::bind(([127, 0, 0, 1], 0).into(), config).unwrap();
    let (addr, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let stop = shutdown.clone();
    tokio::spawn(async move { listener.serve(Routes::new(server(Echo)), &[], stop).await });
    (addr, shutdown)
}

fn channel(addr: SocketAddr, tls: Option<&TlsConfig>, name: &str) -> Channel {
    let address: Address = format!("list://{addr}").parse().unwrap();
    let config = ClientConfig {
        tls: tls.and_then(|tls| tls.open().unwrap()),
        server_name: Some(name.to_string()),
        ..ClientConfig::default()
    };
    connect(&address, &config).channel
}

async fn call(channel: &Channel) -> Result<String, Status> {
    let answer = client(channel.clone()).transform(TransformRequest::default()).await?;
    Ok(answer.into_inner().mapping_revision)
}

#[tokio::test]
async fn callers_and_servers_show_certificates_of_one_authority() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let directories = [(); 3].map(|()| TempDir::new().unwrap());
    let worker = ours.write(directories[0].path(), "transformer");
    let gateway = ours.write(directories[1].path(), "gateway");
    let stranger = theirs.write(directories[2].path(), "gateway");
    let (addr, _shutdown) = serve(&worker);
    assert_eq!(call(&channel(addr, Some(&gateway), "transformer")).await.unwrap(), "echo");
    // knows the worker, and shows what another authority signed
    let mut intruder = stranger.clone();
    intruder.ca.clone_from(&gateway.ca);
    // a name that the certificate is not for, another authority, no TLS at all: nobody is reached
    for refused in [
        channel(addr, Some(&gateway), "delivery"),
        channel(addr, Some(&stranger), "transformer"),
        channel(addr, Some(&intruder), "transformer"),
        channel(addr, None, "transformer"),
    ] {
        call(&refused).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_worker_that_names_its_callers_lets_in_nobody_else_of_its_authority() {
    let authority = Authority::new();
    let directories = [(); 3].map(|()| TempDir::new().unwrap());
    let worker = authority.write(directories[0].path(), "transformer");
    let gateway = authority.write(directories[1].path(), "gateway.moehog.svc");
    let other = authority.write(directories[2].path(), "some-other-app.default.svc");
    let (addr, _shutdown) = serve_callers(&worker, &["moehog-before.svc", "gateway.moehog.svc"]);
    let status = call(&channel(addr, Some(&other), "transformer")).await.unwrap_err();
    assert!(!status.message().contains("echo"), "{status:?}");
    assert_eq!(call(&channel(addr, Some(&gateway), "transformer")).await.unwrap(), "echo");
    let (open, _shutdown) = serve_callers(&worker, &[]);
    assert_eq!(call(&channel(open, Some(&other), "transformer")).await.unwrap(), "echo", "no names let in all");
}

#[test]
fn a_caller_that_is_no_name_is_refused_by_what_is_written() {
    let error = Callers::try_from(vec!["gateway.svc".to_string(), "not a name".to_string()]).unwrap_err();
    assert!(error.contains("`not a name`"), "{error}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let directories = [(); 2].map(|()| TempDir::new().unwrap());
    let worker = old.write(directories[0].path(), "transformer");
    let gateway = old.write(directories[1].path(), "gateway");
    let (addr, _shutdown) = serve(&worker);
    let before = channel(addr, Some(&gateway), "transformer");
    assert_eq!(call(&before).await.unwrap(), "echo");
    // both sides' files change under the processes; the connection that is open goes on
    new.write(directories[0].path(), "transformer");
    new.write(directories[1].path(), "gateway");
    assert_eq!(call(&before).await.unwrap(), "echo");
    let after = channel(addr, Some(&gateway), "transformer");
    assert_eq!(call(&after).await.unwrap(), "echo");
    let stale = TempDir::new().unwrap();
    let stale = channel(addr, Some(&old.write(stale.path(), "gateway")), "transformer");
    let status = call(&stale).await.unwrap_err();
    assert!(never_left(&status), "{status:?}");
}

#[test]
fn half_a_section_and_a_missing_file_are_named() {
    let mut config = TlsConfig { cert: "/nowhere/tls.crt".into(), ..TlsConfig::default() };
    assert!(config.open().unwrap_err().to_string().contains("tls.key"));
    (config.key, config.ca) = ("/nowhere/tls.key".into(), "/nowhere/ca.crt".into());
    assert!(config.open().unwrap_err().to_string().contains("/nowhere/"), "{:?}", config.open());
    assert_eq!(TlsConfig::default().open().unwrap(), None);
}

/// Says something that is no TLS, and how long it took until the connection was closed.
async fn stranger(from: [u8; 4], addr: SocketAddr) -> Duration {
    let (socket, began) = (TcpSocket::new_v4().unwrap(), Instant::now());
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // closed, or reset with what was not read
    let _closed = stream.read_to_end(&mut Vec::new()).await;
    began.elapsed()
}

#[tokio::test]
async fn handshakes_of_an_address_of_which_many_failed_are_slow_and_those_of_others_are_not() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let tls = authority.write(directory.path(), "delivery.moehog");
    let (addr, stop) = serve(&tls);
    for _ in 0..21 {
        assert!(stranger([127, 0, 0, 2], addr).await < Duration::from_secs(1));
    }
    let slowed = async {
        assert!(stranger([127, 0, 0, 2], addr).await >= Duration::from_secs(1));
    };
    let other = async {
        assert!(stranger([127, 0, 0, 3], addr).await < Duration::from_secs(1));
        call(&channel(addr, Some(&tls), "delivery.moehog")).await.unwrap();
    };
    tokio::join!(slowed, other);

    // silent ones, more than there are handshakes, of one address: each may last for five seconds
    let mut silent = Vec::new();
    for _ in 0..600 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 4], 0).into()).unwrap();
        silent.push(socket.connect(addr).await.unwrap());
    }
    timeout(Duration::from_secs(4), call(&channel(addr, Some(&tls), "delivery.moehog"))).await.unwrap().unwrap();
    stop.cancel();
}
