//! What holds of every event that is made, whatever came.

use moehog_proto::transformer::Webhook;
use serde_json::Value;

pub(crate) fn webhook(body: &[u8]) -> Webhook {
    Webhook {
        receipt: "r-1".to_string(),
        received_at_ms: 1_787_220_672_345,
        source: "shop".to_string(),
        body: body.to_vec().into(),
        ..Webhook::default()
    }
}

/// What must hold of an event, told without the code that made it.
pub(crate) fn check(json: &[u8], drops_numbers: bool, seed: u64) {
    let event: Value = serde_json::from_slice(json).unwrap_or_else(|error| panic!("seed {seed}: not JSON: {error}"));
    let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("seed {seed}: no {name} in {event}"));
    for name in ["event", "distinct_id"] {
        let text = text(name);
        assert!(
            !text.trim().is_empty() && text.chars().count() <= 200 && !text.contains('\0'),
            "seed {seed}: {name} {text:?}"
        );
        assert!(!["{{", "{%", "Attribute["].iter().any(|marker| text.contains(marker)), "seed {seed}: {name} {text:?}");
    }
    let nobody =
        ["guest", "null", "none", "None", "undefined", "0", "true", "false", "anonymous", "[object Object]", "NaN"];
    assert!(!nobody.contains(&text("distinct_id").trim()), "seed {seed}: {event}");
    assert!(text("uuid").parse::<uuid::Uuid>().is_ok_and(|uuid| !uuid.is_nil()), "seed {seed}: {event}");
    assert!(text("timestamp").parse::<jiff::Timestamp>().is_ok(), "seed {seed}: {event}");
    let properties = event["properties"].as_object().unwrap_or_else(|| panic!("seed {seed}: {event}"));
    assert!(properties["moehog"]["receipt"] == "r-1", "seed {seed}: {event}");
    assert!(!drops_numbers || !properties.contains_key("moe_mobile_number"), "seed {seed}: {event}");
}
