//! It fails as told, and the books say how.

mod client;

use std::time::{Duration, Instant};

use client::{call, event, get, gzip, post, start};
use http::Method;
use moehog_emulator::posthog::{Action, Config, ResetAt, Rule, When};
use serde_json::{Value, json};

fn named(name: &str) -> Value {
    event(json!({"event": name, "distinct_id": format!("{name}-user")}))
}

fn batch(names: &[&str]) -> String {
    json!({"api_key": "phc_a", "batch": names.iter().map(|name| named(name)).collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn a_status_comes_with_posthogs_words_and_a_retry_after_as_often_as_told() {
    let posthog = start(Config::default());
    posthog.faults().add(
        Rule::always(Action::Answer { status: 429, body: "rate limited".into(), retry_after: Some("7".into()) })
            .times(1),
    );
    posthog.faults().add(Rule::status(503).nth(2));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let answer = post(&posthog, "/batch/", batch(&["a"])).await;
        seen.push((answer.status, answer.body, answer.retry_after));
    }
    // the second rule first sees the second request, and picks the second that it sees
    assert_eq!(seen[0], (429, "rate limited".into(), Some("7".into())));
    assert_eq!(seen[1].0, 200);
    assert_eq!((seen[2].0, &*seen[2].1, &seen[2].2), (503, "transient error, please retry", &None));
    assert_eq!(seen[3].0, 200);
    assert_eq!(posthog.books().counts().arrivals, 2);
    assert_eq!(posthog.books().exchanges()[0].status, Some(429));
}

#[tokio::test]
async fn an_event_is_refused_with_its_whole_batch_and_passes_without_it() {
    let posthog = start(Config::default());
    posthog.faults().add(Rule::refuse("guilty", "failed to parse request: guilty"));
    let answer = post(&posthog, "/batch/", batch(&["a", "guilty", "b"])).await;
    assert_eq!((answer.status, &*answer.body), (400, "failed to parse request: guilty"));
    assert_eq!(post(&posthog, "/batch/", batch(&["a", "b"])).await.status, 200);
    assert_eq!(posthog.books().counts().arrivals, 2);
}

#[tokio::test]
async fn rules_pick_by_route_key_event_person_and_size() {
    let posthog = start(Config::default());
    for when in [
        When { route: Some("/i/v0/e".into()), ..When::default() },
        When { key: Some("phc_b".into()), ..When::default() },
        When { event: Some("bad".into()), distinct_id: Some("bad-user".into()), ..When::default() },
        When { min_events: Some(3), ..When::default() },
    ] {
        posthog.faults().add(Rule::new(when, Action::Answer { status: 503, body: String::new(), retry_after: None }));
    }
    let other_key = event(json!({"api_key": "phc_b"})).to_string();
    let half_match = event(json!({"event": "bad", "distinct_id": "u"})).to_string();
    for (path, body, status) in [
        ("/i/v0/e/", batch(&["a"]), 503),
        ("/e/", batch(&["a"]), 200),
        ("/e/", other_key, 503),
        ("/e/", batch(&["a", "bad"]), 503),
        ("/e/", half_match, 200),
        ("/e/", batch(&["a", "b", "c"]), 503),
        ("/flags/?v=2", json!({"token": "phc_a"}).to_string(), 200),
    ] {
        assert_eq!(post(&posthog, path, body.clone()).await.status, status, "{path} {body}");
    }
    assert_eq!(posthog.faults().list().iter().map(|rule| rule.acted).collect::<Vec<_>>(), [1, 1, 1, 1]);
    posthog.faults().add(Rule::status(500).on("/flags/"));
    assert_eq!(post(&posthog, "/flags/?v=2", json!({"token": "phc_a"}).to_string()).await.status, 500);
}

#[tokio::test]
async fn a_reset_stores_nothing_whenever_it_comes() {
    for at in [ResetAt::BeforeReading, ResetAt::MidBody, ResetAt::AfterReading] {
        let posthog = start(Config::default());
        posthog.faults().add(Rule::always(Action::Reset { at }).times(1));
        let large = event(json!({"properties": {"text": "x".repeat(900_000)}})).to_string();
        assert!(call(&posthog, Method::POST, "/e/").body(large.clone()).send().await.is_err(), "{at:?}");
        assert_eq!(post(&posthog, "/e/", large).await.status, 200);
        let counts = posthog.books().counts();
        assert_eq!((counts.arrivals, counts.unanswered, counts.requests), (1, 1, 2), "{at:?}");
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_and_no_orderly_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let posthog = start(Config::default());
    posthog.faults().add(Rule::always(Action::Reset { at: ResetAt::AfterReading }));
    let body = batch(&["a"]);
    let mut stream = tokio::net::TcpStream::connect(posthog.addr()).await.unwrap();
    let head = format!("POST /e/ HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_answer_is_lost_after_all_is_stored_and_the_retry_can_be_compared_byte_by_byte() {
    let posthog = start(Config::default());
    posthog.faults().add(Rule::answer_lost());
    let body = batch(&["a", "b"]);
    assert!(call(&posthog, Method::POST, "/batch/").body(gzip(body.as_bytes())).send().await.is_err());
    assert_eq!(posthog.books().counts().arrivals, 2);
    assert_eq!(post(&posthog, "/batch/", gzip(body.as_bytes())).await.status, 200);
    let exchanges = posthog.books().exchanges();
    assert_eq!(exchanges.iter().map(|exchange| exchange.status).collect::<Vec<_>>(), [None, Some(200)]);
    assert_eq!(exchanges[0].body, exchanges[1].body);
    assert_eq!(exchanges[0].body, body.as_bytes());
    let arrivals = posthog.books().arrivals();
    assert_eq!(arrivals[0].raw, named("a").to_string().as_bytes());
    assert_eq!(arrivals[0].raw, arrivals[2].raw);
}

#[tokio::test]
async fn part_of_a_batch_is_stored_before_a_503() {
    let posthog = start(Config::default());
    posthog.faults().add(Rule::always(Action::Partial { stored: 2, status: 503 }).times(1));
    let answer = post(&posthog, "/batch/", batch(&["a", "b", "c"])).await;
    assert_eq!((answer.status, &*answer.body), (503, "transient error, please retry"));
    let names: Vec<_> = posthog.books().arrivals().iter().map(|event| event.event.clone()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((posthog.books().exchanges()[0].events, posthog.books().exchanges()[0].stored), (3, 2));
}

#[tokio::test]
async fn delays_add_up_and_latency_holds_for_all() {
    let posthog = start(Config { latency: Duration::from_millis(40), ..Config::default() });
    posthog.faults().add(Rule::always(Action::Delay { ms: 30 }).times(1));
    posthog.faults().add(Rule::always(Action::Delay { ms: 30 }).times(1));
    let begun = Instant::now();
    assert_eq!(post(&posthog, "/e/", batch(&["a"])).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    let begun = Instant::now();
    assert_eq!(post(&posthog, "/e/", batch(&["a"])).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn a_request_that_hangs_is_booked_when_its_sender_gives_up() {
    let posthog = start(Config::default());
    posthog.faults().add(Rule::always(Action::Hang).named("hangs"));
    let hanging = call(&posthog, Method::POST, "/e/").body(batch(&["a"])).send();
    assert!(tokio::time::timeout(Duration::from_millis(100), hanging).await.is_err());
    // the client's connection is dropped with the runtime's task; going down cuts it for sure
    posthog.down().await;
    let exchanges = posthog.books().exchanges();
    assert_eq!((exchanges[0].status, exchanges[0].fault.as_deref(), exchanges[0].stored), (None, Some("hangs"), 0));
}

#[tokio::test]
async fn only_so_many_are_worked_on_at_once() {
    let posthog = start(Config { latency: Duration::from_millis(50), concurrency: Some(2), ..Config::default() });
    let begun = Instant::now();
    let body = batch(&["a"]);
    let calls = (0..6).map(|_| post(&posthog, "/e/", body.clone()));
    assert!(futures::future::join_all(calls).await.iter().all(|answer| answer.status == 200));
    assert!(begun.elapsed() >= Duration::from_millis(150), "three rounds of two");
}

#[tokio::test]
async fn chance_is_drawn_from_its_seed() {
    let statuses = async |seed| {
        let posthog = start(Config { seed, ..Config::default() });
        let half = When { probability: Some(0.5), ..When::default() };
        posthog.faults().add(Rule { when: half, ..Rule::status(503) });
        let mut statuses = Vec::new();
        for _ in 0..32 {
            statuses.push(post(&posthog, "/e/", batch(&["a"])).await.status);
        }
        statuses
    };
    let first = statuses(1).await;
    assert_eq!(first, statuses(1).await);
    assert_ne!(first, statuses(2).await);
    assert!(first.contains(&200) && first.contains(&503));
}

#[tokio::test]
async fn it_goes_down_and_comes_back_at_the_same_address_with_its_books() {
    let posthog = start(Config::default());
    assert_eq!(post(&posthog, "/e/", batch(&["a"])).await.status, 200);
    posthog.down().await;
    assert!(call(&posthog, Method::POST, "/e/").body(batch(&["a"])).send().await.is_err());
    posthog.up().unwrap();
    assert_eq!(post(&posthog, "/e/", batch(&["a"])).await.status, 200);
    assert_eq!(posthog.books().counts().arrivals, 2);
}

#[tokio::test]
async fn rules_settings_and_books_are_there_over_http() {
    let posthog = start(Config::with_keys(["phc_a"]));
    let rule = json!({"name": "once", "when": {"event": "a"}, "times": 1, "then": {"answer": {"status": 503}}});
    assert_eq!(post(&posthog, "/_emulator/faults", rule.to_string()).await.status, 200);
    assert_eq!(post(&posthog, "/_emulator/faults", r#"{"then":"nonsense"}"#).await.status, 422);
    for (name, status) in [("b", 200), ("a", 503), ("a", 200)] {
        let request = call(&posthog, Method::POST, "/e/").header("traceparent", "00-1-2-01").body(batch(&[name]));
        assert_eq!(request.send().await.unwrap().status, status);
    }
    assert_eq!(get(&posthog, "/_emulator/faults").await.json()[0]["acted"], 1);
    let counts = get(&posthog, "/_emulator/counts").await.json();
    assert_eq!((&counts["arrivals"], &counts["statuses"]["503"]), (&json!(2), &json!(1)));
    let events = get(&posthog, "/_emulator/events?event=a&view=arrivals").await.json();
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!(events[0]["raw"], named("a").to_string());
    assert_eq!(get(&posthog, "/_emulator/events?distinct_id=nobody").await.json(), json!([]));
    assert_eq!(get(&posthog, "/_emulator/persons/a-user").await.json()["distinct_ids"], json!(["a-user"]));
    assert_eq!(get(&posthog, "/_emulator/persons/nobody").await.status, 404);
    let requests = get(&posthog, "/_emulator/requests?since=1").await.json();
    assert_eq!((requests.as_array().unwrap().len(), &requests[0]["fault"]), (2, &json!("once")));
    assert!(requests[0]["headers"].as_array().unwrap().contains(&json!(["traceparent", "00-1-2-01"])));

    let settings = json!({"over_quota": {"phc_a": true}, "add_key": "phc_b", "latency_ms": 1, "concurrency": 3});
    let put = call(&posthog, Method::PUT, "/_emulator/settings").body(settings.to_string());
    assert_eq!(put.send().await.unwrap().status, 200);
    assert_eq!(post(&posthog, "/e/", batch(&["c"])).await.status, 200);
    assert_eq!(post(&posthog, "/e/", event(json!({"api_key": "phc_b"})).to_string()).await.status, 200);
    let counts = get(&posthog, "/_emulator/counts").await.json();
    assert_eq!((&counts["arrivals"], &counts["dropped"]["quota_limited"]), (&json!(3), &json!(1)));
    let delete = call(&posthog, Method::DELETE, "/_emulator/faults").send().await.unwrap();
    assert_eq!((delete.status, get(&posthog, "/_emulator/faults").await.json()), (204, json!([])));
}

#[tokio::test]
async fn persons_follow_arrival_order_and_the_top_level_wins() {
    let posthog = start(Config::default());
    let set = |properties: Value, top: Value| {
        let mut event = event(json!({"properties": properties, "timestamp": "2026-01-01T00:00:00Z"}));
        event["$set"] = top;
        event.to_string()
    };
    post(&posthog, "/e/", set(json!({"$set": {"plan": "inner", "kept": 1}}), json!({"plan": "top"}))).await;
    let person = posthog.books().person("phc_a", "u").unwrap();
    assert_eq!(Value::Object(person.properties), json!({"kept": 1, "plan": "top"}));
    let properties = posthog.books().events()[0].properties();
    assert_eq!((&properties["$set"], &properties["$ip"]), (&json!({"kept": 1, "plan": "top"}), &json!("127.0.0.1")));
    let request = call(&posthog, Method::POST, "/e/")
        .header("x-forwarded-for", "203.0.113.9, 10.0.0.1")
        .body(event(json!({"properties": {"$unset": ["kept"]}})).to_string());
    assert_eq!(request.send().await.unwrap().status, 200);
    assert_eq!(posthog.books().events()[1].property("$ip").unwrap(), "203.0.113.9");
    assert_eq!(Value::Object(posthog.books().person("phc_a", "u").unwrap().properties), json!({"plan": "top"}));
    let line = posthog.books().events()[0].to_string();
    assert!(line.starts_with("posthog stored opened  u  {$set: {"), "{line}");
}

#[tokio::test]
async fn counting_alone_comes_to_the_same_counts() {
    let (full, counts) = (start(Config::default()), start(Config::counts()));
    let uuid = "a3bb189e-8bf9-4888-9912-ace4e6543002";
    let at = "2026-01-02T00:00:00Z";
    let one = event(json!({"uuid": uuid, "timestamp": at, "properties": {"deep": {"event": "x"}}}));
    let bodies = [
        json!({"api_key": "phc_a", "batch": [one, one, event(json!({"event": "b"}))]}).to_string(),
        one.to_string(),
        json!([event(json!({"uuid": uuid, "timestamp": at}))]).to_string(),
        json!({"api_key": "phc_a", "batch": []}).to_string(),
        event(json!({"distinct_id": null})).to_string(),
        event(json!({"event": ""})).to_string(),
        event(json!({"api_key": "phx_a"})).to_string(),
        event(json!({"uuid": "x"})).to_string(),
        "{".into(),
    ];
    let tell = Rule::new(When { event: Some("b".into()), ..When::default() }, Action::Delay { ms: 1 });
    for posthog in [&full, &counts] {
        posthog.faults().add(tell.clone());
        for body in &bodies {
            post(posthog, "/batch/", gzip(body.as_bytes())).await;
        }
        assert_eq!(posthog.faults().list()[0].acted, 1);
    }
    let (mut full, counts) = (full.books().counts(), counts.books().counts());
    assert_eq!((full.arrivals, full.unique), (5, 2));
    full.persons = 0;
    assert_eq!(full, counts);
}
