//! Who may send, asked over sockets: what they show, where they come from, and what many failures change.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod doubles;
mod running;
mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use running::{CLIENT, PROXY, Running, basic};
use support::{Setup, TUTORIAL, gzip, post, with};
use tokio::time::Instant;

const OK: &str = "203.0.113.7";
const BAD: &str = "198.51.100.4";
const RIGHT: (&str, &str) = ("authorization", "Bearer tok-right");
const WRONG: (&str, &str) = ("authorization", "Bearer tok-wrong");

#[tokio::test]
async fn a_user_and_a_password_are_taken_and_both_schemes_are_asked_for() {
    let gateway = Running::start().await;
    for pair in ["moengage:pass-old", "moengage:pass-new"] {
        assert_eq!(gateway.ask(CLIENT, "/v1/in/shop", &[("authorization", &basic(pair))]).await.status, 200, "{pair}");
    }
    let refused = gateway.ask(CLIENT, "/v1/in/shop", &[("authorization", &basic("moengage:pass"))]).await;
    assert_eq!(refused.is(), (401, "token_wrong"));
    let asked: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(asked, ["Bearer", r#"Basic realm="moehog""#]);
    assert!(refused.text.contains("its `basic`"), "{}", refused.text);
    assert_eq!(gateway.ask(CLIENT, "/v1/in/shop", &[]).await.is(), (401, "token_missing"));
    assert_eq!(gateway.taken(), 2);
}

#[tokio::test]
async fn an_address_is_the_peers_or_what_a_trusted_proxy_saw_and_never_what_a_client_says() {
    let gateway = Running::start().await;
    for (from, lines, seen) in [
        (PROXY, &[OK][..], None),
        (PROXY, &["203.0.113.7:40000"], None),
        (PROXY, &["198.51.100.4, 203.0.113.7"], None),
        (PROXY, &[BAD, "203.0.113.7, 10.0.0.3"], None),
        (PROXY, &["::ffff:203.0.113.7", "10.0.0.3"], None),
        // through the proxy, but from elsewhere, whatever else the client claims
        (PROXY, &[BAD], Some(BAD)),
        (PROXY, &["203.0.113.7, 198.51.100.4"], Some(BAD)),
        (PROXY, &[OK, BAD], Some(BAD)),
        (PROXY, &[OK, OK, "198.51.100.4, 10.0.0.3"], Some(BAD)),
        (PROXY, &["203.0.113.7, [2001:db8::7]:443"], Some("2001:db8::7")),
        (PROXY, &["203.0.113.7, unknown"], Some("127.0.0.9 does not tell")),
        (PROXY, &["203.0.113.7, "], Some("127.0.0.9 does not tell")),
        (PROXY, &[], Some(PROXY)),
        // past the proxy
        (CLIENT, &[OK], Some(CLIENT)),
        (CLIENT, &[OK, "10.0.0.3"], Some(CLIENT)),
        (CLIENT, &[], Some(CLIENT)),
    ] {
        let mut headers = vec![RIGHT];
        headers.extend(lines.iter().map(|line| ("x-forwarded-for", *line)));
        let answer = gateway.ask(from, "/v1/in/far", &headers).await;
        match seen {
            None => assert_eq!(answer.status, 200, "{from} {lines:?}: {}", answer.text),
            Some(seen) => {
                assert_eq!(answer.is(), (403, "address_not_allowed"), "{from} {lines:?}");
                for says in [seen, "sources.far.from", "http.trusted_proxies"] {
                    assert!(answer.text.contains(says), "{from} {lines:?}: {}", answer.text);
                }
            }
        }
    }
    assert_eq!(gateway.taken(), 5);
    let wrong = gateway.ask(CLIENT, "/v1/in/far", &[WRONG]).await;
    assert_eq!(wrong.is(), (401, "token_wrong"));
    assert!(!wrong.text.contains(CLIENT), "{}", wrong.text);
}

#[tokio::test]
async fn a_source_with_addresses_alone_takes_whoever_has_one() {
    let gateway = Running::start().await;
    assert_eq!(gateway.ask(CLIENT, "/v1/in/near", &[]).await.status, 200);
    let refused = gateway.ask("127.0.0.3", "/v1/in/near", &[]).await;
    assert_eq!(refused.is(), (401, "token_missing"), "nobody learns that there is such a source");
    assert!(refused.text.contains("its `from`") && !refused.text.contains("127.0.0.3"), "{}", refused.text);
}

#[tokio::test]
async fn after_twenty_failures_a_further_one_is_429_and_a_right_request_of_the_same_address_is_taken() {
    let gateway = Running::start().await;
    for _ in 0..20 {
        assert_eq!(gateway.ask(CLIENT, "/v1/in/shop", &[WRONG]).await.is(), (401, "token_wrong"));
    }
    for (path, headers) in [("/v1/in/shop", &[WRONG][..]), ("/v1/in/shop", &[]), ("/v1/in/far", &[RIGHT])] {
        let answer = gateway.ask(CLIENT, path, headers).await;
        assert_eq!(answer.is(), (429, "too_many_failures"), "{path}");
        assert_eq!(answer.headers["retry-after"], "60");
        assert!(!answer.headers.contains_key("www-authenticate"), "{path}");
    }
    assert_eq!(gateway.ask(CLIENT, "/nothing", &[]).await.is(), (404, "unknown_path"));
    assert_eq!(gateway.ask(CLIENT, "/v1/in/shop", &[RIGHT]).await.status, 200);
    assert_eq!(gateway.ask(CLIENT, "/v1/in/near", &[]).await.status, 200);
    assert_eq!(gateway.ask("127.0.0.3", "/v1/in/shop", &[WRONG]).await.is(), (401, "token_wrong"));
}

#[tokio::test]
async fn failures_through_a_trusted_proxy_are_counted_by_the_client_that_it_saw() {
    let gateway = Running::start().await;
    let wrong = |client: &'static str| [WRONG, ("x-forwarded-for", client)];
    for _ in 0..20 {
        assert_eq!(gateway.ask(PROXY, "/v1/in/shop", &wrong("198.51.100.4")).await.status, 401);
    }
    assert_eq!(gateway.ask(PROXY, "/v1/in/shop", &wrong("203.0.113.7, 198.51.100.4")).await.status, 429);
    assert_eq!(gateway.ask(PROXY, "/v1/in/shop", &wrong("198.51.100.5")).await.status, 401);
    // past the proxy nobody counts as somebody else
    assert_eq!(gateway.ask(CLIENT, "/v1/in/shop", &wrong("198.51.100.4")).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn failures_are_forgotten_after_a_minute() {
    let gateway = Setup::default().start();
    let wrong = || with(post("/v1/in/shop", "{}"), "authorization", "Bearer wrong");
    for _ in 0..20 {
        assert_eq!(gateway.send(wrong()).await.status, 401);
    }
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(gateway.send(wrong()).await.refusal(), (429, "too_many_failures"));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(gateway.send(wrong()).await.refusal(), (401, "token_wrong"));
}

#[tokio::test]
async fn a_wrong_project_key_is_a_failure_like_a_wrong_token() {
    let gateway = Setup::default().start();
    let wrong = || post("/capture/", r#"{"api_key":"phc_nobody"}"#);
    for _ in 0..20 {
        assert_eq!(gateway.send(wrong()).await.refusal(), (401, "api_key_unknown"));
    }
    assert_eq!(gateway.send(wrong()).await.refusal(), (429, "too_many_failures"));
    assert_eq!(gateway.send(post("/capture/", TUTORIAL)).await.status, 200);
    // what is wrong with a request that may be sent is told as ever
    let encoded = with(post("/capture/", TUTORIAL), "content-encoding", "compress");
    assert_eq!(gateway.send(encoded).await.refusal(), (415, "unknown_content_encoding"));
}

#[tokio::test(start_paused = true)]
async fn whatever_strangers_are_refused_for_they_are_answered_late_once_it_was_often() {
    let too_large = vec![b' '; 33 * 1024 * 1024];
    let bomb = || with(post("/capture/", gzip(&too_large)), "content-encoding", "gzip");
    let unreadable = || with(post("/capture/", "{}"), "content-encoding", "compress");
    let wrong_key = || post("/capture/", r#"{"api_key":"phc_nobody"}"#);
    let wrong_token = || with(post("/v1/in/shop", "{}"), "authorization", "Bearer wrong");
    type Makes<'a> = &'a dyn Fn() -> Request<Full<Bytes>>;
    let all: [(Makes<'_>, (u16, &str)); 5] = [
        (&|| post("/nothing", "{}"), (404, "unknown_path")),
        (&unreadable, (415, "unknown_content_encoding")),
        (&bomb, (413, "body_too_large")),
        (&wrong_key, (429, "too_many_failures")),
        (&wrong_token, (429, "too_many_failures")),
    ];
    for (request, told) in all {
        let gateway = Setup::default().start();
        let took = async |request| {
            let asked = Instant::now();
            let reply = gateway.send(request).await;
            (reply.refusal().0, reply.refusal().1.to_string(), asked.elapsed().as_secs())
        };
        for _ in 0..20 {
            assert_eq!(took(post("/nothing", "{}")).await, (404, "unknown_path".into(), 0));
        }
        assert_eq!(took(request()).await, (told.0, told.1.into(), 1));
        let asked = Instant::now();
        assert_eq!(gateway.send(post("/capture/", TUTORIAL)).await.status, 200);
        let known = with(post("/v1/in/shop", too_large.clone()), "authorization", "Bearer tok-new");
        assert_eq!(gateway.send(known).await.refusal(), (413, "body_too_large"));
        assert_eq!(asked.elapsed().as_secs(), 0, "who is right waits for nothing");
    }
}

#[tokio::test]
async fn the_body_of_one_failure_among_many_is_not_read_to_its_end() {
    let gateway = Setup::default().start();
    for _ in 0..20 {
        assert_eq!(gateway.send(post("/v1/in/shop", "{}")).await.status, 401);
    }
    let (pieces, request) = support::streamed("/v1/in/shop");
    let (reply, read) = tokio::join!(gateway.send(request), async move {
        let mut read = 0;
        while read < 10_000_000 && pieces.send(vec![b'x'; 1000].into()).await.is_ok() {
            read += 1000;
        }
        read
    });
    assert_eq!(reply.refusal(), (429, "too_many_failures"));
    assert!((60_000..70_000).contains(&read), "{read} bytes were read");
    assert_eq!(reply.headers["connection"], "close", "a proxy must send no other request after it");
    let small = gateway.send(post("/v1/in/shop", "{}")).await;
    assert!(!small.headers.contains_key("connection"), "{:?}", small.headers);
}
