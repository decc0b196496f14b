//! The request that MoEngage would make, and what its answer means.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow};
use moehog_runtime::{Exit, root_cause};
use reqwest::{
    Certificate, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::NotDelivered;
use crate::{
    cli::SendTest,
    gateway::{client, secret},
};

/// MoEngage waits no longer. Source: MoEngage, "Connector Campaigns", errors (read 2026-11-24).
const PATIENCE: Duration = Duration::from_secs(5);
/// Most characters of a strange answer that are shown.
const SHOWN: usize = 200;
/// What the event is called, and whose it is.
const EVENT: &str = "moehog_test";
const PERSON: &str = "moehog-test";

/// A request that is ready to go.
#[derive(Debug)]
pub(super) struct Post {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    body: Value,
}

/// What a 200 says.
#[derive(Debug, Deserialize)]
pub(super) struct Taken {
    pub(super) receipt: String,
    pub(super) trace_id: String,
}

/// What a refusal says.
#[derive(Debug, Deserialize)]
struct Refused {
    #[serde(alias = "code")]
    error: String,
    field: String,
    message: String,
    remedy: String,
}

impl Post {
    pub(super) fn new(command: &SendTest) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for line in &command.headers {
            let (name, value) = header_of(line).with_context(|| format!("--header {line} is not `Name: value`"))?;
            headers.append(name, value);
        }
        if let Some(token) = secret(command.token.as_deref(), command.token_file.as_deref())? {
            let (name, value) = token_header(&command.token_header, &token.expose())?;
            headers.insert(name, value);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let body = body(command.api_key.as_deref(), Uuid::new_v4(), now);
        Ok(Self { client: sender(&command.url)?, url: command.url.clone(), headers, body })
    }

    /// Sends it once, as MoEngage does.
    pub(super) async fn send(self) -> Result<Taken, NotDelivered> {
        let unreachable = |why: String| NotDelivered::new("unreachable", why);
        let request = self.client.post(self.url.clone()).json(&self.body).headers(self.headers);
        let answer = async {
            let answer = request.send().await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, answer.text().await?))
        };
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok((status, headers, body))) => read(status, &headers, &body),
            Ok(Err(error)) => {
                let why = root_cause(&error);
                Err(unreachable(format!(
                    "no answer from {}: {why}; is the gateway running, and is --url right?",
                    self.url
                )))
            }
            Err(_elapsed) => Err(unreachable(format!(
                "no answer from {} within {PATIENCE:?}, when MoEngage gives up; is --url right, and does anything between keep it?",
                self.url
            ))),
        }
    }
}

/// A Streams batch with one event; with a project key, the body of a Connector. Neither makes a person of the event.
fn body(api_key: Option<&str>, uuid: Uuid, now: u64) -> Value {
    match api_key {
        None => json!({"app_name": "moehog", "source": "MOENGAGE", "events": [{
            "event_name": EVENT, "event_uuid": uuid, "event_time": now, "event_attributes": {"sent_by": "moehog send-test"},
            "user_attributes": {"moengage_user_id": PERSON}, "device_attributes": {},
        }]}),
        Some(key) => json!({
            "api_key": key, "event": EVENT, "distinct_id": PERSON, "uuid": uuid, "timestamp": now,
            "properties": {"sent_by": "moehog send-test", "$process_person_profile": false},
        }),
    }
}

/// The token as a source asks for it.
fn token_header(name: &str, token: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let named: HeaderName = name.parse().map_err(|_| anyhow!("--token-header {name} is not a header's name"))?;
    let scheme = if named == header::AUTHORIZATION { "Bearer " } else { "" };
    let value = HeaderValue::try_from(format!("{scheme}{token}"));
    let mut value =
        value.map_err(|_| anyhow!("the token holds characters that no header can")).context(Exit::Configuration)?;
    value.set_sensitive(true);
    Ok((named, value))
}

fn header_of(line: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':').context("no colon").context(Exit::Configuration)?;
    let read = || anyhow::Ok((name.trim().parse::<HeaderName>()?, value.trim().parse::<HeaderValue>()?));
    read().context(Exit::Configuration)
}

