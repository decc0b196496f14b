//! Where to send to.

use std::str::FromStr;

/// An endpoint: URL, and the static headers a marketer would enter.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// Why a URL cannot be sent to.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The emulator speaks plain HTTP.
    #[error("{0} is not an http:// URL; the emulator speaks plain HTTP")]
    Scheme(String),
    /// There is no host in it.
    #[error("{0} names no host")]
    Host(String),
}

impl Target {
    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// The same without a `Content-Type`, which marketers forget.
    #[must_use]
    pub fn without_content_type(mut self) -> Self {
        self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        self
    }

    /// The head of a request with a body of so many bytes, as it goes over the wire.
    pub(crate) fn head(&self, body_bytes: usize) -> String {
        let mut head = format!("POST {} HTTP/1.1\r\nhost: {}\r\n", self.path, self.authority);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {body_bytes}\r\n\r\n"));
        head
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// Reads `http://host[:port][/path]`; the headers start with `Content-Type: application/json`.
    fn from_str(url: &str) -> Result<Self, TargetError> {
        let rest = url.strip_prefix("http://").ok_or_else(|| TargetError::Scheme(url.into()))?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if host.is_empty() {
            return Err(TargetError::Host(url.into()));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self {
            authority: if has_port { host.into() } else { format!("{host}:80") },
            path: if path.is_empty() { "/".into() } else { path.into() },
            headers: vec![("content-type".into(), "application/json".into())],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_others_refused() {
        let target: Target = "http://127.0.0.1:8080/capture/".parse().unwrap();
        assert_eq!((&*target.authority, &*target.path), ("127.0.0.1:8080", "/capture/"));
        let bare: Target = "http://localhost".parse().unwrap();
        assert_eq!((&*bare.authority, &*bare.path), ("localhost:80", "/"));
        assert!(matches!("https://x".parse::<Target>(), Err(TargetError::Scheme(_))));
        assert!(matches!("http:///x".parse::<Target>(), Err(TargetError::Host(_))));
        assert_eq!(
            target.without_content_type().bearer("t").head(3),
            "POST /capture/ HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nauthorization: Bearer t\r\ncontent-length: 3\r\n\r\n"
        );
    }
}
