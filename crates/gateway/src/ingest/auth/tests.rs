use http::HeaderValue;

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs =
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    pairs.collect()
}

fn source(tokens: &[&str], header: &'static str) -> Source {
    let config = config::Source {
        tokens: tokens.iter().map(|token| Secret::from((*token).to_string())).collect(),
        header: HeaderName::from_static(header),
        ..config::Source::default()
    };
    Source::new("shop".into(), &config)
}

fn admit(source: &Source, shown: &[(&'static str, &str)]) -> Result<(), Refusal> {
    source.admit(HERE, &Uri::from_static("/v1/in/shop"), &headers(shown))
}

#[test]
fn a_bearer_token_is_taken_with_and_without_its_scheme() {
    let source = source(&["secret", "older"], "authorization");
    for value in ["Bearer secret", "bearer  secret", "secret", "Bearer older"] {
        assert_eq!(admit(&source, &[("authorization", value)]), Ok(()), "{value}");
    }
    for value in ["Bearer secre", "Bearer secrets", "Basic secret", "", "Bearer ", "Bearer SECRET"] {
        assert_eq!(admit(&source, &[("authorization", value)]), Err(Refusal::TokenWrong), "{value}");
    }
    assert_eq!(admit(&source, &[("x-token", "secret")]), Err(Refusal::TokenMissing));
}

#[test]
fn a_static_header_is_compared_as_it_stands() {
    let basic = source(&["Basic dXNlcjpwYXNz"], "authorization");
    assert_eq!(admit(&basic, &[("authorization", "Basic dXNlcjpwYXNz")]), Ok(()));
    let custom = source(&["secret"], "x-moengage-key");
    assert_eq!(admit(&custom, &[("x-moengage-key", "secret")]), Ok(()));
    assert_eq!(admit(&custom, &[("x-moengage-key", "Bearer secret")]), Err(Refusal::TokenWrong));
    assert_eq!(admit(&custom, &[("authorization", "Bearer secret")]), Err(Refusal::TokenMissing));
}

#[test]
fn without_a_token_only_this_machine_may_send() {
    let source = source(&[], "authorization");
    assert_eq!(admit(&source, &[("host", "localhost:8080")]), Ok(()));
    assert_eq!(admit(&source, &[("host", "127.0.0.1")]), Ok(()));
    assert_eq!(admit(&source, &[("host", "[::1]:8080"), ("origin", "http://localhost:3000")]), Ok(()));
    for shown in [
        &[][..],
        &[("host", "moehog.example.com")],
        &[("host", "localhost"), ("x-forwarded-for", "1.2.3.4")],
        &[("host", "localhost"), ("x-forwarded-host", "a")],
        &[("host", "localhost"), ("forwarded", "for=1.2.3.4")],
        &[("host", "localhost"), ("via", "1.1 proxy")],
        &[("host", "localhost"), ("x-real-ip", "1.2.3.4")],
        &[("host", "localhost"), ("origin", "https://evil.example")],
        &[("host", "localhost"), ("origin", "null")],
    ] {
        assert_eq!(admit(&source, shown), Err(Refusal::NotLocal), "{shown:?}");
    }
    let uri = Uri::from_static("/v1/in/shop");
    for (peer, expected) in [("10.0.0.1", Err(Refusal::NotLocal)), ("::1", Ok(())), ("::ffff:127.0.0.1", Ok(()))] {
        assert_eq!(source.admit(peer.parse().unwrap(), &uri, &headers(&[("host", "localhost")])), expected, "{peer}");
    }
}

fn senders(destinations: &[(&str, Option<&str>)], loopback: bool, before: &[&str]) -> Senders {
    let destinations = destinations.iter().map(|(name, key)| {
        let api_key = key.map(|key| Secret::from(key.to_string()));
        ((*name).to_string(), config::Destination { api_key, host: None })
    });
    Senders::new(&BTreeMap::new(), &destinations.collect(), loopback, before.iter().map(ToString::to_string))
}

#[test]
fn a_key_picks_its_destination_and_no_other_is_taken() {
    let senders = senders(&[("eu", Some("phc_eu")), ("us", Some("phc_us")), ("later", None)], true, &[]);
    assert_eq!(senders.destination(Some("phc_eu")).as_deref(), Ok("eu"));
    assert_eq!(senders.destination(Some("phc_us")).as_deref(), Ok("us"));
    assert_eq!(senders.destination(Some("phc_u")), Err(Refusal::KeyUnknown));
    assert_eq!(senders.destination(Some("phx_mine")), Err(Refusal::KeyMalformed));
    assert_eq!(senders.destination(None), Err(Refusal::KeyMissing));
}

#[test]
fn without_a_destination_a_loopback_listener_takes_eight_keys() {
    let senders = senders(&[("default", None)], true, &["phc_before"]);
    for key in 1..8 {
        let key = format!("phc_{key}");
        assert_eq!(senders.destination(Some(&key)), Ok(format!("key:{key}")));
    }
    assert_eq!(senders.destination(Some("phc_8")), Err(Refusal::TooManyKeys));
    assert_eq!(senders.destination(Some("phc_before")).as_deref(), Ok("key:phc_before"));
    assert_eq!(senders.destination(Some("phc_3")).as_deref(), Ok("key:phc_3"));
    assert_eq!(senders.destination(Some("phx_personal")), Err(Refusal::KeyMalformed));
}

#[test]
fn without_a_destination_a_public_listener_takes_no_key() {
    let senders = senders(&[], false, &[]);
    assert_eq!(senders.destination(Some("phc_a")), Err(Refusal::KeyNotConfigured));
    assert_eq!(senders.destination(None), Err(Refusal::KeyNotConfigured));
}

#[test]
fn there_is_one_source_without_a_configuration() {
    let senders = senders(&[], true, &[]);
    assert_eq!(senders.source("default").map(|source| source.destination.as_str()), Some("default"));
    assert!(senders.source("shop").is_none());
    assert!(senders.paths.contains("/v1/in/default") && senders.paths.contains("/capture/"), "{}", senders.paths);
}

/// A secret in a file, and a function that puts another value there and has it read again.
fn in_file(directory: &tempfile::TempDir, name: &str, value: &str) -> (Secret, impl Fn(&str)) {
    let file = directory.path().join(name);
    std::fs::write(&file, value).unwrap();
    let secret = Secret::read(&file).unwrap();
    let again = secret.clone();
    (secret, move |value: &str| {
        std::fs::write(&file, value).unwrap();
        again.read_again().unwrap();
    })
}

#[test]
fn a_token_and_a_key_that_are_read_again_count_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (token, new_token) = in_file(&directory, "token", "old");
    let source = Source::new("shop".into(), &config::Source { tokens: vec![token], ..config::Source::default() });
    assert_eq!(admit(&source, &[("authorization", "Bearer old")]), Ok(()));
    new_token("new");
    assert_eq!(admit(&source, &[("authorization", "Bearer new")]), Ok(()));
    assert_eq!(admit(&source, &[("authorization", "Bearer old")]), Err(Refusal::TokenWrong));

    let (key, new_key) = in_file(&directory, "key", "phc_old");
    let destinations = BTreeMap::from([("eu".to_string(), config::Destination { api_key: Some(key), host: None })]);
    let senders = Senders::new(&BTreeMap::new(), &destinations, true, []);
    assert_eq!(senders.destination(Some("phc_old")).as_deref(), Ok("eu"));
    new_key("phc_new");
    assert_eq!(senders.destination(Some("phc_new")).as_deref(), Ok("eu"));
    assert_eq!(senders.destination(Some("phc_old")), Err(Refusal::KeyUnknown));
}
