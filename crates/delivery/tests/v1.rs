//! PostHog's v1: a verdict for each event by what PostHog answers of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::*;
use moehog_delivery::{Api, Config};
use moehog_emulator::posthog::{self, Action, Exchange, Rule, Running};
use moehog_proto::event::Event;

const V1: &str = "/i/v1/analytics/events";

fn spoken(posthog: &Running, api: Api) -> Config {
    let mut config = config(&posthog.url());
    config.destinations.get_mut("shop").unwrap().api = Some(api);
    config
}

fn routes(posthog: &Running) -> Vec<String> {
    posthog.books().exchanges().into_iter().map(|exchange| exchange.route).collect()
}

fn batch_of(exchange: &Exchange) -> Vec<serde_json::Value> {
    let body: serde_json::Value = serde_json::from_slice(&exchange.body).unwrap();
    body["batch"].as_array().unwrap().clone()
}

#[tokio::test]
async fn events_arrive_with_what_they_are() {
    let posthog = posthog();
    let mut sent = events(4);
    sent[3].historical = true;
    let response = deliver(&client(&spoken(&posthog, Api::V1)), "shop", &sent).await;
    assert_eq!(words(&response), ["delivered"; 4]);
    assert_eq!(routes(&posthog), [V1, V1], "history goes apart");
    for (sent, stored) in sent.iter().zip(posthog.books().arrivals()) {
        let own: serde_json::Value = serde_json::from_slice(&sent.json).unwrap();
        assert_eq!(stored.uuid.as_bytes()[..], sent.uuid);
        assert_eq!((&stored.event, &stored.distinct_id), (&sent.name, &sent.distinct_id));
        assert_eq!(stored.timestamp.to_string(), own["timestamp"].as_str().unwrap());
        assert_eq!(stored.property("n"), Some(own["properties"]["n"].clone()));
        assert_eq!(stored.historical, sent.historical);
    }
}

#[tokio::test]
async fn each_event_gets_the_verdict_that_posthog_says() {
    let posthog = posthog();
    posthog.faults().add(Rule::results(&["ok", "warning:person_processing_disabled", "drop:invalid_options", "retry"]));
    let response = deliver(&client(&spoken(&posthog, Api::V1)), "shop", &events(4)).await;
    assert_eq!(words(&response), ["delivered", "degraded", "rejected", "retry"]);
    let [.., warned, dropped, again] = &response.verdicts[..] else { panic!("four") };
    assert_eq!(reason(warned), "person_processing_disabled");
    assert_eq!(reason(dropped), "invalid_options: PostHog dropped the event when it came (invalid_options)");
    assert_eq!(after_ms(again), 1000, "as its Retry-After says");
    assert!(response.verdicts.iter().all(|verdict| verdict.sent && verdict.answer == 1));
    assert_eq!(posthog.books().unique(), 2);
}

#[tokio::test]
async fn what_is_over_quota_is_held_whether_the_request_or_the_event_is_told_so() {
    let posthog = posthog();
    let client = client(&spoken(&posthog, Api::V1));
    posthog.set_over_quota(KEY, true);
    let response = deliver(&client, "shop", &events(2)).await;
    assert_eq!(words(&response), ["hold"; 2]);
    assert!(reason(&response.verdicts[0]).starts_with("quota: "), "{response:?}");
    posthog.set_over_quota(KEY, false);
    posthog.faults().add(Rule::results(&["ok", "drop:billing_limit_exceeded", "limited"]).times(1));
    let response = deliver(&client, "shop", &events(3)).await;
    assert_eq!(words(&response), ["delivered", "hold", "hold"]);
    assert!(reason(&response.verdicts[1]).starts_with("quota: "), "{response:?}");
    assert_eq!(words(&deliver(&client, "shop", &events(3)).await), ["delivered"; 3], "nothing was lost");
}

#[tokio::test]
async fn once_an_event_is_over_quota_no_further_request_is_made() {
    let posthog = posthog();
    let mut sent = events(4);
    sent[2].historical = true;
    sent[3].historical = true;
    posthog.faults().add(Rule::results(&["ok", "drop:billing_limit_exceeded"]).times(1));
    let response = deliver(&client(&spoken(&posthog, Api::V1)), "shop", &sent).await;
    assert_eq!((words(&response), response.answers.len()), (vec!["delivered", "hold", "none", "none"], 1));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_takes_nothing() {
    for body in ["", "{\"results\":[]}", "{\"results\":{}}", "{\"status\":1}", "{\"results\":{\"x", "[]"] {
        let posthog = posthog();
        posthog
            .faults()
            .add(Rule::always(Action::Answer { status: 200, body: body.into(), retry_after: None }).times(1));
        let client = client(&spoken(&posthog, Api::V1));
        let response = deliver(&client, "shop", &events(2)).await;
        assert_eq!(words(&response), ["retry"; 2], "{body}");
        assert!(reason(&response.verdicts[0]).starts_with("unclear_answer: ") && response.verdicts[0].sent);
        assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["delivered"; 2]);
    }
}

#[tokio::test]
async fn an_answer_for_many_events_is_read_whole() {
    let posthog = posthog();
    let response = deliver(&client(&spoken(&posthog, Api::V1)), "shop", &events(500)).await;
    assert_eq!(words(&response), ["delivered"; 500]);
    posthog.faults().add(Rule::results(&["drop:dropped_performance_event"]));
    let response = deliver(&client(&spoken(&posthog, Api::V1)), "shop", &events(500)).await;
    assert_eq!(words(&response), ["rejected"; 500]);
}

