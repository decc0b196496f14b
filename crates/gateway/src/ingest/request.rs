//! What is kept of a request beside its body, and nothing of it that is a secret. All of it together is no larger than
//! a request's head may be, so no value is cut.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use moehog_coding::{UnknownCoding, codings};
use moehog_proto::event::Header;
use ring::digest::{SHA256, digest};

use super::Refusal;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest text that is kept of a header which says how the body is to be read.
const MAX_KEPT_BYTES: usize = 256;

/// Parameters of a query by which senders show a secret or a project key, in small letters: they are not kept.
const SECRET_PARAMETERS: [&str; 10] = [
    "$token",
    "access_token",
    "api_key",
    "apikey",
    "auth_token",
    "authorization",
    "moehog_token",
    "password",
    "secret",
    "token",
];

/// What a source keeps of its requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keeps {
    /// Headers by their names.
    pub(crate) headers: Vec<HeaderName>,
    /// `Idempotency-Key` is the key of the events.
    pub(crate) is_keyed: bool,
}

/// The method; empty for POST, which takes no room then.
pub(super) fn method(method: &Method) -> String {
    if method == Method::POST { String::new() } else { method.to_string() }
}

/// The query as it came, without parameters that are secrets by their names or, as `is_secret` says, by their values.
pub(super) fn query(parts: &Parts, is_secret: impl Fn(&[u8]) -> bool) -> String {
    let is_kept = |parameter: &&str| {
        !form_urlencoded::parse(parameter.as_bytes()).any(|(name, value)| {
            SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) || is_secret(value.as_bytes())
        })
    };
    let parameters: Vec<_> = parts.uri.query().unwrap_or_default().split('&').filter(is_kept).collect();
    parameters.join("&")
}

/// The headers of these names; of several of one name each.
pub(super) fn headers(names: &[HeaderName], headers: &HeaderMap) -> Vec<Header> {
    let lines = |name: &HeaderName| {
        let name = name.to_string();
        headers.get_all(&name).iter().map(move |value| Header { name: name.clone(), value: text(value) }).collect()
    };
    names.iter().flat_map(|name| -> Vec<Header> { lines(name) }).collect()
}

/// `Idempotency-Key`. Where it `is_key` of the events, two that differ stay two however long they are.
pub(super) fn idempotency_key(headers: &HeaderMap, is_key: bool) -> String {
    match headers.get(IDEMPOTENCY_KEY) {
        Some(value) if is_key && value.len() > MAX_KEPT_BYTES => {
            format!("sha256:{}", hex::encode(digest(&SHA256, value.as_bytes())))
        }
        value => cut(value.map(text).unwrap_or_default()),
    }
}

/// `Content-Type`.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    cut(headers.get(header::CONTENT_TYPE).map(text).unwrap_or_default())
}

/// `Content-Encoding`; of several, which are one list, all.
pub(super) fn content_encoding(headers: &HeaderMap) -> String {
    cut(whole_content_encoding(headers))
}

/// Refuses a body in a coding that the transformer does not read.
pub(super) fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    codings(&whole_content_encoding(headers)).map(drop).map_err(|UnknownCoding| Refusal::Encoding)
}

fn whole_content_encoding(headers: &HeaderMap) -> String {
    let lines: Vec<_> = headers.get_all(header::CONTENT_ENCODING).iter().map(text).collect();
    lines.join(", ")
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_KEPT_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, lines: &[(&'static str, &str)]) -> Parts {
        let mut parts = Request::get(uri).body(()).unwrap().into_parts().0;
        for (name, value) in lines {
            parts.headers.append(*name, value.parse().unwrap());
        }
        parts
    }

    #[test]
    fn a_query_is_kept_as_it_came_without_what_is_secret_by_name_or_value() {
        let of = |uri: &str| query(&parts(uri, &[]), |value| value == b"tok en");
        assert_eq!(of("/e"), "");
        assert_eq!(of("/e?"), "");
        assert_eq!(of("/e?campaign=Summer+%26%20Sun&b&&a=1"), "campaign=Summer+%26%20Sun&b&&a=1");
        for secret in ["moehog_token=x", "TOKEN=x", "api%5fkey=phc_x", "Password=x", "any=tok+en", "any=tok%20en"] {
            let uri = format!("/e?a=1&{secret}&b=2");
            assert_eq!(of(&uri), "a=1&b=2", "{secret}");
        }
    }

    #[test]
    fn headers_are_kept_by_their_names_each_line_of_them() {
        let names = ["x-campaign", "x-none"].map(HeaderName::from_static);
        let lines = [("x-campaign", "summer"), ("x-other", "no"), ("x-campaign", "sun")];
        let kept = headers(&names, &parts("/", &lines).headers);
        let kept: Vec<_> = kept.iter().map(|header| (header.name.as_str(), header.value.as_str())).collect();
        assert_eq!(kept, [("x-campaign", "summer"), ("x-campaign", "sun")]);
    }

    #[test]
    fn two_long_keys_that_differ_at_their_end_stay_two() {
        let of = |end: &str, is_key| {
            let key = "k".repeat(300) + end;
            idempotency_key(&parts("/", &[("idempotency-key", &key)]).headers, is_key)
        };
        assert_eq!(of("a", true), of("a", true));
        assert_ne!(of("a", true), of("b", true));
        assert_eq!(of("a", false), "k".repeat(256), "it is only shown");
    }

    #[test]
    fn codings_of_several_lines_are_one_list() {
        let lines = [("content-encoding", "br"), ("content-encoding", "gzip")];
        assert_eq!(content_encoding(&parts("/", &lines).headers), "br, gzip");
        assert_eq!(check_coding(&parts("/", &lines).headers), Ok(()));
        assert_eq!(
            check_coding(&parts("/", &[lines[0], ("content-encoding", "compress")]).headers),
            Err(Refusal::Encoding)
        );
    }
}
