//! A delivery service in this process with a PostHog before it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bytes::Bytes;
use moehog_delivery::{Config, Delivery, Destination};
use moehog_emulator::posthog::{self, PostHog, Running};
use moehog_proto::{
    Channel,
    delivery::{DeliverRequest, DeliverResponse, DeliveryServiceClient, EventVerdict, Verdict},
    event::Event,
};
use uuid::Uuid;

pub const KEY: &str = "phc_test";

/// An emulator that knows [`KEY`] alone.
pub fn posthog() -> Running {
    start(posthog::Config::with_keys([KEY]))
}

pub fn start(config: posthog::Config) -> Running {
    PostHog::bind(([127, 0, 0, 1], 0).into(), config).unwrap().start()
}

/// The defaults, with the destination `shop` at `host`.
pub fn config(host: &str) -> Config {
    let mut config: Config = moehog_runtime::load(Config::DEFAULTS, None, []).unwrap();
    config.posthog.host = host.parse().unwrap();
    config.posthog.regions.clear();
    config.destinations.insert("shop".to_string(), destination(KEY));
    config
}

pub fn destination(key: &str) -> Destination {
    Destination { api_key: Some(key.to_string().into()), ..Destination::default() }
}

pub fn client(config: &Config) -> DeliveryServiceClient<Channel> {
    let delivery = Delivery::new(config).unwrap();
    moehog_proto::delivery::client(moehog_transport::in_process(moehog_proto::delivery::server(delivery)).channel)
}

/// An event as the transformer finishes it; `more` goes into its properties.
pub fn event(number: usize, person: &str, more: &str) -> Event {
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{number}").as_bytes());
    let json = format!(
        r#"{{"uuid":"{uuid}","event":"bought","distinct_id":"{person}","timestamp":"2026-08-22T10:00:00.123Z","properties":{{"n":{number},"amount":1.0{more}}}}}"#
    );
    Event {
        position: number as u32,
        uuid: Bytes::copy_from_slice(uuid.as_bytes()),
        distinct_id: person.to_string(),
        name: "bought".to_string(),
        json: json.into(),
        receipt: format!("00000001-{number:x}-0000"),
        ..Event::default()
    }
}

/// `count` events, each of its own person.
pub fn events(count: usize) -> Vec<Event> {
    (0..count).map(|number| event(number, &format!("user_{number}"), "")).collect()
}

pub async fn deliver(client: &DeliveryServiceClient<Channel>, name: &str, events: &[Event]) -> DeliverResponse {
    let request = DeliverRequest { destination: name.to_string(), events: events.to_vec() };
    let mut client = client.clone();
    let call = tokio::time::timeout(Duration::from_secs(20), client.deliver(request));
    let response = call.await.expect("a call ends in time").unwrap().into_inner();
    assert_eq!(response.verdicts.len(), events.len());
    for verdict in &response.verdicts {
        assert!(verdict.answer as usize <= response.answers.len());
    }
    response
}

pub fn word(verdict: &EventVerdict) -> &'static str {
    match &verdict.verdict {
        Some(Verdict::Delivered(_)) => "delivered",
        Some(Verdict::Degraded(_)) => "degraded",
        Some(Verdict::Rejected(_)) => "rejected",
        Some(Verdict::Refused(_)) => "refused",
        Some(Verdict::Retry(retry)) if retry.overloaded => "overloaded",
        Some(Verdict::Retry(_)) => "retry",
        Some(Verdict::Hold(_)) => "hold",
        None => "none",
    }
}

pub fn words(response: &DeliverResponse) -> Vec<&'static str> {
    response.verdicts.iter().map(word).collect()
}

/// All of why the verdict was given; what an older relay is told of it is the same.
pub fn reason(verdict: &EventVerdict) -> String {
    let all = verdict.clone().take_why().to_string();
    let told = match &verdict.verdict {
        Some(Verdict::Degraded(degraded)) => &degraded.reason,
        Some(Verdict::Rejected(rejected)) => &rejected.reason,
        Some(Verdict::Refused(refused)) => &refused.reason,
        Some(Verdict::Retry(retry)) => &retry.reason,
        Some(Verdict::Hold(hold)) => &hold.reason,
        Some(Verdict::Delivered(_)) | None => "",
    };
    assert_eq!(all, told);
    all
}

pub fn after_ms(verdict: &EventVerdict) -> u64 {
    match &verdict.verdict {
        Some(Verdict::Retry(retry)) => retry.after_ms,
        other => panic!("not to be tried again: {other:?}"),
    }
}
