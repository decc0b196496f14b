use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue};

use moehog_runtime::Secret;

use super::*;
use crate::config::Basic;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs =
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    pairs.collect()
}

fn secret(text: &str) -> Secret {
    text.to_string().into()
}

fn source(tokens: &[&str], header: &'static str) -> Source {
    source_with(tokens, header, &[], None)
}

fn source_with(tokens: &[&str], header: &'static str, basic: &[(&str, &str)], from: Option<&[&str]>) -> Source {
    let user = |(user, password): &(&str, &str)| Basic { user: (*user).to_string(), password: secret(password) };
    let list = |items: &[&str]| items.iter().map(ToString::to_string).collect::<Vec<_>>().try_into().unwrap();
    let config = config::Source {
        tokens: tokens.iter().map(|token| secret(token)).collect(),
        header: HeaderName::from_static(header),
        basic: basic.iter().map(user).collect(),
        from: from.map(list),
        ..config::Source::default()
    };
    Source::new("shop".into(), &config, true)
}

fn admit(source: &Source, shown: &[(&'static str, &str)]) -> Result<(), Refusal> {
    admit_from(source, HERE, shown)
}

fn admit_from(source: &Source, peer: IpAddr, shown: &[(&'static str, &str)]) -> Result<(), Refusal> {
    source.admit(Origin { peer, trusted: &[] }, &Uri::from_static("/v1/in/shop"), &headers(shown)).map(drop)
}

/// The value of `Authorization` for a user and a password.
fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
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
    let written_out = source(&["Basic dXNlcjpwYXNz"], "authorization");
    assert_eq!(admit(&written_out, &[("authorization", "Basic dXNlcjpwYXNz")]), Ok(()));
    let custom = source(&["secret"], "x-moengage-key");
    assert_eq!(admit(&custom, &[("x-moengage-key", "secret")]), Ok(()));
    assert_eq!(admit(&custom, &[("x-moengage-key", "Bearer secret")]), Err(Refusal::TokenWrong));
    // that it looks at another header is nobody's to know
    assert_eq!(admit(&custom, &[("authorization", "Bearer secret")]), Err(Refusal::TokenWrong));
}

#[test]
fn without_a_token_only_this_machine_may_send_and_only_where_that_is_allowed() {
    let source = source(&[], "authorization");
    let closed = Source { allow_local: false, ..source_with(&[], "authorization", &[], None) };
    assert_eq!(admit(&closed, &[("host", "localhost:8080")]), Err(Refusal::NotLocal), "and is told what to do");
    assert_eq!(admit(&closed, &[("host", "moehog.example.com")]), Err(Refusal::TokenMissing));
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
        &[("host", "localhost"), ("referer", "https://evil.example/page")],
        &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
        &[("host", "localhost"), ("fly-client-ip", "1.2.3.4")],
        &[("host", "localhost"), ("x-client-ip", "1.2.3.4")],
        &[("host", "localhost"), ("x-envoy-external-address", "1.2.3.4")],
        &[("host", "localhost"), ("x-original-forwarded-for", "1.2.3.4")],
        &[("host", "localhost"), ("fastly-client-ip", "1.2.3.4")],
        &[("host", "localhost"), ("x-azure-clientip", "1.2.3.4")],
    ] {
        assert_eq!(admit(&source, shown), Err(Refusal::TokenMissing), "{shown:?}");
    }
    for (peer, expected) in [("10.0.0.1", Err(Refusal::TokenMissing)), ("::1", Ok(())), ("::ffff:127.0.0.1", Ok(()))] {
        assert_eq!(admit_from(&source, peer.parse().unwrap(), &[("host", "localhost")]), expected, "{peer}");
    }
}

#[test]
fn a_user_is_taken_with_its_own_password_and_with_no_other() {
    let source =
        source_with(&[], "authorization", &[("moengage", "new:er"), ("moengage", "older"), ("partner", "päss")], None);
    for pair in ["moengage:new:er", "moengage:older", "partner:päss"] {
        assert_eq!(admit(&source, &[("authorization", &basic(pair))]), Ok(()), "{pair}");
    }
    let encoded = STANDARD.encode("moengage:older");
    for value in
        [format!("basic  {encoded}"), format!("BASIC {encoded} "), format!("Basic {}", encoded.trim_end_matches('='))]
    {
        assert_eq!(admit(&source, &[("authorization", &value)]), Ok(()), "{value}");
    }
    let wrong = [
        "moengage:new",
        "moengage:newer",
        "moengage:er",
        "moengage",
        "moengage:",
        ":older",
        "older",
        "",
        ":",
        "Moengage:older",
        "partner:older",
        "moengage:päss",
        "moengage:older ",
        "xmoengage:older",
        "moengage:older\0",
    ];
    let wrong = wrong.map(basic).into_iter().chain(
        [format!("Bearer {encoded}"), encoded.clone(), "Basic".into(), "Basic ".into(), "Basic moengage:older".into()]
            .into_iter()
            .chain([
                format!("Basic {encoded}x"),
                format!("Basic{encoded}"),
                "Basic ====".into(),
                "Bearer older".into(),
            ]),
    );
    for value in wrong {
        assert_eq!(admit(&source, &[("authorization", &value)]), Err(Refusal::TokenWrong), "{value}");
    }
    assert_eq!(admit(&source, &[("x-token", "moengage:older")]), Err(Refusal::TokenMissing));
    // on its own machine too: a secret is a secret
    assert_eq!(admit(&source, &[("host", "localhost")]), Err(Refusal::TokenMissing));
}

#[test]
fn a_source_with_tokens_and_users_takes_either() {
    let one_header = source_with(&["secret"], "authorization", &[("moengage", "pass")], None);
    for value in ["Bearer secret", "secret", &basic("moengage:pass")] {
        assert_eq!(admit(&one_header, &[("authorization", value)]), Ok(()), "{value}");
    }
    for value in ["Bearer pass", "Basic secret", &basic("secret"), &basic("moengage:secret"), "Bearer moengage:pass"] {
        assert_eq!(admit(&one_header, &[("authorization", value)]), Err(Refusal::TokenWrong), "{value}");
    }
    let two_headers = source_with(&["secret"], "x-key", &[("moengage", "pass")], None);
    let pair = basic("moengage:pass");
    for shown in [&[("x-key", "secret")][..], &[("authorization", &pair)], &[("x-key", "no"), ("authorization", &pair)]]
    {
        assert_eq!(admit(&two_headers, shown), Ok(()), "{shown:?}");
    }
    assert_eq!(admit(&two_headers, &[("x-key", "no")]), Err(Refusal::TokenWrong));
    assert_eq!(admit(&two_headers, &[("authorization", "Bearer secret")]), Err(Refusal::TokenWrong));
    assert_eq!(admit(&two_headers, &[("x-other", "secret")]), Err(Refusal::TokenMissing));
}

#[test]
fn every_header_that_is_shown_is_looked_at() {
    let source = source_with(&["secret"], "authorization", &[("moengage", "pass")], None);
    let pair = basic("moengage:pass");
    for right in ["Bearer secret", &pair] {
        for shown in [[right, "Bearer wrong"], ["Bearer wrong", right]] {
            assert_eq!(admit(&source, &shown.map(|value| ("authorization", value))), Ok(()), "{shown:?}");
        }
    }
    let wrong = ["Bearer wrong", "Basic wrong"].map(|value| ("authorization", value));
    assert_eq!(admit(&source, &wrong), Err(Refusal::TokenWrong));
}

#[test]
fn a_stranger_is_told_the_same_of_every_source_and_of_none() {
    let sources = [
        ("token", source(&["secret"], "authorization")),
        ("header", source(&["secret"], "x-key")),
        ("user", source_with(&[], "authorization", &[("moengage", "pass")], None)),
        ("address", source_with(&[], "authorization", &[], Some(&["192.0.2.0/24"]))),
        ("closed", Source { allow_local: false, ..source_with(&[], "authorization", &[], None) }),
    ];
    let sources: HashMap<_, _> = sources.into_iter().map(|(name, source)| (name.to_string(), source)).collect();
    let senders = Senders { sources, ..Senders::new(&defaults(), []) };
    let stranger: IpAddr = "198.51.100.7".parse().unwrap();
    let origin = Origin { peer: stranger, trusted: &[] };
    for shown in
        [&[("host", "moehog.example.com")][..], &[("host", "moehog.example.com"), ("authorization", "Bearer x")]]
    {
        let of_none = senders.unknown(origin, &Uri::from_static("/v1/in/none"), &headers(shown));
        for (name, source) in &senders.sources {
            assert_eq!(admit_from(source, stranger, shown), Err(of_none), "{name}");
            let help = source.help(of_none, origin, &HeaderMap::new());
            assert!(help.remedy.is_none() && help.field.is_none(), "{name}");
        }
    }
    let knows = headers(&[("authorization", "Bearer secret")]);
    let path = Uri::from_static("/v1/in/none");
    assert_eq!(
        senders.unknown(origin, &path, &knows),
        Refusal::UnknownSource,
        "whose token is right and whose path is not"
    );
    let here = Origin { peer: HERE, trusted: &[] };
    let senders = Senders { allow_local: true, ..senders };
    assert_eq!(
        senders.unknown(here, &path, &headers(&[("host", "localhost")])),
        Refusal::UnknownSource,
        "who is trusted"
    );
}

#[test]
fn an_address_is_asked_for_besides_the_secret() {
    let source = source_with(&["secret"], "authorization", &[], Some(&["192.0.2.0/24", "moengage:dc-02"]));
    let from = |peer: &str, token: &str| admit_from(&source, peer.parse().unwrap(), &[("authorization", token)]);
    for peer in ["192.0.2.9", "::ffff:192.0.2.9", "18.195.110.23"] {
        assert_eq!(from(peer, "secret"), Ok(()), "{peer}");
        assert_eq!(from(peer, "wrong"), Err(Refusal::TokenWrong), "{peer}");
    }
    for peer in ["192.0.3.9", "18.195.110.24", "127.0.0.1", "2001:db8::1"] {
        assert_eq!(from(peer, "secret"), Err(Refusal::AddressNotAllowed), "{peer}");
        // who does not know the secret does not learn that addresses are looked at
        assert_eq!(from(peer, "wrong"), Err(Refusal::TokenWrong), "{peer}");
    }
}

#[test]
fn without_a_secret_the_address_alone_decides() {
    let source = source_with(&[], "authorization", &[], Some(&["192.0.2.0/24"]));
    let from = |peer: &str| admit_from(&source, peer.parse().unwrap(), &[("host", "moehog.example.com")]);
    assert_eq!(from("192.0.2.9"), Ok(()));
    assert_eq!(from("192.0.3.9"), Err(Refusal::TokenMissing));
    let here = admit(&source, &[("host", "localhost")]);
    assert_eq!(here, Err(Refusal::TokenMissing), "this machine is not among the addresses");
}

#[test]
fn the_address_that_was_seen_is_told_to_who_showed_the_secret() {
    let trusted: [Block; 1] = ["10.0.0.0/8".parse().unwrap()];
    let remedy = |source: &Source, shown: &[(&'static str, &str)]| {
        let origin = Origin { peer: "10.0.0.1".parse().unwrap(), trusted: &trusted };
        source.help(Refusal::AddressNotAllowed, origin, &headers(shown)).remedy.unwrap_or_default().into_owned()
    };
    let with_secret = source_with(&["secret"], "authorization", &[], Some(&["192.0.2.1"]));
    let seen = remedy(&with_secret, &[("x-forwarded-for", "192.0.2.1, 203.0.113.7")]);
    for says in ["add 203.0.113.7", "sources.shop.from", "http.trusted_proxies"] {
        assert!(seen.contains(says), "{seen}");
    }
    let unknown = remedy(&with_secret, &[("x-forwarded-for", "unknown")]);
    assert!(unknown.contains("10.0.0.1 does not tell in X-Forwarded-For"), "{unknown}");
}

#[test]
fn there_is_one_source_without_a_configuration() {
    let senders = Senders::new(&defaults(), []);
    assert_eq!(senders.source("default").map(|source| source.destination.as_str()), Some("default"));
    assert!(senders.source("shop").is_none());
}

fn defaults() -> Config {
    moehog_runtime::load(Config::DEFAULTS, None, []).unwrap()
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
    let (token, new_token) = in_file(&directory, "token", "old-token");
    let source =
        Source::new("shop".into(), &config::Source { tokens: vec![token], ..config::Source::default() }, false);
    assert_eq!(admit(&source, &[("authorization", "Bearer old-token")]), Ok(()));
    new_token("new-token");
    assert_eq!(admit(&source, &[("authorization", "Bearer new-token")]), Ok(()));
    assert_eq!(admit(&source, &[("authorization", "Bearer old-token")]), Err(Refusal::TokenWrong));

    let (password, new_password) = in_file(&directory, "password", "old-word");
    let user = Basic { user: "moengage".into(), password };
    let source = Source::new("shop".into(), &config::Source { basic: vec![user], ..config::Source::default() }, false);
    assert_eq!(admit(&source, &[("authorization", &basic("moengage:old-word"))]), Ok(()));
    new_password("new-word");
    assert_eq!(admit(&source, &[("authorization", &basic("moengage:new-word"))]), Ok(()));
    assert_eq!(admit(&source, &[("authorization", &basic("moengage:old-word"))]), Err(Refusal::TokenWrong));

    let (key, new_key) = in_file(&directory, "key", "phc_the_old");
    let mut config = defaults();
    config
        .destinations
        .insert("eu".to_string(), config::Destination { api_key: Some(key), ..config::Destination::default() });
    let capture = Senders::new(&config, []).capture;
    assert_eq!(capture.destination(Some("phc_the_old")).as_deref(), Ok("eu"));
    new_key("phc_the_new");
    assert_eq!(capture.destination(Some("phc_the_new")).as_deref(), Ok("eu"));
    assert_eq!(capture.destination(Some("phc_the_old")), Err(Refusal::KeyUnknown));
}
