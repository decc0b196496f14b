//! Every row of the probe of PostHog's capture server (hog-rs, 2024-06-21, on loopback), and where today's differs.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod client;

use base64::{Engine, engine::general_purpose::STANDARD};
use client::{call, event, get, gzip, post, start};
use http::Method;
use moehog_emulator::posthog::{Config, Keys};
use serde_json::{Value, json};

const PARSE: &str = "failed to parse request";

/// Posts to `/e/` of today's server and of 2024's; says the answer of each.
async fn both(body: impl Into<bytes::Bytes>) -> [(u16, String); 2] {
    let body = body.into();
    let mut answers = Vec::new();
    for config in [Config::default(), Config::of_2024()] {
        let posthog = start(config);
        let answer = post(&posthog, "/e/", body.clone()).await;
        let stored = posthog.books().counts().arrivals;
        assert!(answer.status == 200 || stored == 0, "{} events stored under a {}", stored, answer.status);
        answers.push((answer.status, answer.body));
    }
    answers.try_into().unwrap()
}

async fn both_say(body: impl Into<bytes::Bytes>, status: u16, words: &str) {
    let body = body.into();
    for (got, text) in both(body.clone()).await {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        assert_eq!(got, status, "{shown}: {text}");
        assert!(text.contains(words), "{shown}: {text}");
    }
}

