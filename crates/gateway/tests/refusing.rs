//! What is refused, with which status, and that nothing of it is stored.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use moehog_gateway::Http;
use moehog_journal::memory::Appends;
use support::{Setup, TUTORIAL, gzip, post, with};

#[tokio::test]
async fn each_refusal_has_its_status_and_code_and_says_what_to_do() {
    let gateway = Setup::default().start();
    let shop = |header: &'static str, value: &str| with(post("/v1/in/shop", "{}"), header, value);
    let get = |path: &str| Request::get(path).header("host", "localhost").body(Full::<Bytes>::default()).unwrap();
    let cases = [
        (post("/", "{}"), 404, "unknown_path", "path"),
        (get("/nothing"), 404, "unknown_path", "path"),
        (post("/flags/?v=2", r#"{"token":"phc_eu"}"#), 404, "asked_of_posthog", "path"),
        (get("/array/phc_eu/config.js"), 404, "asked_of_posthog", "path"),
        (post("/v1/in/shopp", "{}"), 404, "unknown_source", "path"),
        (with(post("/v1/in/shopp", "{}"), "via", "1.1 proxy"), 401, "token_missing", "authorization"),
        (with(post("/v1/in/shopp", "{}"), "authorization", "Bearer tok-new"), 404, "unknown_source", "path"),
        (get("/capture/"), 405, "method_not_allowed", "method"),
        (get("/v1/in/shop"), 405, "method_not_allowed", "method"),
        (post("/v1/in/shop", "{}"), 401, "token_missing", "authorization"),
        (shop("authorization", "Bearer wrong"), 401, "token_wrong", "authorization"),
        (with(post("/v1/in/open", "{}"), "x-forwarded-for", "1.2.3.4"), 401, "token_missing", "authorization"),
        (post("/capture/", r#"{"event":"e"}"#), 401, "api_key_missing", "api_key"),
        (post("/capture/", ""), 401, "api_key_missing", "api_key"),
        (post("/capture/", r#"{"api_key":"phc_nobody"}"#), 401, "api_key_unknown", "api_key"),
        (post("/capture/", r#"{"api_key":"phx_personal"}"#), 401, "api_key_malformed", "api_key"),
        (
            with(post("/capture/", TUTORIAL), "content-encoding", "compress"),
            415,
            "unknown_content_encoding",
            "content-encoding",
        ),
        (
            with(post("/capture/", TUTORIAL), "content-encoding", "gzip, br, gzip, zstd"),
            415,
            "unknown_content_encoding",
            "content-encoding",
        ),
    ];
    for (request, status, code, field) in cases {
        let what = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        let reply = gateway.send(request).await;
        assert_eq!(reply.refusal(), (status, code), "{what}");
        assert_eq!(reply.json["field"], field, "{what}");
        for text in ["message", "remedy"] {
            assert!(reply.json[text].as_str().is_some_and(|text| !text.is_empty()), "{what}: {}", reply.json);
        }
        let all = reply.json.to_string();
        for another in ["--", "POSTHOG_", "MOEHOG_TOKEN"] {
            assert!(!all.contains(another), "{what}: only the one process reads {another}: {all}");
        }
        for secret in ["tok-", "phc_eu", "phc_us", "phc_nobody"] {
            assert!(!all.contains(secret), "{what}: {all}");
        }
        assert_eq!(reply.headers.contains_key("allow"), status == 405, "{what}");
    }
    assert_eq!(gateway.taken(), 0);
}

#[tokio::test]
async fn a_refusal_says_where_to_look_and_nothing_of_which_sources_there_are() {
    let gateway = Setup::default().start();
    let remedy = |reply: &support::Reply| reply.json["remedy"].as_str().unwrap().to_string();
    let from_afar = async |path: &str| gateway.send_from("192.0.2.7", post(path, "{}")).await;
    let (of_none, of_one) = (from_afar("/v1/in/typo").await, from_afar("/v1/in/shop").await);
    assert_eq!((of_none.refusal(), &of_none.json), (of_one.refusal(), &of_one.json));
    let token = remedy(&of_one);
    assert!(token.contains("Authorization: Bearer TOKEN") && token.contains("sources.NAME"), "{token}");
    let typo = gateway.send(with(post("/v1/in/typo", "{}"), "authorization", "Bearer tok-new")).await;
    assert_eq!(typo.refusal(), (404, "unknown_source"), "whose token is right is told");
    assert_eq!(from_afar("/v1/in/open").await.json, of_one.json);
    for path in ["/", "/v1/in/", "/v2/in/shop", "/decided/"] {
        let lost = gateway.send(post(path, "{}")).await;
        assert!(lost.refusal() == (404, "unknown_path") && !lost.json.to_string().contains("shop"), "{}", lost.json);
    }
    let setup = Setup { http: support::http(), ..Setup::default() };
    let closed = setup.start().send(post("/v1/in/open", "{}")).await;
    assert_eq!(closed.refusal(), (401, "token_not_configured"));
    assert!(remedy(&closed).starts_with("set sources.open.tokens to a token, "), "{}", remedy(&closed));
}

#[tokio::test]
async fn without_a_destination_no_capture_is_taken() {
    let setup = Setup { http: support::http(), destinations: [].into(), ..Setup::default() };
    let reply = setup.start().send(post("/capture/", TUTORIAL)).await;
    assert_eq!(reply.refusal(), (401, "no_destination_configured"));
    assert_eq!(reply.json["remedy"], "configure the destinations: set destinations.NAME.api_key");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_announced_streamed_or_decompressed() {
    let setup = Setup { http: Http { max_body_bytes: 2000, ..support::http() }, ..Setup::default() };
    let gateway = setup.start();
    let body = |bytes: usize| format!(r#"{{"api_key":"phc_eu","text":"{}"}}"#, "x".repeat(bytes - 30));
    assert_eq!(gateway.send(post("/capture/", body(2000))).await.status, 200);
    assert_eq!(gateway.send(post("/capture/", body(2001))).await.refusal(), (413, "body_too_large"));
    assert_eq!(gateway.send(post("/capture/", gzip(body(2000).as_bytes()))).await.status, 200);
    assert_eq!(gateway.send(post("/capture/", gzip(body(2001).as_bytes()))).await.refusal(), (413, "body_too_large"));
    let (pieces, request) = support::streamed("/capture/");
    let (reply, ()) = tokio::join!(gateway.send(request), async move {
        for piece in body(2001).into_bytes().chunks(100) {
            // what comes after the refusal is read and forgotten
            pieces.send(Bytes::copy_from_slice(piece)).await.unwrap();
        }
    });
    assert_eq!(reply.refusal(), (413, "body_too_large"));
    assert_eq!(gateway.taken(), 2);
}

#[tokio::test]
async fn what_the_journal_cannot_take_is_503_with_a_time_to_come_back() {
    let gateway = Setup::default().start();
    for (appends, code, after) in [(Appends::Full, "journal_full", "30"), (Appends::Fail, "disk_failed", "5")] {
        gateway.journal.set_appends(appends);
        let reply = gateway.send(post("/capture/", TUTORIAL)).await;
        assert_eq!(reply.refusal(), (503, code));
        assert_eq!(reply.headers["retry-after"], after);
    }
    gateway.journal.set_appends(Appends::Work);
    assert_eq!(gateway.send(post("/capture/", TUTORIAL)).await.status, 200);
    moehog_journal::Journal::close(&*gateway.journal).await;
    let reply = gateway.send(post("/capture/", TUTORIAL)).await;
    assert_eq!(reply.refusal(), (503, "stopping"));
    assert_eq!(
        (&reply.headers["retry-after"], &reply.headers["connection"]),
        (&"1".parse().unwrap(), &"close".parse().unwrap())
    );
}

#[tokio::test]
async fn a_fault_in_one_request_is_a_500_for_it_alone() {
    let gateway = Setup::default().start();
    let frames =
        futures::stream::poll_fn(|_| -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
            panic!("on purpose")
        });
    let request = Request::post("/v1/in/open").header("host", "localhost");
    let request = request.body(http_body_util::StreamBody::new(frames)).unwrap();
    assert_eq!(gateway.send(with(request, "expect", "100-continue")).await.refusal(), (500, "internal"));
    assert_eq!(gateway.send(post("/capture/", TUTORIAL)).await.status, 200);
}
