//! TLS by both sides' certificates.
//!
//! The files are read for each new connection, so that a certificate that was renewed in place is used from the next one
//! on; connections last half an hour at the longest.

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const HTTP2: &[u8] = b"h2";

/// The section `[tls]`: certificates between moehog's services. Empty paths are no TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Files")]
pub struct TlsConfig {
    /// PEM file with this service's certificate.
    pub cert: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the authorities of the other side.
    pub ca: PathBuf,
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

impl TryFrom<Files> for TlsConfig {
    type Error = String;

    fn try_from(Files { cert, key, ca }: Files) -> Result<Self, String> {
        let config = Self { cert, key, ca };
        config.is_whole().map(|()| config)
    }
}

impl TlsConfig {
    /// All three files are given, or none.
    fn is_whole(&self) -> Result<(), String> {
        let given = [("cert", &self.cert), ("key", &self.key), ("ca", &self.ca)];
        let missing = given.iter().find(|(_, path)| path.as_os_str().is_empty());
        match missing.filter(|_| *self != Self::default()) {
            Some((missing, _)) => Err(format!("tls.{missing} is empty: give cert, key and ca, or none of them")),
            None => Ok(()),
        }
    }

    /// The defaults of the section, as TOML.
    pub const DEFAULTS: &str = include_str!("../config.default.toml");

    /// The certificates to use; none where the section is empty.
    ///
    /// # Errors
    ///
    /// Only some of the three are given, or a file cannot be used; the error names it.
    pub fn open(&self) -> io::Result<Option<Tls>> {
        if *self == Self::default() {
            return Ok(None);
        }
        self.is_whole().map_err(io::Error::other)?;
        let tls = Tls(self.clone());
        tls.client().and(tls.server())?;
        Ok(Some(tls))
    }
}

/// Certificates between moehog's services. Each side shows its own and asks for the other's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls(TlsConfig);

impl Tls {
    pub(crate) async fn connect(
        &self,
        name: String,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(self.client()?)).connect(name, stream).await
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        TlsAcceptor::from(Arc::new(self.server()?)).accept(stream).await
    }

    fn client(&self) -> io::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(io::Error::other)?.with_root_certificates(self.authorities()?);
        let mut config = builder
            .with_client_auth_cert(certificates(&self.0.cert)?, self.private_key()?)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(config)
    }

    fn server(&self) -> io::Result<ServerConfig> {
        let callers = WebPkiClientVerifier::builder_with_provider(Arc::new(self.authorities()?), provider());
        let callers = callers.build().map_err(|error| wrong(&self.0.ca, &error))?;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(io::Error::other)?.with_client_cert_verifier(callers);
        let mut config =
            builder.with_single_cert(certificates(&self.0.cert)?, self.private_key()?).map_err(io::Error::other)?;
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(config)
    }

    fn authorities(&self) -> io::Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(&self.0.ca)? {
            store.add(certificate).map_err(|error| wrong(&self.0.ca, &error))?;
        }
        Ok(store)
    }

    fn private_key(&self) -> io::Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_file(&self.0.key).map_err(|error| wrong(&self.0.key, &error))
    }
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found =
        CertificateDer::pem_file_iter(file).and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    match found {
        Ok(certificates) if certificates.is_empty() => Err(wrong(file, &"holds no certificate")),
        found => found.map_err(|error| wrong(file, &error)),
    }
}

fn wrong(file: &Path, error: &dyn Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
