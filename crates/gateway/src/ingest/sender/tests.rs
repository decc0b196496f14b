use http::HeaderValue;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn headers<T: AsRef<[u8]>>(lines: &[T]) -> HeaderMap {
    let line = |line: &T| (FORWARDED_FOR, HeaderValue::from_bytes(line.as_ref()).unwrap());
    lines.iter().map(line).collect()
}

/// From 10.1.2.3 with these lines, where 10.0.0.0/8 and fd00::/8 are proxies.
fn through_a_proxy(lines: &[&str]) -> Option<String> {
    found("10.1.2.3", lines)
}

fn found(peer: &str, lines: &[&str]) -> Option<String> {
    let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    address(peer.parse().unwrap(), &trusted, &headers(lines)).map(|address| address.to_string())
}

#[test]
fn a_peer_that_is_no_trusted_proxy_is_the_sender_whatever_it_says() {
    for peer in ["203.0.113.7", "11.0.0.1", "2001:db8::7", "fc00::1"] {
        for lines in
            [&[][..], &["52.6.248.125"], &["10.0.0.1"], &["52.6.248.125, 10.0.0.1", "10.0.0.2"], &["rubbish"], &[""]]
        {
            assert_eq!(found(peer, lines).as_deref(), Some(peer), "{lines:?}");
        }
    }
    assert_eq!(found("::ffff:203.0.113.7", &["52.6.248.125"]).as_deref(), Some("203.0.113.7"));
}

#[test]
fn what_a_client_writes_itself_is_to_the_left_of_what_the_proxy_adds_and_does_not_count() {
    for lines in [
        &["203.0.113.7"][..],
        &["52.6.248.125, 203.0.113.7"],
        &["52.6.248.125,203.0.113.7"],
        &["52.6.248.125 ,\t203.0.113.7 "],
        &["52.6.248.125", "203.0.113.7"],
        &["52.6.248.125, 10.0.0.9, 203.0.113.7"],
        &["rubbish, 203.0.113.7"],
        &["203.0.113.7, 10.0.0.9"],
        &["52.6.248.125, 203.0.113.7, 10.0.0.9", "10.0.0.8, fd00::1"],
        &["52.6.248.125, 203.0.113.7", "[fd00::1]:443, 10.0.0.8:80"],
    ] {
        assert_eq!(through_a_proxy(lines).as_deref(), Some("203.0.113.7"), "{lines:?}");
    }
    assert_eq!(found("::ffff:10.1.2.3", &["203.0.113.7"]).as_deref(), Some("203.0.113.7"));
}

#[test]
fn where_all_are_trusted_the_leftmost_is_the_sender() {
    assert_eq!(through_a_proxy(&[]).as_deref(), Some("10.1.2.3"));
    assert_eq!(through_a_proxy(&["10.0.0.7"]).as_deref(), Some("10.0.0.7"));
    assert_eq!(through_a_proxy(&["10.0.0.7, 10.0.0.8", "10.0.0.9"]).as_deref(), Some("10.0.0.7"));
}

#[test]
fn an_address_may_have_a_port_and_brackets() {
    for (written, read) in [
        ("203.0.113.7:54321", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ] {
        assert_eq!(through_a_proxy(&[written]).as_deref(), Some(read), "{written}");
    }
}

#[test]
fn what_is_no_address_where_the_sender_should_stand_makes_it_unknown() {
    for written in [
        "",
        " ",
        "unknown",
        "_hidden",
        "203.0.113",
        "203.0.113.7.8",
        "203.0.113.256",
        "203.0.113.7:",
        "203.0.113.7:99999",
        "203.0.113.7:80:80",
        "[203.0.113.7]",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]443",
        "2001:db8:::7",
        "fe80::1%eth0",
        "\"203.0.113.7\"",
        "for=203.0.113.7",
        "203.0.113.7;10.0.0.1",
        "203.0.113.7 10.0.0.1",
        "localhost",
        "0x7f.1",
        "127.1",
    ] {
        assert_eq!(through_a_proxy(&[written]), None, "{written}");
        assert_eq!(through_a_proxy(&[&format!("52.6.248.125, {written}")]), None, "{written}");
        assert_eq!(through_a_proxy(&["52.6.248.125", &format!("{written}, 10.0.0.9")]), None, "{written}");
    }
    let no_text = headers(&[&b"52.6.248.125, \xff\xfe"[..]]);
    assert_eq!(address("10.0.0.1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()], &no_text), None);
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    // many of them near each other, so that blocks are hit
    prop_oneof![
        any::<IpAddr>(),
        select(vec!["10.0.0.1", "10.9.9.9", "11.0.0.1", "::ffff:10.0.0.1", "fd00::1", "::1"])
            .prop_map(|text| text.parse().unwrap()),
    ]
}

fn any_block() -> impl Strategy<Value = Block> {
    (any_address(), 0_u32..=128).prop_map(|(address, prefix)| {
        let prefix = if address.is_ipv4() { prefix % 33 } else { prefix };
        format!("{}/{prefix}", crate::addresses::first_of(address, prefix)).parse().unwrap()
    })
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let sendable =
        |bytes: Vec<u8>| bytes.into_iter().filter(|byte| HeaderValue::from_bytes(&[*byte]).is_ok()).collect();
    let rubbish = vec(any::<u8>(), 0..40).prop_map(sendable);
    let alphabet = select(b"0123456789abcdef.:,[]% \t".to_vec());
    let listed = vec(any_address(), 0..4)
        .prop_map(|addresses| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ").into_bytes());
    prop_oneof![rubbish, vec(alphabet, 0..40), listed]
}

proptest! {
    #[test]
    fn an_untrusted_peer_is_always_the_sender(
        peer in any_address(),
        trusted in vec(any_block(), 0..4),
        lines in vec(any_line(), 0..4),
    ) {
        let sender = address(peer, &trusted, &headers(&lines));
        if trusted.iter().all(|block| !block.contains(peer)) {
            prop_assert_eq!(sender, Some(peer.to_canonical()));
        }
    }

    #[test]
    fn nothing_that_a_client_sends_through_a_trusted_proxy_changes_who_it_is(
        client in any_address(),
        proxy in any_block(),
        spoofed in vec(any_line(), 0..4),
    ) {
        prop_assume!(!proxy.contains(client));
        let peer: IpAddr = proxy.to_string().split('/').next().unwrap().parse().unwrap();
        // a proxy adds to the last line, or a line of its own
        let mut added = spoofed.clone();
        added.push(client.to_string().into_bytes());
        prop_assert_eq!(address(peer, &[proxy], &headers(&added)), Some(client.to_canonical()));
        let joined = [spoofed.join(&b", "[..]), client.to_string().into_bytes()].join(&b", "[..]);
        prop_assert_eq!(address(peer, &[proxy], &headers(&[joined])), Some(client.to_canonical()));
    }
}
