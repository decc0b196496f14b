//! What a gzip bomb costs. In a process of its own: the memory of other tests would be counted too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use moehog_gateway::Http;
use support::{Setup, gzip, post, with};

#[tokio::test]
async fn a_gzip_bomb_is_413_and_holds_no_memory() {
    // small limits, since a debug build inflates slowly
    let http = Http { max_body_bytes: 2 * 1024 * 1024, ..support::http() };
    let gateway = Setup { http, ..Setup::default() }.start();
    let bomb = gzip(&vec![b' '; 20 * 1024 * 1024]);
    assert!(bomb.len() < 40_000);
    let rss = rss_bytes();
    for _ in 0..5 {
        let request = with(post("/v1/in/shop", bomb.clone()), "authorization", "Bearer tok-new");
        assert_eq!(gateway.send(with(request, "content-encoding", "gzip")).await.refusal(), (413, "body_too_large"));
    }
    let grown = rss_bytes().saturating_sub(rss);
    assert!(grown < 4 * 1024 * 1024, "{grown} bytes more");
    assert_eq!(gateway.taken(), 0);
}

fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
