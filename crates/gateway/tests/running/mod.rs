//! A gateway that runs, with sources of every kind, asked from different addresses of this machine.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::HeaderMap;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use moehog_gateway::{Config, Gateway};
use moehog_journal::{Journal, memory::Memory};
use serde_json::Value;
use tokio::{net::TcpSocket, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    doubles::Workers,
    support::{TUTORIAL, post, with},
};

const SOON: Duration = Duration::from_secs(10);
/// This machine's, like all of 127.0.0.0/8.
pub(crate) const CLIENT: &str = "127.0.0.2";
/// A trusted proxy's.
pub(crate) const PROXY: &str = "127.0.0.9";

/// A source `shop` for a token or a user, one `near` for CLIENT alone, and one `far` for 203.0.113.0/24, seen through PROXY.
const SETTINGS: [(&str, &str); 7] = [
    ("HTTP__LISTEN", "127.0.0.1:0"),
    ("ADMIN__LISTEN", "127.0.0.1:0"),
    ("HTTP__TRUSTED_PROXIES", r#"["127.0.0.9", "10.0.0.0/8"]"#),
    ("SOURCES__SHOP__TOKENS", r#"["tok-right"]"#),
    (
        "SOURCES__SHOP__BASIC",
        r#"[{ user = "moengage", password = "pass-old" }, { user = "moengage", password = "pass-new" }]"#,
    ),
    ("SOURCES__NEAR__FROM", r#"["127.0.0.2"]"#),
    ("SOURCES__FAR", r#"{ tokens = ["tok-right"], from = ["203.0.113.0/24"] }"#),
];

pub(crate) struct Running {
    journal: Arc<Memory>,
    http: SocketAddr,
    _stop: DropGuard,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Running {
    pub(crate) async fn start() -> Self {
        let settings = SETTINGS.map(|(name, value)| (format!("MOEHOG__{name}"), value.to_string()));
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, settings).unwrap();
        let journal = Arc::new(Memory::new());
        let (transformer, delivery) = Workers::default().links();
        let gateway = Gateway::bind_on(Some(journal.clone()), config, transformer, delivery).await.unwrap();
        let (http, stop) = (gateway.http_addr(), CancellationToken::new());
        tokio::spawn(gateway.serve(stop.clone()));
        Self { journal, http, _stop: stop.drop_guard() }
    }

    /// Posts from an address of this machine.
    pub(crate) async fn ask(&self, from: &str, path: &str, headers: &[(&'static str, &str)]) -> Answer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        let stream = socket.connect(self.http).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = headers.iter().fold(post(path, TUTORIAL), |request, (name, value)| with(request, name, value));
        let (parts, body) = timeout(SOON, sender.send_request(request)).await.unwrap().unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        let code = json["error"].as_str().unwrap_or_default().to_string();
        Answer { status: parts.status.as_u16(), code, headers: parts.headers, text }
    }

    /// Webhooks that were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.journal.stats().ledger.book.taken
    }
}

impl Answer {
    /// Its status and code.
    pub(crate) fn is(&self) -> (u16, &str) {
        (self.status, &self.code)
    }
}

/// The value of `Authorization` for a user and a password.
pub(crate) fn basic(pair: &str) -> String {
    format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair))
}