/// Trusts what MoEngage trusts, and asks this machine through no proxy.
fn sender(url: &Url) -> anyhow::Result<reqwest::Client> {
    let roots: Result<Vec<_>, _> =
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Certificate::from_der(der)).collect();
    let builder = client()
        .redirect(redirect::Policy::none())
        .tls_certs_only(roots.context("read the certificates of authorities")?);
    let builder = if is_here(url) { builder.no_proxy() } else { builder };
    builder.build().context("make an HTTP client")
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What an answer means.
fn read(status: StatusCode, headers: &HeaderMap, body: &str) -> Result<Taken, NotDelivered> {
    let refused = |why: String| Err(NotDelivered::new("refused", why));
    if status == StatusCode::OK {
        return serde_json::from_str(body).or_else(|_| {
            refused(format!("answered 200 without a receipt, so it is no gateway: `{}`; is --url right?", start(body)))
        });
    }
    if let Ok(Refused { error, field, message, remedy }) = serde_json::from_str(body) {
        let flags = match error.split('_').next() {
            Some("token") => " (here: --token or --token-file, and --token-header where it is not authorization)",
            Some("api") => " (here: --api-key)",
            _ => "",
        };
        let place = if field.is_empty() { String::new() } else { format!(", {field}") };
        return refused(format!("refused with {} ({error}{place}): {message}; {remedy}{flags}", status.as_u16()));
    }
    let to = headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
    refused(match to {
        Some(to) => {
            format!("redirected ({}) to {to}, where MoEngage does not follow; is --url right?", status.as_u16())
        }
        None => format!("answered {}, but not by a gateway: `{}`; is --url right?", status.as_u16(), start(body)),
    })
}

fn start(body: &str) -> &str {
    &body[..body.floor_char_boundary(SHOWN)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> String {
        read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body).unwrap_err().reason
    }

    #[test]
    fn a_refusal_says_what_the_gateway_says_and_which_flag_mends_it() {
        let reason = refusal(
            401,
            r#"{"error":"token_wrong","field":"x-key","message":"the token is not one","remedy":"send the header x-key: TOKEN"}"#,
        );
        for part in ["401", "x-key", "the token is not one", "send the header", "--token-header"] {
            assert!(reason.contains(part), "{part}: {reason}");
        }
        let reason = refusal(
            422,
            r#"{"status":"error","code":"forbidden_id","field":"distinct_id","message":"no id","remedy":"set it","reasons":[]}"#,
        );
        assert_eq!(reason, "refused with 422 (forbidden_id, distinct_id): no id; set it");
        let reason = refusal(503, r#"{"error":"journal_full","field":"","message":"full","remedy":"raise it"}"#);
        assert_eq!(reason, "refused with 503 (journal_full): full; raise it");
    }

    #[test]
    fn what_is_no_gateway_is_told_apart() {
        assert!(refusal(200, "<html>welcome").contains("no gateway: `<html>welcome`"));
        assert!(refusal(404, "not found").contains("answered 404, but not by a gateway: `not found`"));
        let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("https://a.example/"))]);
        let reason = read(StatusCode::FOUND, &headers, "").unwrap_err().reason;
        assert!(reason.contains("https://a.example/"), "{reason}");
    }

    #[test]
    fn a_token_stands_in_the_header_as_the_source_reads_it() {
        let shown = |name| {
            let (name, value) = token_header(name, "secret").unwrap();
            format!("{name}: {}", value.to_str().unwrap())
        };
        assert_eq!(shown("Authorization"), "authorization: Bearer secret");
        assert_eq!(shown("x-moengage-key"), "x-moengage-key: secret");
        assert!(token_header("no header", "secret").is_err());
        assert_eq!(header_of("X-A: b: c").unwrap(), (HeaderName::from_static("x-a"), HeaderValue::from_static("b: c")));
        assert!(header_of("X-A").is_err());
    }

    #[test]
    fn this_machine_is_asked_through_no_proxy() {
        for (url, here) in [
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]:8080/", true),
            ("http://localhost/", true),
            ("https://moehog.example/", false),
        ] {
            assert_eq!(is_here(&url.parse().unwrap()), here, "{url}");
        }
    }
}
