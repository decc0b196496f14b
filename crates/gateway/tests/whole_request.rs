//! What is kept of a request beside its body, and who may send by GET.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use bytes::Bytes;
use http::{HeaderName, Method, Request};
use http_body_util::Full;
use moehog_coding::{Coding, made::coded};
use moehog_gateway::{Signature, Source};
use prost::Message;
use support::{Setup, TUTORIAL, post, with};

const QUERY: &str = "event=Bought&distinct_id=ada&amount=49.90";

/// `shop` keeps a header and takes `Idempotency-Key`; `signed` asks for a signature too.
fn setup() -> Setup {
    let mut setup = Setup::default();
    let shop = setup.sources.get_mut("shop").unwrap();
    (shop.headers, shop.idempotency_header) = (vec![HeaderName::from_static("x-campaign")], true);
    let signature = Signature {
        secrets: vec!["the secret that signs".to_string().into()],
        header: HeaderName::from_static("x-signature"),
        prefix: String::new(),
        timestamp: None,
        tolerance: std::time::Duration::from_secs(300),
    };
    let signed = Source { tokens: shop.tokens.clone(), signature: Some(signature), ..Source::default() };
    setup.sources.insert("signed".to_string(), signed);
    setup.capture.headers = vec![HeaderName::from_static("x-campaign")];
    setup
}

fn by(method: Method, uri: &str, shown: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = post(uri, "");
    *request.method_mut() = method;
    shown.iter().fold(request, |request, (name, value)| with(request, name, value))
}

#[tokio::test]
async fn query_and_chosen_headers_are_kept_and_no_secret_is() {
    let gateway = setup().start();
    let uri = "/v1/in/shop?campaign=Summer+Sun&token=tok-old&x=tok-new&y=2";
    let shown = [("authorization", "Bearer tok-new"), ("x-campaign", "a"), ("x-other", "b"), ("cookie", "c=d")];
    let reply = gateway.send(by(Method::POST, uri, &shown)).await;
    let header = gateway.entry(&reply).await.header;
    assert_eq!((header.query.as_str(), header.method.as_str()), ("campaign=Summer+Sun&y=2", ""));
    let kept: Vec<_> = header.headers.iter().map(|header| (&*header.name, &*header.value)).collect();
    assert_eq!(kept, [("x-campaign", "a")]);
    let bytes = String::from_utf8_lossy(&header.encode_to_vec()).into_owned();
    assert!(!bytes.contains("tok-") && !bytes.contains("c=d"), "{bytes}");

    let capture = with(post("/capture/?ip=1&moehog_token=t&api_key=phc_eu", TUTORIAL), "x-campaign", "a");
    let header = gateway.entry(&gateway.send(capture).await).await.header;
    assert_eq!((header.query.as_str(), header.headers.len(), header.keyed), ("ip=1", 1, false));
}

#[tokio::test]
async fn an_entry_of_a_source_that_keeps_nothing_has_the_bytes_that_it_had() {
    let gateway = Setup::default().start();
    let request = with(post("/capture/", TUTORIAL), "idempotency-key", "order-7");
    let mut header = gateway.entry(&gateway.send(with(request, "x-campaign", "a")).await).await.header;
    // all fields that moehog 0.1 knew
    let last = 12_u32;
    header.routed = vec![Default::default()];
    let (mut bytes, mut tags) = (&header.encode_to_vec()[..], Vec::new());
    while !bytes.is_empty() {
        let (tag, wire_type) = prost::encoding::decode_key(&mut bytes).unwrap();
        tags.push(tag);
        prost::encoding::skip_field(wire_type, tag, &mut bytes, Default::default()).unwrap();
    }
    assert!(tags.iter().all(|tag| *tag <= last) && tags.contains(&last), "{tags:?}");
}

#[tokio::test]
async fn a_get_that_shows_a_token_is_taken_with_its_query_for_a_body() {
    let gateway = setup().start();
    for shown in ["Bearer tok-new", "tok-old"] {
        let reply = gateway.send(by(Method::GET, &format!("/v1/in/shop?{QUERY}"), &[("authorization", shown)])).await;
        let entry = gateway.entry(&reply).await;
        assert_eq!((entry.header.method.as_str(), entry.header.query.as_str(), entry.body.len()), ("GET", QUERY, 0));
        assert_eq!(reply.headers["cache-control"], "no-store");
    }
    assert_eq!(gateway.taken(), 2);
}

