//! Deadlines, hang-ups and bounds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::Full;
use moehog_gateway::Http;
use moehog_journal::{Journal, memory::Appends};
use support::{Setup, TUTORIAL, gzip, post, with};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_not_durable_in_time_is_503_within_two_seconds_and_absent() {
    let gateway = Setup::default().start();
    gateway.journal.set_appends(Appends::Hang);
    let sent = Instant::now();
    let reply = gateway.send(post("/capture/", TUTORIAL)).await;
    assert_eq!(reply.refusal(), (503, "not_durable_in_time"));
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
    assert_eq!(reply.headers["retry-after"], "1");
    gateway.journal.set_appends(Appends::Work);
    assert!(gateway.lane("capture", "eu").await.is_empty());
    assert_eq!(gateway.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_runs_from_the_last_byte() {
    let gateway = Setup::default().start();
    gateway.journal.set_appends(Appends::Hang);
    let (pieces, request) = support::streamed("/capture/");
    let (reply, last) = tokio::join!(gateway.send(request), async move {
        pieces.send(Bytes::from_static(&TUTORIAL.as_bytes()[..50])).await.unwrap();
        sleep(Duration::from_secs(8)).await;
        pieces.send(Bytes::from_static(&TUTORIAL.as_bytes()[50..])).await.unwrap();
        Instant::now()
    });
    assert_eq!(reply.refusal(), (503, "not_durable_in_time"));
    let after = last.elapsed();
    assert!(after >= Duration::from_millis(1700) && after < Duration::from_secs(2), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_408() {
    let gateway = Setup::default().start();
    let (pieces, request) = support::streamed("/capture/");
    let sent = Instant::now();
    pieces.send(Bytes::from_static(b"{\"api_key\"")).await.unwrap();
    let reply = gateway.send(request).await;
    assert_eq!(reply.refusal(), (408, "body_stalled"));
    assert_eq!(reply.headers["connection"], "close");
    assert!(sent.elapsed() < Duration::from_secs(12), "{:?}", sent.elapsed());
    drop(pieces);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_408_in_the_end() {
    let gateway = Setup::default().start();
    let (pieces, request) = support::streamed("/capture/");
    let sent = Instant::now();
    let (reply, ()) = tokio::join!(gateway.send(request), async move {
        for _ in 0..60 {
            if pieces.send(Bytes::from_static(b" ")).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(5)).await;
        }
    });
    assert_eq!(reply.refusal(), (408, "body_stalled"));
    assert!(sent.elapsed() <= Duration::from_secs(130), "{:?}", sent.elapsed());
}

#[tokio::test]
async fn a_sender_that_hangs_up_cancels_nothing() {
    // small and plain: appended by the request itself; large and compressed: by a task of its own
    let large = gzip(format!(r#"{{"api_key":"phc_eu","noise":"{}"}}"#, support::noise(50_000)).as_bytes());
    assert!(large.len() > 4096);
    for body in [Bytes::from_static(TUTORIAL.as_bytes()), large.into()] {
        let gateway = Setup::default().start();
        gateway.journal.set_appends(Appends::Hang);
        let request = post("/capture/", body.clone());
        // hangs up at the first moment that it would have to wait
        assert!(gateway.send(request).now_or_never().is_none());
        gateway.journal.set_appends(Appends::Work);
        let durable = tokio::time::timeout(Duration::from_secs(5), gateway.journal.grown(0)).await;
        assert_eq!(durable, Ok(Some(1)));
        assert_eq!(gateway.lane("capture", "eu").await[0].body, body);
    }
}

#[tokio::test]
async fn bodies_held_at_once_are_bounded_and_the_rest_told_to_come_back() {
    let bytes = TUTORIAL.len();
    let http =
        Http { max_held_bytes: 2 * bytes + bytes / 2, append_deadline: Duration::from_millis(300), ..support::http() };
    let gateway = Setup { http, ..Setup::default() }.start();
    gateway.journal.set_appends(Appends::Hang);
    let send = || gateway.send(post("/capture/", TUTORIAL));
    let (first, second, third) = tokio::join!(send(), send(), send());
    assert_eq!(first.refusal(), (503, "not_durable_in_time"));
    assert_eq!(second.refusal(), (503, "not_durable_in_time"));
    assert_eq!(third.refusal(), (503, "overloaded"));
    gateway.journal.set_appends(Appends::Work);
    // what was held is given back
    for _ in 0..5 {
        assert_eq!(send().await.status, 200);
    }
}

#[tokio::test]
async fn requests_under_way_at_once_are_bounded() {
    let http = Http { max_in_flight: 1, ..support::http() };
    let gateway = Setup { http, ..Setup::default() }.start();
    let (pieces, slow) = support::streamed("/capture/");
    let (slow, quick) = tokio::join!(gateway.send(slow), async {
        let refused = gateway.send(post("/capture/", TUTORIAL)).await;
        pieces.send(Bytes::from_static(TUTORIAL.as_bytes())).await.unwrap();
        drop(pieces);
        refused
    });
    assert_eq!(quick.refusal(), (503, "overloaded"));
    assert_eq!(slow.status, 200);
    assert_eq!(gateway.send(post("/capture/", TUTORIAL)).await.status, 200);
}

#[tokio::test]
async fn a_large_body_of_a_neighbour_keeps_nobody_waiting() {
    let gateway = Setup::default().start();
    let large = vec![b' '; 4 * 1024 * 1024];
    let compressed = gzip(&large);
    let neighbours: Vec<_> = (0..8)
        .map(|_| {
            let request = with(post("/v1/in/shop", compressed.clone()), "authorization", "Bearer tok-new");
            let ingest = gateway.ingest.clone();
            tokio::spawn(async move { ingest.handle(support::LOOPBACK.parse().unwrap(), request).await.status() })
        })
        .collect();
    for _ in 0..20 {
        let sent = Instant::now();
        let small: http::Request<Full<Bytes>> = post("/capture/", TUTORIAL);
        assert_eq!(gateway.send(small).await.status, 200);
        assert!(sent.elapsed() < Duration::from_millis(500), "{:?}", sent.elapsed());
        tokio::task::yield_now().await;
    }
    for neighbour in neighbours {
        // taken, or told to come back: never late
        assert!(matches!(neighbour.await.unwrap().as_u16(), 200 | 503));
    }
}
