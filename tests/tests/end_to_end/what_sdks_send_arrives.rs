//! What PostHog's SDKs send besides plain batches: forms, names that PostHog bills apart, times in a zone of their own
//! and of clocks that are wrong; and what they ask for that is not moehog's.

use std::io::Write;

use anyhow::ensure;
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use moehog_tests::{Deployment, Setup, Shape, get, post};
use serde_json::{Value, json};

use super::world::{KEY, SOON, capture, event_of, posthog, taken};

/// A form as an SDK for browsers wrote it, with or without compression.
fn form(event: &Value, compressed: bool) -> anyhow::Result<String> {
    let mut bytes = event.to_string().into_bytes();
    if compressed {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&bytes)?;
        bytes = gzip.finish()?;
    }
    let escaped = BASE64_STANDARD.encode(bytes).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    Ok(format!("data={escaped}&compression={}", if compressed { "gzip-js" } else { "base64" }))
}

#[tokio::test]
async fn and_what_is_not_moehogs_is_said_to_be_posthogs() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    let of = |name: &str| {
        json!({"event": name, "distinct_id": "ada", "timestamp": "2026-08-19T15:30:00+05:30",
            "properties": {"$lib": "web", "amount": "12.50", "template": "{{x}}"}})
    };
    let ours = |mut event: Value| {
        event["api_key"] = KEY.into();
        event
    };
    for (name, compressed) in [("base64", false), ("gzip", true)] {
        let body = form(&ours(of(name)), compressed)?;
        let form_type = [("content-type", "application/x-www-form-urlencoded")];
        taken(&post(moehog.http()?, "/e/?ver=1.0&ip=1", &form_type, body).await?)?;
    }
    let special = ["$exception", "$ai_generation", "survey sent"];
    let events: Vec<_> = special.iter().map(|name| of(name)).collect();
    taken(&capture(&moehog, json!({"api_key": KEY, "batch": events}).to_string()).await?)?;
    // written by a clock that is two hours ahead
    let (mut early, ahead) = (of("early"), jiff::SignedDuration::from_hours(2));
    let happened = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(5);
    early["timestamp"] = (happened + ahead).to_string().into();
    let sent_at = (jiff::Timestamp::now() + ahead).to_string();
    taken(&capture(&moehog, json!({"api_key": KEY, "batch": [early], "sent_at": sent_at}).to_string()).await?)?;
    moehog.drained(SOON).await?;

    for name in ["base64", "gzip"].into_iter().chain(special) {
        let event = event_of(&posthog, "ada", name)?;
        let (json, properties) = (event.json(), event.properties());
        ensure!(json["timestamp"] == "2026-08-19T10:00:00.000Z", "{json}");
        ensure!(properties["amount"] == "12.50" && properties["template"] == "{{x}}", "{json}");
    }
    let early = event_of(&posthog, "ada", "early")?;
    ensure!((early.timestamp - happened).abs() < jiff::SignedDuration::from_mins(1), "{}", early.timestamp);
    ensure!(early.properties()["moehog"]["notes"][0]["code"] == "corrected_clock", "{}", early.json());

    for path in ["/array/phc_tests/config.js", "/flags/?v=2", "/decide/?v=3"] {
        let answer = get(moehog.http()?, path).await?;
        ensure!(answer.status == 404 && answer.json()["error"] == "asked_of_posthog", "{path}: {}", answer.text());
        ensure!(answer.json()["remedy"].to_string().contains("flags_api_host"), "{}", answer.text());
    }
    moehog.finish().await
}
