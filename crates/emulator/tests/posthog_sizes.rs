//! Sizes: of bodies on the wire, once decompressed, and of events as the records they become.

mod client;

use client::{call, event, gzip, post, start};
use http::Method;
use moehog_emulator::posthog::Config;
use serde_json::{Value, json};

fn sized(bytes: usize) -> Value {
    event(json!({"properties": {"text": "a".repeat(bytes)}}))
}

fn batch(events: &[Value]) -> String {
    json!({"api_key": "phc_a", "batch": events}).to_string()
}

#[tokio::test]
async fn an_event_is_measured_as_the_record_it_becomes() {
    let posthog = start(Config::default());
    assert_eq!(post(&posthog, "/e/", sized(990_000).to_string()).await.status, 200, "plain text hardly grows");
    let many_keys: serde_json::Map<_, _> = (0..77_000).map(|n| (format!("k{n:05}"), json!(n % 10))).collect();
    let short = event(json!({"properties": many_keys})).to_string();
    assert!(short.len() < 900_000, "{}", short.len());
    let answer = post(&posthog, "/e/", short).await;
    assert_eq!(answer.status, 413, "each quote is escaped once more");
    assert!(answer.body.starts_with("maximum event size exceeded"), "{}", answer.body);
    let escapes = format!(
        r#"{{"api_key":"phc_a","event":"a","distinct_id":"u","properties":{{"t":"{}"}}}}"#,
        "\\u00e9".repeat(340_000)
    );
    assert!(escapes.len() > 2_000_000);
    assert_eq!(post(&posthog, "/e/", escapes).await.status, 200, "six bytes become two");
}

#[tokio::test]
async fn the_name_of_an_event_counts_where_the_record_repeats_it() {
    let long = |bytes: usize| event(json!({"event": "n".repeat(bytes)})).to_string();
    let (new, old) = (start(Config::default()), start(Config::of_2024()));
    for (posthog, bytes, status) in
        [(&new, 330_000, 200), (&new, 340_000, 413), (&old, 340_000, 200), (&old, 999_800, 400)]
    {
        assert_eq!(post(posthog, "/e/", long(bytes)).await.status, status, "{bytes}");
    }
}

#[tokio::test]
async fn an_oversized_event_lets_those_before_it_land_and_none_behind_it() {
    for (config, status) in [(Config::default(), 413), (Config::of_2024(), 400)] {
        let posthog = start(config);
        let (first, last) = (event(json!({"event": "first"})), event(json!({"event": "last"})));
        let answer = post(&posthog, "/batch/", batch(&[first, sized(1_050_000), last])).await;
        assert_eq!(answer.status, status);
        assert!(answer.body.starts_with("maximum event size exceeded"), "{}", answer.body);
        let names: Vec<_> = posthog.books().arrivals().iter().map(|event| event.event.clone()).collect();
        assert_eq!(names, ["first"]);
    }
}

#[tokio::test]
async fn a_body_over_the_wire_cap_is_a_413_today_and_a_reset_on_an_older_server() {
    let (new, old) = (start(Config::default()), start(Config::of_2024()));
    let five: Vec<_> = (0..10).map(|_| sized(500_000)).collect();
    assert_eq!(post(&new, "/batch/", batch(&five)).await.status, 200);
    assert_eq!(new.books().counts().arrivals, 10);
    assert!(call(&old, Method::POST, "/batch/").body(batch(&five)).send().await.is_err());
    assert_eq!(old.books().counts().arrivals, 0);

    let large: Vec<_> = (0..50).map(|_| sized(500_000)).collect();
    let answer = post(&new, "/batch/", batch(&large)).await;
    assert_eq!((answer.status, new.books().counts().arrivals), (413, 10));
    // compressed it is small on the wire
    for posthog in [&new, &old] {
        assert_eq!(post(posthog, "/batch/", gzip(batch(&five).as_bytes())).await.status, 200);
    }
    assert_eq!((new.books().counts().arrivals, old.books().counts().arrivals), (20, 10));
}

#[tokio::test]
async fn the_wire_cap_can_be_set_and_holds_to_the_byte() {
    let body = event(json!({})).to_string();
    for (cap, status) in [(body.len(), 200), (body.len() - 1, 413)] {
        let posthog = start(Config { max_body_bytes: cap, ..Config::default() });
        assert_eq!(post(&posthog, "/e/", body.clone()).await.status, status);
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_refused() {
    let posthog = start(Config { max_decoded_bytes: 1 << 20, ..Config::default() });
    let bomb = gzip(&vec![b' '; 8 << 20]);
    assert_eq!(post(&posthog, "/e/", bomb).await.status, 413);
}

#[tokio::test]
async fn a_sender_that_stalls_in_its_body_is_told_so() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let posthog = start(Config { stall: std::time::Duration::from_millis(50), ..Config::default() });
    let mut stream = tokio::net::TcpStream::connect(posthog.addr()).await.unwrap();
    stream.write_all(b"POST /e/ HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"api_key\"").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with("client stopped sending data"), "{answer}");
}
