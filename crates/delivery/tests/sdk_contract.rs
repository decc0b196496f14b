//! PostHog's own contract for SDKs, run against delivery and the emulator: `sdk_contract/cases.toml` has the cases of both suites.
//!
//! Where a case has a request made again, the caller does it, as the relay would: with what got `retry` and nothing else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use moehog_delivery::Api;
use moehog_emulator::posthog::{Action, Exchange, Rule, Running};
use moehog_proto::{
    Channel,
    delivery::{DeliverResponse, DeliveryServiceClient},
    event::Event,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contract {
    case: Vec<Case>,
    why: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    suite: String,
    name: String,
    run: Option<String>,
    why: Option<String>,
}

/// Delivery in one of the two APIs, and a PostHog that it speaks to.
struct Rig {
    is_v1: bool,
    posthog: Running,
    client: DeliveryServiceClient<Channel>,
}

impl Rig {
    fn new(is_v1: bool) -> Self {
        let posthog = posthog();
        let mut config = config(&posthog.url());
        config.posthog.api = if is_v1 { Api::V1 } else { Api::Classic };
        Self { is_v1, client: client(&config), posthog }
    }

    async fn send(&self, events: &[Event]) -> DeliverResponse {
        deliver(&self.client, "shop", events).await
    }

    /// Sends events, and then what is to be sent again until nothing is.
    async fn send_until_done(&self, events: &[Event]) {
        let mut events = events.to_vec();
        for _ in 0..4 {
            let response = self.send(&events).await;
            let again = events.iter().zip(&response.verdicts).filter(|(_, verdict)| word(verdict) == "retry");
            events = again.map(|(event, _)| event.clone()).collect();
            if events.is_empty() {
                return;
            }
        }
        panic!("{} events are not done", events.len());
    }

    fn requests(&self) -> Vec<Exchange> {
        self.posthog.books().exchanges()
    }

    fn bodies(&self) -> Vec<Value> {
        self.requests().iter().map(|exchange| serde_json::from_slice(&exchange.body).unwrap()).collect()
    }

    fn batch(&self, request: usize) -> Vec<Value> {
        self.bodies()[request]["batch"].as_array().unwrap().clone()
    }

    fn fail(&self, status: u16, retry_after: Option<&str>) {
        let retry_after = retry_after.map(str::to_string);
        let failure = Action::Answer { status, body: json!({"error": "scripted"}).to_string(), retry_after };
        self.posthog.faults().add(Rule::always(failure).times(1));
    }
}

/// An event as the transformer finishes it, with these properties.
fn made(number: usize, properties: Value, timestamp: &str) -> Event {
    let mut all = json!({"$lib": "moehog", "$lib_version": env!("CARGO_PKG_VERSION"), "n": number});
    all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    let usual = event(number, "test_user", "");
    let uuid = Uuid::from_slice(&usual.uuid).unwrap();
    let json = json!({
        "uuid": uuid.to_string(), "event": "bought", "distinct_id": "test_user", "timestamp": timestamp, "properties": all,
    });
    Event { json: json.to_string().into(), ..usual }
}

#[tokio::test]
async fn every_case_of_posthog_s_contract_for_sdks_passes_or_does_not_apply() {
    let contract: Contract = toml::from_str(include_str!("sdk_contract/cases.toml")).unwrap();
    let (mut seen, mut run) = (BTreeSet::new(), [0, 0]);
    for case in &contract.case {
        assert!(seen.insert((&case.suite, &case.name)), "{case:?} stands there twice");
        let is_v1 = match case.suite.as_str() {
            "capture" => false,
            "capture_v1" => true,
            _ => panic!("{case:?}: no such suite"),
        };
        match (&case.run, &case.why) {
            (Some(how), None) => {
                println!("{}: {} ({how})", case.suite, case.name);
                hold(&Rig::new(is_v1), how).await;
                run[usize::from(is_v1)] += 1;
            }
            (None, Some(why)) => assert!(contract.why.contains_key(why), "{case:?} gives no reason"),
            _ => panic!("{case:?}: run or why"),
        }
    }
    assert!(run[0] >= 22 && run[1] >= 60, "{run:?} cases of the two suites were run");
}

/// Holds delivery to a case, by how it is run.
async fn hold(rig: &Rig, how: &str) {
    let (how, told) = how.split_once(':').unwrap_or((how, ""));
    match how {
        "sent_as_it_is" => sent_as_it_is(rig).await,
        "utc" => utc(rig).await,
        "route" | "headers" | "gzip" | "batch_structure" => one_request(rig).await,
        "nothing" => assert!(rig.send(&[]).await.answers.is_empty() && rig.requests().is_empty()),
        "one_request" => {
            rig.send(&events(5)).await;
            assert_eq!((rig.requests().len(), rig.batch(0).len()), (1, 5));
        }
        "unique_uuids" => unique_uuids(rig).await,
        "kept_on_retry" => kept_on_retry(rig).await,
        "retried" => {
            rig.fail(told.parse().unwrap(), None);
            rig.send_until_done(&events(1)).await;
            assert_eq!((rig.requests().len(), rig.posthog.books().unique()), (2, 1));
        }
        "not_retried" => {
            let (status, expected) = told.split_once(':').unwrap();
            rig.fail(status.parse().unwrap(), None);
            let response = rig.send(&events(1)).await;
            assert_eq!((words(&response), rig.requests().len()), (vec![expected], 1));
        }
        "retry_after" => retry_after(rig, told.parse().unwrap()).await,
        "headers_on_retry" => headers_on_retry(rig).await,
        "other_request_ids" => {
            rig.send(&events(2)[..1]).await;
            rig.send(&events(2)[1..]).await;
            let ids: Vec<_> = rig
                .requests()
                .iter()
                .map(|request| request.header("posthog-request-id").unwrap().to_string())
                .collect();
            assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
        }
        "results" => results(rig, &told.split(',').collect::<Vec<_>>()).await,
        "options" => options(rig).await,
        "history" => {
            let sent = Event { historical: true, ..event(1, "test_user", "") };
            rig.send(&[sent]).await;
            assert_eq!(rig.bodies()[0]["historical_migration"], true);
        }
        other => panic!("no case is run as {other}"),
    }
}

async fn sent_as_it_is(rig: &Rig) {
    let properties = json!({
        "custom_string": "hello", "custom_number": 42, "custom_bool": true, "$set": {"name": "Test User"},
        "$set_once": {"initial_referrer": "https://google.com"}, "$groups": {"company": "posthog"},
    });
    let sent = made(1, properties, "2026-11-30T10:00:00Z");
    rig.send(std::slice::from_ref(&sent)).await;
    let (sent, got): (Value, _) = (serde_json::from_slice(&sent.json).unwrap(), rig.batch(0).remove(0));
    for name in ["uuid", "event", "distinct_id", "timestamp", "properties"] {
        assert_eq!(got[name], sent[name], "{name}");
    }
    assert!(got["properties"].get("distinct_id").is_none() && got["properties"].get("$lib").is_some());
}

async fn utc(rig: &Rig) {
    const AT: &str = "2025-01-02T08:34:05+05:30";
    rig.send(&[made(1, json!({"timestamp_like": AT}), AT)]).await;
    let got = rig.batch(0).remove(0);
    assert_eq!((&got["timestamp"], &got["properties"]["timestamp_like"]), (&json!("2025-01-02T03:04:05Z"), &json!(AT)));
}

async fn one_request(rig: &Rig) {
    rig.send(&events(1)).await;
    let [request] = &rig.requests()[..] else { panic!("one request") };
    let body = &rig.bodies()[0];
    let has = |name: &str| request.header(name).unwrap_or_default();
    assert_eq!((has("content-encoding"), has("content-type")), ("gzip", "application/json"));
    assert!(has("user-agent").starts_with("moehog/"));
    assert!(!body["batch"].as_array().unwrap().is_empty());
    assert!(body.get("sent_at").is_none() && body.get("historical_migration").is_none());
    if !rig.is_v1 {
        assert_eq!((request.route.as_str(), &body["api_key"]), ("/batch", &json!(KEY)));
        return;
    }
    assert_eq!((request.route.as_str(), has("authorization")), ("/i/v1/analytics/events", "Bearer phc_test"));
    assert!(body.get("api_key").is_none() && body.get("token").is_none());
    let (library, version) = has("posthog-sdk-info").split_once('/').unwrap();
    assert!(!library.is_empty() && !version.is_empty());
    assert_eq!(has("posthog-attempt"), "1");
    Uuid::parse_str(has("posthog-request-id")).unwrap();
    for at in [has("posthog-request-timestamp"), body["created_at"].as_str().unwrap()] {
        let at: jiff::Timestamp = at.parse().unwrap();
        assert!(jiff::Timestamp::now().duration_since(at).abs() < jiff::SignedDuration::from_secs(60));
    }
}

async fn unique_uuids(rig: &Rig) {
    let mut sent = events(5);
    sent.push(sent[0].clone());
    rig.send(&sent).await;
    for request in 0..rig.requests().len() {
        let batch = rig.batch(request);
        let uuids: BTreeSet<_> = batch.iter().map(|event| event["uuid"].as_str().unwrap()).collect();
        assert_eq!(uuids.len(), batch.len());
    }
    assert_eq!(rig.posthog.books().unique(), 5);
}

async fn kept_on_retry(rig: &Rig) {
    rig.fail(503, None);
    rig.send_until_done(&events(3)).await;
    assert_eq!(rig.requests().len(), 2);
    assert_eq!(rig.batch(0), rig.batch(1));
}

async fn retry_after(rig: &Rig, status: u16) {
    match status {
        200 => {
            let results = vec!["ok".to_string(), "retry".to_string()];
            rig.posthog.faults().add(Rule::always(Action::Results { results, retry_after: Some("3".to_string()) }));
        }
        _ => rig.fail(status, Some("3")),
    }
    let response = rig.send(&events(2)).await;
    assert_eq!(after_ms(&response.verdicts[1]), 3000);
}

async fn headers_on_retry(rig: &Rig) {
    rig.fail(503, None);
    rig.posthog.faults().add(Rule::results(&["ok", "retry"]).times(1));
    rig.send_until_done(&events(2)).await;
    let requests = rig.requests();
    let all = |name: &str| -> Vec<String> {
        requests.iter().map(|request| request.header(name).unwrap_or_default().to_string()).collect()
    };
    assert_eq!(all("posthog-attempt"), ["1", "2", "3"]);
    assert_eq!(all("posthog-request-id").into_iter().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(all("posthog-request-timestamp").into_iter().collect::<BTreeSet<_>>().len(), 3);
}

async fn results(rig: &Rig, said: &[&str]) {
    rig.posthog.faults().add(Rule::results(said).times(1));
    let sent = events(said.len());
    let response = rig.send(&sent).await;
    let expected = said.iter().map(|said| match *said {
        "ok" => "delivered",
        "drop" => "rejected",
        "limited" => "hold",
        _ => "retry",
    });
    assert_eq!(words(&response), expected.collect::<Vec<_>>());
    let again: Vec<_> = sent.iter().zip(said).filter(|(_, said)| **said == "retry").map(|(it, _)| it.clone()).collect();
    if again.is_empty() {
        return;
    }
    rig.send_until_done(&again).await;
    let uuids = |batch: Vec<Value>| batch.into_iter().map(|event| event["uuid"].to_string()).collect::<BTreeSet<_>>();
    assert!(rig.batch(1).len() == again.len() && uuids(rig.batch(1)).is_subset(&uuids(rig.batch(0))));
}

async fn options(rig: &Rig) {
    let properties =
        json!({"$cookieless_mode": true, "$process_person_profile": false, "$product_tour_id": "tour_123"});
    let sent: Vec<_> = (0..3).map(|number| made(number, properties.clone(), "2026-11-30T10:00:00Z")).collect();
    rig.send(&sent).await;
    let expected = json!({
        "cookieless_mode": true, "process_person_profile": false, "product_tour_id": "tour_123",
        "disable_skew_correction": true,
    });
    assert_eq!((rig.requests().len(), rig.batch(0).len()), (1, 3));
    assert!(rig.batch(0).iter().all(|event| event["options"] == expected));
}