async fn both_take(changes: Value) {
    both_say(event(changes).to_string(), 200, r#"{"status":"Ok"}"#).await;
}

#[tokio::test]
async fn the_tutorials_bodies_are_taken_as_they_are_even_with_their_placeholders() {
    let posthog = start(Config::default());
    for body in [
        json!({"api_key": "<ph_project_api_key>", "event": "moengage_event_name", "distinct_id": "{{user_id}}",
            "properties": {"source": "moengage", "campaign_name": "{{campaign_name}}", "email": "{{email}}"}}),
        json!({"api_key": "<ph_project_api_key>", "event": "$identify", "distinct_id": "{{user_id}}",
            "$set": {"email": "{{email}}"}}),
    ] {
        for path in ["/e/", "/e", "/batch/", "/batch", "/i/v0/e", "/i/v0/e/", "/capture/", "/track", "/engage/"] {
            let answer = post(&posthog, path, body.to_string()).await;
            assert_eq!((answer.status, &*answer.body), (200, r#"{"status":"Ok"}"#), "{path}");
            assert_eq!(answer.content_type, "application/json");
        }
    }
    assert_eq!(posthog.books().counts().arrivals, 18);
}

#[tokio::test]
async fn an_older_server_knows_fewer_routes() {
    let (old, new) = (start(Config::of_2024()), start(Config::default()));
    for path in ["/capture/", "/track/", "/engage/"] {
        assert_eq!(post(&old, path, event(json!({})).to_string()).await.status, 404, "{path}");
        assert_eq!(post(&new, path, event(json!({})).to_string()).await.status, 200, "{path}");
    }
    let answer = post(&old, "/i/v1/analytics/events", event(json!({})).to_string()).await;
    assert_eq!((answer.status, &*answer.body), (404, ""));
    for posthog in [&old, &new] {
        assert_eq!(post(posthog, "/elsewhere", "{}").await.status, 404);
        assert_eq!(call(posthog, Method::PUT, "/e/").body("{}").send().await.unwrap().status, 405);
        for path in ["/", "/_readiness"] {
            assert_eq!((get(posthog, path).await.status, &*get(posthog, path).await.body), (200, "capture"));
        }
        assert_eq!(get(posthog, "/_liveness").await.status, 200);
    }
}

#[tokio::test]
async fn a_batch_an_array_and_compressed_bodies_are_taken() {
    let batch = json!({"api_key": "phc_a", "batch": [event(json!({})), event(json!({"event": "b"}))]}).to_string();
    both_say(batch.clone(), 200, "Ok").await;
    both_say(json!([event(json!({})), event(json!({}))]).to_string(), 200, "Ok").await;
    both_say(gzip(batch.as_bytes()), 200, "Ok").await;
    for config in [Config::default(), Config::of_2024()] {
        let posthog = start(config);
        let gzipped = gzip(batch.as_bytes());
        for (path, header) in
            [("/e/", "gzip"), ("/e/?compression=gzip-js&ver=1.2", "identity"), ("/e/?compression=gzip", "")]
        {
            let request = call(&posthog, Method::POST, path).header("content-encoding", header).body(gzipped.clone());
            assert_eq!(request.send().await.unwrap().status, 200, "{path}");
        }
        assert_eq!(posthog.books().counts().arrivals, 6);
        let form = format!("data={}", STANDARD.encode(&batch).replace('+', "%2B").replace('=', "%3D"));
        let form_type = ("content-type", "application/x-www-form-urlencoded");
        let request = call(&posthog, Method::POST, "/e/").header(form_type.0, form_type.1).body(form);
        assert_eq!(request.send().await.unwrap().status, 200);
        let query = format!("/e/?data={}", STANDARD.encode(&batch).replace('+', "%2B"));
        assert_eq!(get(&posthog, &query).await.status, 200);
        let request = call(&posthog, Method::POST, "/e/").header("content-type", "text/plain").body(batch.clone());
        assert_eq!(request.send().await.unwrap().status, 200);
        assert_eq!(posthog.books().counts().arrivals, 12);
        let lz64 = post(&posthog, "/e/?compression=lz64", batch.clone()).await;
        assert_eq!(lz64.status, 400);
    }
}

#[tokio::test]
async fn compressed_bodies_that_are_broken_or_mislabelled_are_refused() {
    let mut cut = gzip(event(json!({})).to_string().as_bytes());
    cut.truncate(cut.len() - 10);
    both_say(cut, 400, "failed to decode request").await;
    // deflate is no shape of v0: it is read as JSON
    both_say(&b"\x78\x9c\xab\x56\x4a"[..], 400, "failed to").await;
    let mislabelled = |posthog| {
        call(posthog, Method::POST, "/e/").header("content-encoding", "gzip").body(event(json!({})).to_string()).send()
    };
    let (old, new) = (start(Config::of_2024()), start(Config::default()));
    assert_eq!(mislabelled(&old).await.unwrap().status, 200, "an older server went by the bytes");
    assert_eq!(mislabelled(&new).await.unwrap().status, 400, "today's trusts the label");
}

#[tokio::test]
async fn a_historical_batch_is_taken_and_its_times_are_corrected_by_when_it_was_sent() {
    let posthog = start(Config::default());
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(30);
    let sent_at = at + jiff::SignedDuration::from_secs(1);
    let batch = json!({"api_key": "phc_a", "historical_migration": true, "sent_at": sent_at.to_string(), "batch": [
        event(json!({"timestamp": at.to_string()})),
        event(json!({"timestamp": at.to_string(), "properties": {"$ignore_sent_at": true}})),
    ]});
    assert_eq!(post(&posthog, "/batch/", batch.to_string()).await.status, 200);
    let [skewed, kept]: [_; 2] = posthog.books().arrivals().try_into().unwrap();
    assert!(skewed.historical && kept.historical);
    assert!((skewed.timestamp - jiff::Timestamp::now()).as_secs().abs() < 30, "{}", skewed.timestamp);
    assert_eq!(kept.timestamp, at);
}

#[tokio::test]
async fn a_batch_has_a_key_of_its_own_and_of_an_array_one_event_may_have_it_for_all() {
    let keyless = event(json!({"api_key": null}));
    both_say(json!({"batch": [event(json!({}))]}).to_string(), 400, PARSE).await;
    both_say(json!({"api_key": null, "batch": [event(json!({}))]}).to_string(), 400, PARSE).await;
    both_say(json!({"api_key": "phc_a", "token": "phc_a", "batch": [keyless.clone()]}).to_string(), 400, PARSE).await;
    both_say(json!({"api_key": "phc_a", "batch": [event(json!({"api_key": "phc_b"}))]}).to_string(), 200, "Ok").await;
    both_say(json!([keyless, event(json!({})), keyless]).to_string(), 200, "Ok").await;
    both_say(json!([keyless, keyless]).to_string(), 401, "without an api_key").await;
}

#[tokio::test]
async fn a_member_that_stands_twice_under_its_names_refuses_the_request() {
    for twice in [json!({"token": "phc_a"}), json!({"$token": "phc_a"}), json!({"$distinct_id": "u"})] {
        both_say(event(twice.clone()).to_string(), 400, "failed to parse request").await;
        let among_others = json!({"api_key": "phc_a", "batch": [event(json!({})), event(twice)]});
        both_say(among_others.to_string(), 400, PARSE).await;
    }
}

#[tokio::test]
async fn of_gzip_the_first_member_is_read_and_nothing_behind_it() {
    let (body, other) = (event(json!({})).to_string(), event(json!({"event": "other"})).to_string());
    let (first, second) = body.split_at(20);
    both_say([gzip(first.as_bytes()), gzip(second.as_bytes())].concat(), 400, "failed to").await;
    both_say([&gzip(body.as_bytes())[..], &[0; 8]].concat(), 200, "Ok").await;
    both_say([&gzip(body.as_bytes())[..], b"trailing"].concat(), 200, "Ok").await;
    let posthog = start(Config::default());
    post(&posthog, "/e/", [gzip(body.as_bytes()), gzip(other.as_bytes())].concat()).await;
    let names: Vec<_> = posthog.books().arrivals().iter().map(|event| event.event.clone()).collect();
    assert_eq!(names, ["opened"]);
}

#[tokio::test]
async fn what_holds_no_event_is_refused() {
    both_say(r#"{"api_key":"phc_a","batch":[]}"#, 400, "request holds no event").await;
    both_say("[]", 401, "event submitted without an api_key").await;
    for body in ["", "not json", "{}", "42", r#""text""#, r#"{"api_key":"phc_a","event":"a""#] {
        both_say(body, 400, PARSE).await;
    }
    let posthog = start(Config::default());
    assert_eq!(get(&posthog, "/e/").await.body, "request missing data payload");
}

#[tokio::test]
async fn keys_are_judged_by_their_shape_alone() {
    for (key, words) in [
        (json!(null), "event submitted without an api_key"),
        (json!(""), "API key is not valid: empty"),
        (json!("x".repeat(65)), "API key is not valid: too_long"),
        (json!("phx_personal"), "API key is not valid: personal_api_key"),
        (json!("phc_ä"), "API key is not valid: not_ascii"),
    ] {
        both_say(event(json!({"api_key": key})).to_string(), 401, words).await;
    }
    for key in ["phc_nobody_owns_this", "phs_secret", "<ph_project_api_key>"] {
        both_take(json!({"api_key": key})).await;
    }
    let mixed = json!([event(json!({})), event(json!({"api_key": "phc_b"}))]).to_string();
    both_say(mixed, 401, "batch submitted with inconsistent api_key values").await;
    both_take(json!({"api_key": null, "$token": "phc_a"})).await;
    both_take(json!({"api_key": null, "properties": {"token": "phc_a"}})).await;
    let posthog = start(Config::default());
    let keyless = event(json!({"api_key": null})).to_string();
    assert_eq!(post(&posthog, "/e/?api_key=phc_a", keyless.clone()).await.status, 401);
    let bearer = call(&posthog, Method::POST, "/e/").header("authorization", "Bearer phc_a").body(keyless);
    assert_eq!(bearer.send().await.unwrap().status, 401);
}

#[tokio::test]
async fn a_key_that_nobody_owns_is_answered_200_and_its_events_are_dropped_while_flags_says_401() {
    let posthog = start(Config::with_keys(["phc_a"]));
    assert_eq!(post(&posthog, "/e/", event(json!({"api_key": "phc_b"})).to_string()).await.body, r#"{"status":"Ok"}"#);
    assert_eq!(post(&posthog, "/e/", event(json!({})).to_string()).await.status, 200);
    let counts = posthog.books().counts();
    assert_eq!((counts.arrivals, counts.dropped["team_not_found"]), (1, 1));
    for path in ["/flags/?v=2", "/flags?v=2", "/decide?v=3", "/decide/"] {
        let ask = |key: &str| json!({"token": key, "distinct_id": "probe"}).to_string();
        assert_eq!(post(&posthog, path, ask("phc_a")).await.status, 200, "{path}");
        let unknown = post(&posthog, path, ask("phc_b")).await;
        assert_eq!(unknown.status, 401, "{path}");
        assert!(unknown.body.contains("The provided API key is invalid or has expired."));
    }
    assert_eq!(get(&posthog, "/array/phc_a/config.js").await.status, 200);
    assert_eq!(get(&posthog, "/array/phc_b/config.js").await.status, 404);
    posthog.add_key("phc_b");
    assert_eq!(post(&posthog, "/flags/?v=2", json!({"token": "phc_b"}).to_string()).await.status, 200);
    assert_eq!(posthog.books().counts().flags_requests, 9);

    let strict =
        start(Config { refuse_unknown_keys: true, keys: Keys::Known(["phc_a".into()].into()), ..Config::default() });
    assert_eq!(post(&strict, "/e/", event(json!({"api_key": "phc_b"})).to_string()).await.status, 401);
}

#[tokio::test]
async fn a_project_over_its_quota_is_answered_200_and_its_events_are_dropped() {
    let posthog = start(Config::with_keys(["phc_a"]));
    posthog.set_over_quota("phc_a", true);
    assert_eq!(post(&posthog, "/e/", event(json!({})).to_string()).await.body, r#"{"status":"Ok"}"#);
    posthog.set_over_quota("phc_a", false);
    assert_eq!(post(&posthog, "/e/", event(json!({})).to_string()).await.status, 200);
    let counts = posthog.books().counts();
    assert_eq!((counts.arrivals, counts.dropped["quota_limited"]), (1, 1));
}

#[tokio::test]
async fn a_wrong_type_anywhere_refuses_the_request() {
    for changes in [
        json!({"event": 42}),
        json!({"event": null}),
        json!({"properties": "text"}),
        json!({"properties": []}),
        json!({"timestamp": 1772359200}),
        json!({"offset": "3"}),
        json!({"$set": "text"}),
        json!({"$set_once": [1]}),
        json!({"uuid": "not-a-uuid"}),
        json!({"uuid": 7}),
    ] {
        both_say(event(changes).to_string(), 400, PARSE).await;
    }
    for members in [
        r#""event":null,"distinct_id":"u""#,
        r#""event":"a","distinct_id":"u","properties":null"#,
        r#""event":"a","event":"b","distinct_id":"u""#,
        r#""event":"a","distinct_id":"u","properties":{"n":NaN}"#,
        r#""event":"a","distinct_id":"u","properties":{"n":"\ud800"}"#,
    ] {
        both_say(format!(r#"{{"api_key":"phc_a",{members}}}"#), 400, PARSE).await;
    }
    let deep = format!("{}1{}", "[".repeat(130), "]".repeat(130));
    both_say(format!(r#"{{"api_key":"phc_a","event":"a","distinct_id":"u","properties":{{"d":{deep}}}}}"#), 400, PARSE)
        .await;
    both_say(&b"{\"api_key\":\"phc_a\",\"event\":\"a\xff\",\"distinct_id\":\"u\"}"[..], 400, "failed to decode").await;
    // what capture does not read cannot be wrong
    both_take(json!({"sent_at": 7, "$unset": "x", "context": [], "ip": 9})).await;
}

#[tokio::test]
async fn an_event_needs_a_name_and_somebody() {
    both_say(event(json!({"event": ""})).to_string(), 400, "event submitted with an empty event name").await;
    both_say(event(json!({"distinct_id": null})).to_string(), 400, "event submitted without a distinct_id").await;
    both_say(event(json!({"distinct_id": ""})).to_string(), 400, "event submitted without a distinct_id").await;
    both_say(event(json!({"distinct_id": " \t"})).to_string(), 400, "event submitted without a distinct_id").await;
    both_take(json!({"distinct_id": null, "$distinct_id": "u"})).await;
    both_take(json!({"distinct_id": null, "properties": {"distinct_id": "u"}})).await;
    let cookieless = event(json!({"properties": {"$cookieless_mode": "yes"}})).to_string();
    both_say(cookieless, 400, "invalid cookieless mode").await;
    let cookieless = event(json!({"properties": {"$cookieless_mode": null}})).to_string();
    both_say(cookieless, 400, "invalid cookieless mode").await;
    let posthog = start(Config::default());
    assert_eq!(post(&posthog, "/engage/", r#"{"api_key":"phc_a","distinct_id":"u"}"#).await.status, 200);
    assert_eq!(posthog.books().events()[0].event, "$identify");
}

#[tokio::test]
async fn a_distinct_id_is_made_text_and_cut() {
    let posthog = start(Config::default());
    let long = "é".repeat(201);
    let cases = [
        (json!(42), "42".to_owned()),
        (json!(1.5), "1.5".to_owned()),
        (json!(true), "true".to_owned()),
        (json!({"a": 1}), r#"{"a":1}"#.to_owned()),
        (json!("null"), "null".to_owned()),
        (json!("anonymous"), "anonymous".to_owned()),
        (json!("a\0b"), "a\u{fffd}b".to_owned()),
        (json!(long), "é".repeat(200)),
    ];
    for (given, want) in cases {
        assert_eq!(post(&posthog, "/e/", event(json!({"distinct_id": given})).to_string()).await.status, 200);
        assert_eq!(posthog.books().arrivals().last().unwrap().distinct_id, want);
    }
    let big = r#"{"api_key":"phc_a","event":"a","distinct_id":12345678901234567890123}"#;
    assert_eq!(post(&posthog, "/e/", big).await.status, 200);
    assert_eq!(posthog.books().arrivals().last().unwrap().distinct_id, "1.2345678901234568e+22");
}

#[tokio::test]
async fn uuids_of_every_version_are_taken_and_a_missing_one_is_made_for_each_request() {
    for uuid in [
        "a3bb189e-8bf9-4888-9912-ace4e6543002",
        "886313e1-3b8a-5372-9b90-0c9aee199e5d",
        "0191f1f0-0000-7000-8000-000000000001",
        "0191f1f0000070008000000000000001",
    ] {
        both_take(json!({"uuid": uuid})).await;
    }
    let [new, old] = both(event(json!({"uuid": ""})).to_string()).await;
    assert_eq!((new.0, old.0), (200, 400));

    let posthog = start(Config::default());
    let at = jiff::Timestamp::now().to_string();
    let (anonymous, own) = (
        event(json!({"timestamp": at})),
        event(json!({"timestamp": at, "uuid": "a3bb189e-8bf9-4888-9912-ace4e6543002"})),
    );
    for body in [&anonymous, &anonymous, &own, &own] {
        assert_eq!(post(&posthog, "/e/", body.to_string()).await.status, 200);
    }
    let counts = posthog.books().counts();
    assert_eq!((counts.arrivals, counts.unique), (4, 3), "a second try without a uuid is a second event");
    assert!(posthog.books().arrivals().iter().all(|event| event.has_own_uuid == (event.uuid.get_version_num() == 4)));
}

#[tokio::test]
async fn a_time_that_cannot_be_or_is_far_ahead_becomes_the_servers() {
    let posthog = start(Config::default());
    let now = jiff::Timestamp::now();
    for timestamp in ["yesterday", "2099-01-01T00:00:00Z"] {
        assert_eq!(post(&posthog, "/e/", event(json!({"timestamp": timestamp})).to_string()).await.status, 200);
        let stored = posthog.books().arrivals().last().unwrap().timestamp;
        assert!((stored - now).as_secs().abs() < 30, "{stored}");
    }
    assert_eq!(
        post(&posthog, "/e/", event(json!({"timestamp": "2026-01-02T03:04:05.678Z"})).to_string()).await.status,
        200
    );
    assert_eq!(posthog.books().arrivals().last().unwrap().timestamp.to_string(), "2026-01-02T03:04:05.678Z");
}

#[tokio::test]
async fn one_bad_event_refuses_its_whole_batch() {
    let batch = json!({"api_key": "phc_a", "batch": [event(json!({})), event(json!({"distinct_id": null}))]});
    both_say(batch.to_string(), 400, "event submitted without a distinct_id").await;
    let batch = json!({"api_key": "phc_a", "batch": [event(json!({})), event(json!({"uuid": "x"}))]});
    both_say(batch.to_string(), 400, PARSE).await;
}

#[tokio::test]
async fn capture_does_not_deduplicate_and_the_key_does() {
    let posthog = start(Config::default());
    let one = event(json!({"uuid": "a3bb189e-8bf9-4888-9912-ace4e6543002", "timestamp": "2026-01-02T23:00:00Z"}));
    let other_day = event(json!({"uuid": "a3bb189e-8bf9-4888-9912-ace4e6543002", "timestamp": "2026-01-03T00:00:00Z"}));
    let batch = json!({"api_key": "phc_a", "batch": [one, one, other_day]});
    assert_eq!(post(&posthog, "/batch/", batch.to_string()).await.status, 200);
    let counts = posthog.books().counts();
    assert_eq!((counts.arrivals, counts.unique), (3, 2));
    assert_eq!(posthog.books().copies().values().copied().collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn beacons_are_answered_without_a_body() {
    let posthog = start(Config::default());
    let answer = post(&posthog, "/e/?beacon=1", event(json!({})).to_string()).await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    assert_eq!(posthog.books().counts().arrivals, 1);
}
