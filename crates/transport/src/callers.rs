//! Who may call: names of certificates.

use std::fmt::Display;

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};
use serde::{Deserialize, de::IgnoredAny};

/// Names of callers, of which a certificate must hold one. None lets in every certificate of the authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Callers(Vec<ServerName<'static>>);

/// A worker's section, `[transformer]` or `[delivery]`, as the worker reads it. The gateway reads the others of its keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSection {
    /// Who may call it.
    pub callers: Callers,
    /// Where the gateway finds it.
    #[serde(rename = "address")]
    _address: IgnoredAny,
    /// What the gateway asks its certificate for.
    #[serde(rename = "server_name")]
    _server_name: IgnoredAny,
}

impl TryFrom<Vec<String>> for Callers {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        let parse = |name: String| {
            ServerName::try_from(name.clone())
                .map_err(|_| format!("`{name}` is no DNS name: write one that the caller's certificate is for"))
        };
        names.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Callers {
    /// Whether no caller is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the certificate is for one of the names, or no name is given.
    ///
    /// # Errors
    ///
    /// It is not; the error names what it is for.
    pub(crate) fn admit(&self, certificates: Option<&[CertificateDer<'_>]>) -> Result<(), String> {
        if self.is_empty() {
            return Ok(());
        }
        let Some(certificate) = certificates.and_then(<[_]>::first) else {
            return Err("it showed no certificate".to_string());
        };
        let refuse = |error: &dyn Display| format!("its certificate is for none of the callers: {error}");
        let certificate = ParsedCertificate::try_from(certificate).map_err(|error| refuse(&error))?;
        let mut last = String::new();
        for name in &self.0 {
            match verify_server_name(&certificate, name) {
                Ok(()) => return Ok(()),
                Err(error) => last = refuse(&error),
            }
        }
        Err(last)
    }
}
