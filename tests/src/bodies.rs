//! Webhooks as MoEngage sends them.

use std::fs;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::root;

/// The bodies of the transformer's cases.
///
/// # Errors
///
/// They cannot be read, or are hardly any.
pub fn cases() -> anyhow::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<_> = fs::read_dir(root().join("crates/transformer/testdata/cases"))?
        .map(|case| case.map(|case| case.path()))
        .collect::<Result<_, _>>()?;
    // a seed means the same on every machine
    paths.sort();
    let mut bodies = Vec::new();
    for path in paths {
        let case: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        bodies.extend(case["body"].as_str().map(|body| body.as_bytes().to_vec()));
    }
    ensure!(bodies.len() > 20, "{} bodies", bodies.len());
    Ok(bodies)
}

/// The tutorial's three Connector bodies with their placeholders filled: a campaign event, a purchase, an identify call.
///
/// Source: PostHog, "MoEngage" tutorial, request bodies (read 2026-11-24).
#[must_use]
pub fn tutorial(key: &str, person: &str) -> [String; 3] {
    [
        format!(
            r#"{{
  "api_key": "{key}",
  "event": "moengage_event_name",
  "distinct_id": "{person}",
  "properties": {{
    "source": "moengage",
    "campaign_name": "Winter Sale",
    "email": "ada@example.com"
  }}
}}"#
        ),
        format!(
            r#"{{
  "api_key": "{key}",
  "event": "purchase_completed",
  "distinct_id": "{person}",
  "properties": {{
    "source": "moengage",
    "amount": "49.90",
    "product_name": "Blue Shirt",
    "currency": "EUR"
  }}
}}"#
        ),
        format!(
            r#"{{
  "api_key": "{key}",
  "event": "$identify",
  "distinct_id": "{person}",
  "$set": {{
    "email": "ada@example.com",
    "name": "Ada Lovelace",
    "moengage_segment": "Loyal"
  }}
}}"#
        ),
    ]
}

/// A capture body with an id of its own, so that it can be found again.
#[must_use]
pub fn connector(key: &str, person: &str, uuid: &str) -> String {
    json!({
        "api_key": key,
        "event": "campaign_sent",
        "distinct_id": person,
        "uuid": uuid,
        "properties": {"source": "moengage", "campaign_name": "Winter Sale"},
    })
    .to_string()
}

/// A capture body that sets `$set.step` of its person.
#[must_use]
pub fn purchase(key: &str, person: &str, uuid: &str, step: u64) -> String {
    json!({
        "api_key": key,
        "event": "purchase_completed",
        "distinct_id": person,
        "uuid": uuid,
        "properties": {"source": "moengage", "amount": "49.90"},
        "$set": {"step": step},
    })
    .to_string()
}

/// A Streams batch of one event for each id, each event's person and `event_uuid` being that id.
///
/// Source: MoEngage, "MoEngage Streams", sample payload (read 2026-11-24).
#[must_use]
pub fn streams(ids: &[String]) -> String {
    let events: Vec<Value> = ids
        .iter()
        .map(|id| {
            json!({
                "event_name": "Email Sent",
                "event_code": "MOE_EMAIL_SENT",
                "event_uuid": id,
                "event_time": 1_764_000_000,
                "event_type": "CAMPAIGN_EVENT",
                "event_source": "MOENGAGE",
                "email_id": format!("{id}@example.com"),
                "uid": id,
                "event_attributes": {"campaign_id": "634e7e4a6d5b9c0f2a1b3c4d", "campaign_name": "Winter Sale"},
                "user_attributes": {"moengage_user_id": id},
                "device_attributes": {},
            })
        })
        .collect();
    json!({
        "app_name": "Shop",
        "source": "MOENGAGE",
        "moe_request_id": "7b1cbe0e-5f5c-4f0e-9a7e-3c1d1d8d5a11",
        "events": events,
    })
    .to_string()
}