#[tokio::test]
async fn only_what_is_to_be_sent_again_is_and_under_the_same_request_id() {
    let posthog = posthog();
    let client = client(&spoken(&posthog, Api::V1));
    let sent = events(3);
    posthog.faults().add(Rule::results(&["ok", "drop:invalid_options", "retry"]).times(1));
    deliver(&client, "shop", &sent).await;
    assert_eq!(words(&deliver(&client, "shop", &sent[2..]).await), ["delivered"]);
    let [first, second] = &posthog.books().exchanges()[..] else { panic!("two requests") };
    assert_eq!(batch_of(second), batch_of(first)[2..], "byte for byte but for the time of the request");
    for (name, is_same) in
        [("posthog-request-id", true), ("posthog-attempt", false), ("posthog-request-timestamp", false)]
    {
        assert_eq!(first.header(name) == second.header(name), is_same, "{name}");
    }
    assert!(posthog.books().copies().values().all(|copies| *copies == 1));
}

#[tokio::test]
async fn an_event_of_a_person_that_is_to_be_sent_again_is_not_overtaken_by_the_next_request() {
    let posthog = posthog();
    let mut sent: Vec<Event> = (0..4).map(|number| event(number, ["ann", "bob"][number % 2], "")).collect();
    sent[2].historical = true;
    sent[3].historical = true;
    posthog.faults().add(Rule::results(&["retry", "ok"]).times(1));
    let response = deliver(&client(&spoken(&posthog, Api::V1)), "shop", &sent).await;
    assert_eq!(words(&response), ["retry", "delivered", "none", "delivered"]);
}

#[tokio::test]
async fn auto_speaks_classic_where_there_is_no_v1_and_asks_again_only_when_it_is_time() {
    let posthog = start(posthog::Config { v1: false, ..posthog::Config::with_keys([KEY]) });
    let client = client(&spoken(&posthog, Api::Auto));
    for _ in 0..3 {
        assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["delivered"; 2]);
    }
    assert_eq!(routes(&posthog), ["/batch"; 3], "capture knows no other route");
    assert_eq!(posthog.books().copies().len(), 2);

    let mut config = spoken(&posthog, Api::Auto);
    config.posthog.v1_probe_every = Duration::ZERO;
    let response = deliver(&common::client(&config), "shop", &events(1)).await;
    assert_eq!(response.answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [404, 200]);
    let response = deliver(&common::client(&spoken(&posthog, Api::V1)), "shop", &events(1)).await;
    assert_eq!(words(&response), ["hold"]);
    assert!(reason(&response.verdicts[0]).contains("api = \"auto\""), "{response:?}");
}

#[tokio::test]
async fn auto_goes_on_with_v1_where_there_is_one() {
    let posthog = posthog();
    let client = client(&spoken(&posthog, Api::Auto));
    for _ in 0..2 {
        assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["delivered"; 2]);
    }
    // one that answered before is not given up for an answer that was cut off
    let cut = Action::Answer { status: 200, body: "{\"status\":\"Ok\"}".into(), retry_after: None };
    posthog.faults().add(Rule::always(cut).times(1));
    assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["retry"; 2]);
    posthog.faults().add(Rule::status(503).times(1));
    assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["retry"; 2]);
    assert_eq!(routes(&posthog), [V1; 4]);
}

#[tokio::test]
async fn a_page_in_the_place_of_v1_is_no_v1() {
    let posthog = posthog();
    let page = Action::Answer { status: 200, body: "{\"status\":\"Ok\"}".into(), retry_after: None };
    posthog.faults().add(Rule::always(page).on(V1));
    let response = deliver(&client(&spoken(&posthog, Api::Auto)), "shop", &events(3)).await;
    assert_eq!(words(&response), ["delivered"; 3]);
    assert_eq!((routes(&posthog), posthog.books().unique()), (vec![V1.to_string(), "/batch".to_string()], 3));
}

#[tokio::test]
async fn what_v1_would_drop_or_read_otherwise_goes_the_classic_way() {
    let posthog = posthog();
    let mut sent = events(4);
    sent[1].json = sent[1].json.to_vec().replace(b"user_1", b" user_1");
    sent[1].distinct_id = " user_1".to_string();
    sent[2] = event(2, "user_2", r#","$lib":"posthog-python""#);
    let response = deliver(&client(&spoken(&posthog, Api::V1)), "shop", &sent).await;
    assert_eq!(words(&response), ["delivered"; 4]);
    assert_eq!(routes(&posthog), [V1, "/batch"]);
    let stored = posthog.books().arrivals();
    assert_eq!(
        stored.iter().map(|event| &*event.distinct_id).collect::<Vec<_>>(),
        ["user_0", "user_3", " user_1", "user_2"]
    );
    assert_eq!(stored[3].property("$lib"), Some("posthog-python".into()));
}

trait Replace {
    fn replace(self, from: &[u8], to: &[u8]) -> bytes::Bytes;
}

impl Replace for Vec<u8> {
    fn replace(self, from: &[u8], to: &[u8]) -> bytes::Bytes {
        let text = String::from_utf8(self).unwrap();
        text.replace(std::str::from_utf8(from).unwrap(), std::str::from_utf8(to).unwrap()).into()
    }
}
