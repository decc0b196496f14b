use http::{HeaderName, HeaderValue};

use super::*;
use crate::{Config, ingest::auth::Senders};

const HERE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs =
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    pairs.collect()
}

fn senders(destinations: &[(&str, Option<&str>)], allow_local: bool, before: &[&str]) -> Senders {
    senders_with(destinations, allow_local, before, &[])
}

fn senders_with(destinations: &[(&str, Option<&str>)], allow_local: bool, before: &[&str], tokens: &[&str]) -> Senders {
    let mut config: Config = moehog_runtime::load(Config::DEFAULTS, None, []).unwrap();
    config.http.allow_local = allow_local;
    config.capture.tokens = tokens.iter().map(|token| Secret::from((*token).to_string())).collect();
    config.destinations = destinations
        .iter()
        .map(|(name, key)| {
            let api_key = key.map(|key| Secret::from(key.to_string()));
            ((*name).to_string(), config::Destination { api_key, ..config::Destination::default() })
        })
        .collect();
    Senders::new(&config, before.iter().map(ToString::to_string))
}

fn admit_capture(senders: &Senders, uri: &'static str, shown: &[(&'static str, &str)]) -> Result<Standing, Refusal> {
    senders.capture.admit(Origin { peer: HERE, trusted: &[] }, &Uri::from_static(uri), &headers(shown))
}

#[test]
fn a_key_picks_its_destination_and_no_other_is_taken() {
    let capture = senders(&[("eu", Some("phc_eu")), ("us", Some("phc_us")), ("later", None)], true, &[]).capture;
    assert_eq!(capture.destination(Some("phc_eu")).as_deref(), Ok("eu"));
    assert_eq!(capture.destination(Some("phc_us")).as_deref(), Ok("us"));
    assert_eq!(capture.destination(Some("phc_u")), Err(Refusal::KeyUnknown));
    assert_eq!(capture.destination(Some("phx_mine")), Err(Refusal::KeyMalformed));
    assert_eq!(capture.destination(None), Err(Refusal::KeyMissing));
}

#[tokio::test(start_paused = true)]
async fn without_a_destination_this_machine_may_send_with_eight_keys_at_a_time() {
    let senders = senders(&[("default", None)], true, &["phc_before"]);
    let capture = &senders.capture;
    for key in 1..8 {
        let key = format!("phc_{key}");
        assert_eq!(capture.destination(Some(&key)), Ok(format!("key:{key}")));
    }
    assert_eq!(capture.destination(Some("phc_8")), Err(Refusal::TooManyKeys));
    assert_eq!(capture.destination(Some("phx_personal")), Err(Refusal::KeyMalformed));
    tokio::time::advance(std::time::Duration::from_secs(500)).await;
    assert_eq!(capture.destination(Some("phc_3")).as_deref(), Ok("key:phc_3"));
    tokio::time::advance(std::time::Duration::from_secs(101)).await;
    // those that nobody came with give their places
    for key in ["phc_8", "phc_3", "phc_before"] {
        assert_eq!(capture.destination(Some(key)), Ok(format!("key:{key}")));
    }
    assert_eq!(admit_capture(&senders, "/capture/", &[("host", "localhost")]), Ok(Standing::Stranger));
    for shown in [("host", "moehog.example.com"), ("origin", "https://evil.example")] {
        assert_eq!(admit_capture(&senders, "/capture/", &[shown]), Err(Refusal::KeyNotConfigured), "{shown:?}");
    }
}

#[test]
fn without_a_destination_nobody_may_capture_unless_it_is_allowed() {
    let senders = senders(&[], false, &[]);
    assert_eq!(admit_capture(&senders, "/capture/", &[("host", "localhost")]), Err(Refusal::KeyNotConfigured));
    assert_eq!(senders.capture.destination(Some("phc_a")), Err(Refusal::KeyNotConfigured));
    assert_eq!(senders.capture.destination(None), Err(Refusal::KeyNotConfigured));
}

#[test]
fn a_token_of_the_capture_paths_is_shown_in_a_header_or_in_the_query() {
    let senders = senders_with(&[("eu", Some("phc_eu"))], false, &[], &["tok&n of capture"]);
    let admit = |uri, shown: &[(&'static str, &str)]| admit_capture(&senders, uri, shown);
    assert_eq!(admit("/capture/", &[("x-moehog-token", "tok&n of capture")]), Ok(Standing::Secret));
    assert_eq!(admit("/capture/?v=1&moehog_token=tok%26n+of+capture", &[]), Ok(Standing::Secret));
    assert_eq!(admit("/capture/?moehog_token=x&moehog_token=tok%26n%20of%20capture", &[]), Ok(Standing::Secret));
    assert_eq!(admit("/capture/?moehog_token=x", &[("x-moehog-token", "tok&n of capture")]), Ok(Standing::Secret));
    for (uri, shown) in [("/capture/?moehog_token=tok", &[][..]), ("/capture/", &[("x-moehog-token", "tok")])] {
        assert_eq!(admit(uri, shown), Err(Refusal::TokenWrong), "{uri}");
    }
    assert_eq!(admit("/capture/?token=tok%26n+of+capture", &[]), Err(Refusal::TokenMissing), "that is a project key's");
    let help = senders.capture.help(Refusal::TokenMissing);
    assert!(help.remedy.is_some_and(|remedy| remedy.contains("?moehog_token=TOKEN")), "{:?}", help.field);
}

#[test]
fn a_project_key_before_the_body_is_seen() {
    let senders = senders(&[("eu", Some("phc_eu")), ("us", Some("phc_us"))], false, &[]);
    let admit = |uri, shown: &[(&'static str, &str)]| admit_capture(&senders, uri, shown);
    for (uri, shown) in [
        ("/capture/?api_key=phc_us", &[][..]),
        ("/e/?ip=1&token=phc_eu", &[]),
        ("/capture/", &[("authorization", "Bearer phc_eu")]),
    ] {
        assert_eq!(admit(uri, shown), Ok(Standing::Key), "{uri} {shown:?}");
    }
    for (uri, shown) in [("/capture/?api_key=phc_u", &[][..]), ("/capture/", &[("authorization", "phc_eu")])] {
        assert_eq!(admit(uri, shown), Ok(Standing::Stranger), "{uri} {shown:?}");
    }
}

#[test]
fn a_project_key_is_seen_in_a_body_that_still_comes() {
    let capture = senders(&[("eu", Some("phc_eu"))], false, &[]).capture;
    let seen = |pieces: &[&str]| {
        let mut watch = KeyWatch::new(&capture, &HeaderMap::new());
        let seen: Vec<_> = pieces.iter().map(|piece| watch.finds(piece.as_bytes())).collect();
        (seen, watch.key(pieces.concat().as_bytes()))
    };
    let key = Some("phc_eu".to_string());
    assert_eq!(
        seen(&["{\"api_k", "ey\":\"phc_eu\",", "\"event\":\"e\"}"]),
        (vec![Ok(false), Ok(true), Ok(false)], key.clone())
    );
    assert_eq!(
        seen(&["{\"event\":\"e\",", "\"token\":\"phc_eu\"}"]),
        (vec![Ok(false), Ok(false)], key.clone()),
        "at the end only"
    );
    assert_eq!(seen(&["{\"api_key\":\"phc_x\",", "more"]).0, [Err(Refusal::KeyUnknown), Ok(false)]);
    // what may be gzip says nothing, and what is not after all is looked at when it is all here
    assert_eq!(seen(&["\u{1f}", "{\"api_key\":\"phc_eu\"}"]), (vec![Ok(false), Ok(false)], key));
}
