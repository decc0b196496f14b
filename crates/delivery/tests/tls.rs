//! TLS without any file of the system: Mozilla's authorities are compiled in, another is configured.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::*;
use moehog_transport::Callers;
use rustls::{
    ServerConfig, ServerConnection, Stream,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../testdata/server.pem");
const PRIVATE_KEY: &[u8] = include_bytes!("../testdata/server.key.pem");

/// A PostHog that takes everything, over TLS and HTTP/1.1; counts connections.
fn posthog() -> (SocketAddr, Arc<AtomicUsize>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(PRIVATE_KEY).unwrap(),
        )
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let (addr, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = connections.clone();
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let config = config.clone();
            let count = count.clone();
            thread::spawn(move || -> std::io::Result<()> {
                let mut tcp = tcp;
                let mut tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
                let mut stream = BufReader::new(Stream::new(&mut tls, &mut tcp));
                let mut counted = false;
                loop {
                    let (mut path, mut length) = (String::new(), 0);
                    loop {
                        let mut line = String::new();
                        if stream.read_line(&mut line)? == 0 {
                            return Ok(());
                        }
                        if path.is_empty() {
                            path.clone_from(&line);
                        }
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().map_err(std::io::Error::other)?;
                        }
                        if line == "\r\n" {
                            break;
                        }
                    }
                    if !std::mem::replace(&mut counted, true) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    stream.read_exact(&mut vec![0; length])?;
                    let body = if path.contains("/flags/") { r#"{"flags":{}}"# } else { r#"{"status":"Ok"}"# };
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.get_mut().write_all((head + body).as_bytes())?;
                    stream.get_mut().flush()?;
                }
            });
        }
    });
    (addr, connections)
}

#[tokio::test]
async fn an_authority_of_the_configuration_is_trusted_and_one_connection_serves_many_calls() {
    let (addr, connections) = posthog();
    for host in [format!("https://localhost:{}", addr.port()), format!("https://{addr}")] {
        connections.store(0, Ordering::Relaxed);
        let mut config = config(&host);
        config.posthog.ca_file = CA.into();
        let client = client(&config);
        for _ in 0..5 {
            assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["delivered"; 2]);
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1, "the check of the key and five batches");
    }
}

#[tokio::test]
async fn an_authority_that_nobody_named_is_not_trusted_and_nothing_is_sent() {
    let (addr, connections) = posthog();
    let response = deliver(&client(&config(&format!("https://{addr}"))), "shop", &events(2)).await;
    assert_eq!(words(&response), ["retry"; 2]);
    assert!(response.verdicts.iter().all(|verdict| !verdict.sent));
    assert!(reason(&response.verdicts[0]).contains("certificate"), "{}", reason(&response.verdicts[0]));
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn callers_that_nobody_could_tell_apart_stop_the_start() {
    let mut config = config("https://localhost");
    config.delivery.callers = Callers::try_from(vec!["gateway.svc".to_string()]).unwrap();
    let error = moehog_delivery::bind(&config).unwrap_err();
    assert!(format!("{error:#}").contains("without section tls"), "{error:#}");
}

#[test]
fn a_file_without_an_authority_stops_the_start() {
    let mut config = config("https://localhost");
    for path in ["/nonexistent.pem", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
        config.posthog.ca_file = path.into();
        let error = moehog_delivery::Delivery::new(&config).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}