#[tokio::test]
async fn a_get_that_shows_none_has_no_effect_and_tells_a_stranger_nothing_of_what_there_is() {
    let gateway = setup().start();
    let right = [("authorization", "Bearer tok-new")];
    let wrong = [("authorization", "Bearer wrong")];
    for (method, uri, shown, refusal) in [
        (Method::GET, "/v1/in/shop", &[][..], (405, "method_not_allowed")),
        (Method::GET, "/v1/in/open", &[], (405, "method_not_allowed")),
        (Method::GET, "/v1/in/nowhere", &[], (405, "method_not_allowed")),
        (Method::GET, "/capture/", &right, (405, "method_not_allowed")),
        (Method::HEAD, "/v1/in/shop", &right, (405, "method_not_allowed")),
        (Method::PUT, "/v1/in/shop", &right, (405, "method_not_allowed")),
        // nothing signs a query
        (Method::GET, "/v1/in/signed", &right, (405, "method_not_allowed")),
        (Method::GET, "/v1/in/shop", &wrong, (401, "token_wrong")),
        (Method::GET, "/v1/in/signed", &wrong, (401, "token_wrong")),
        // whose secret it is knows what there is
        (Method::GET, "/v1/in/nowhere", &right, (404, "unknown_source")),
    ] {
        let uri = format!("{uri}?{QUERY}");
        for forwarded in [None, Some(("via", "1.1 proxy"))] {
            let shown: Vec<_> = shown.iter().copied().chain(forwarded).collect();
            let reply = gateway.send(by(method.clone(), &uri, &shown)).await;
            assert_eq!(reply.refusal(), refusal, "{method} {uri} {shown:?}");
        }
    }
    assert_eq!(gateway.taken(), 0);
}

#[tokio::test]
async fn a_source_without_a_token_is_none_to_a_stranger_whose_get_shows_something() {
    let gateway = setup().start();
    let stranger = [("authorization", "Bearer wrong"), ("via", "1.1 proxy")];
    for uri in ["/v1/in/open?event=a", "/v1/in/nowhere?event=a"] {
        assert_eq!(gateway.send(by(Method::GET, uri, &stranger)).await.refusal(), (401, "token_wrong"), "{uri}");
    }
    assert_eq!(gateway.taken(), 0);
}

#[tokio::test]
async fn one_right_authorization_among_several_is_enough() {
    let gateway = setup().start();
    for lines in [["Bearer wrong", "Bearer tok-new"], ["Bearer tok-new", "Basic d3Jvbmc6d3Jvbmc="]] {
        let request = lines.iter().fold(post("/v1/in/shop", "{}"), |it, line| with(it, "authorization", line));
        assert_eq!(gateway.send(request).await.status, 200, "{lines:?}");
    }
    let wrong = ["Bearer wrong", "Bearer tok"]
        .iter()
        .fold(post("/v1/in/shop", "{}"), |it, line| with(it, "authorization", line));
    assert_eq!(gateway.send(wrong).await.refusal(), (401, "token_wrong"));
}

#[tokio::test]
async fn a_body_in_any_coding_is_kept_as_it_came_and_its_key_found() {
    let gateway = setup().start();
    for filler in [0, 100_000] {
        let plain = format!(r#"{{"noise":"{}","token":"phc_us"}}"#, support::noise(filler));
        let row = coded(Coding::Zstd, &coded(Coding::Brotli, plain.as_bytes()));
        let bodies = Coding::ALL.map(|coding| (coding.name(), coded(coding, plain.as_bytes())));
        for (said, body) in bodies.into_iter().chain([("br, zstd", row), ("br", plain.clone().into_bytes())]) {
            let reply = gateway.send(with(post("/batch/", body.clone()), "content-encoding", said)).await;
            let entry = gateway.entry(&reply).await;
            assert_eq!((entry.body, entry.header.destination.as_str()), (Bytes::from(body), "us"), "{said}");
            assert_eq!(entry.header.content_encoding, said);
        }
    }
}
