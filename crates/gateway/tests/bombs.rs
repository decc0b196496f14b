//! What a bomb costs in each coding. In a process of its own: the memory of other tests would be counted too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use moehog_coding::{Coding, made::coded};
use moehog_gateway::Http;
use support::{Setup, post, with};

#[tokio::test]
async fn a_bomb_is_413_and_holds_no_memory_but_its_window() {
    // small limits, since a debug build inflates slowly
    let http = Http { max_body_bytes: 2 * 1024 * 1024, ..support::http() };
    let gateway = Setup { http, ..Setup::default() }.start();
    let plain = vec![b' '; 20 * 1024 * 1024];
    let nested = coded(Coding::Gzip, &coded(Coding::Brotli, &plain));
    let bombs = Coding::ALL.map(|coding| (coding.name(), coded(coding, &plain)));
    drop(plain);
    for (said, bomb) in bombs.into_iter().chain([("br, gzip", nested)]) {
        assert!(bomb.len() < 40_000, "{said}");
        let send = async || {
            for _ in 0..5 {
                let request = with(post("/v1/in/shop", bomb.clone()), "authorization", "Bearer tok-new");
                let reply = gateway.send(with(request, "content-encoding", said)).await;
                assert_eq!(reply.refusal(), (413, "body_too_large"), "{said}");
            }
        };
        let rss = rss_bytes();
        send().await;
        let grown = rss_bytes().saturating_sub(rss);
        // the windows of br and zstd, which the allocator may keep
        let window = if said.contains("br") || said == "zstd" { 24 } else { 0 };
        assert!(grown < (4 + window) * 1024 * 1024, "{said}: {grown} bytes more");
        let rss = rss_bytes();
        send().await;
        let grown = rss_bytes().saturating_sub(rss);
        assert!(grown < 4 * 1024 * 1024, "{said}: {grown} bytes more when it came again");
    }
    assert_eq!(gateway.taken(), 0);
}

fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
